// Probabilities as bars: name, colour and number, always in the same order so that the eye learns the places.
import { element, percent } from "./dom.js";
import { certainty } from "./verdict.js";

export class Bars {
  /** @type {Map<string, {row: HTMLElement, fill: HTMLElement, much: HTMLElement}>} */ #rows = new Map();

  /**
   * @param {HTMLElement} list
   * @param {string[]} labels
   * @param {import("./colours.js").Palette} palette
   */
  constructor(list, labels, palette) {
    this.list = list;
    list.replaceChildren();
    for (const label of labels) {
      const fill = element("span", { class: "fill" });
      const much = element("span", { class: "much" }, percent(0));
      const swatch = element("span", { class: "swatch" }); // the key to all timelines
      palette.mark(swatch, label);
      const row = element(
        "li",
        {},
        element("span", { class: "name" }, swatch, label),
        element("span", { class: "track" }, fill),
        much,
      );
      palette.mark(fill, label);
      list.append(row);
      this.#rows.set(label, { row, fill, much });
    }
  }

  /** @param {{emotion: string | null, confidence: number | null, probabilities: import("./types.js").Probabilities}} result */
  show(result) {
    const largest = Math.max(...Object.values(result.probabilities));
    for (const [label, { row, fill, much }] of this.#rows) {
      const value = result.probabilities[label] ?? 0;
      fill.style.setProperty("--share", String(value));
      much.textContent = percent(value);
      row.classList.toggle("first", value === largest);
    }
    this.list.classList.toggle("unsure", certainty(result) === "unsure");
  }

  /** Whether they show what was, not what is. @param {boolean} quiet */
  fade(quiet) {
    this.list.classList.toggle("quiet-now", quiet);
  }
}

/**
 * All probabilities as one bar in parts.
 * @param {import("./types.js").Probabilities} probabilities
 * @param {import("./colours.js").Palette} palette
 */
export function mix(probabilities, palette) {
  const words = Object.entries(probabilities).map(([label, value]) => `${label} ${percent(value)}`);
  const bar = element("div", { class: "mix", role: "img", "aria-label": words.join(", "), title: words.join("\n") });
  for (const [label, value] of Object.entries(probabilities)) {
    if (value < 0.005) continue;
    const part = element("i");
    part.style.setProperty("--share", String(value));
    palette.mark(part, label);
    bar.append(part);
  }
  return bar;
}
