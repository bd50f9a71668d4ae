/** edgecap in JavaScript: captions, boxes and search on a device, from the bundles that Python exports. */

/** x0, y0, x1, y1 in px of the given image, upright as EXIF says; origin in the upper left corner. */
export type Box = [number, number, number, number];

/** Pixels row by row. `channels`: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha (the default). */
export interface Pixels {
  data: Uint8Array | Uint8ClampedArray;
  width: number;
  height: number;
  channels?: 1 | 2 | 3 | 4;
  /** As EXIF says, 1 upright (the default) to 8. */
  orientation?: number;
}

/** Pixels everywhere; in browsers also an image file, a URL, or what a canvas can draw. */
export type ImageInput =
  | Pixels
  | Blob
  | URL
  | string
  | ArrayBuffer
  | Uint8Array
  | ImageData
  | ImageBitmap
  | OffscreenCanvas
  | HTMLCanvasElement
  | HTMLImageElement
  | HTMLVideoElement;

/**
 * A directory or a packed file (.edgecap) by URL, or by path in Node; files as a picker gives them;
 * bytes by name; or the bytes of a packed file.
 */
export type BundleSource =
  | string
  | URL
  | ArrayLike<File>
  | Blob
  | Uint8Array
  | ArrayBuffer
  | Map<string, Uint8Array | ArrayBuffer | Blob>
  | Record<string, Uint8Array | ArrayBuffer | Blob>;

/** `loaded` and `total` count the bytes of all files together. */
export type Progress =
  | { status: "initiate" | "progress" | "done"; file: string; loaded: number; total: number }
  | { status: "ready" };

export type Device = "auto" | "cpu" | "wasm" | "webgpu";

/** A typed array with its shape. */
export interface Tensor {
  type: "float32" | "float16" | "int32" | "uint8";
  data: Float32Array | Uint16Array | Int32Array | Uint8Array;
  dims: readonly number[];
}

/** A bundle whose every file was checked. `weights`: files beside the graphs that graphs refer to. */
export interface Bundle {
  manifest: Manifest;
  weights: string[];
  read(name: string): Uint8Array;
}

/** What an engine of one's own must be. Names of functions and tensors are those of the manifest's interface. */
export interface Engine {
  name: string;
  formats: readonly string[];
  open(bundle: Bundle, options: { device: Device; threads: number | null }): Promise<Session>;
}

export interface Session {
  run(name: string, inputs: Record<string, Tensor>): Promise<Record<string, Tensor>>;
  dispose(): Promise<void>;
}

export interface LoadOptions {
  /** Where to compute; "auto": the processor. "webgpu" is refused by engines that cannot. */
  device?: Device;
  /** What the bundle must be, such as "w8a8"; another one is refused (dtype.unknown). */
  dtype?: string | null;
  /** A name, a module (onnxruntime-web, -node, -react-native, @litertjs/core), or an Engine. */
  engine?: "onnxruntime" | "litert" | Engine | object | null;
  /** Threads of the processor; null: as the engine sees fit, one where the page is not isolated. */
  threads?: number | null;
  onProgress?: ((event: Progress) => void) | null;
  /** transformers.js's name of the same. */
  progress_callback?: ((event: Progress) => void) | null;
  /** Keep files in the browser's Cache API, by their hash. */
  cache?: boolean;
  /**
   * Captions of a lower confidence are declined: 0 … 1, or "auto" for the limit that the bundle's
   * calibration recommends. By default none is; a model without a calibration refuses both.
   */
  minConfidence?: number | "auto" | null;
  signal?: AbortSignal;
}

/** Sampling tokens; one seed and index draw the same numbers in every language. */
export interface Sampling {
  /** 0.01 … 100, 1 by default; lower is closer to greedy. */
  temperature?: number;
  topK?: number | null;
  topP?: number | null;
  /** 0 … 4294967295. */
  seed?: number;
  /** Of the image among those captioned with one seed, as Python counts them; 0 by default. */
  index?: number;
}

/** The caption so far. */
export interface Update {
  token: number;
  tokens: number[];
  text: string;
  regions: Region[];
}

