// Silero's voice activity detector in this browser.
import { session, tensor } from "./recogniser.js";

export const VAD_RATE = 16_000;
export const VAD_CHUNK = 512;

/** Samples before a chunk that the detector hears with it. */
const CONTEXT = 64;
const STATE = 128;

/** Keeps a state from chunk to chunk: use one for each recording. */
export class SpeechDetector {
  #graph;
  #pending = new Float32Array(CONTEXT);
  #h = new Float32Array(STATE);
  #c = new Float32Array(STATE);

  /** @param {any} graph the detector's session, see `load` */
  constructor(graph) {
    this.#graph = graph;
  }

  /** @param {Uint8Array} bytes @returns {Promise<any>} */
  static load(bytes) {
    return session(bytes);
  }

  /**
   * Hear the next samples.
   * @param {Float32Array} samples at 16 kHz
   * @returns {Promise<Float32Array>} probability of speech in each chunk of 512 samples that is complete now
   */
  async hear(samples) {
    const heard = new Float32Array(this.#pending.length + samples.length);
    heard.set(this.#pending);
    heard.set(samples, this.#pending.length);
    const count = Math.floor((heard.length - CONTEXT) / VAD_CHUNK);
    this.#pending = heard.slice(count * VAD_CHUNK);
    if (!count) return new Float32Array(0);
    const size = CONTEXT + VAD_CHUNK;
    const chunks = new Float32Array(count * size);
    for (let index = 0; index < count; index++) {
      chunks.set(heard.subarray(index * VAD_CHUNK, index * VAD_CHUNK + size), index * size);
    }
    const shape = [1, 1, STATE];
    const given = { input: tensor(chunks, [count, size]), h: tensor(this.#h, shape), c: tensor(this.#c, shape) };
    const { speech_probs, hn, cn } = await this.#graph.run(given);
    this.#h = hn.data;
    this.#c = cn.data;
    return Float32Array.from(speech_probs.data);
  }
}
