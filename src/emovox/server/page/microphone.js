import { EmovoxError } from "./errors.js";

/** Points of the spectrum; at 48 kHz one covers 21 ms and 47 Hz. */
const SPECTRUM = 1024;

/**
 * The microphone: 20 ms of 16-bit mono at a time, as the model should hear it (no echo or noise suppression, no
 * automatic gain: they change a voice).
 */
export class Microphone {
  /**
   * @param {AudioContext} context
   * @param {MediaStream} sound
   * @param {AnalyserNode} analyser
   */
  constructor(context, sound, analyser) {
    this.context = context;
    this.sound = sound;
    this.analyser = analyser;
    this.rate = context.sampleRate;
  }

  /**
   * Ask for the microphone and begin.
   * @param {(pcm: Int16Array) => void} onSound
   * @param {() => void} onLost called when it is unplugged or taken away
   */
  static async open(onSound, onLost) {
    if (!navigator.mediaDevices) {
      throw new EmovoxError("Browsers give the microphone to secure pages only.", {
        code: "not_secure",
        remedy: "Open this page by https, or on the server's own machine by localhost.",
      });
    }
    const wishes = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const sound = await navigator.mediaDevices.getUserMedia({ audio: wishes }).catch(refused);
    const context = new AudioContext();
    try {
      await context.audioWorklet.addModule(new URL("./capture-worklet.js", import.meta.url));
      const source = context.createMediaStreamSource(sound);
      const capture = new AudioWorkletNode(context, "emovox-capture", { numberOfOutputs: 0 });
      const analyser = new AnalyserNode(context, {
        fftSize: SPECTRUM,
        smoothingTimeConstant: 0,
        minDecibels: -95,
        maxDecibels: -25,
      });
      capture.port.onmessage = ({ data }) => onSound(data);
      source.connect(capture);
      source.connect(analyser);
      sound.getAudioTracks()[0].onended = onLost;
      await context.resume();
      return new Microphone(context, sound, analyser);
    } catch (error) {
      for (const track of sound.getTracks()) track.stop();
      await context.close();
      throw error;
    }
  }

  close() {
    for (const track of this.sound.getTracks()) track.stop();
    if (this.context.state !== "closed") void this.context.close();
  }
}

/** @param {DOMException} error @returns {never} */
function refused(error) {
  const problems = {
    NotAllowedError: [
      "The microphone is blocked for this page.",
      "Allow it in the browser's address bar, then press Speak again.",
      "microphone_denied",
    ],
    NotFoundError: ["There is no microphone.", "Plug one in, or choose a recording.", "no_microphone"],
    NotReadableError: [
      "The microphone is in use by another program.",
      "Close that program, then press Speak again.",
      "microphone_busy",
    ],
  };
  const [message, remedy, code] = problems[/** @type {keyof problems} */ (error.name)] ?? [
    `The microphone cannot be opened (${error.message}).`,
    "",
    "microphone",
  ];
  throw new EmovoxError(message, { code, remedy });
}
