// The page: puts the parts together and knows what state they are in.
import { Adapting } from "./adapting.js";
import { Palette } from "./colours.js";
import { byId, element } from "./dom.js";
import { Emovox, EmovoxError } from "./emovox.js";
import { Engines } from "./engines.js";
import { showModel } from "./model.js";
import { Player } from "./player.js";
import { Recording } from "./results.js";
import { csv, save } from "./save.js";
import { Speaking } from "./speaking.js";
import { Utterances } from "./utterances.js";

/** Recordings that are recognised at a time. */
const AT_A_TIME = { server: 2, private: 1 };

const KEY = "emovox-key";

class Page {
  /** @type {Recording[]} */ #recordings = [];
  /** @type {Recording[]} */ #waiting = [];
  #running = 0;
  /** @type {"server" | "private"} */ #mode = "server";

  /**
   * @param {Emovox} server
   * @param {import("./types.js").Model} model
   * @param {Palette} palette
   */
  constructor(server, model, palette) {
    this.model = model;
    this.palette = palette;
    this.engines = new Engines(server, model);
    this.player = new Player();
    this.utterances = new Utterances(byId("utterances"), byId("heard"), palette, this.player);
    this.speaking = new Speaking(model.labels, palette, this.utterances, {
      onState: () => this.#showState(),
      onVoice: () => this.adapting.showVoice(),
      onError: report,
    });
    showModel(byId("model-panels"), model);
    byId("ways").inert = false;
    this.#wireFiles();
    this.#wireSaves();
    this.adapting = new Adapting(model, this.speaking, () => this.#recordings);
    byId("speak").onclick = () => this.#speak();
    for (const radio of document.querySelectorAll("input[name=mode]"))
      radio.addEventListener("change", () => this.#choose());
    this.#choose();
  }

  async #choose() {
    const chosen = /** @type {HTMLInputElement} */ (document.querySelector("input[name=mode]:checked"));
    this.#mode = chosen.value === "private" ? "private" : "server";
    this.speaking.end();
    const host = location.hostname;
    const here = ["localhost", "127.0.0.1", "[::1]"].includes(host) ? "on this computer" : `at ${host}`;
    const notes = {
      server: `Sound goes to the server ${here}, which forgets it.`,
      private: "Private: sound stays in this browser.",
    };
    byId("mode-note").textContent = notes[this.#mode];
    try {
      await this.engines.get(this.#mode);
      announce(notes[this.#mode]);
    } catch (error) {
      report(EmovoxError.from(error));
      const server = /** @type {HTMLInputElement} */ (document.querySelector("input[value=server]"));
      server.checked = true;
      await this.#choose();
    }
  }

  async #speak() {
    dismiss();
    if (this.speaking.state === "speaking") return this.speaking.end();
    this.player.stop();
    const engine = await this.engines.get(this.#mode).catch(report);
    if (engine) await this.speaking.begin(engine);
  }

  #showState() {
    const { state } = this.speaking;
    const words = {
      idle: this.utterances.seconds ? "Speak again" : "Speak",
      starting: "One moment",
      speaking: "Stop",
      ending: "One moment",
    };
    const button = /** @type {HTMLButtonElement} */ (byId("speak"));
    byId("speak-word").textContent = words[state];
    byId("speak-note").textContent =
      state === "speaking" ? "Listening. Press again when you are done." : "Press and say a sentence or two.";
    button.setAttribute("aria-disabled", String(state === "starting" || state === "ending"));
    document.documentElement.classList.toggle("speaking", state === "speaking");
    if (state === "speaking") {
      byId("live").hidden = false;
      byId("live").scrollIntoView({ block: "nearest" });
    }
    if (state !== "starting")
      announce({ idle: "The microphone is off.", speaking: "The microphone is on.", ending: "" }[state]);
  }

  #wireFiles() {
    const input = /** @type {HTMLInputElement} */ (byId("files"));
    input.onchange = () => {
      this.#add([...(input.files ?? [])]);
      input.value = "";
    };
    const root = document.documentElement;
    let inside = 0; // dragging over children enters and leaves each of them
    const over = (/** @type {number} */ change) => {
      inside = Math.max(0, inside + change);
      root.classList.toggle("dragging", inside > 0);
    };
    addEventListener("dragenter", (event) => event.dataTransfer?.types.includes("Files") && over(1));
    addEventListener("dragleave", (event) => event.dataTransfer?.types.includes("Files") && over(-1));
    addEventListener("dragover", (event) => event.preventDefault());
    addEventListener("drop", (event) => {
      event.preventDefault();
      over(-Infinity);
      this.#add([...(event.dataTransfer?.files ?? [])]);
    });
  }

  /** @param {File[]} files */
  #add(files) {
    if (!files.length) return;
    dismiss();
    byId("results").hidden = false;
    const added = files.map((file) => new Recording(file, this.model, this.palette, this.player));
    byId("recordings").prepend(...added.map(({ card }) => card));
    this.#recordings.unshift(...added);
    this.#waiting.push(...added);
    this.#count();
    byId("results").scrollIntoView({ block: "nearest" });
    this.#next();
  }

  async #next() {
    const recording = this.#running < AT_A_TIME[this.#mode] ? this.#waiting.shift() : undefined;
    if (!recording) return;
    this.#running += 1;
    this.#next();
    try {
      await recording.run(await this.engines.get(this.#mode));
    } catch (error) {
      report(EmovoxError.from(error)); // the model could not be loaded
    }
    this.#running -= 1;
    this.#count();
    this.#next();
    if (!this.#running) this.adapting.measureRecordings();
  }

  #count() {
    const all = this.#recordings.length;
    const done = this.#recordings.filter(({ result }) => result).length;
    const failed = this.#recordings.filter(({ error }) => error).length;
    const words = `${done} of ${all} done${failed ? `, ${failed} could not be used` : ""}`;
    byId("results-count").textContent = words;
    announce(words);
  }

  #wireSaves() {
    const button = (
      /** @type {string} */ place,
      /** @type {string} */ words,
      /** @type {string} */ label,
      /** @type {() => void} */ action,
    ) => {
      const made = element("button", { type: "button", class: "quiet", "aria-label": label }, words);
      made.onclick = action;
      byId(place).append(made);
    };
    button("results-saves", "CSV", "CSV of the recordings", () => save("emovox.csv", "text/csv", this.#resultsCsv()));
    button("results-saves", "JSON", "JSON of the recordings", () =>
      save("emovox.json", "application/json", this.#resultsJson()),
    );
    button("results-saves", "Clear", "Clear all recordings", () => this.#clear());
    button("said-saves", "CSV", "CSV of the utterances", () => save("utterances.csv", "text/csv", this.#saidCsv()));
    button("said-saves", "JSON", "JSON of the utterances", () =>
      save("utterances.json", "application/json", json({ model: this.#about(), utterances: this.utterances.all })),
    );
    button("said-saves", "Clear", "Clear all utterances", () => {
      this.utterances.clear();
      byId("said").hidden = true;
    });
  }

  #clear() {
    this.#waiting = [];
    for (const recording of this.#recordings) recording.close();
    this.#recordings = [];
    this.adapting.measureRecordings();
    byId("results").hidden = true;
    byId("files").focus();
  }

  #about() {
    const { name, version, labels, licence, permits } = this.model;
    return { name, version, labels, licence, permits };
  }

  #resultsJson() {
    const results = this.#recordings.map(({ file, result, error }) => {
      const fault = error ? { error: { code: error.code, message: error.message } } : {};
      return result ? { ...result, ...fault } : { path: file.name, ...fault };
    });
    return json({ model: this.#about(), results });
  }

  #resultsCsv() {
    const columns = [
      "path",
      "emotion",
      "confidence",
      "duration_s",
      "adapted_clips",
      ...this.model.labels,
      "error_code",
      "error_message",
    ];
    const rows = this.#recordings.map(({ file, result, error }) => ({
      path: file.name,
      ...result,
      ...result?.probabilities,
      error_code: error?.code,
      error_message: error?.message,
    }));
    return csv(columns, rows);
  }

  #saidCsv() {
    const columns = ["index", "start_s", "end_s", "emotion", "confidence", "adapted_s", ...this.model.labels];
    return csv(
      columns,
      this.utterances.all.map((utterance) => ({ ...utterance, ...utterance.probabilities })),
    );
  }
}

/** @param {unknown} value */
const json = (value) => JSON.stringify(value, null, 1);

/** Tell screen readers. @param {string} words */
function announce(words) {
  byId("status").textContent = words;
}

/** @param {EmovoxError} error */
function report(error) {
  if (error.code === "stopped") return;
  byId("notice-title").textContent = error.message.replace(/\.?$/, ".");
  byId("notice-text").textContent = error.remedy;
  byId("notice-again").hidden = true;
  byId("notice").hidden = false;
}

function dismiss() {
  byId("notice").hidden = true;
}

/** @param {Emovox} server @returns {Promise<void>} */
async function begin(server) {
  byId("model-note").textContent = "Asking the server about its model …";
  try {
    const [models, colours] = await Promise.all([server.models(), server.colours()]);
    const model = models.find((item) => item.default) ?? models[0];
    byId("key").hidden = true;
    dismiss();
    new Page(server, model, new Palette(colours));
  } catch (thrown) {
    const error = EmovoxError.from(thrown);
    byId("model-note").textContent = "The server has not said which model it has.";
    if (error.status !== 401 || server.key) report(error);
    if (error.status !== 401) {
      byId("notice-again").hidden = false;
      return;
    }
    byId("key").hidden = false;
    byId("key-value").focus();
  }
}

const server = new Emovox(document.baseURI, { key: sessionStorage.getItem(KEY) ?? "" });
byId("notice-close").onclick = dismiss;
byId("notice-again").onclick = () => begin(server);
byId("key").onsubmit = (event) => {
  event.preventDefault();
  server.key = /** @type {HTMLInputElement} */ (byId("key-value")).value.trim();
  sessionStorage.setItem(KEY, server.key);
  void begin(server);
};
void begin(server);
