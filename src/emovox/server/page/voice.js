// What is known of a voice, and probabilities measured from it: emovox.inference.log_ratios, in JavaScript. The graph
// takes a reference, too, but onnxruntime-web cannot give it one; logits are linear, so that probabilities suffice.

import { EmovoxError } from "./errors.js";

/** Seconds of speech that count as one clip, and clips whose mean owes as much to the emotions in them as to a voice. */
const CLIP_S = 3;
const PRIOR_CLIPS = 4;

/** Speech counts half after so many further seconds of speech. */
const HALF_LIFE_S = 300;

/** Below it float32 has fewer digits, and soon none. */
const SMALLEST_PROBABILITY = 1e-30;

/** What gives each emotion so much of an equal share or more tells nothing: it is no voice. */
const UNTOLD = 0.9;

/** @import {Part, Reference} from "./types.js" */

/** @typedef {{labels: string[], neutral: number[] | null, spread: number | null}} Adaptable  a model that can adapt */

export class Voice {
  seconds = 0;
  #weight = 0;
  #sum;

  /**
   * @param {Adaptable} model
   * @param {{reference?: Reference | null, halfLife?: number}} [options] reference: what an earlier one knew
   */
  constructor({ labels, neutral, spread }, { reference = null, halfLife = HALF_LIFE_S } = {}) {
    if (!neutral) throw new EmovoxError("The model cannot adapt.", { code: "cannot_adapt", remedy: "Use another model." });
    this.labels = labels;
    this.neutral = neutral;
    this.spread = spread;
    this.halfLife = halfLife;
    this.#sum = new Float64Array(labels.length);
    if (!reference) return;
    if (!labels.every((label) => Number.isFinite(reference.log_ratios[label]))) {
      const remedy = "Begin with adapt: true.";
      throw new EmovoxError("The reference is of a model with other labels.", { code: "other_model", remedy });
    }
    this.seconds = reference.seconds;
    this.#weight = reference.weight_s;
    labels.forEach((label, index) => {
      this.#sum[index] = reference.log_ratios[label] * reference.weight_s;
    });
  }

  /** What is known, for one that goes on from here. @returns {Reference} */
  get reference() {
    const mean = this.labels.map((label, index) => [label, this.#weight ? this.#sum[index] / this.#weight : 0]);
    return { seconds: this.seconds, weight_s: this.#weight, log_ratios: Object.fromEntries(mean) };
  }

  /**
   * Adapted probabilities of some sound.
   * @param {Part[]} parts
   */
  measure(parts) {
    const known = this.#sum.map((value) => value / (this.#weight || 1));
    const share = trust(this.#weight / CLIP_S, known, this.spread);
    const moved = parts.map(({ probabilities, weight }) => {
      if (!telling(probabilities)) return { probabilities, weight };
      const logs = logarithms(probabilities).map((value, index) => value - known[index] * share);
      const largest = Math.max(...logs);
      const exponents = logs.map((value) => Math.exp(value - largest));
      const all = exponents.reduce((sum, value) => sum + value, 0);
      return { probabilities: exponents.map((value) => value / all), weight };
    });
    return mean(moved);
  }

  /**
   * Take an utterance in, or what of it is a voice; measure it before.
   * @param {Part[]} parts
   * @param {number} seconds
   */
  hear(parts, seconds) {
    const neutral = logarithms(this.neutral);
    const spoken = parts.filter(({ probabilities }) => telling(probabilities));
    if (!spoken.length) return;
    const ratios = spoken.map(({ probabilities, weight }) => {
      const found = logarithms(probabilities).map((value, index) => value - neutral[index]);
      const middle = found.reduce((sum, value) => sum + value, 0) / found.length;
      return { probabilities: found.map((value) => value - middle), weight };
    });
    const heard = (seconds * weightOf(spoken)) / weightOf(parts);
    const kept = 0.5 ** (heard / this.halfLife);
    mean(ratios).forEach((value, index) => {
      this.#sum[index] = kept * this.#sum[index] + heard * value;
    });
    this.#weight = kept * this.#weight + heard;
    this.seconds += heard;
  }
}

/**
 * What a set of clips tells of the voice in it, each as much as the others; none is forgotten.
 * @param {Adaptable} model
 * @param {Part[]} clips
 */
export function voiceOf(model, clips) {
  const voice = new Voice(model, { halfLife: Infinity });
  for (const clip of clips) voice.hear([clip], CLIP_S);
  return voice;
}

/**
 * How much of the mean of some clips is their voice's; see emovox.inference.log_ratios.
 * @param {number} clips
 * @param {ArrayLike<number>} ratios their mean log ratios
 * @param {number | null} spread variance of a voice's log ratios
 */
function trust(clips, ratios, spread) {
  const size = Array.from(ratios).reduce((sum, value) => sum + value * value, 0);
  const surprise = spread ? size / (spread * (ratios.length - 1)) : 0;
  return 1 - 1 / Math.max(1 + clips / PRIOR_CLIPS, clips * surprise);
}

/**
 * Mean of parts by their weights.
 * @param {Part[]} parts
 * @returns {number[]} a value a label
 */
export function mean(parts) {
  const all = weightOf(parts);
  return parts[0].probabilities.map((_, label) =>
    parts.reduce((sum, { probabilities, weight }) => sum + (probabilities[label] * weight) / all, 0),
  );
}

/**
 * What probabilities say; every result that is computed here goes through this.
 * @param {string[]} labels
 * @param {number[]} values a probability a label
 * @returns {{emotion: string, confidence: number, probabilities: import("./types.js").Probabilities}}
 */
export function verdict(labels, values) {
  const confidence = Math.max(...values);
  const probabilities = Object.fromEntries(labels.map((label, index) => [label, values[index]]));
  return { emotion: labels[values.indexOf(confidence)], confidence, probabilities };
}

/** @param {Part[]} parts */
function weightOf(parts) {
  return parts.reduce((sum, { weight }) => sum + weight, 0);
}

/**
 * Whether probabilities tell anything at all.
 * @param {number[]} probabilities
 */
export function telling(probabilities) {
  return Math.min(...probabilities) < UNTOLD / probabilities.length;
}

/** @param {number[]} probabilities */
function logarithms(probabilities) {
  return probabilities.map((value) => Math.log(Math.max(value, SMALLEST_PROBABILITY)));
}
