// The model in this browser: the same bundle and the same steps as emovox.inference.recognizer.
import * as ort from "./vendor/onnxruntime-web.mjs";
import { describe } from "./bundle.js";

const MOST_THREADS = 4;

/** Where a bundle sets no limit, longer recordings are cut all the same, in seconds. */
const LONGEST_S = 300;

/**
 * Make onnxruntime-web ready. Several threads share memory, which browsers allow to isolated pages only.
 * @param {ArrayBuffer} wasm
 */
export function prepare(wasm) {
  ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency) : 1;
  ort.env.wasm.wasmBinary = wasm;
  ort.env.logLevel = "error";
}

/** @param {Uint8Array} bytes of an ONNX file */
export function session(bytes) {
  return ort.InferenceSession.create(bytes, { executionProviders: ["wasm"], enableMemPattern: false });
}

/**
 * @param {Float32Array} values
 * @param {number[]} shape
 */
export function tensor(values, shape) {
  return new ort.Tensor("float32", values, shape);
}

export class Recogniser {
  /**
   * @param {any} graph
   * @param {import("./bundle.js").Description} description
   */
  constructor(graph, description) {
    this.graph = graph;
    this.labels = description.labels;
    this.rate = description.sample_rate;
    this.longest = description.max_seconds ?? LONGEST_S;
  }

  /** @param {Uint8Array} bytes of a bundle */
  static async load(bytes) {
    const description = describe(bytes);
    return new Recogniser(await session(bytes), description);
  }

  /**
   * @param {Float32Array} samples mono, at `rate`
   * @param {(share: number) => Promise<boolean>} [onPart] told how much of a long recording is done; true stops
   * @returns {Promise<Float64Array>} a probability for each label
   */
  async probabilities(samples, onPart) {
    const count = Math.max(1, Math.ceil(samples.length / (this.longest * this.rate)));
    const sums = new Float64Array(this.labels.length);
    let done = 0;
    for (const part of parts(samples, count)) {
      const { probabilities } = await this.graph.run({ waveform: tensor(part, [1, part.length]) }, ["probabilities"]);
      probabilities.data.forEach((/** @type {number} */ value, /** @type {number} */ label) => {
        sums[label] += (value * part.length) / samples.length;
      });
      if (++done < count && (await onPart?.(done / count))) break;
    }
    return sums;
  }

  /**
   * What a result says; everything that the model gives goes through here.
   * @param {Float32Array} samples
   * @param {(share: number) => Promise<boolean>} [onPart]
   * @returns {Promise<{emotion: string, confidence: number, probabilities: import("./types.js").Probabilities}>}
   */
  async judge(samples, onPart) {
    const values = [...(await this.probabilities(samples, onPart))];
    const confidence = Math.max(...values);
    const probabilities = Object.fromEntries(this.labels.map((label, index) => [label, values[index]]));
    return { emotion: this.labels[values.indexOf(confidence)], confidence, probabilities };
  }
}

/**
 * Cut into parts of equal length as numpy.array_split does: the first ones take what is left over.
 * @param {Float32Array} samples
 * @param {number} count
 */
function* parts(samples, count) {
  const length = Math.floor(samples.length / count);
  const longer = samples.length % count;
  for (let index = 0, start = 0; index < count; index++) {
    const stop = start + length + (index < longer ? 1 : 0);
    yield samples.slice(start, stop);
    start = stop;
  }
}
