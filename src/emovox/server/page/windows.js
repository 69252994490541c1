// Emotions over time in a recording, in this browser: the rules of emovox.inference.stream.
import { SPEECH_PROBABILITY } from "./segmenter.js";
import { SpeechDetector, VAD_CHUNK, VAD_RATE } from "./silero.js";

const WINDOW_S = 3;
const HOP_S = 1;
const MIN_SPEECH = 0.25;
const SHORTEST_S = 0.1;
const SILENCE_PEAK = 1e-4;

/** Chunks that the detector hears at once: 32 s. */
const BATCH = 1000 * VAD_CHUNK;

/**
 * @param {Float32Array} samples at 16 kHz
 * @param {import("./recogniser.js").Recogniser} recogniser
 * @param {any} detector the speech detector's session
 * @returns {AsyncGenerator<import("./types.js").Segment>}
 */
export async function* timeline(samples, recogniser, detector) {
  const hearing = new SpeechDetector(detector);
  /** @type {number[]} */ const speech = [];
  let heard = 0;
  let covered = 0;
  for (let first = 0; ; first += HOP_S * VAD_RATE) {
    const stop = Math.min(first + WINDOW_S * VAD_RATE, samples.length);
    const whole = stop - first === WINDOW_S * VAD_RATE;
    if (!whole && stop - covered < SHORTEST_S * VAD_RATE) return;
    while (heard < stop) {
      speech.push(...(await hearing.hear(samples.subarray(heard, heard + BATCH))));
      heard += BATCH;
    }
    const times = { start_s: first / VAD_RATE, end_s: stop / VAD_RATE };
    const part = samples.slice(first, stop);
    const said = share(speech.slice(Math.floor(first / VAD_CHUNK), Math.ceil(stop / VAD_CHUNK)));
    const silent = part.every((value) => Math.abs(value) <= SILENCE_PEAK);
    if (silent || said < MIN_SPEECH) yield { ...times, emotion: null, confidence: null, probabilities: {} };
    else yield { ...times, ...(await recogniser.judge(part)) };
    if (!whole) return;
    covered = stop;
  }
}

/** @param {number[]} chunks */
function share(chunks) {
  return chunks.length ? chunks.filter((value) => value >= SPEECH_PROBABILITY).length / chunks.length : 0;
}
