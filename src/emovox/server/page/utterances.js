// What was said, utterance by utterance, each to be heard again.
import { mix } from "./bars.js";
import { adaptedTo, clock, element, playButton } from "./dom.js";
import { wav } from "./player.js";
import { inWords, showVerdict } from "./verdict.js";

/** Sound that is kept for utterances to come: none is longer than 30 s, and a busy machine takes its time. */
const KEPT_S = 120;

/** Utterances that stay in the log of a screen reader. */
const SPOKEN = 5;

/** Utterances whose sound is kept. */
const MOST = 200;

export class Utterances {
  /** @type {import("./types.js").Utterance[]} */ all = [];
  /** @type {{first: number, pcm: Int16Array}[]} */ #recorded = [];
  #samples = 0;
  /** @type {string[]} */ #addresses = [];
  #rate = 48_000;
  #earlier = 0;

  /**
   * @param {HTMLElement} list
   * @param {HTMLElement} log what a screen reader says of each
   * @param {import("./colours.js").Palette} palette
   * @param {import("./player.js").Player} player
   */
  constructor(list, log, palette, player) {
    this.list = list;
    this.log = log;
    this.palette = palette;
    this.player = player;
  }

  /** A new take begins; what was said before stays. @param {number} rate in Hz */
  begin(rate) {
    this.#rate = rate;
    this.#recorded = [];
    this.#samples = 0;
    this.#earlier = this.all.length;
  }

  /** Keep sound for replay. @param {Int16Array} pcm */
  record(pcm) {
    this.#recorded.push({ first: this.#samples, pcm });
    this.#samples += pcm.length;
    while (this.#recorded[0].first < this.#samples - KEPT_S * this.#rate) this.#recorded.shift();
  }

  get seconds() {
    return this.#samples / this.#rate;
  }

  /**
   * @param {import("./types.js").Utterance} utterance
   * @param {boolean} adapting say how it is adapted
   */
  add(utterance, adapting = false) {
    const { start_s, end_s, probabilities } = utterance;
    this.all.push({ ...utterance, index: this.#earlier + utterance.index });
    const address = URL.createObjectURL(wav(this.#between(start_s, end_s), this.#rate));
    this.#addresses.push(address);
    const words = inWords(utterance);
    const verdict = element("p", { class: "verdict" });
    showVerdict(verdict, utterance, this.palette, true);
    const play = playButton(`Play ${clock(start_s)}, ${words}`);
    const when = element("span", { class: "when" }, `${clock(start_s)} – ${clock(end_s)}`);
    if (adapting) when.append(element("span", { class: "note" }, adaptedTo(utterance.adapted_s ?? 0)));
    const row = element("li", {}, play, when, verdict, mix(probabilities, this.palette));
    this.list.prepend(row);
    this.log.append(element("p", {}, words));
    if (this.log.children.length > SPOKEN) this.log.firstElementChild?.remove();
    const follower = {
      onStop: () => play.classList.remove("playing"),
      onError: () => play.setAttribute("disabled", ""),
    };
    play.onclick = () => {
      if (this.player.plays(follower)) return this.player.stop();
      play.classList.add("playing");
      this.player.play(address, 0, follower);
    };
    if (this.list.children.length > MOST) this.list.lastElementChild?.remove();
    if (this.#addresses.length > MOST) URL.revokeObjectURL(/** @type {string} */ (this.#addresses.shift()));
  }

  clear() {
    this.player.stop();
    this.#addresses.forEach((address) => URL.revokeObjectURL(address));
    this.#addresses = [];
    this.all = [];
    this.#earlier = 0;
    this.list.replaceChildren();
    this.log.replaceChildren();
  }

  /** @param {number} start_s @param {number} end_s */
  #between(start_s, end_s) {
    const [start, end] = [start_s, end_s].map((seconds) => Math.round(seconds * this.#rate));
    return this.#recorded
      .map(({ first, pcm }) => pcm.slice(Math.max(0, start - first), Math.max(0, end - first)))
      .filter((part) => part.length);
  }
}
