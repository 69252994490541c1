// The worker of private mode: everything that computes. It is told by private.js, and asks the network for nothing.
import { EmovoxError } from "./errors.js";
import { Listener } from "./live.js";
import { Recogniser, prepare } from "./recogniser.js";
import { resample } from "./resample.js";
import { SpeechDetector, VAD_RATE } from "./silero.js";
import { Voice, mean, verdict } from "./voice.js";
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
    const parts = await recogniser.parts(held, async (share) => {
      postMessage({ id, type: "share", share });
      return isStopped(id);
    });
    const { labels } = recogniser;
    const told = parts.map(({ probabilities, weight }) => ({
      seconds: weight / VAD_RATE,
      probabilities: verdict(labels, probabilities).probabilities,
    }));
    return { ...verdict(labels, mean(parts)), parts: told };
  },

  async timeline({ id }) {
    for await (const segment of timeline(held, recogniser, detector)) {
      postMessage({ id, type: "segment", segment });
      if (await isStopped(id)) return;
    }
  },

  async open({ id, rate, adapt }) {
    const tell = (/** @type {object} */ message) => postMessage({ id, type: "heard", message });
    streams.set(id, new Listener(recogniser, detector, rate, tell, voice(adapt)));
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

/** @param {import("./types.js").Adapt} adapt */
function voice(adapt) {
  if (!adapt) return null;
  if (!recogniser.neutral) {
    const remedy = "Use another model, or speak without adaptation.";
    throw new EmovoxError("The model cannot adapt.", { code: "cannot_adapt", remedy });
  }
  return new Voice(recogniser, { reference: adapt === true ? null : adapt });
}

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
