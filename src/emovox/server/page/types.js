// What the modules of this page tell each other, in one place. Types only: no code.

/**
 * @typedef {Object<string, number>} Probabilities  label and probability, in the model's order
 *
 * @typedef {object} Prediction
 * @property {string | null} path
 * @property {string | null} emotion
 * @property {number} confidence
 * @property {Probabilities} probabilities
 * @property {number} duration_s
 * @property {number} [adapted_clips]  unlabelled clips that it is adapted with; 0 if it is not
 * @property {{seconds: number, probabilities: Probabilities}[]} [parts]  of what the model took at once
 *
 * @typedef {object} Segment  a window of a recording; without enough speech it has no emotion
 * @property {number} start_s
 * @property {number} end_s
 * @property {string | null} emotion
 * @property {number | null} confidence
 * @property {Probabilities} probabilities
 *
 * @typedef {object} Utterance
 * @property {number} index
 * @property {number} start_s
 * @property {number} end_s
 * @property {string | null} emotion
 * @property {number} confidence
 * @property {Probabilities} probabilities
 * @property {number} [adapted_s]  seconds of speech that it is measured from; 0 if it is unadapted
 * @property {Reference} [reference]  what is known of the voice now, where results are adapted to it
 *
 * @typedef {object} Update  what is heard just now, four times a second
 * @property {"update"} type
 * @property {number} time_s
 * @property {boolean} speech
 * @property {string | null} emotion
 * @property {number | null} confidence
 * @property {Probabilities | null} probabilities
 * @property {number} [level_db]
 * @property {number} [adapted_s]
 *
 * @typedef {object} Part  of a recording, as much as the model takes at once
 * @property {number[]} probabilities  in the model's order
 * @property {number} weight
 *
 * @typedef {object} Reference  what is known of a voice: how far it moves each label
 * @property {number} seconds  of speech that it comes from
 * @property {number} weight_s
 * @property {Object<string, number>} log_ratios
 *
 * @typedef {boolean | Reference} Adapt  whether results are adapted to the voice; an earlier `reference` goes on from it
 *
 * @typedef {object} Score
 * @property {string} protocol
 * @property {number} uar
 * @property {[number, number]} [uar_interval]
 * @property {number} [clips]
 * @property {number} [speakers]
 *
 * @typedef {object} Model
 * @property {string} name
 * @property {string} version
 * @property {string[]} labels
 * @property {number} sample_rate
 * @property {string} licence
 * @property {string} permits
 * @property {{clips?: number, speakers?: number, corpora?: {name: string, clips: number, speakers: number, licence: string}[]}} training
 * @property {Score[]} scores
 * @property {number | null} max_seconds
 * @property {number[] | null} neutral  what it says of the default reference; null where it cannot adapt
 * @property {number | null} spread  variance of a voice's log ratios; null where it is not known
 * @property {number} size_bytes
 * @property {string} sha256
 * @property {string} url
 * @property {boolean} default
 *
 * @typedef {object} Listener  what a live stream tells
 * @property {(update: Update) => void} onUpdate
 * @property {(utterance: Utterance) => void} onUtterance
 * @property {(error: Error) => void} onError
 * @property {() => void} onEnd
 *
 * @typedef {object} LiveStream
 * @property {(pcm: Int16Array) => void} send  16-bit mono samples at the declared rate
 * @property {() => void} end  no more sound: finish what is being said, then `onEnd`
 * @property {() => void} close  stop at once
 *
 * @typedef {object} PredictOptions
 * @property {AbortSignal} [signal]
 * @property {(share: number) => void} [onProgress]  share of the file that was sent or read, 0..1
 *
 * @typedef {object} Engine  what recognises: the server, or this browser
 * @property {(file: File, options?: PredictOptions) => Promise<Prediction>} predict
 * @property {(file: File, onSegment: (segment: Segment) => void, signal?: AbortSignal) => Promise<void>} timeline
 * @property {(rate: number, listener: Listener, options?: {adapt?: Adapt}) => Promise<LiveStream>} stream
 */

export {};
