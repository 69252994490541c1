/**
 * Make an element.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Object<string, string>} attributes
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/**
 * Make a small picture from the path of a 24 by 24 drawing.
 * @param {string} path
 * @param {string} name its class
 */
export function icon(path, name = "") {
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  const line = document.createElementNS(space, "path");
  line.setAttribute("d", path);
  picture.setAttribute("viewBox", "0 0 24 24");
  picture.setAttribute("aria-hidden", "true");
  picture.setAttribute("class", name);
  picture.append(line);
  return picture;
}

/**
 * The element of the page that has an id.
 * @template {HTMLElement} [Kind=HTMLElement]
 * @param {string} id
 * @returns {Kind}
 */
export function byId(id) {
  return /** @type {Kind} */ (document.getElementById(id));
}

/** A button that starts and stops playing. @param {string} label */
export function playButton(label) {
  const [play, pause] = [icon("M8 5v14l11-7z"), icon("M7 5h4v14H7zM13 5h4v14h-4z", "pause")];
  return element("button", { type: "button", class: "play", "aria-label": label }, play, pause);
}

/** Minutes and seconds. @param {number} seconds @param {number} [digits] after the point */
export function clock(seconds, digits = 0) {
  const rounded = Number(seconds.toFixed(digits));
  const rest = (rounded % 60).toFixed(digits);
  return `${Math.floor(rounded / 60)}:${rest.padStart(digits ? digits + 3 : 2, "0")}`;
}

/** What a result is measured from. @param {number} seconds of a voice */
export function adaptedTo(seconds) {
  return seconds ? `adapted to ${Math.max(1, Math.round(seconds))} s` : "unadapted";
}

/** A probability for people; never all of it. @param {number} share 0..1 */
export function percent(share) {
  return share > 0.995 ? ">\u00a099\u00a0%" : `${Math.round(share * 100)}\u00a0%`;
}