export interface CaptionOptions {
  /** One of `languages`, or a BCP 47 tag that matches one: "pt-BR" matches "pt". */
  lang?: string;
  /** One of `prompts`. */
  prompt?: string;
  /** Generate boxes; of models with languages. */
  grounded?: boolean;
  /** Beam width; 1 is greedy decoding. */
  beams?: number;
  /** Tokens at most, the end included; by default all that the model can. */
  maxLength?: number;
  sampling?: Sampling | null;
  /** Allow only well-formed boxes; of models with languages, true by default. */
  rule?: boolean;
  /** Called after each token, and waited for; not with several beams. What it shows may yet be declined. */
  onToken?: ((update: Update) => void | Promise<void>) | null;
  /** Rejects with the signal's reason at the next token. */
  signal?: AbortSignal;
}

/** A phrase and where the image shows it. */
export interface Region {
  phrase: string;
  /** [from, to) of the phrase in the caption's text, in UTF-16 units. */
  span: [number, number];
  boxes: Box[];
  /** 0-1 per box: geometric mean probability of its tokens. */
  scores: number[];
  /** 0-1 per box: it is right; empty without a calibration, and while the caption is generated. */
  confidences: number[];
}

/** A word, or a box, and the attention of the steps that generated it. */
export interface Word {
  text: string;
  isBox: boolean;
  /** [from, to) in the caption's tokens. */
  tokens: [number, number];
  /** [from, to) in the caption's text; null for a box. */
  span: [number, number] | null;
  /** Over the model's whole input, row by row; mean over layers and heads. Attention, not explanation. */
  map: { data: Float32Array; rows: number; columns: number };
}

export interface Placement {
  width: number;
  height: number;
  left: number;
  top: number;
  scaledWidth: number;
  scaledHeight: number;
  toImage(box: Box): Box;
}

export interface Caption {
  /** Words only. */
  text: string;
  /** With the tokens of boxes. */
  raw: string;
  regions: Region[];
  /** Empty where the model gives no attention. */
  words: Word[];
  lang: string;
  prompt: string;
  tokens: number[];
  /** Natural log of each token's probability by the model, without the rules of generation. */
  scores: number[];
  /** Mean of the log-probabilities, the end token included. */
  score: number;
  /** False where the length limit cut it. */
  complete: boolean;
  /**
   * 0-1: the caption is right; null where the model has no calibration for the prompt, and where that
   * needs a second caption of the image and no `minConfidence` was given.
   */
  confidence: number | null;
  /** Less confident than `minConfidence`: without text, regions and words. */
  declined: boolean;
  /** Runs of places that made no box; 0 under the rule. */
  malformed: number;
  placement: Placement;
  /** [h, w] of the model's input in px, which maps cover. */
  inputSize: [number, number];
  /** Milliseconds, and how many tokens. */
  timings: { preprocess: number; encode: number; decode: number; total: number; tokens: number };
}

/** In schema 2, whatever schema the bundle's file is in. */
export interface Manifest {
  schema: 2;
  name: string;
  format: string;
  precision: string;
  [field: string]: unknown;
}

export class Captioner {
  private constructor();
  static fromPretrained(source: BundleSource, options?: LoadOptions): Promise<Captioner>;
  static from_pretrained(source: BundleSource, options?: LoadOptions): Promise<Captioner>;
  readonly manifest: Manifest;
  /** The engine's name. */
  readonly engine: string;
  /** Empty for a model that has prompts alone. */
  readonly languages: readonly string[];
  /** Names of prompts; of a model with languages, its styles. */
  readonly prompts: readonly string[];
  caption(image: ImageInput, options?: CaptionOptions): Promise<Caption>;
  /** A vector [E] of norm 1 each; dot products rank. */
  embedImages(images: ImageInput | ImageInput[]): Promise<Float32Array[]>;
  /** In the same space. `encode` makes ids of a text, for models without languages. */
  embedTexts(
    texts: string | string[],
    options?: { encode?: (text: string) => ArrayLike<number> | Promise<ArrayLike<number>> },
  ): Promise<Float32Array[]>;
  dispose(): Promise<void>;
}

/** A refusal; codes are those of the bundle's SPEC.md and of the Python package. */
export class EdgecapError extends Error {
  constructor(code: string, message: string, hint?: string);
  code: string;
  hint: string;
}

/** An engine of an onnxruntime module that is at hand. */
export function onnxEngine(ort: object): Engine;

/** An engine of @litertjs/core; `wasmPath` is where the package's wasm folder is served. */
export function litertEngine(litert: object, wasmPath?: string): Engine;
