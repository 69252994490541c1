// Live sound to the service, by version 1 of the protocol of /v1/stream; goes on after a broken connection.
import { EmovoxError, described, unreachable } from "./errors.js";

/** Sound that waits for the network beyond this many seconds means that the connection is too slow. */
const LONGEST_QUEUE_S = 10;

/** Times that a stream is taken up again, and the pause before the first of them. */
const RETRIES = 5;
const RETRY_AFTER_MS = 400;

/** Whether the session goes on after a closing code: what the server refuses does not, but for two (docs/stream.md). */
const resumable = (/** @type {number} */ code) => code < 4000 || code === 4408 || code === 4503;

/** @import {LiveStream} from "./types.js" */

/** @implements {LiveStream} */
export class SocketStream {
  /** @type {WebSocket | null} */ #socket = null;
  #session = "";
  #utterances = 0;
  /** Seconds and utterances of earlier sessions, when the server had forgotten one. */
  #offset = { s: 0, index: 0 };
  /** @type {Sent} */ #sent = new Sent();
  #state = /** @type {"open" | "ending" | "closed"} */ ("open");
  #retries = 0;

  /**
   * @param {URL} address of /v1/stream
   * @param {string} key empty where the service asks for none
   * @param {number} rate sample rate in Hz
   * @param {import("./types.js").Listener} listener
   * @param {import("./types.js").Adapt} adapt
   */
  constructor(address, key, rate, listener, adapt) {
    this.address = address;
    this.key = key;
    this.rate = rate;
    this.listener = listener;
    this.adapt = adapt;
  }

  /** @returns {Promise<void>} resolved when the server is ready for sound */
  open() {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(this.address);
      socket.binaryType = "arraybuffer";
      socket.onopen = () => socket.send(JSON.stringify(this.#hello()));
      socket.onmessage = ({ data }) => {
        const message = JSON.parse(data);
        if (message.type === "error") this.#refused(message, reject);
        else if (message.type !== "ready") this.#hear(message);
        else {
          this.#ready(socket, message);
          resolve();
        }
      };
      socket.onclose = ({ code }) => {
        reject(unreachable());
        if (this.#socket === socket) this.#lost(code);
      };
    });
  }

  /** @param {Int16Array} pcm */
  send(pcm) {
    if (this.#state !== "open") return;
    this.#sent.add(pcm);
    if (this.#sent.waiting > LONGEST_QUEUE_S * this.rate) {
      const remedy = "Record a file and choose it instead, or use private mode.";
      this.#fail(
        new EmovoxError("The connection to the server is too slow for live sound.", {
          code: "slow_connection",
          remedy,
        }),
      );
    } else if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(pcm);
  }

  end() {
    if (this.#state !== "open") return;
    this.#state = "ending";
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ type: "end" }));
  }

  close() {
    this.#state = "closed";
    this.#socket?.close(1000);
  }

  #isClosed() {
    return this.#state === "closed";
  }

  #hello() {
    const key = this.key ? { key: this.key } : {};
    const resume = this.#session ? { resume: this.#session, utterances: this.#utterances } : {};
    const adapt = this.adapt ? { adapt: this.adapt } : {};
    return { type: "hello", version: 1, rate: this.rate, ...key, ...adapt, ...resume };
  }

  /**
   * @param {WebSocket} socket
   * @param {{session: string, resumed?: boolean, received?: number}} message
   */
  #ready(socket, message) {
    if (this.#session && !message.resumed) {
      this.#offset = { s: this.#sent.start / this.rate, index: this.#offset.index + this.#utterances };
      this.#utterances = 0;
      this.#sent.base = this.#sent.start;
    }
    this.#session = message.session;
    this.#socket = socket;
    this.#sent.forget(message.received ?? 0);
    for (const pcm of this.#sent.rest()) socket.send(pcm);
    if (this.#state === "ending") socket.send(JSON.stringify({ type: "end" }));
  }

  /** @param {any} message */
  #hear(message) {
    if (message.type === "update") {
      this.#retries = 0;
      if (message.received !== undefined) this.#sent.forget(message.received);
      this.listener.onUpdate({ ...message, time_s: message.time_s + this.#offset.s });
    } else if (message.type === "utterance") {
      const { s, index } = this.#offset;
      this.#utterances += 1;
      if (message.reference) this.adapt = message.reference; // where a new session begins, should this one be lost
      this.listener.onUtterance({
        ...message,
        index: message.index + index,
        start_s: message.start_s + s,
        end_s: message.end_s + s,
      });
    } else if (message.type === "bye" && this.#state !== "closed") {
      this.#sent.forget(message.received);
      if (this.#state === "open" || this.#sent.waiting) return; // the server stops: on with a new session
      this.close();
      this.listener.onEnd();
    }
  }

  /**
   * @param {any} message
   * @param {(error: Error) => void} reject
   */
  #refused(message, reject) {
    if (resumable(4000 + message.status) && this.#socket) return; // the closing that follows says so too
    const error = described(message);
    if (this.#socket) this.#fail(error);
    else reject(error);
  }

  /** @param {Error} error */
  #fail(error) {
    if (this.#state === "closed") return;
    this.close();
    this.listener.onError(error);
  }

  /** @param {number} code with which the connection was closed */
  async #lost(code) {
    if (this.#state === "closed") return;
    this.#socket = null;
    if (!resumable(code) || this.#retries >= RETRIES) return this.#fail(unreachable());
    await new Promise((resolve) => setTimeout(resolve, RETRY_AFTER_MS * 2 ** this.#retries));
    this.#retries += 1;
    if (this.#isClosed()) return;
    await this.open().catch((error) => (error.code === "unreachable" ? this.#lost(code) : this.#fail(error)));
  }
}

/** Samples that were sent but that the server has not acknowledged. */
class Sent {
  /** @type {Int16Array[]} */ #chunks = [];
  /** Position of the first sample that is kept. */
  start = 0;
  /** Position at which the present session began. */
  base = 0;
  waiting = 0;

  /** @param {Int16Array} pcm */
  add(pcm) {
    this.#chunks.push(pcm);
    this.waiting += pcm.length;
  }

  /** @param {number} received samples of this session that arrived */
  forget(received) {
    let excess = this.base + received - this.start;
    while (excess > 0 && this.#chunks.length) {
      const chunk = this.#chunks[0];
      const gone = Math.min(excess, chunk.length);
      if (gone === chunk.length) this.#chunks.shift();
      else this.#chunks[0] = chunk.subarray(gone);
      excess -= gone;
      this.start += gone;
      this.waiting -= gone;
    }
  }

  rest() {
    return [...this.#chunks];
  }
}
