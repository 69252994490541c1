// Speak, and watch: microphone, stream, live view and utterances put together.
import { Bars } from "./bars.js";
import { byId, clock, element } from "./dom.js";
import { EmovoxError } from "./errors.js";
import { Lanes } from "./lanes.js";
import { Microphone } from "./microphone.js";
import { showVerdict } from "./verdict.js";

/** Below this level for so many updates nobody speaks into this microphone. */
const QUIET_DB = -62;
const QUIET_UPDATES = 16;

export class Speaking {
  #bars;
  #lanes;
  /** @type {Microphone | null} */ #microphone = null;
  /** @type {import("./types.js").LiveStream | null} */ #stream = null;
  /** @type {"idle" | "starting" | "speaking" | "ending"} */ #state = "idle";
  #quiet = 0;
  #held = false;
  #adapts = false; // this take
  /** @type {import("./types.js").Utterance | null} of this take */ #last = null;
  /** @type {import("./types.js").Engine | null} that goes on with a new take when this one is over */ #next = null;
  /** @type {import("./types.js").Engine | null} */ #engine = null;
  /** Whether results are measured from what is known of the voice, and that; it outlives takes, and the page not. */
  adapting = false;
  /** @type {import("./types.js").Reference | null} */ reference = null;

  /**
   * @param {string[]} labels
   * @param {import("./colours.js").Palette} palette
   * @param {import("./utterances.js").Utterances} utterances
   * @param {{onState: () => void, onVoice: () => void, onError: (error: EmovoxError) => void}} page
   */
  constructor(labels, palette, utterances, page) {
    this.palette = palette;
    this.utterances = utterances;
    this.page = page;
    this.#bars = new Bars(byId("bars"), labels, palette);
    this.#lanes = new Lanes(byId("lanes"), palette);
  }

  get state() {
    return this.#state;
  }

  /** @param {import("./types.js").Engine} engine */
  async begin(engine) {
    if (this.#state !== "idle") return;
    this.#engine = engine;
    this.#become("starting");
    try {
      const microphone = await Microphone.open(
        (pcm) => this.#sound(pcm),
        () => this.end(),
      );
      this.#microphone = microphone;
      this.utterances.begin(microphone.rate);
      const listener = {
        onUpdate: (/** @type {import("./types.js").Update} */ update) => this.#update(update),
        onUtterance: (/** @type {import("./types.js").Utterance} */ utterance) => this.#utterance(utterance),
        onError: (/** @type {Error} */ error) => this.#failed(EmovoxError.from(error)),
        onEnd: () => this.#finished(),
      };
      const adapt = this.adapting && (this.reference ?? true);
      this.#adapts = Boolean(adapt);
      this.#stream = await engine.stream(microphone.rate, listener, { adapt });
      this.#lanes.reset();
      this.#bars.fade(true);
      this.#quiet = 0;
      this.#last = null;
      this.#say("Listening …", "Say a sentence. The bars move while you speak.");
      this.#become("speaking");
    } catch (error) {
      this.#failed(EmovoxError.from(error));
    }
  }

  end() {
    if (this.#state !== "speaking") return;
    this.#microphone?.close();
    this.#become("ending");
    this.#stream?.end();
  }

  /** What is known of the voice belongs to somebody else. */
  forget() {
    this.reference = null;
    this.page.onVoice();
    this.renew();
  }

  /** Go on in a new take, with what now holds. */
  renew() {
    if (this.#state !== "speaking") return;
    this.#next = this.#engine;
    this.end();
  }

  /** @param {Int16Array} pcm */
  #sound(pcm) {
    if (this.#state !== "speaking" || !this.#microphone) return;
    this.utterances.record(pcm);
    this.#lanes.sound(pcm, this.#microphone.analyser);
    this.#stream?.send(pcm);
    byId("clock").textContent = clock(this.utterances.seconds);
  }

  /** @param {import("./types.js").Utterance} utterance */
  #utterance({ reference, ...utterance }) {
    this.utterances.add(utterance, this.#adapts);
    this.#last = utterance;
    this.#lanes.utterance(utterance);
    byId("said").hidden = false;
    if (!reference || this.#next) return; // of a voice that is to be forgotten
    this.reference = reference;
    this.page.onVoice();
  }

  /** @param {import("./types.js").Update} update */
  #update(update) {
    this.#lanes.update(update);
    const level = Math.max(0, Math.min(1, ((update.level_db ?? -100) + 60) / 50));
    byId("ring").style.setProperty("--level", String(1 + level * 0.2));
    this.#quiet = (update.level_db ?? 0) < QUIET_DB ? this.#quiet + 1 : 0;
    if (this.#state !== "speaking") return;
    if (update.probabilities) {
      const result = { emotion: update.emotion, confidence: update.confidence, probabilities: update.probabilities };
      showVerdict(byId("now"), result, this.palette);
      this.#bars.show(result);
      this.#bars.fade(false);
      this.#held = true;
    } else if (update.speech) {
      if (!this.#held) this.#say("Hearing you …", "");
    } else {
      this.#held = false;
      this.#bars.fade(true);
      const quiet = this.#quiet >= QUIET_UPDATES;
      this.#say(
        "Listening …",
        quiet
          ? "Very quiet. Is the right microphone chosen, and not muted?"
          : "Say a sentence. The bars move while you speak.",
      );
    }
  }

  /** @param {string} words @param {string} note */
  #say(words, note) {
    const place = byId("now");
    if (place.firstElementChild?.textContent === words && place.lastElementChild?.textContent === note) return;
    place.classList.remove("unsure");
    place.replaceChildren(element("span", { class: "much" }, words), element("span", { class: "note" }, note));
  }

  #finished() {
    this.#bars.fade(!this.#last);
    if (this.#last) {
      showVerdict(byId("now"), this.#last, this.palette);
      byId("now").append(element("span", { class: "note" }, "That was the last utterance."));
      this.#bars.show(this.#last);
    } else this.#say("Done", "Nothing was heard that sounds like speech.");
    this.#become("idle");
    const next = this.#next;
    this.#next = null;
    if (next) void this.begin(next);
  }

  /** @param {EmovoxError} error */
  #failed(error) {
    this.#next = null;
    this.#stream?.close();
    this.#microphone?.close();
    this.#become("idle");
    this.page.onError(error);
  }

  /** @param {"idle" | "starting" | "speaking" | "ending"} state */
  #become(state) {
    this.#state = state;
    if (state === "idle") {
      this.#microphone?.close();
      this.#microphone = this.#stream = null;
      byId("ring").style.setProperty("--level", "1");
    }
    this.page.onState();
  }
}
