// How sure a result is, in words and looks: what is not sure must not look so.
import { element, percent } from "./dom.js";

/** From here on the most probable emotion is said as it is; from the lower one on as "probably". */
const SURE = 0.7;
const PROBABLE = 0.5;

/** Below it no emotion stands out at all: so it is with music and noise. */
const ANY = 0.2;

/** @param {{emotion: string | null, confidence: number | null}} result @returns {"sure" | "probable" | "unsure"} */
export function certainty({ emotion, confidence }) {
  if (!emotion || confidence === null || confidence < PROBABLE) return "unsure";
  return confidence < SURE ? "probable" : "sure";
}

/** A result in a few words. @param {{emotion: string | null, confidence: number | null, probabilities: import("./types.js").Probabilities}} result */
export function inWords(result) {
  const { first, second } = leading(result.probabilities);
  if (!first) return "no speech";
  if (certainty(result) === "unsure")
    return `unsure: ${first} ${percent(result.probabilities[first])} or ${second} ${percent(result.probabilities[second])}`;
  return `${certainty(result) === "sure" ? "" : "probably "}${result.emotion} ${percent(result.confidence ?? 0)}`;
}

/**
 * Show a result as colour, name, number, and in words how sure it is.
 * @param {HTMLElement} place
 * @param {{emotion: string | null, confidence: number | null, probabilities: import("./types.js").Probabilities}} result
 * @param {import("./colours.js").Palette} palette
 * @param {boolean} [short] without a second line
 */
export function showVerdict(place, result, palette, short = false) {
  const { first, second } = leading(result.probabilities);
  const kind = certainty(result);
  const swatch = element("span", { class: "swatch" });
  palette.mark(swatch, first);
  const value = percent(result.probabilities[first] ?? result.confidence ?? 0);
  place.classList.toggle("unsure", kind === "unsure");
  if (kind === "unsure") {
    const name = element("b", {}, short ? `unsure, ${first}?` : "unsure");
    const guess = `Could be: ${first} ${value}, ${second} ${percent(result.probabilities[second])}`;
    const nothing = "No emotion stands out. It may be no voice.";
    const note = result.probabilities[first] < ANY ? nothing : guess;
    const much = element("span", { class: "much" }, short ? value : "");
    place.replaceChildren(
      swatch,
      name,
      much,
      ...(short ? [] : [element("span", { class: "note" }, note)]),
    );
    return;
  }
  const name = element("b", {}, kind === "probable" && short ? `${first}?` : first);
  const other = `${second}, ${percent(result.probabilities[second])}`;
  const near = result.probabilities[second] >= 0.05;
  const words = kind === "probable" ? `Probably. Or ${other}` : near ? `Next: ${other}` : "Nothing else comes near";
  const note = short ? [] : [element("span", { class: "note" }, words)];
  place.replaceChildren(swatch, name, element("span", { class: "much" }, value), ...note);
}

/** @param {import("./types.js").Probabilities} probabilities */
function leading(probabilities) {
  const [first = "", second = ""] = Object.keys(probabilities).sort((a, b) => probabilities[b] - probabilities[a]);
  return { first, second };
}
