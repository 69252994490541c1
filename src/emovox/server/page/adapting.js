// The switches that adapt: to who speaks, and to a set of recordings.
import { byId } from "./dom.js";
import { telling, voiceOf } from "./voice.js";

/** So many clips are needed: the mean of one is its emotion. */
const FEWEST_CLIPS = 2;

export class Adapting {
  /** @type {HTMLInputElement} */ #toVoice = byId("adapt-switch");
  /** @type {HTMLInputElement} */ #toRecordings = byId("adapt-files-switch");

  /**
   * @param {import("./types.js").Model} model
   * @param {import("./speaking.js").Speaking} speaking
   * @param {() => import("./results.js").Recording[]} recordings
   */
  constructor(model, speaking, recordings) {
    this.model = model;
    this.speaking = speaking;
    this.recordings = recordings;
    byId("adapt").hidden = !model.neutral;
    this.#toVoice.checked = this.#toRecordings.checked = false; // browsers restore them after a reload
    this.#toVoice.onchange = () => {
      speaking.adapting = this.#toVoice.checked;
      this.showVoice();
      speaking.renew();
    };
    byId("adapt-again").onclick = () => {
      this.#toVoice.focus();
      speaking.forget();
    };
    this.#toRecordings.onchange = () => this.measureRecordings();
    this.showVoice();
  }

  /** Say what is known of the voice. */
  showVoice() {
    const { adapting, reference } = this.speaking;
    const known = `Adapted to ${Math.round(reference?.seconds ?? 0)} s of this voice. If somebody else speaks now, start again.`;
    const unknown = "Adapted to nothing yet: say a few sentences, in mixed moods.";
    const off =
      "Measures each sentence from those before it, so that how you always sound is not taken for an emotion.";
    byId("adapt-note").textContent = !adapting ? off : reference ? known : unknown;
    byId("adapt-again").hidden = !adapting || !reference;
  }

  /** Measure all recordings from what they share, or show them as they were heard. */
  measureRecordings() {
    const clips = this.recordings()
      .flatMap((recording) => recording.clips)
      .filter(({ probabilities }) => telling(probabilities));
    const offered = Boolean(this.model.neutral) && clips.length >= FEWEST_CLIPS;
    byId("adapt-files").hidden = byId("adapt-files-note").hidden = !offered;
    const wanted = offered && this.#toRecordings.checked;
    const reference = wanted ? { voice: voiceOf(this.model, clips), clips: clips.length } : null;
    for (const recording of this.recordings()) recording.measureFrom(reference);
  }
}
