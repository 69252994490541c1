// The worker of private mode: everything that computes. It is told by private.js, and asks the network for nothing.
import { EmovoxError } from "./errors.js";
import { Listener } from "./live.js";
import { Recogniser, prepare } from "./recogniser.js";
import { resample } from "./resample.js";
import { SpeechDetector, VAD_RATE } from "./silero.js";
import { timeline } from "./windows.js";

/** @type {Recogniser} */ let recogniser;
/** @type {any} */ let detector;
/** @type {Map<number, Listener>} */ const streams = new Map();
/** @type {Map<number, number>} */ const waiting = new Map();
/** @type {Set<number>} */ const stopped = new Set();

/** One thing after another: the model can do no two at a time. */
let queue = Promise.resolve();

/** @type {Object<string, (message: any) => Promise<unknown>>} */
const tasks = {
  async load({ wasm, model, speech }) {
    prepare(wasm);
    recogniser = await Recogniser.load(new Uint8Array(model));
    if (recogniser.rate !== VAD_RATE) {
      throw new EmovoxError("The model wants another sample rate than 16 kHz.", {
        code: "not_for_browsers",
        remedy: "Use this server.",
      });
    }
    detector = await SpeechDetector.load(new Uint8Array(speech));
  },

  async predict({ samples, rate }) {
    return recogniser.judge(resample(samples, rate, VAD_RATE));
  },

  async timeline({ id, samples, rate }) {
    for await (const segment of timeline(resample(samples, rate, VAD_RATE), recogniser, detector)) {
      postMessage({ id, type: "segment", segment });
      await new Promise((resolve) => setTimeout(resolve)); // let "stop" come in
      if (stopped.delete(id)) return;
    }
  },

  async open({ id, rate }) {
    streams.set(id, new Listener(recogniser, detector, rate, (message) => postMessage({ id, type: "heard", message })));
  },

  async sound({ id, pcm }) {
    const left = (waiting.get(id) ?? 1) - 1;
    waiting.set(id, left);
    await streams.get(id)?.hear(
      Float32Array.from(pcm, (value) => value / 32_768),
      left > 8,
    );
  },

  async end({ id }) {
    await streams.get(id)?.finish();
    streams.delete(id);
  },

  async close({ id }) {
    streams.delete(id);
  },
};

self.onmessage = ({ data }) => {
  const { id, type } = data;
  if (type === "stop") stopped.add(id);
  else if (type === "sound") waiting.set(id, (waiting.get(id) ?? 0) + 1);
  if (!(type in tasks)) return;
  queue = queue.then(async () => {
    try {
      const value = await tasks[type](data);
      if (type !== "sound") postMessage({ id, type: "done", value });
    } catch (error) {
      const { message, code, remedy } = EmovoxError.from(error);
      postMessage({ id, type: "error", error: { message, code, remedy } });
    }
  });
};
