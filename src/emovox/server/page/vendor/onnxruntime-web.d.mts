// What this page uses of onnxruntime-web, for the type checker.
export const env: { wasm: { numThreads: number; wasmBinary?: ArrayBuffer }; logLevel: string };
export const InferenceSession: { create(bytes: Uint8Array, options: object): Promise<any> };
export class Tensor {
  constructor(type: "float32", values: Float32Array, shape: number[]);
}
