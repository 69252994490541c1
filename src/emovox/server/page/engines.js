// Where is computed: on the server, or in this browser once the model has been brought here.
import { byId } from "./dom.js";
import { EmovoxError } from "./errors.js";
import { PrivateEngine } from "./private.js";

export class Engines {
  /** @type {Promise<PrivateEngine> | null} */ #private = null;
  /** @type {AbortController | null} */ #loading = null;

  /**
   * @param {import("./emovox.js").Emovox} server
   * @param {import("./types.js").Model} model
   */
  constructor(server, model) {
    this.server = server;
    this.model = model;
    byId("loading-stop").onclick = () => this.#loading?.abort();
  }

  /**
   * The engine for a mode.
   * @param {"server" | "private"} mode
   * @returns {Promise<import("./types.js").Engine>}
   */
  async get(mode) {
    if (mode === "server") return this.server;
    this.#private ??= this.#load();
    try {
      return await this.#private;
    } catch (error) {
      this.#private = null;
      throw error;
    }
  }

  async #load() {
    const stop = new AbortController();
    this.#loading = stop;
    const bar = /** @type {HTMLProgressElement} */ (byId("loading-bar"));
    bar.value = 0;
    byId("loading-text").textContent = "";
    byId("loading").hidden = false;
    const show = (/** @type {number} */ share, /** @type {number} */ bytes, /** @type {number} */ total) => {
      bar.value = share;
      const far = `${(bytes / 1e6).toFixed(0)} of ${(total / 1e6).toFixed(0)} MB`;
      byId("loading-text").textContent = share < 1 ? `${far}, kept for next time` : "nearly ready …";
    };
    const stopped = new Promise((_, reject) => {
      stop.signal.onabort = () => reject(new EmovoxError("Loading was stopped.", { code: "stopped" }));
    });
    try {
      const loaded = PrivateEngine.load(this.model, show, { key: this.server.key, signal: stop.signal });
      return /** @type {PrivateEngine} */ (await Promise.race([loaded, stopped]));
    } finally {
      byId("loading").hidden = true;
      this.#loading = null;
    }
  }
}
