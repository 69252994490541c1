// Which model, what it learned from, how well it does with people it never heard, and what it is not for.
import { element, percent } from "./dom.js";

const NOT_FOR = [
  "hiring",
  "work and pay",
  "schools",
  "police and courts",
  "borders",
  "diagnoses",
  "insurance and credit",
];

/** How people know the corpora. */
const CORPORA = /** @type {Object<string, string>} */ ({
  emodb: "EmoDB",
  ravdess: "RAVDESS",
  tess: "TESS",
  cremad: "CREMA-D",
  savee: "SAVEE",
  emovo: "EMOVO",
  esd: "ESD",
  casia: "CASIA",
});

/**
 * @param {HTMLElement} place
 * @param {import("./types.js").Model} model
 */
export function showModel(place, model) {
  place.replaceChildren(scores(model), facts(model), notFor());
}

/** @param {import("./types.js").Model} model */
function scores({ scores: all, labels }) {
  const panel = element("section", { class: "card scores" }, element("h3", {}, "Measured"));
  const known = [
    { protocols: ["speaker", "loso"], title: "People it never heard", note: "recorded like those it learned from" },
    {
      protocols: ["corpus"],
      title: "Recordings from elsewhere",
      note: "other people, languages and microphones: the nearest to yours",
    },
  ];
  for (const { protocols, title, note } of known) {
    const score = all.find(({ protocol }) => protocols.includes(protocol));
    if (score) panel.append(meter(title, note, score, labels.length));
  }
  if (panel.children.length === 1)
    panel.append(element("p", {}, "Nobody has measured it yet. Take what it says as a guess."));
  const chance = `dotted: guessing, ${percent(1 / labels.length)}`;
  panel.append(
    element(
      "p",
      { class: "note" },
      `Average recall over ${labels.length} emotions (UAR); the line is the 95 % interval; ${chance}.`,
    ),
  );
  return panel;
}

/**
 * @param {string} title
 * @param {string} note
 * @param {import("./types.js").Score} score
 * @param {number} count of labels
 */
function meter(title, note, { uar, uar_interval: interval }, count) {
  const bar = element("div", {
    class: "meter",
    role: "img",
    "aria-label": `${title}: ${percent(uar)}${interval ? `, interval ${percent(interval[0])} to ${percent(interval[1])}` : ""}`,
  });
  const part = (/** @type {Object<string, number>} */ values, name = "") => {
    const made = element("i", { class: name });
    for (const [property, value] of Object.entries(values)) made.style.setProperty(property, String(value));
    bar.append(made);
  };
  part({ "--share": uar });
  if (interval) part({ "--low": interval[0], "--high": interval[1] }, "range");
  part({ "--share": 1 / count }, "chance");
  return element(
    "div",
    {},
    element("p", {}, element("span", {}, title), element("b", {}, `${Math.round(uar * 100)} of 100 right`)),
    bar,
    element("p", { class: "note" }, note),
  );
}

/** @param {import("./types.js").Model} model */
function facts({ name, version, training, licence, permits, size_bytes }) {
  const list = element("dl", { class: "facts" });
  const add = (/** @type {string} */ term, /** @type {string} */ text) =>
    text && list.append(element("dt", {}, term), element("dd", {}, text));
  const corpora = training.corpora ?? [];
  add("Name", `${name}, version ${version} (${(size_bytes / 1e6).toFixed(1)} MB)`);
  add(
    "Learned from",
    corpora
      .map(
        (corpus) =>
          `${CORPORA[corpus.name] ?? corpus.name} (${corpus.clips.toLocaleString("en")} clips, ${corpus.speakers} speakers)`,
      )
      .join(", "),
  );
  add(
    "In all",
    training.clips
      ? `${training.clips.toLocaleString("en")} clips by ${training.speakers} people, acted on request`
      : "",
  );
  add("Permits", permits);
  add("Licences", licence);
  return element("section", { class: "card" }, element("h3", {}, "The model"), list);
}

function notFor() {
  const list = element("ul", {}, ...NOT_FOR.map((use) => element("li", {}, use)));
  const text =
    "It tells how a voice sounds, not what a person feels, and it is often wrong. It learned from actors; feelings in life sound different, and its errors differ between people, languages and microphones.";
  return element(
    "section",
    { class: "card wide not-for" },
    element("h3", {}, "Not for judging people"),
    element("p", {}, text),
    element("p", {}, "Do not use it in:"),
    list,
  );
}
