// Emotions over time in one recording, to look at and to play from: a slider for hand, mouse and keyboard.
import { coalesced, fitted, stack, strength } from "./canvas.js";
import { onScheme, token } from "./colours.js";
import { clock, element } from "./dom.js";
import { inWords } from "./verdict.js";

/** Bars of the waveform lie this far apart. */
const STEP = 3;
const SMOOTH = 800;

export class Timeline {
  /** @type {import("./types.js").Segment[]} */ #segments = [];
  /** @type {Float32Array | null} */ #peaks = null;
  #position = -1;
  /** @type {{segment: import("./types.js").Segment, from: number, to: number}[] | null} */ #made = null;

  /**
   * @param {HTMLElement} place
   * @param {string} name of the recording
   * @param {number} duration in seconds
   * @param {import("./colours.js").Palette} palette
   * @param {{onPlay: (seconds: number) => void, onToggle: () => void}} actions
   */
  constructor(place, name, duration, palette, { onPlay, onToggle }) {
    this.duration = duration;
    this.palette = palette;
    this.actions = { onPlay, onToggle };
    this.canvas = element("canvas", {
      role: "slider",
      tabindex: "0",
      "aria-label": `Emotions over time in ${name}`,
      "aria-valuemin": "0",
    });
    this.text = element("span");
    this.hint = element("span", {}, "press to play from there");
    place.append(this.canvas, element("p", { class: "note", "aria-hidden": "true" }, this.text, this.hint));
    this.draw = coalesced(() => this.#draw());
    new ResizeObserver(this.draw).observe(this.canvas);
    onScheme(this.draw);
    this.canvas.onclick = (event) => this.#go(this.#time(event));
    this.canvas.onpointermove = (event) => this.#say(this.#time(event));
    this.canvas.onpointerleave = () => this.#say(Math.max(0, this.#position));
    this.canvas.onkeydown = (event) => this.#key(event);
    this.seek(0);
  }

  /** @param {import("./types.js").Segment} segment */
  add(segment) {
    this.#segments.push(segment);
    this.#made = null;
    this.duration = Math.max(this.duration, segment.end_s);
    this.draw(); // and says what is said there
  }

  /** Say something else of the same windows. @param {import("./types.js").Segment[]} segments */
  replace(segments) {
    this.#segments = [...segments];
    this.#made = null;
    this.draw();
  }

  /** Show the waveform of it. @param {Float32Array} samples */
  waveform(samples) {
    const size = Math.max(1, Math.floor(samples.length / SMOOTH));
    this.#peaks = new Float32Array(Math.ceil(samples.length / size));
    for (let index = 0; index < samples.length; index++) {
      const place = Math.floor(index / size);
      this.#peaks[place] = Math.max(this.#peaks[place], Math.abs(samples[index]));
    }
    const loudest = Math.max(...this.#peaks) || 1;
    this.#peaks = this.#peaks.map((peak) => peak / loudest);
    this.draw();
  }

  /** Where it plays. @param {number} seconds */
  follow(seconds) {
    this.#position = seconds;
    this.#say(seconds);
    this.draw();
  }

  /** Where it would play. @param {number} seconds */
  seek(seconds) {
    this.#position = Math.max(0, Math.min(seconds, this.duration));
    this.#tell();
    this.draw();
  }

  /** Say where it would play, on the page and to screen readers. */
  #tell() {
    this.#say(Math.max(0, this.#position));
    this.canvas.setAttribute("aria-valuemax", this.duration.toFixed(1));
    this.canvas.setAttribute("aria-valuenow", this.#position.toFixed(1));
    this.canvas.setAttribute("aria-valuetext", this.text.textContent ?? "");
  }

  get position() {
    return this.#position >= this.duration - 0.05 ? 0 : Math.max(0, this.#position);
  }

  /** @param {number} seconds */
  #go(seconds) {
    this.seek(seconds);
    this.actions.onPlay(seconds);
  }

  /** @param {MouseEvent} event */
  #time(event) {
    return Math.max(0, Math.min(1, event.offsetX / this.canvas.clientWidth)) * this.duration;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const step = this.#segments.length > 1 ? this.duration / this.#segments.length : this.duration / 10;
    const places = {
      ArrowRight: this.#position + step,
      ArrowUp: this.#position + step,
      ArrowLeft: this.#position - step,
      ArrowDown: this.#position - step,
      Home: 0,
      End: this.duration - step / 2,
    };
    if (event.key in places) this.seek(places[/** @type {keyof places} */ (event.key)]);
    else if (event.key === "Enter" || event.key === " ") this.actions.onToggle();
    else return;
    event.preventDefault();
  }

  /** @param {number} seconds */
  #say(seconds) {
    const column = this.#columns().find(({ to }) => seconds < to) ?? this.#columns().at(-1);
    this.text.textContent = column ? `${clock(seconds)}, ${inWords({ ...column.segment })}` : clock(seconds);
  }

  /** Windows overlap: each stands for the time to which its middle is nearest. */
  #columns() {
    return (this.#made ??= this.#makeColumns());
  }

  #makeColumns() {
    const middles = this.#segments.map(({ start_s, end_s }) => (start_s + end_s) / 2);
    return this.#segments.map((segment, index) => ({
      segment,
      from: index ? (middles[index - 1] + middles[index]) / 2 : 0,
      to:
        index < middles.length - 1
          ? (middles[index] + middles[index + 1]) / 2
          : Math.max(segment.end_s, Math.min(this.duration, segment.end_s + 1)),
    }));
  }

  #draw() {
    if (!this.#made) this.#tell();
    const { context, width, height } = fitted(this.canvas);
    const x = (/** @type {number} */ time) => (time / this.duration) * width;
    const columns = this.#columns();
    const alone = this.#peaks && columns.length < 2; // the waveform's colour says it all
    const top = alone ? height : this.#peaks ? height * 0.68 : 0;
    context.fillStyle = token("--track");
    context.fillRect(0, top, width, height - top);
    for (const { segment, from, to } of alone ? [] : columns) {
      if (!segment.emotion && segment.confidence === null) continue;
      stack(
        context,
        { left: x(from), right: x(to) + 0.5, top, bottom: height },
        segment.probabilities,
        segment.confidence ?? 0,
        this.palette,
      );
    }
    if (this.#peaks) this.#drawWave(context, columns, width, top - 4);
    context.fillStyle = token("--ink");
    context.fillRect(Math.min(width - 2, Math.max(0, x(this.#position) - 1)), 0, 2, height);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {{segment: import("./types.js").Segment, from: number, to: number}[]} columns
   * @param {number} width
   * @param {number} height
   */
  #drawWave(context, columns, width, height) {
    const peaks = this.#peaks ?? new Float32Array(1);
    let place = 0;
    for (let left = 0; left < width; left += STEP) {
      const [first, stop] = [left, left + STEP].map((at) => Math.floor((at / width) * peaks.length));
      const half = Math.max(0.8, Math.max(...peaks.subarray(first, Math.max(first + 1, stop))) * (height / 2 - 1));
      const time = (left / width) * this.duration;
      while (place < columns.length - 1 && columns[place].to <= time) place++;
      const segment = columns[place]?.segment;
      context.fillStyle = segment?.emotion ? this.palette.of(segment.emotion) : token("--muted");
      context.globalAlpha = segment?.emotion ? strength(segment.confidence ?? 0) : 0.45;
      context.fillRect(left, height / 2 - half, STEP - 1, 2 * half);
    }
    context.globalAlpha = 1;
  }
}
