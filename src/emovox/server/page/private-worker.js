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

/** @type {Float32Array} the sound of the file at hand, at 16 kHz */
let held = new Float32Array(0);

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

  async hold({ samples, rate }) {
    held = new Float32Array(0); // before there are two
    held = resample(samples, rate, VAD_RATE);
  },

  async predict({ id }) {
    return recogniser.judge(held, async (share) => {
      postMessage({ id, type: "share", share });
      return isStopped(id);
    });
  },

  async timeline({ id }) {
    for await (const segment of timeline(held, recogniser, detector)) {
      postMessage({ id, type: "segment", segment });
      if (await isStopped(id)) return;
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

/** Let messages come in; is "stop" among them? @param {number} id */
async function isStopped(id) {
  await new Promise((resolve) => setTimeout(resolve));
  return stopped.has(id);
}

self.onmessage = ({ data }) => {
  const { id, type } = data;
  if (type === "stop") stopped.add(id);
  else if (type === "sound") waiting.set(id, (waiting.get(id) ?? 0) + 1);
  if (!(type in tasks)) return;
  queue = queue.then(async () => {
    try {
      const value = stopped.has(id) ? undefined : await tasks[type](data);
      if (id && type !== "sound") postMessage({ id, type: "done", value });
    } catch (error) {
      const { message, code, remedy } = EmovoxError.from(error);
      postMessage({ id, type: "error", error: { message, code, remedy } });
    }
    if (type !== "sound") stopped.delete(id);
  });
};
