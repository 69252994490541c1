// The last seconds, live, in three lanes of one time: waveform, spectrogram, probabilities with utterances.
import { coalesced, fitted, stack } from "./canvas.js";
import { onScheme, token } from "./colours.js";
import { certainty } from "./verdict.js";

/** Columns a second; one comes with each 20 ms of sound. */
const COLUMNS = 50;
const ROWS = 72;
const HIGHEST_HZ = 8000;
const MOST_S = 16;
const UPDATE_S = 0.25;
const CAPACITY = MOST_S * COLUMNS;
const GAP = 8;

/** Seconds that are seen: fewer on narrow screens. @param {number} width */
const span = (width) => (width < 480 ? 8 : width < 700 ? 12 : MOST_S);

export class Lanes {
  #peaks = new Float32Array(CAPACITY);
  #levels = new Uint8Array(CAPACITY * ROWS);
  #picture = new OffscreenCanvas(CAPACITY, ROWS);
  #count = 0;
  /** @type {import("./types.js").Update[]} */ #updates = [];
  /** @type {import("./types.js").Utterance[]} */ #utterances = [];
  /** @type {Uint8Array<ArrayBuffer>} */ #spectrum = new Uint8Array(0);
  /** @type {number[][]} */ #shades = [];
  #drawnAt = -Infinity;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {import("./colours.js").Palette} palette
   */
  constructor(canvas, palette) {
    this.canvas = canvas;
    this.palette = palette;
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    this.draw = coalesced(() => this.#draw());
    new ResizeObserver(this.draw).observe(canvas);
    onScheme(() => this.#repaint());
    this.#repaint();
  }

  reset() {
    this.#count = 0;
    this.#updates = [];
    this.#utterances = [];
    this.#levels.fill(0);
    this.#repaint();
  }

  /**
   * Add 20 ms.
   * @param {Int16Array} pcm
   * @param {AnalyserNode} analyser
   */
  sound(pcm, analyser) {
    let peak = 0;
    for (const value of pcm) peak = Math.max(peak, Math.abs(value));
    const column = this.#count++ % CAPACITY;
    this.#peaks[column] = peak / 32_768;
    if (this.#spectrum.length !== analyser.frequencyBinCount)
      this.#spectrum = new Uint8Array(analyser.frequencyBinCount);
    analyser.getByteFrequencyData(this.#spectrum);
    const bin = analyser.context.sampleRate / analyser.fftSize;
    for (let row = 0; row < ROWS; row++) {
      const [low, high] = [hertz(row / ROWS), hertz((row + 1) / ROWS)];
      let level = 0;
      for (let index = Math.floor(low / bin); index <= Math.min(high / bin, this.#spectrum.length - 1); index++)
        level = Math.max(level, this.#spectrum[index]);
      this.#levels[column * ROWS + row] = level;
    }
    this.#paint(column);
    if (!this.calm.matches || this.#count - this.#drawnAt >= COLUMNS) this.draw();
  }

  /** @param {import("./types.js").Update} update */
  update(update) {
    const before = this.#updates.at(-1);
    const held = update.speech && !update.probabilities && before?.speech ? before : null;
    this.#updates.push(held ? { ...update, probabilities: held.probabilities, confidence: held.confidence } : update);
    if (this.#updates.length > MOST_S / UPDATE_S + 8) this.#updates.shift();
  }

  /** @param {import("./types.js").Utterance} utterance */
  utterance(utterance) {
    this.#utterances = [...this.#utterances.slice(-20), utterance];
    this.draw();
  }

  #repaint() {
    const [paper, middle, full] = [token("--track"), token("--accent"), token("--ink")].map(channels);
    this.#shades = Array.from({ length: 256 }, (_, level) => {
      const share = (level / 255) ** 1.3;
      return share < 0.6 ? between(paper, middle, share / 0.6) : between(middle, full, (share - 0.6) / 0.4);
    });
    for (let column = 0; column < CAPACITY; column++) this.#paint(column);
    this.draw();
  }

  /** @param {number} column */
  #paint(column) {
    const pixels = new ImageData(1, ROWS);
    for (let row = 0; row < ROWS; row++) {
      pixels.data.set([...this.#shades[this.#levels[column * ROWS + row]], 255], (ROWS - 1 - row) * 4);
    }
    /** @type {OffscreenCanvasRenderingContext2D} */ (this.#picture.getContext("2d")).putImageData(pixels, column, 0);
  }

  #draw() {
    this.#drawnAt = this.#count;
    const { context, width, height } = fitted(this.canvas);
    if (!width) return;
    const seconds = span(width);
    const now = this.#count / COLUMNS;
    const x = (/** @type {number} */ time) => width - ((now - time) / seconds) * width;
    const wave = { top: 0, bottom: height * 0.26 };
    const spectrum = { top: wave.bottom + GAP, bottom: height * 0.62 };
    const emotions = { top: spectrum.bottom + GAP, bottom: height };
    for (const lane of [wave, spectrum, emotions]) {
      context.fillStyle = token("--track");
      context.fillRect(0, lane.top, width, lane.bottom - lane.top);
    }
    this.#drawSpectrum(context, spectrum, width, seconds);
    this.#drawWave(context, wave, x, width / seconds / COLUMNS);
    this.#drawEmotions(context, emotions, x);
    this.#drawUtterances(context, emotions, x, width);
    context.font = "11px system-ui, sans-serif";
    const names = /** @type {[string, {top: number}][]} */ ([
      ["sound", wave],
      ["spectrogram, 0 to 8 kHz", spectrum],
      ["emotions", emotions],
    ]);
    for (const [name, lane] of names) {
      context.globalAlpha = 0.8;
      context.fillStyle = token("--track");
      context.fillRect(3, lane.top + 3, context.measureText(name).width + 8, 17);
      context.globalAlpha = 1;
      context.fillStyle = token("--muted");
      context.fillText(name, 7, lane.top + 15);
    }
  }

  /** @param {CanvasRenderingContext2D} context @param {{top: number, bottom: number}} lane @param {number} width @param {number} seconds */
  #drawSpectrum(context, { top, bottom }, width, seconds) {
    const seen = Math.min(this.#count, seconds * COLUMNS);
    const column = width / seconds / COLUMNS;
    for (let done = 0; done < seen;) {
      const first = (this.#count - seen + done) % CAPACITY;
      const count = Math.min(seen - done, CAPACITY - first);
      const left = width - (seen - done) * column;
      context.drawImage(this.#picture, first, 0, count, ROWS, left, top, count * column, bottom - top);
      done += count;
    }
  }

  /** @param {CanvasRenderingContext2D} context @param {{top: number, bottom: number}} lane @param {(time: number) => number} x @param {number} step */
  #drawWave(context, { top, bottom }, x, step) {
    const middle = (top + bottom) / 2;
    context.fillStyle = token("--accent");
    for (let index = Math.max(0, this.#count - CAPACITY); index < this.#count; index++) {
      const left = x(index / COLUMNS);
      if (left < 0) continue;
      const half = Math.max(0.6, Math.sqrt(this.#peaks[index % CAPACITY]) * (middle - top - 2));
      context.fillRect(left, middle - half, Math.max(1, step * 0.7), 2 * half);
    }
  }

  /** @param {CanvasRenderingContext2D} context @param {{top: number, bottom: number}} lane @param {(time: number) => number} x */
  #drawEmotions(context, { top, bottom }, x) {
    for (const { time_s, probabilities, confidence } of this.#updates) {
      if (!probabilities) continue;
      stack(
        context,
        { left: x(time_s - UPDATE_S), right: x(time_s) + 0.5, top, bottom },
        probabilities,
        confidence ?? 0,
        this.palette,
      );
    }
  }

  /** @param {CanvasRenderingContext2D} context @param {{top: number, bottom: number}} lane @param {(time: number) => number} x @param {number} width */
  #drawUtterances(context, { bottom }, x, width) {
    context.font = "600 12px system-ui, sans-serif";
    for (const { start_s, end_s, emotion, confidence } of this.#utterances) {
      const [left, right] = [Math.max(0, x(start_s)), Math.min(width, x(end_s))];
      if (right <= 0) continue;
      const sure = certainty({ emotion, confidence });
      const name = sure === "unsure" ? sure : `${emotion}${sure === "probable" ? "?" : ""}`;
      const box = context.measureText(name).width + 12;
      context.fillStyle = token("--ink");
      context.fillRect(left, bottom - 2, right - left, 2);
      context.fillStyle = token("--card");
      context.beginPath();
      context.roundRect(left + 3, bottom - 24, box, 18, 5);
      context.fill();
      context.fillStyle = token("--ink");
      context.fillText(name, left + 9, bottom - 11);
    }
  }
}

/** Frequency at a height of the picture, by the mel scale. @param {number} share 0..1 */
function hertz(share) {
  return 700 * (10 ** ((share * 2595 * Math.log10(1 + HIGHEST_HZ / 700)) / 2595) - 1);
}

/** @param {string} colour #rrggbb */
function channels(colour) {
  return [1, 3, 5].map((place) => parseInt(colour.slice(place, place + 2), 16));
}

/** @param {number[]} from @param {number[]} to @param {number} share */
function between(from, to, share) {
  return from.map((value, index) => value + (to[index] - value) * share);
}
