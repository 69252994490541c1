// Private mode: the same model in this browser. What is said or chosen never leaves it.
import { MODEL_RATE, check, decode } from "./decode.js";
import { EmovoxError } from "./errors.js";

/** @import {Engine} from "./types.js" */

/**
 * @typedef {object} Call  a request to the worker that is under way
 * @property {(value: any) => void} resolve
 * @property {(error: Error) => void} reject
 * @property {(message: any) => void} [onMessage]
 */

/** @implements {Engine} */
export class PrivateEngine {
  /** @type {Map<number, Call>} */ #calls = new Map();
  /** @type {{file: File, seconds: number, fault: unknown} | null} the sound that the worker holds */ #held = null;
  #worker;
  #last = 0;

  /** @param {Worker} worker */
  constructor(worker) {
    this.#worker = worker;
    worker.onmessage = ({ data }) => this.#answered(data);
    worker.onerror = (event) => {
      const error = new EmovoxError(`Private mode failed (${event.message ?? "the worker could not start"}).`, {
        code: "failed",
      });
      for (const call of this.#calls.values()) call.reject(error);
      this.#calls.clear();
    };
  }

  /**
   * Load everything that computing here needs, from this server only.
   * @param {import("./types.js").Model} model
   * @param {(share: number, bytes: number, total: number) => void} onProgress
   * @param {{key?: string, signal?: AbortSignal}} [options]
   */
  static async load(model, onProgress, { key = "", signal } = {}) {
    if (typeof WebAssembly !== "object") {
      throw new EmovoxError("This browser has no WebAssembly.", {
        code: "no_webassembly",
        remedy: "Use this server, or another browser.",
      });
    }
    /** @type {Record<string, string>} */ const headers = key ? { Authorization: `Bearer ${key}` } : {};
    const addresses = [
      new URL("./vendor/onnxruntime-web.wasm", import.meta.url),
      new URL(model.url.replace(/^\//, ""), document.baseURI), // behind a proxy the page may lie deeper,
      new URL("./voice/silero-vad.onnx", import.meta.url),
    ];
    const [wasm, bundle, speech] = await fetchAll(addresses, onProgress, { headers, signal });
    const engine = new PrivateEngine(new Worker(new URL("./private-worker.js", import.meta.url), { type: "module" }));
    signal?.addEventListener("abort", () => engine.close());
    await engine.#call("load", { wasm, model: bundle, speech }, [wasm, bundle, speech]);
    return engine;
  }

  /**
   * @param {File} file
   * @param {import("./types.js").PredictOptions} [options]
   * @returns {Promise<import("./types.js").Prediction>}
   */
  async predict(file, { onProgress, signal } = {}) {
    const { seconds, fault } = await this.#hold(file, signal);
    if (fault) throw fault;
    onProgress?.(0);
    const result = await this.#stoppable("predict", ({ share }) => onProgress?.(share), signal);
    return { path: file.name, ...result, duration_s: seconds };
  }

  /**
   * @param {File} file
   * @param {(segment: import("./types.js").Segment) => void} onSegment
   * @param {AbortSignal} [signal]
   */
  async timeline(file, onSegment, signal) {
    await this.#hold(file, signal);
    await this.#stoppable("timeline", (data) => onSegment(data.segment), signal);
  }

  /**
   * Let the worker have a file's sound, once for all that is asked of it: an hour of it is 230 MB. What is asked must
   * be posted before anything else is awaited.
   * @param {File} file
   * @param {AbortSignal} [signal]
   */
  async #hold(file, signal) {
    if (this.#held?.file === file) return this.#held;
    const sound = await decode(file);
    signal?.throwIfAborted();
    const held = { file, seconds: sound.samples.length / sound.rate, fault: /** @type {unknown} */ (null) };
    try {
      check(sound);
    } catch (error) {
      held.fault = error;
    }
    this.#held = held;
    this.#worker.postMessage({ id: 0, type: "hold", ...sound }, [sound.samples.buffer]);
    return held;
  }

  /**
   * @param {string} type
   * @param {(message: any) => void} onMessage
   * @param {AbortSignal} [signal]
   */
  async #stoppable(type, onMessage, signal) {
    const id = ++this.#last;
    const stop = () => {
      this.#worker.postMessage({ id, type: "stop" });
      this.#worker.postMessage({ id: 0, type: "hold", samples: new Float32Array(0), rate: MODEL_RATE });
      this.#held = null;
    };
    const answer = this.#call(type, {}, [], onMessage, id);
    signal?.addEventListener("abort", stop);
    const value = await answer.finally(() => signal?.removeEventListener("abort", stop));
    signal?.throwIfAborted();
    return value;
  }

  /**
   * @param {number} rate
   * @param {import("./types.js").Listener} listener
   * @param {{adapt?: import("./types.js").Adapt}} [options]
   * @returns {Promise<import("./types.js").LiveStream>}
   */
  async stream(rate, listener, { adapt = false } = {}) {
    const id = ++this.#last;
    const hear = (/** @type {any} */ { message }) => {
      if (message.type === "update") listener.onUpdate(message);
      else if (message.type === "utterance") listener.onUtterance(message);
    };
    await this.#call("open", { rate, adapt }, [], hear, id);
    /** @type {Call} */ const call = {
      resolve: () => listener.onEnd(),
      reject: (error) => listener.onError(error),
      onMessage: hear,
    };
    this.#calls.set(id, call);
    return {
      send: (pcm) => this.#worker.postMessage({ id, type: "sound", pcm }),
      end: () => this.#worker.postMessage({ id, type: "end" }),
      close: () => {
        this.#calls.delete(id);
        this.#worker.postMessage({ id, type: "close" });
      },
    };
  }

  close() {
    this.#worker.terminate();
    for (const call of this.#calls.values()) call.reject(new EmovoxError("was stopped", { code: "aborted" }));
    this.#calls.clear();
  }

  /**
   * @param {string} type
   * @param {object} content
   * @param {Transferable[]} transfer
   * @param {(message: any) => void} [onMessage]
   * @param {number} [id]
   * @returns {Promise<any>}
   */
  #call(type, content, transfer, onMessage, id = ++this.#last) {
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject, onMessage });
      this.#worker.postMessage({ id, type, ...content }, transfer);
    });
  }

  /** @param {any} data */
  #answered(data) {
    const call = this.#calls.get(data.id);
    if (["segment", "heard", "share"].includes(data.type)) return call?.onMessage?.(data);
    this.#calls.delete(data.id);
    if (data.type === "error") call?.reject(new EmovoxError(data.error.message, data.error));
    else call?.resolve(data.value);
  }
}

