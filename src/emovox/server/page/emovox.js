// The JavaScript client of emovox' service: REST and live. It needs nothing but this file, stream.js and errors.js, and
// works in every page: `new Emovox("https://example.org/emovox/", {key: "…"})`.
import { EmovoxError, described, unreachable } from "./errors.js";
import { SocketStream } from "./stream.js";

export { EmovoxError };

/** @import {Engine} from "./types.js" */

/** @implements {Engine} */
export class Emovox {
  /**
   * @param {string | URL} [base] address of the service; must end with a slash
   * @param {{key?: string}} [options] key: where the service asks for one
   */
  constructor(base = document.baseURI, { key = "" } = {}) {
    this.base = new URL(base);
    this.key = key;
  }

  /** @returns {Promise<import("./types.js").Model[]>} */
  async models() {
    return (await (await this.#get("v1/models")).json()).models;
  }

  /** @returns {Promise<Object<string, string>>} emotion and its colour, #rrggbb */
  async colours() {
    return (await this.#get("v1/colours")).json();
  }

  /**
   * Recognise the emotion of one recording.
   * @param {File} file
   * @param {import("./types.js").PredictOptions} [options]
   * @returns {Promise<import("./types.js").Prediction>}
   */
  predict(file, { signal, onProgress } = {}) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest(); // fetch cannot say how much was sent
      request.open("POST", new URL("v1/predict?parts=true", this.base));
      for (const [name, value] of Object.entries(this.#headers())) request.setRequestHeader(name, value);
      request.upload.onprogress = (event) => event.lengthComputable && onProgress?.(event.loaded / event.total);
      request.onload = () => {
        try {
          resolve(predicted(request.status, request.responseText));
        } catch (error) {
          reject(EmovoxError.from(error));
        }
      };
      request.onerror = () => reject(unreachable());
      request.onabort = () => reject(new EmovoxError("was stopped", { code: "aborted" }));
      signal?.addEventListener("abort", () => request.abort());
      request.send(form(file));
    });
  }

  /**
   * Follow the emotion through a recording of any length.
   * @param {File} file
   * @param {(segment: import("./types.js").Segment) => void} onSegment called as each window is known
   * @param {AbortSignal} [signal]
   */
  async timeline(file, onSegment, signal) {
    const address = new URL("v1/timeline", this.base);
    const options = { method: "POST", headers: this.#headers(), body: form(file), signal };
    const response = await fetch(address, options).catch(refused);
    if (!response.ok) throw problem(response.status, await response.text());
    for await (const line of lines(response)) {
      const item = JSON.parse(line);
      if (item.error) throw described(item.error);
      if (!item.done) onSegment(item);
    }
  }

  /**
   * Send live sound and hear what it says, by version 1 of the protocol.
   * @param {number} rate sample rate in Hz of what will be sent
   * @param {import("./types.js").Listener} listener
   * @param {{adapt?: import("./types.js").Adapt}} [options] adapt: measure each utterance from those before it
   * @returns {Promise<import("./types.js").LiveStream>}
   */
  async stream(rate, listener, { adapt = false } = {}) {
    const address = new URL("v1/stream", this.base);
    address.protocol = address.protocol.replace("http", "ws");
    const stream = new SocketStream(address, this.key, rate, listener, adapt);
    await stream.open();
    return stream;
  }

  /** @param {string} path */
  async #get(path) {
    const response = await fetch(new URL(path, this.base), { headers: this.#headers() }).catch(refused);
    if (!response.ok) throw problem(response.status, await response.text());
    return response;
  }

  /** @returns {Record<string, string>} */
  #headers() {
    return this.key ? { Authorization: `Bearer ${this.key}` } : {};
  }
}

/** @param {File} file */
function form(file) {
  const body = new FormData();
  body.append("file", file, file.name);
  return body;
}

/**
 * @param {number} status
 * @param {string} text
 * @returns {import("./types.js").Prediction}
 */
function predicted(status, text) {
  if (status !== 200) throw problem(status, text);
  const [result] = JSON.parse(text).results;
  if (result.error) throw new EmovoxError(result.error.message, result.error);
  return result;
}

/**
 * Read a problem (RFC 9457).
 * @param {number} status
 * @param {string} text
 */
function problem(status, text) {
  try {
    return described({ status, ...JSON.parse(text) });
  } catch {
    return new EmovoxError(`The server answered ${status}.`, { code: "bad_answer", status });
  }
}

/** @param {unknown} error @returns {never} */
function refused(error) {
  throw error instanceof TypeError ? unreachable() : EmovoxError.from(error);
}

/** @param {Response} response */
async function* lines(response) {
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const pieces = (rest + decoder.decode(part.value, { stream: true })).split("\n");
    rest = pieces.pop() ?? "";
    yield* pieces.filter(Boolean);
  }
  if (rest.trim()) yield rest;
}
