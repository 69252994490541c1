// One sound at a time.

/**
 * @typedef {object} Follower
 * @property {(seconds: number) => void} [onTime]  several times a second while it plays
 * @property {() => void} onStop
 * @property {() => void} onError  this browser cannot play it
 */

export class Player {
  #audio = new Audio();
  /** @type {Follower | null} */ #follower = null;
  #until = Infinity;

  constructor() {
    this.#audio.onended = () => this.stop();
    this.#audio.onerror = () => this.#fail();
  }

  /** @param {Follower} follower */
  plays(follower) {
    return this.#follower === follower;
  }

  /**
   * @param {string} address of the sound
   * @param {number} from in seconds
   * @param {Follower} follower
   * @param {number} [until] in seconds
   */
  play(address, from, follower, until = Infinity) {
    if (this.#follower !== follower) this.stop();
    this.#follower = follower;
    this.#until = until;
    if (this.#audio.src !== address) this.#audio.src = address;
    this.#audio.currentTime = from;
    this.#audio.play().then(
      () => this.#follow(follower),
      (error) => error.name !== "AbortError" && this.#fail(),
    );
  }

  stop() {
    const follower = this.#follower;
    this.#follower = null;
    this.#audio.pause();
    follower?.onStop();
  }

  /** @param {Follower} follower */
  #follow(follower) {
    if (this.#follower !== follower) return;
    follower.onTime?.(this.#audio.currentTime);
    if (this.#audio.currentTime >= this.#until) this.stop();
    else requestAnimationFrame(() => this.#follow(follower));
  }

  #fail() {
    const follower = this.#follower;
    this.stop();
    follower?.onError();
  }
}

/**
 * Pack samples as a WAV file.
 * @param {Int16Array[]} chunks mono
 * @param {number} rate in Hz
 */
export function wav(chunks, rate) {
  const size = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
  const head = new DataView(new ArrayBuffer(44));
  const text = (/** @type {number} */ place, /** @type {string} */ letters) => {
    [...letters].forEach((letter, index) => head.setUint8(place + index, letter.charCodeAt(0)));
  };
  text(0, "RIFF");
  head.setUint32(4, 36 + size, true);
  text(8, "WAVEfmt ");
  head.setUint32(16, 16, true);
  head.setUint16(20, 1, true);
  head.setUint16(22, 1, true);
  head.setUint32(24, rate, true);
  head.setUint32(28, rate * 2, true);
  head.setUint16(32, 2, true);
  head.setUint16(34, 16, true);
  text(36, "data");
  head.setUint32(40, size, true);
  return new Blob([head, .../** @type {BlobPart[]} */ (chunks)], { type: "audio/wav" });
}

/**
 * How long a recording is, if this browser can tell.
 * @param {string} address
 * @returns {Promise<number>} in seconds; 0 if it cannot
 */
export function lengthOf(address) {
  return new Promise((resolve) => {
    const audio = new Audio();
    audio.preload = "metadata";
    audio.onloadedmetadata = () => resolve(Number.isFinite(audio.duration) ? audio.duration : 0);
    audio.onerror = () => resolve(0);
    audio.src = address;
  });
}
