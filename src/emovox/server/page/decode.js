// From a file to samples in this browser, with the same limits as the server's door for sound (audio.py).
import { EmovoxError } from "./errors.js";
import { nativeRate, takeLeadIn } from "./formats.js";
import { canResample } from "./resample.js";

export const MODEL_RATE = 16_000;

/** What WebAudio decodes to where a file does not say its rate, or says one that it cannot have. */
const USUAL_RATE = 48_000;

const SHORTEST_S = 0.1;
const LONGEST_S = 600;
const SILENCE_PEAK = 1e-4;

/** WebAudio decodes a file as a whole, so that its size must be bounded. */
const LARGEST_BYTES = 300e6;

/**
 * @typedef {object} Sound
 * @property {Float32Array} samples  mono, full scale is 1
 * @property {number} rate  in Hz
 */

/**
 * Decode a file and mix it to mono; its rate stays what it is.
 * @param {File} file
 * @returns {Promise<Sound>}
 */
export async function decode(file) {
  if (!file.size) throw new EmovoxError("The file is empty.", { code: "empty", remedy: "Record it again." });
  if (file.size > LARGEST_BYTES) {
    const remedy = "Cut it, or let the server read it.";
    throw new EmovoxError("The file is too large for this browser (more than 300 MB).", { code: "too_large", remedy });
  }
  const bytes = await file.arrayBuffer().catch(() => {
    throw new EmovoxError("The file cannot be read.", { code: "unreadable", remedy: "Choose it again." });
  });
  const view = new DataView(bytes);
  const own = nativeRate(view);
  const leadIn = takeLeadIn(view);
  const rate = own && own >= 8000 && own <= 96_000 && canResample(own, MODEL_RATE) ? own : USUAL_RATE;
  // A context of the file's own rate leaves its samples as they are.
  const context = new OfflineAudioContext(1, 1, rate);
  const buffer = await context.decodeAudioData(bytes).catch(() => {
    throw new EmovoxError("This browser cannot read it as sound.", {
      code: "not_audio",
      remedy: "WAV, FLAC, MP3, Ogg, m4a and webm work in most browsers.",
    });
  });
  return { samples: mono(buffer).subarray(leadIn), rate };
}

/**
 * Refuse what no model can judge.
 * @param {Sound} sound
 * @returns {number} its length in seconds
 */
export function check({ samples, rate }) {
  const seconds = samples.length / rate;
  if (seconds < SHORTEST_S) {
    const message = `It is ${seconds.toFixed(3)} s long; at least ${SHORTEST_S} s are needed.`;
    throw new EmovoxError(message, { code: "too_short", remedy: "Record more." });
  }
  if (seconds > LONGEST_S) {
    const message = `It is ${Math.round(seconds)} s long; ${LONGEST_S} s are the most.`;
    throw new EmovoxError(message, { code: "too_long", remedy: "Look at its emotions over time." });
  }
  let low = Infinity;
  let high = -Infinity;
  for (const value of samples) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if ((high - low) / 2 <= SILENCE_PEAK) {
    throw new EmovoxError("It is silent.", { code: "silent", remedy: "Check the microphone." });
  }
  return seconds;
}

/** @param {AudioBuffer} buffer */
function mono(buffer) {
  const count = buffer.numberOfChannels;
  if (count === 1) return buffer.getChannelData(0);
  const samples = new Float32Array(buffer.length);
  for (let channel = 0; channel < count; channel++) {
    const values = buffer.getChannelData(channel);
    for (let index = 0; index < samples.length; index++) samples[index] += values[index] / count;
  }
  return samples;
}
