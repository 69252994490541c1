// The sample rate that a file says it has. WebAudio converts while it decodes and does not tell: knowing the rate keeps
// its converter (which is coarser than the server's) out of the way.

const MP3_RATES = [44_100, 48_000, 32_000];
const AAC_RATES = [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000];

/** How far to look for what has no fixed place. */
const SEARCHED = 1 << 20;
const HEADER = 1 << 14;

/**
 * @param {DataView} file
 * @returns {number | null} in Hz; null if it does not say
 */
export function nativeRate(file) {
  try {
    const name = text(file, 0, 4);
    if (name === "RIFF" || name === "RF64") return wave(file);
    if (name === "fLaC") return flac(file, 4);
    if (name === "OggS") return ogg(file);
    if (text(file, 4, 4) === "ftyp") return mp4(file);
    if (file.getUint32(0) === 0x1a45dfa3) return matroska(file);
    return frames(file);
  } catch (error) {
    if (error instanceof RangeError) return null; // the file ends before
    throw error;
  }
}

/** @param {DataView} file */
function wave(file) {
  for (let place = 12; ; place += 8 + file.getUint32(place + 4, true) + (file.getUint32(place + 4, true) & 1)) {
    if (text(file, place, 4) === "fmt ") return file.getUint32(place + 12, true);
  }
}

/** @param {DataView} file @param {number} place of the first metadata block */
function flac(file, place) {
  return file.getUint32(place + 14) >>> 12;
}

/** @param {DataView} file */
function ogg(file) {
  const packet = 27 + file.getUint8(26);
  if (text(file, packet, 8) === "OpusHead") return 48_000; // decoders give 48 kHz whatever went in
  if (text(file, packet + 1, 6) === "vorbis") return file.getUint32(packet + 12, true);
  return text(file, packet + 1, 4) === "FLAC" ? flac(file, packet + 13) : null;
}

/** @param {DataView} file */
function mp4(file) {
  const end = Math.min(file.byteLength, SEARCHED);
  // The description lies at the begin, or behind the sound.
  for (const [from, to] of [
    [0, end],
    [Math.max(0, file.byteLength - SEARCHED), file.byteLength],
  ]) {
    for (let place = from; place < to - 32; place++) {
      if (file.getUint32(place) === 0x6d703461 && file.getUint32(place + 4) === 0) return file.getUint16(place + 28);
    }
  }
  return null;
}

/**
 * Browsers count what an Opus encoder put before the sound in whole milliseconds where it comes in webm, and so lose a
 * little of the begin. So that number is taken out of the file, and the caller leaves those samples out.
 * @param {DataView} file is changed
 * @returns {number} samples at 48 kHz to leave out
 */
export function takeLeadIn(file) {
  const end = Math.min(file.byteLength, HEADER) - 19;
  if (end < 0 || file.getUint32(0) !== 0x1a45dfa3) return 0;
  const head = opusHead(file);
  if (head === null) return 0;
  for (let place = 0; place < end; place++) {
    const length = file.getUint8(place + 2) - 0x80;
    if (file.getUint16(place) !== 0x56aa || length < 1 || length > 8) continue; // CodecDelay, in ns
    const delay = bytes(file, place + 3, length).reduce((value, byte) => 256 * value + byte, 0);
    const leadIn = file.getUint16(head + 10, true);
    if (Math.abs(delay - (leadIn / 48_000) * 1e9) > 1e3) continue;
    file.setUint16(head + 10, 0);
    for (let index = 0; index < length; index++) file.setUint8(place + 3 + index, 0);
    return leadIn;
  }
  return 0;
}

/** @param {DataView} file @returns {number | null} where the description of an Opus stream begins (RFC 7845, 5.1) */
function opusHead(file) {
  const end = Math.min(file.byteLength, HEADER) - 19;
  for (let place = 0; place < end; place++) {
    if (file.getUint32(place) === 0x4f707573 && file.getUint32(place + 4) === 0x48656164) return place;
  }
  return null;
}

/** @param {DataView} file */
function matroska(file) {
  if (opusHead(file) !== null) return 48_000; // it names the rate of what was encoded, and decodes to this one
  const end = Math.min(file.byteLength, HEADER);
  for (let place = 0; place < end - 10; place++) {
    const size = file.getUint16(place);
    const rate = size === 0xb584 ? file.getFloat32(place + 2) : size === 0xb588 ? file.getFloat64(place + 2) : 0;
    if (rate >= 8000 && rate <= 192_000) return rate;
  }
  return 48_000; // Opus, which is what browsers record
}

/** MP3 and AAC without a container: the first frame says it. @param {DataView} file */
function frames(file) {
  let place = 0;
  if (text(file, 0, 3) === "ID3") {
    place = 10 + [6, 7, 8, 9].reduce((size, byte) => size * 128 + file.getUint8(byte), 0);
  }
  for (const end = place + (1 << 16); place < end; place++) {
    const head = file.getUint16(place);
    if (head >>> 5 !== 0x7ff) continue;
    const next = file.getUint8(place + 2);
    if ((head & 0xf6) === 0xf0) return AAC_RATES[(next >> 2) & 15] ?? null;
    const rate = MP3_RATES[(next >> 2) & 3];
    const version = (head >> 3) & 3; // 3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5
    if (rate && version !== 1 && (head & 6) !== 0) return rate / [4, 1, 2, 1][version];
  }
  return null;
}

/** @param {DataView} file @param {number} place @param {number} length */
function bytes(file, place, length) {
  return Array.from({ length }, (_, index) => file.getUint8(place + index));
}

/** @param {DataView} file @param {number} place @param {number} length */
function text(file, place, length) {
  return String.fromCharCode(...bytes(file, place, length));
}
