// Recordings: one card each, from waiting to its emotions over time.
import { Bars } from "./bars.js";
import { check, decode } from "./decode.js";
import { clock, element, playButton } from "./dom.js";
import { EmovoxError } from "./errors.js";
import { sumUp } from "./over-time.js";
import { lengthOf } from "./player.js";
import { PrivateEngine } from "./private.js";
import { Timeline } from "./timeline.js";
import { showVerdict } from "./verdict.js";
import { verdict } from "./voice.js";

/** @import {Part} from "./types.js" */
/** @import {Voice} from "./voice.js" */

/** A shorter recording is one window; a longer one than the upper bound is followed only when asked for. */
const WINDOW_S = 3;
const FOLLOWED_S = 900;

/** A shorter recording tells little of a voice. */
const SHORTEST_CLIP_S = 0.5;

/** Files up to this size are decoded here for their waveform. */
const DRAWN_BYTES = 40e6;
const DRAWN_S = 600;

/** @typedef {import("./types.js").Prediction & {timeline?: import("./types.js").Segment[]}} Result */

/** @typedef {Pick<import("./types.js").Prediction, "emotion" | "probabilities" | "parts">} Heard */

export class Recording {
  /** @type {Result | null} as it was heard */ #heard = null;
  /** @type {Result | null} as it is shown */ result = null;
  /** @type {EmovoxError | null} */ error = null;
  #stop = new AbortController();
  #here = false; // computed in this browser
  /** @type {Timeline | null} */ #timeline = null;
  #followed = false;
  /** @type {Bars | null} */ #bars = null;
  /** @type {{voice: Voice, clips: number} | null} */ #reference = null;

  /**
   * @param {File} file
   * @param {import("./types.js").Model} model
   * @param {import("./colours.js").Palette} palette
   * @param {import("./player.js").Player} player
   */
  constructor(file, model, palette, player) {
    this.file = file;
    this.model = model;
    this.palette = palette;
    this.player = player;
    this.address = URL.createObjectURL(file);
    this.progress = element("progress", { max: "1", value: "0", "aria-label": `Progress of ${file.name}` });
    this.progress.hidden = true;
    this.verdict = element("p", { class: "verdict" }, element("span", { class: "much" }, "waiting"));
    this.play = playButton(`Play ${file.name}`);
    this.name = element("h3", {}, file.name);
    this.card = element(
      "li",
      { class: "card file" },
      element("div", { class: "title" }, this.play, element("div", {}, this.name, this.verdict)),
      this.progress,
    );
    this.follower = {
      onTime: (/** @type {number} */ seconds) => this.#timeline?.follow(seconds),
      onStop: () => this.play.classList.remove("playing"),
      onError: () => this.#unplayable(),
    };
    this.play.onclick = () => this.#toggle();
  }

