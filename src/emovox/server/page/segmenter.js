// Spans of speech from the detector's probabilities: the rules of emovox.inference.voice, step by step.
import { VAD_CHUNK, VAD_RATE } from "./silero.js";

export const SPEECH_PROBABILITY = 0.5;
const SILENCE_PROBABILITY = 0.35;
const MIN_SPEECH = 0.25 * VAD_RATE;
const MIN_SILENCE = 0.5 * VAD_RATE;
const PAD_BEFORE = 0.15 * VAD_RATE;
const PAD_AFTER = 0.05 * VAD_RATE;
const MAX_SPEECH = 30 * VAD_RATE;
const [CUT_FROM, CUT_UNTIL] = [15 * VAD_RATE, 29 * VAD_RATE];
const CUT_CHUNKS = 5;

/** @typedef {{start: number, end: number}} Span  first sample, and the one after the last, at 16 kHz */

export class Segmenter {
  #chunk = 0; // chunks heard
  #floor = 0; // where the last span ended
  #start = 0;
  /** @type {number | null} */ #onset = null; // the start without what is added
  /** @type {number | null} */ #silentFrom = null;
  /** @type {number[]} */ #powers = []; // of the chunks from `firstChunk` on
  #firstChunk = 0;

  /** Where the speech under way began; null if there is none, or not yet enough. */
  get start() {
    if (this.#onset === null) return null;
    const reached = this.#silentFrom ?? this.#chunk * VAD_CHUNK;
    return reached - this.#onset < MIN_SPEECH ? null : this.#start;
  }

  /** Whether the speech under way may have ended. */
  get pausing() {
    return this.#silentFrom !== null;
  }

  /** No span to come begins before this sample. */
  get neededFrom() {
    return this.#onset !== null ? this.#start : this.#padded(this.#chunk * VAD_CHUNK);
  }

  /**
   * Hear a chunk.
   * @param {number} probability of speech
   * @param {number} power mean square
   * @returns {Span | null} the span that ended with it
   */
  hear(probability, power) {
    const position = this.#chunk * VAD_CHUNK;
    this.#chunk += 1;
    if (probability >= SPEECH_PROBABILITY) {
      if (this.#onset === null) {
        this.#onset = position;
        this.#start = this.#padded(position);
        this.#powers = [];
        this.#firstChunk = this.#chunk - 1;
      }
      this.#silentFrom = null;
    } else if (this.#onset !== null && this.#silentFrom === null && probability < SILENCE_PROBABILITY) {
      this.#silentFrom = position;
    }
    if (this.#onset === null) return null;
    this.#powers.push(power);
    const end = this.#chunk * VAD_CHUNK;
    if (this.#silentFrom !== null && end - this.#silentFrom >= MIN_SILENCE) return this.#endOfSpeech(this.#silentFrom);
    return end - this.#start >= MAX_SPEECH ? this.#cut() : null;
  }

  /**
   * The sound has ended: the span under way, if it is long enough.
   * @param {number} end number of samples
   * @returns {Span | null}
   */
  finish(end) {
    const span = this.#onset === null ? null : this.#endOfSpeech(Math.min(end, this.#silentFrom ?? end));
    return span && { start: span.start, end: Math.min(span.end, end) };
  }

  /** @param {number} end @returns {Span | null} */
  #endOfSpeech(end) {
    const onset = this.#onset ?? end;
    const start = this.#start;
    this.#onset = this.#silentFrom = null;
    if (end - onset < MIN_SPEECH) return null;
    this.#floor = end + PAD_AFTER;
    return { start, end: this.#floor };
  }

  /** Cut at the middle of the quietest 160 ms. @returns {Span} */
  #cut() {
    const index = (/** @type {number} */ after) => Math.round((this.#start + after) / VAD_CHUNK) - this.#firstChunk;
    let quietest = index(CUT_FROM);
    let least = Infinity;
    for (let first = quietest; first <= index(CUT_UNTIL) - CUT_CHUNKS; first++) {
      const power = this.#powers.slice(first, first + CUT_CHUNKS).reduce((sum, value) => sum + value, 0);
      if (power < least) [quietest, least] = [first, power];
    }
    const place = ((2 * (this.#firstChunk + quietest) + CUT_CHUNKS) * VAD_CHUNK) / 2;
    const span = { start: this.#start, end: place };
    this.#start = this.#onset = this.#floor = place;
    this.#powers = this.#powers.slice(Math.floor(place / VAD_CHUNK) - this.#firstChunk);
    this.#firstChunk = Math.floor(place / VAD_CHUNK);
    return span;
  }

  /** @param {number} position */
  #padded(position) {
    return Math.max(this.#floor, position - PAD_BEFORE);
  }
}
