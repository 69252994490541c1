// Live sound in this browser: what the server does on /v1/stream (emovox.inference.utterances), for private mode.
import { Resampler } from "./resample.js";
import { Segmenter } from "./segmenter.js";
import { SpeechDetector, VAD_CHUNK, VAD_RATE } from "./silero.js";
import { mean, verdict } from "./voice.js";

/** @import {Voice} from "./voice.js" */

const INTERVAL_S = 0.25;
/** A running result hears this much of the end of an utterance, in whole steps. */
const RUNNING_S = 3;
const RUNNING_STEP_S = 0.5;
const LOWEST_DB = -100;

/** The last samples of a stream, addressed by their position from its begin. */
class Tail {
  start = 0;
  values = new Float32Array(0);

  get end() {
    return this.start + this.values.length;
  }

  /** @param {Float32Array} more */
  append(more) {
    const all = new Float32Array(this.values.length + more.length);
    all.set(this.values);
    all.set(more, this.values.length);
    this.values = all;
  }

  /** @param {number} first @param {number} stop */
  between(first, stop) {
    return this.values.slice(Math.max(first - this.start, 0), Math.max(stop - this.start, 0));
  }

  /** @param {number} position */
  forgetBefore(position) {
    const keep = Math.min(Math.max(position - this.start, 0), this.values.length);
    this.start += keep;
    this.values = this.values.slice(keep);
  }
}

export class Listener {
  #samples = new Tail();
  #segmenter = new Segmenter();
  #received = 0;
  #heard = 0; // at 16 kHz
  #ticks = 0;
  #energy = 0;
  #energyOf = 0;
  #utterances = 0;
  #stop = Infinity; // where the sound ends, once it has

  /**
   * @param {import("./recogniser.js").Recogniser} recogniser for 16 kHz
   * @param {any} detector the speech detector's session
   * @param {number} rate of the sound, in Hz
   * @param {(message: object) => void} tell takes what the protocol of /v1/stream says
   * @param {Voice | null} voice what is known of the voice, if results are to be adapted to it
   */
  constructor(recogniser, detector, rate, tell, voice = null) {
    this.recogniser = recogniser;
    this.voice = voice;
    this.detector = new SpeechDetector(detector);
    this.rate = rate;
    this.tell = tell;
    this.resampler = new Resampler(rate, VAD_RATE);
  }

  /**
   * @param {Float32Array} samples
   * @param {boolean} late whether more sound waits already: then running results are left out
   */
  async hear(samples, late) {
    let rest = samples;
    for (let tick = this.#nextTick(); this.#received + rest.length >= tick; tick = this.#nextTick()) {
      const count = tick - this.#received;
      await this.#hear(rest.subarray(0, count));
      rest = rest.subarray(count);
      this.#ticks += 1;
      await this.#moment(late);
    }
    if (rest.length) await this.#hear(rest);
  }

  async finish() {
    const samples = this.resampler.push(new Float32Array(0), true);
    await this.#take(samples);
    this.#stop = this.#heard;
    const missing = (VAD_CHUNK - (this.#heard % VAD_CHUNK)) % VAD_CHUNK;
    if (missing) await this.#take(new Float32Array(missing));
    const span = this.#segmenter.finish(this.#stop);
    if (span) await this.#spoken(span);
    this.tell({ type: "bye", utterances: this.#utterances, duration_s: this.#received / this.rate });
  }

  #nextTick() {
    return Math.round((this.#ticks + 1) * INTERVAL_S * this.rate);
  }

  /** @param {Float32Array} samples */
  async #hear(samples) {
    this.#received += samples.length;
    for (const value of samples) this.#energy += value * value;
    this.#energyOf += samples.length;
    await this.#take(this.resampler.push(samples));
    this.#samples.forgetBefore(this.#segmenter.neededFrom);
  }

  /** @param {Float32Array} samples at 16 kHz */
  async #take(samples) {
    const waiting = this.#heard % VAD_CHUNK;
    this.#samples.append(samples);
    const first = this.#heard - waiting;
    this.#heard += samples.length;
    const chunks = await this.detector.hear(samples);
    for (let index = 0; index < chunks.length; index++) {
      const begin = first + index * VAD_CHUNK;
      const span = this.#segmenter.hear(chunks[index], power(this.#samples.between(begin, begin + VAD_CHUNK)));
      if (span) await this.#spoken(span);
    }
  }

  /** @param {boolean} late */
  async #moment(late) {
    const mean = this.#energy / Math.max(this.#energyOf, 1);
    this.#energy = this.#energyOf = 0;
    const { start, pausing } = this.#segmenter;
    let result = { emotion: null, confidence: null, probabilities: null };
    const spoken = start === null || pausing || late ? 0 : (this.#samples.end - start) / VAD_RATE;
    const steps = Math.floor(Math.min(spoken, RUNNING_S) / RUNNING_STEP_S);
    if (steps) {
      const { end } = this.#samples;
      const parts = await this.recogniser.parts(this.#samples.between(end - steps * RUNNING_STEP_S * VAD_RATE, end));
      result = /** @type {any} */ (this.#say(parts));
    }
    this.tell({
      type: "update",
      time_s: this.#ticks * INTERVAL_S,
      received: this.#received,
      level_db: mean > 0 ? Math.max(LOWEST_DB, 10 * Math.log10(mean)) : LOWEST_DB,
      speech: start !== null,
      start_s: start === null ? null : start / VAD_RATE,
      ...result,
      adapted_s: this.voice?.seconds ?? 0,
    });
  }

  /** @param {import("./segmenter.js").Span} span */
  async #spoken(span) {
    const [start, end] = [span.start, Math.min(span.end, this.#stop)];
    const parts = await this.recogniser.parts(this.#samples.between(start, end));
    const result = { ...this.#say(parts), adapted_s: this.voice?.seconds ?? 0 };
    this.voice?.hear(parts, (end - start) / VAD_RATE);
    const known = this.voice ? { reference: this.voice.reference } : {};
    const index = this.#utterances++;
    this.tell({ type: "utterance", index, start_s: start / VAD_RATE, end_s: end / VAD_RATE, ...result, ...known });
  }

  /** @param {import("./types.js").Part[]} parts */
  #say(parts) {
    return verdict(this.recogniser.labels, this.voice ? this.voice.measure(parts) : mean(parts));
  }
}

/** @param {Float32Array} chunk */
function power(chunk) {
  let sum = 0;
  for (const value of chunk) sum += value * value;
  return sum / VAD_CHUNK;
}
