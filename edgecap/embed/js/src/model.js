/**
 * A bundle's functions on an engine's session, by the manifest's interface, one image at a time.
 * Letters: E embedding, h and w of the input in px, n crops of an image at most, F rows of a crop, D
 * their width.
 */
import { generate } from "./decode.js";
import { EdgecapError } from "./errors.js";
import { processed } from "./image_processing.js";
import { functionNamed, sizesOf } from "./interface.js";
import { sampler } from "./sampling.js";
import { inputSize } from "./schema2.js";
import { State } from "./state.js";
import { embedding, floats, int32, shaped, uint8, zeros } from "./tensors.js";
import { textInputs } from "./texts.js";

export class Model {
  /** `text`: { manifest, codec, tokenizer } of the bundle (vocabulary.js); `session`: an engine's. */
  constructor({ manifest, codec, tokenizer }, session) {
    Object.assign(this, { manifest, codec, tokenizer, session });
  }

  /** [h, w] of the input in px. */
  get inputSize() {
    return inputSize(this.manifest.image);
  }

  /** { crops of uint8 [h,w,3], grid, placement } of an image { data, width, height, channels }. */
  preprocess(image) {
    return processed(image, this.manifest.image);
  }

  /** Outputs of encode for what `preprocess` made; crops are encoded one at a time. */
  async encode({ crops, grid }) {
    const image = (pixels) => ({ image: uint8(pixels, [1, ...this.inputSize, 3]) });
    if (!this.#function("encode_crop")) return this.#run("encode", image(crops[0]));
    const { dtype, shape } = this.#function("encode").inputs.features;
    const features = zeros(dtype, sizesOf(this.manifest.interface.dims, shape)); // [1,n,F,D]
    let at = 0;
    for (const crop of crops) {
      const made = floats((await this.#run("encode_crop", image(crop))).features); // [F,D]
      features.data.set(made, at);
      at += made.length;
    }
    return this.#run("encode", { features, grid: int32(grid, [1, 2]) });
  }

  /** Generated tokens of one image; `onToken(choice)` follows. */
  generate(encoded, { rules, sampling }, onToken) {
    const state = State.begin(this.manifest.interface, encoded, (inputs) => this.#run("decode", inputs));
    return generate(state, rules, sampling ? sampler(sampling) : undefined, onToken);
  }

  /** f32 [E] of norm 1. */
  async embedImage(processed) {
    if (!("image_embedding" in this.#function("encode").outputs)) this.#lacks("embeddings of images");
    const made = await this.encode(processed);
    return embedding(made.image_embedding);
  }

  /** f32 [E] of norm 1. `encode`: text -> ids, for a model whose tokenizer is not here. */
  async embedText(text, encode) {
    if (!this.#function("encode_text")) this.#lacks("embeddings of texts");
    const made = await this.#run("encode_text", await textInputs(this, text, encode));
    return embedding(made.text_embedding);
  }

  #function(name) {
    return functionNamed(this.manifest.interface, name);
  }

  /** Outputs by name; bundle.model for other shapes than the interface declares. */
  async #run(name, inputs) {
    const made = await this.session.run(name, inputs);
    for (const [key, { shape }] of Object.entries(this.#function(name).outputs)) {
      shaped(made[key], sizesOf(this.manifest.interface.dims, shape), `${name}.${key}`);
    }
    return made;
  }

  #lacks(what) {
    throw new EdgecapError("model.capability", `${this.manifest.name} has no ${what}.`);
  }
}