  /**
   * Recognise it.
   * @param {import("./types.js").Engine} engine
   */
  async run(engine) {
    this.#here = engine instanceof PrivateEngine;
    this.progress.hidden = false;
    this.verdict.replaceChildren(element("span", { class: "much" }, "listening …"));
    const onProgress = (/** @type {number} */ share) => {
      if (share < 1) this.progress.value = share;
      else this.progress.removeAttribute("value"); // sent; how long it takes now is not known
    };
    try {
      const { signal } = this.#stop;
      this.#heard = await engine.predict(this.file, { onProgress, signal });
      this.#show();
      if (this.#heard.duration_s > FOLLOWED_S) this.#offer(engine);
      else await this.#follow(engine, this.#heard);
    } catch (error) {
      await this.#failed(engine, EmovoxError.from(error));
    }
    this.progress.remove();
  }

  /** What it tells of the voice in it; nothing if it is too short, or has no answer. @returns {Part[]} */
  get clips() {
    if (!this.#heard?.emotion || this.#heard.duration_s < SHORTEST_CLIP_S) return [];
    return this.#parts(this.#heard);
  }

  /** Show it measured from a voice that some clips tell of, or as it was heard. @param {{voice: Voice, clips: number} | null} reference */
  measureFrom(reference) {
    if (this.#reference === reference) return;
    this.#reference = reference;
    if (this.#heard) this.#show();
  }

  close() {
    this.#stop.abort();
    if (this.player.plays(this.follower)) this.player.stop();
    URL.revokeObjectURL(this.address);
    this.card.remove();
  }

  /** @param {Result} result */
  #name({ duration_s: seconds, adapted_clips: clips }) {
    const place = this.#here ? " · in this browser" : "";
    const measured = clips ? ` · adapted to ${clips} clips` : this.model.neutral ? " · unadapted" : "";
    this.name.textContent = `${this.file.name} · ${clock(seconds, seconds < 10 ? 1 : 0)}${place}${measured}`;
  }

  /** Show what is known so far, measured from the reference of now. */
  #show() {
    const heard = /** @type {Result} */ (this.#heard);
    const { parts: _, ...result } = { ...this.#measured(heard), adapted_clips: this.#reference?.clips ?? 0 };
    if (heard.timeline) result.timeline = heard.timeline.map((segment) => this.#measured(segment));
    this.result = result;
    this.#name(result);
    if (result.emotion) {
      showVerdict(this.verdict, result, this.palette);
      this.#showBars(result);
    }
    this.#timeline?.replace(result.timeline ?? [{ ...result, start_s: 0, end_s: result.duration_s }]);
    if (this.#followed) sumUp(this.verdict, result, result.timeline ?? [], this.palette);
  }

  /** @param {Result} result */
  #showBars(result) {
    if (!this.#bars) {
      const list = element("ul", { class: "bars", "aria-label": `Probabilities of ${this.file.name}` });
      this.#bars = new Bars(list, this.model.labels, this.palette);
      this.progress.before(list);
    }
    this.#bars.show(result);
  }

  /**
   * @template {Heard} Judged
   * @param {Judged} heard
   * @returns {Judged}
   */
  #measured(heard) {
    if (!this.#reference || !heard.emotion) return heard;
    return { ...heard, ...verdict(this.model.labels, this.#reference.voice.measure(this.#parts(heard))) };
  }

  /** @param {Heard} heard @returns {Part[]} */
  #parts({ probabilities: whole, parts = [{ seconds: 1, probabilities: whole }] }) {
    return parts.map(({ seconds, probabilities }) => ({
      probabilities: this.model.labels.map((label) => probabilities[label]),
      weight: seconds,
    }));
  }

  /**
   * @param {import("./types.js").Engine} engine
   * @param {Result} heard
   */
  async #follow(engine, heard) {
    const place = element("div", { class: "over-time" });
    this.progress.before(place);
    const timeline = new Timeline(place, this.file.name, heard.duration_s || 1, this.palette, {
      onPlay: (seconds) => this.#playFrom(seconds),
      onToggle: () => this.#toggle(),
    });
    this.#timeline = timeline;
    void this.#drawWave(timeline);
    if (heard.emotion && heard.duration_s <= WINDOW_S) {
      timeline.add({ ...this.#measured(heard), start_s: 0, end_s: heard.duration_s });
      return;
    }
    const segments = /** @type {import("./types.js").Segment[]} */ ([]);
    heard.timeline = segments;
    const add = (/** @type {import("./types.js").Segment} */ segment) => {
      segments.push(segment);
      timeline.add(this.#measured(segment));
      if (known) this.progress.value = segment.end_s / heard.duration_s;
      else heard.duration_s = segment.end_s;
    };
    const known = heard.duration_s > 0;
    if (known) this.progress.value = 0;
    else this.progress.removeAttribute("value");
    await engine.timeline(this.file, add, this.#stop.signal);
    this.#heard = heard;
    this.#followed = true;
    this.#show();
  }

  /** @param {Timeline} timeline */
  async #drawWave(timeline) {
    if (this.file.size > DRAWN_BYTES || timeline.duration > DRAWN_S) return; // decoded it may be much larger
    const sound = await decode(this.file).catch(() => null); // what this browser cannot read stays without
    if (sound && check(sound)) timeline.waveform(sound.samples);
  }

  /** @param {import("./types.js").Engine} engine */
  #offer(engine) {
    const button = element("button", { type: "button" }, "Show emotions over time");
    this.progress.before(button);
    button.onclick = async () => {
      button.replaceWith(this.progress);
      try {
        await this.#follow(engine, /** @type {Result} */ (this.#heard));
      } catch (error) {
        this.#fault(EmovoxError.from(error));
      }
      this.progress.remove();
    };
  }

  /**
   * @param {import("./types.js").Engine} engine
   * @param {EmovoxError} error
   */
  async #failed(engine, error) {
    if (error.code === "aborted") return;
    if (error.code === "too_long" && !this.#heard) {
      this.verdict.replaceChildren(
        element("span", { class: "note" }, "Too long for one answer; emotions over time instead."),
      );
      try {
        const seconds = await lengthOf(this.address);
        const none = { path: this.file.name, emotion: null, confidence: null, probabilities: {}, duration_s: seconds };
        await this.#follow(engine, /** @type {Result} */ (/** @type {unknown} */ (none)));
        return;
      } catch (next) {
        error = EmovoxError.from(next);
        if (error.code === "aborted") return;
      }
    }
    if (!this.result) this.verdict.replaceChildren();
    this.#fault(error);
  }

  /** @param {EmovoxError} error */
  #fault(error) {
    this.error = error;
    this.card.classList.toggle("broken", !this.result);
    if (!this.result) this.play.remove();
    const said = error.message.replace(/\.?$/, ".");
    const text = /^(is|has|holds|ends|cannot|may|changes)\b/.test(said)
      ? `It ${said}`
      : said[0].toUpperCase() + said.slice(1);
    const remedy = said.includes(error.remedy) ? "" : error.remedy;
    const other = error.code === "too_large" && !this.#here ? "Private takes larger ones." : "";
    this.card.append(element("p", { class: "fault" }, [text, remedy, other].filter(Boolean).join(" ")));
  }

  #toggle() {
    if (this.player.plays(this.follower)) this.player.stop();
    else this.#playFrom(this.#timeline?.position ?? 0);
  }

  /** @param {number} seconds */
  #playFrom(seconds) {
    this.play.classList.add("playing");
    this.player.play(this.address, seconds, this.follower);
  }

  #unplayable() {
    this.play.disabled = true;
    this.play.title = "This browser cannot play this format.";
  }
}