/**
 * Fetch files together and say how far they are.
 * @param {URL[]} addresses
 * @param {(share: number, bytes: number, total: number) => void} onProgress
 * @param {{headers: Record<string, string>, signal?: AbortSignal}} options
 * @returns {Promise<ArrayBuffer[]>}
 */
async function fetchAll(addresses, onProgress, options) {
  const failed = () =>
    new EmovoxError("The model could not be loaded.", {
      code: "unreachable",
      remedy: "Check the connection, then try again.",
    });
  const responses = await Promise.all(addresses.map((address) => fetch(address, options))).catch((error) => {
    throw options.signal?.aborted ? EmovoxError.from(error) : failed();
  });
  if (responses.some((response) => !response.ok)) throw failed();
  const total = responses.reduce(
    (sum, { headers }) => sum + Number(headers.get("X-Unpacked-Length") ?? headers.get("Content-Length") ?? 0),
    0,
  );
  let done = 0;
  return Promise.all(
    responses.map(async (response) => {
      /** @type {Uint8Array[]} */ const pieces = [];
      const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        pieces.push(part.value);
        done += part.value.length;
        onProgress(total ? Math.min(1, done / total) : 0, done, total);
      }
      return new Blob(/** @type {BlobPart[]} */ (pieces)).arrayBuffer();
    }),
  );
}
