// Recordings: one card each, from waiting to its emotions over time.
import { Bars } from "./bars.js";
import { check, decode } from "./decode.js";
import { clock, element, percent, playButton } from "./dom.js";
import { EmovoxError } from "./errors.js";
import { PrivateEngine } from "./private.js";
import { Timeline } from "./timeline.js";
import { inWords, showVerdict } from "./verdict.js";

/** A shorter recording is one window; a longer one than the upper bound is followed only when asked for. */
const WINDOW_S = 3;
const FOLLOWED_S = 900;

/** Files up to this size are decoded here for their waveform. */
const DRAWN_BYTES = 40e6;
const DRAWN_S = 600;

/** From so many windows with speech on, one answer for all hides what changes. */
const MANY = 6;
const MOSTLY = 0.6;

/** @typedef {import("./types.js").Prediction & {timeline?: import("./types.js").Segment[]}} Result */

export class Recording {
  /** @type {Result | null} */ result = null;
  /** @type {EmovoxError | null} */ error = null;
  #stop = new AbortController();
  #here = false; // computed in this browser
  /** @type {Timeline | null} */ #timeline = null;

  /**
   * @param {File} file
   * @param {string[]} labels
   * @param {import("./colours.js").Palette} palette
   * @param {import("./player.js").Player} player
   */
  constructor(file, labels, palette, player) {
    this.file = file;
    this.labels = labels;
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
      this.result = await engine.predict(this.file, { onProgress, signal });
      this.#show(this.result);
      if (this.result.duration_s > FOLLOWED_S) this.#offer(engine);
      else await this.#follow(engine, this.result);
    } catch (error) {
      await this.#failed(engine, EmovoxError.from(error));
    }
    this.progress.remove();
  }

  close() {
    this.#stop.abort();
    if (this.player.plays(this.follower)) this.player.stop();
    URL.revokeObjectURL(this.address);
    this.card.remove();
  }

  /** @param {number} seconds */
  #name(seconds) {
    const place = this.#here ? " · in this browser" : "";
    this.name.textContent = `${this.file.name} · ${clock(seconds, seconds < 10 ? 1 : 0)}${place}`;
  }

  /** @param {Result} result */
  #show(result) {
    this.#name(result.duration_s);
    showVerdict(this.verdict, result, this.palette);
    const list = element("ul", { class: "bars", "aria-label": `Probabilities of ${this.file.name}` });
    new Bars(list, this.labels, this.palette).show(result);
    this.progress.before(list);
  }

  /**
   * @param {import("./types.js").Engine} engine
   * @param {Result} result
   */
  async #follow(engine, result) {
    const place = element("div", { class: "over-time" });
    this.progress.before(place);
    const timeline = new Timeline(place, this.file.name, result.duration_s || 1, this.palette, {
      onPlay: (seconds) => this.#playFrom(seconds),
      onToggle: () => this.#toggle(),
    });
    this.#timeline = timeline;
    void this.#drawWave(timeline);
    if (result.emotion && result.duration_s <= WINDOW_S) {
      timeline.add({ ...result, start_s: 0, end_s: result.duration_s });
      return;
    }
    const segments = /** @type {import("./types.js").Segment[]} */ ([]);
    result.timeline = segments;
    const add = (/** @type {import("./types.js").Segment} */ segment) => {
      segments.push(segment);
      timeline.add(segment);
      if (known) this.progress.value = segment.end_s / result.duration_s;
      else result.duration_s = segment.end_s;
    };
    const known = result.duration_s > 0;
    if (known) this.progress.value = 0;
    else this.progress.removeAttribute("value");
    await engine.timeline(this.file, add, this.#stop.signal);
    this.#sumUp(result, segments);
  }

  /**
   * Where the emotion changes, say so instead of one answer for all.
   * @param {Result} whole
   * @param {import("./types.js").Segment[]} segments
   */
  #sumUp(whole, segments) {
    const most = overTime(segments);
    if (!most.length) return;
    const parts = most.map(([emotion, share]) => {
      const swatch = element("span", { class: "swatch" });
      this.palette.mark(swatch, emotion);
      return element("span", { class: "part" }, swatch, ` ${emotion} ${percent(share)}`);
    });
    const asWhole = whole.emotion ? `of the time. As a whole: ${inWords(whole)}` : "of the time";
    this.verdict.classList.remove("unsure");
    this.verdict.replaceChildren(
      element("b", {}, most[0][1] >= MOSTLY ? `mostly ${most[0][0]}` : "changing"),
      element("span", { class: "note" }, ...parts, asWhole),
    );
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
        await this.#follow(engine, /** @type {Result} */ (this.result));
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
    if (error.code === "too_long" && !this.result) {
      this.verdict.replaceChildren(
        element("span", { class: "note" }, "Too long for one answer; emotions over time instead."),
      );
      try {
        const seconds = await lengthOf(this.address);
        const none = { path: this.file.name, emotion: null, confidence: null, probabilities: {}, duration_s: seconds };
        const whole = /** @type {Result} */ (/** @type {unknown} */ (none));
        await this.#follow(engine, whole);
        this.result = whole;
        this.#name(whole.duration_s);
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

/**
 * How long a recording is, if this browser can tell.
 * @param {string} address
 * @returns {Promise<number>} in seconds; 0 if it cannot
 */
function lengthOf(address) {
  return new Promise((resolve) => {
    const audio = new Audio();
    audio.preload = "metadata";
    audio.onloadedmetadata = () => resolve(Number.isFinite(audio.duration) ? audio.duration : 0);
    audio.onerror = () => resolve(0);
    audio.src = address;
  });
}

/**
 * What a long recording is made of, and for which share of the time; empty where it is short or all the same.
 * @param {import("./types.js").Segment[]} segments
 * @returns {[string, number][]}
 */
function overTime(segments) {
  const said = segments.filter(({ emotion }) => emotion);
  /** @type {Map<string, number>} */ const counts = new Map();
  for (const { emotion } of said) counts.set(String(emotion), (counts.get(String(emotion)) ?? 0) + 1);
  if (said.length < MANY || counts.size < 2) return [];
  const most = [...counts].sort((one, other) => other[1] - one[1]).slice(0, 3);
  return most.map(([emotion, count]) => [emotion, count / said.length]);
}
