// The model in this browser: the same bundle and the same steps as emovox.inference.recognizer.
import * as ort from "./vendor/onnxruntime-web.mjs";
import { describe } from "./bundle.js";
import { mean, verdict } from "./voice.js";

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
  const options = { executionProviders: ["wasm"], enableMemPattern: false, logSeverityLevel: 3 };
  return ort.InferenceSession.create(bytes, options);
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
    this.neutral = description.neutral ?? null;
    this.spread = description.spread ?? null;
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
   * @returns {Promise<import("./types.js").Part[]>} of what the model takes at once
   */
  async parts(samples, onPart) {
    const count = Math.max(1, Math.ceil(samples.length / (this.longest * this.rate)));
    const found = [];
    for (const part of parts(samples, count)) {
      const { probabilities } = await this.graph.run({ waveform: tensor(part, [1, part.length]) }, ["probabilities"]);
      found.push({ probabilities: [...probabilities.data], weight: part.length });
      if (found.length < count && (await onPart?.(found.length / count))) break;
    }
    return found;
  }

  /**
   * Hear sound and say what it is.
   * @param {Float32Array} samples
   * @param {(share: number) => Promise<boolean>} [onPart]
   */
  async judge(samples, onPart) {
    return verdict(this.labels, mean(await this.parts(samples, onPart)));
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
