// What a bundle (.onnx) says about itself; docs/bundle.md describes the entries.
import { EmovoxError } from "./errors.js";

/** Field numbers of onnx.proto: ModelProto.metadata_props, and key and value in it. */
const METADATA = 14;
const KEY = 1;
const VALUE = 2;

/**
 * @typedef {object} Description
 * @property {string} name
 * @property {string[]} labels
 * @property {"waveform" | "classic"} input
 * @property {number} sample_rate
 * @property {number | null} max_seconds
 * @property {number[] | null} [neutral]
 * @property {number | null} [spread]
 */

/**
 * Read the description of a bundle.
 * @param {Uint8Array} bytes
 * @returns {Description}
 */
export function describe(bytes) {
  const decoder = new TextDecoder();
  for (const [field, value] of fields(bytes)) {
    if (field !== METADATA) continue;
    const entry = new Map(fields(value));
    if (decoder.decode(entry.get(KEY)) === "emovox") return usable(JSON.parse(decoder.decode(entry.get(VALUE))));
  }
  throw new EmovoxError("The model says nothing about itself.", { code: "not_a_bundle" });
}

/** @param {Description} description */
function usable(description) {
  if (description.input !== "waveform") {
    throw new EmovoxError(`The model ${description.name} takes features that only the server computes.`, {
      code: "not_for_browsers",
      remedy: "Use this server, or a model on waveforms.",
    });
  }
  return description;
}

/**
 * Walk the fields of a protocol buffer that have a length; the others are passed over.
 * @param {Uint8Array} bytes
 * @returns {Generator<[number, Uint8Array]>}
 */
function* fields(bytes) {
  let place = 0;
  const number = () => {
    let value = 0;
    for (let power = 1; ; power *= 128) {
      const byte = bytes[place++];
      if (byte === undefined)
        throw new EmovoxError("The model's file is cut off.", { code: "corrupt", remedy: "Load the page again." });
      value += (byte & 127) * power;
      if (byte < 128) return value;
    }
  };
  while (place < bytes.length) {
    const tag = number();
    const kind = tag % 8;
    if (kind === 2) {
      const length = number();
      yield [Math.floor(tag / 8), bytes.subarray(place, place + length)];
      place += length;
    } else if (kind === 0) number();
    else place += kind === 1 ? 8 : 4;
  }
}
