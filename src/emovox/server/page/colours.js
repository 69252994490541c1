/** Colours of emotions as the server gives them: the same in page, report and terminal. */
export class Palette {
  #colours;

  /** @param {Object<string, string>} colours emotion and #rrggbb */
  constructor(colours) {
    this.#colours = colours;
  }

  /** @param {string | null} label */
  of(label) {
    return this.#colours[label ?? ""] ?? token("--muted");
  }

  /**
   * Give an element the colour of an emotion, as the property --emotion that the style sheets use.
   * @param {HTMLElement} element
   * @param {string} label
   */
  mark(element, label) {
    element.style.setProperty("--emotion", this.of(label));
  }
}

/** A colour of the style sheet, for canvases. @param {string} name such as --ink */
export function token(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Call when light turns dark, or back. @param {() => void} change */
export function onScheme(change) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", change);
}
