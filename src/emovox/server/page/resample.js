// Sample rate conversion like soxr's HQ, with which the server reads: a linear-phase filter (Kaiser window) that passes
// 0.9136 of the band and takes away 120 dB of what does not fit. So both give a model the same sound.

const REJECTION_DB = 20 * 20 * Math.log10(2); // 20 bits
const PASS = 1 - 0.05 / ((1.6e-6 * REJECTION_DB - 7.5e-4) * REJECTION_DB + 0.646); // soxr's rule for its passband
const BETA = 0.1102 * (REJECTION_DB - 8.7); // Kaiser, "Nonrecursive digital filter design" (1974)

/** Filters with more different phases than this would fill too much memory. */
const MOST_PHASES = 1280;

/**
 * Whether `Resampler` can convert between two rates.
 * @param {number} from in Hz
 * @param {number} to in Hz
 */
export function canResample(from, to) {
  return to / divisor(from, to) <= MOST_PHASES;
}

/** Converts a stream of mono samples; what comes out does not depend on how the stream is cut. */
export class Resampler {
  /**
   * @param {number} from in Hz
   * @param {number} to in Hz
   */
  constructor(from, to) {
    const common = divisor(from, to);
    this.up = to / common;
    this.down = from / common;
    this.filter = from === to ? [] : phases(this.up, this.down);
    this.half = this.filter.length ? this.filter[0].length / 2 : 0;
    /** @type {Float32Array} the end of what was heard; silence before the begin */
    this.kept = new Float32Array(Math.max(0, this.half - 1));
    this.first = -this.kept.length; // its position
    this.given = 0;
    this.taken = 0;
  }

  /**
   * @param {Float32Array} samples
   * @param {boolean} [last] whether nothing follows
   * @returns {Float32Array} what is complete now
   */
  push(samples, last = false) {
    if (!this.half) return samples;
    this.taken += samples.length;
    const heard = new Float32Array(this.kept.length + samples.length + (last ? this.half : 0));
    heard.set(this.kept);
    heard.set(samples, this.kept.length);
    const all = Math.round((this.taken * this.up) / this.down);
    const until = last ? all : Math.floor(((this.taken - this.half) * this.up) / this.down);
    const output = new Float32Array(Math.max(0, until - this.given));
    for (let index = 0; index < output.length; index++) output[index] = this.#at(heard, this.given + index);
    this.given += output.length;
    const keep = Math.floor((this.given * this.down) / this.up) - this.half + 1;
    this.kept = heard.slice(Math.max(0, keep - this.first));
    this.first = Math.max(this.first, keep);
    return output;
  }

  /**
   * @param {Float32Array} heard
   * @param {number} position of the sample that comes out
   */
  #at(heard, position) {
    const place = position * this.down;
    const filter = this.filter[place % this.up];
    const begin = Math.floor(place / this.up) - this.half + 1 - this.first;
    let sum = 0;
    for (let tap = 0; tap < filter.length; tap++) sum += filter[tap] * (heard[begin + tap] ?? 0);
    return sum;
  }
}

/**
 * @param {Float32Array} samples
 * @param {number} from in Hz
 * @param {number} to in Hz
 */
export function resample(samples, from, to) {
  return new Resampler(from, to).push(samples, true);
}

/**
 * The filter, cut into one set of weights for each phase.
 * @param {number} up
 * @param {number} down
 * @returns {Float64Array[]}
 */
function phases(up, down) {
  const band = Math.min(1, up / down); // of the source's band, what the target can hold
  const width = (1 - PASS) * band; // of the transition, in units of the source's Nyquist frequency
  const half = Math.ceil((REJECTION_DB - 7.95) / (2.285 * Math.PI * width) / 2) + 1;
  const cutoff = ((1 + PASS) / 2) * band;
  return Array.from({ length: up }, (_, phase) => {
    const weights = new Float64Array(2 * half);
    for (let tap = 0; tap < weights.length; tap++) {
      const distance = tap - (half - 1) - phase / up; // in samples of the source
      const share = distance / half;
      weights[tap] =
        Math.abs(share) >= 1
          ? 0
          : cutoff * sinc(cutoff * distance) * (bessel(BETA * Math.sqrt(1 - share * share)) / bessel(BETA));
    }
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return weights.map((weight) => weight / sum);
  });
}

/** @param {number} x */
function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/**
 * Modified Bessel function of the first kind, order 0, by its power series.
 * @param {number} x
 */
function bessel(x) {
  let term = 1;
  let sum = 1;
  for (let k = 1; term > 1e-17 * sum; k++) {
    term *= (x / 2 / k) ** 2;
    sum += term;
  }
  return sum;
}

/** @param {number} a @param {number} b @returns {number} */
function divisor(a, b) {
  return b ? divisor(b, a % b) : a;
}
