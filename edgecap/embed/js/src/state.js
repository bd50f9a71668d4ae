/**
 * The state of one caption in progress, by the manifest's interface: tensors by name, of which image
 * rows are shared, text rows are its own, and rolling ones are replaced. Letters as in interface.js.
 */
import { encodedShape, hasRows, newName, sizesOf, stepShape } from "./interface.js";
import { floats, int32, shaped, zeros } from "./tensors.js";

export class State {
  /** The state before the first token. `encoded`: outputs of encode; `run(inputs)`: calls decode. */
  static begin(interface_, encoded, run) {
    const tensors = {};
    for (const entry of interface_.state) {
      const { name, role, shape, dtype } = entry;
      const buffer = hasRows(entry) && zeros(dtype, sizesOf(interface_.dims, shape)); // masked rows must be finite
      const given = role === "text" ? null : shaped(encoded[name], sizesOf(interface_.dims, encodedShape(entry)), name);
      if (role === "cache") copyRows(given, buffer, 0);
      tensors[name] = buffer || given;
    }
    return new State(interface_, run, tensors, 0);
  }

  /** `position`: tokens fed so far. */
  constructor(interface_, run, tensors, position) {
    Object.assign(this, { interface: interface_, run, tensors, position });
  }

  /** Feeds a token; what chooses the next one: { logits f32 [V], attention f32 [P] or null }. */
  async feed(token) {
    const { dims, state } = this.interface;
    const made = await this.run({ token: int32([token], [1, 1]), position: int32([this.position], [1]), ...this.tensors });
    for (const entry of state) {
      if (entry.role === "image") continue;
      const given = shaped(made[newName(entry)], sizesOf(dims, stepShape(entry)), newName(entry));
      if (hasRows(entry)) copyRows(given, this.tensors[entry.name], (entry.role === "cache" ? dims.P : 0) + this.position);
      else this.tensors[entry.name] = given;
    }
    this.position += 1;
    return { logits: floats(made.logits), attention: made.attention ? floats(made.attention) : null };
  }

  /** A copy that goes on by itself. */
  fork() {
    const tensors = { ...this.tensors };
    for (const entry of this.interface.state.filter(hasRows)) {
      const tensor = tensors[entry.name];
      tensors[entry.name] = { ...tensor, data: tensor.data.slice() };
    }
    return new State(this.interface, this.run, tensors, this.position);
  }
}

/** Copies all rows of `from` […,n,Dh] into `to` […,C,Dh], from row `first` on. */
function copyRows(from, to, first) {
  const Dh = to.dims.at(-1);
  const [n, C] = [from.dims.at(-2), to.dims.at(-2)];
  for (let part = 0; part * n * Dh < from.data.length; part += 1) {
    to.data.set(from.data.subarray(part * n * Dh, (part + 1) * n * Dh), (part * C + first) * Dh);
  }
}
