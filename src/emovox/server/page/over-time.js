// What a long recording says as a whole: where it changes, no emotion stands for all.
import { element, percent } from "./dom.js";
import { inWords } from "./verdict.js";

/** From so many windows with speech on, one answer for all hides what changes. */
const MANY = 6;
const MOSTLY = 0.6;

/**
 * Show what a recording is made of, where it changes.
 * @param {HTMLElement} place that shows the answer for the whole
 * @param {{emotion: string | null, confidence: number | null, probabilities: import("./types.js").Probabilities}} whole
 * @param {import("./types.js").Segment[]} segments
 * @param {import("./colours.js").Palette} palette
 */
export function sumUp(place, whole, segments, palette) {
  const most = overTime(segments);
  if (!most.length) return;
  const parts = most.map(([emotion, share]) => {
    const swatch = element("span", { class: "swatch" });
    palette.mark(swatch, emotion);
    return element("span", { class: "part" }, swatch, ` ${emotion} ${percent(share)}`);
  });
  const asWhole = whole.emotion ? `of the time. As a whole: ${inWords(whole)}` : "of the time";
  place.classList.remove("unsure");
  place.replaceChildren(
    element("b", {}, most[0][1] >= MOSTLY ? `mostly ${most[0][0]}` : "changing"),
    element("span", { class: "note" }, ...parts, asWhole),
  );
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
