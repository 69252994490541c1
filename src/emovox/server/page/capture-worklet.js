// In the thread of the sound card: gathers 20 ms, mixes to mono and rounds to 16 bits, as it is sent and recognised.

class Capture extends AudioWorkletProcessor {
  #size = Math.round(sampleRate / 50);
  #pcm = new Int16Array(this.#size);
  #filled = 0;

  /** @param {Float32Array[][]} inputs */
  process([channels]) {
    for (let index = 0; index < (channels[0]?.length ?? 0); index++) {
      let sum = 0;
      for (const channel of channels) sum += channel[index];
      const value = Math.round((sum / channels.length) * 32_768);
      this.#pcm[this.#filled++] = Math.max(-32_768, Math.min(32_767, value));
      if (this.#filled === this.#size) {
        this.port.postMessage(this.#pcm, [this.#pcm.buffer]);
        this.#pcm = new Int16Array(this.#size);
        this.#filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("emovox-capture", Capture);
