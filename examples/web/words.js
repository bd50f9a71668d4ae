/** The caption as words that can be pointed at, phrases tinted as their boxes. */
import { percent, tint } from "./stage.js";

export class Words {
  constructor(element, stage) {
    Object.assign(this, { element, stage });
  }

  clear() {
    this.element.classList.remove("draft");
    this.element.replaceChildren();
    this.stage.map(null);
    this.stage.light(null);
  }

  /** What is said so far; faded, since the caption may yet be declined. */
  partial(text, regions, lang) {
    this.element.classList.add("draft");
    this.#write(text, regions, lang, (part) => document.createTextNode(part));
  }

  /** Instead of a caption that the model is not sure of. */
  declined({ confidence }) {
    this.clear();
    this.element.lang = "en";
    this.element.textContent = "I am not sure enough to say what this image shows.";
    this.#note(`${percent(confidence)} sure, which is too little to show a caption. Try another image.`);
  }

  /** The whole caption: every word with a map is a button. */
  whole(told, lang) {
    this.element.classList.remove("draft");
    const { text, regions, words } = told;
    const said = words.filter(({ span }) => span && span[1] > span[0]);
    this.#write(text, regions, lang, (part, at) => {
      const made = document.createDocumentFragment();
      let end = at;
      for (const word of said) {
        const [from, to] = word.span;
        if (from < end || to > at + part.length) continue;
        made.append(text.slice(end, from), this.#button(text.slice(from, to), word, told));
        end = to;
      }
      made.append(text.slice(end, at + part.length));
      return made;
    });
    if (told.confidence !== null) this.#note(`${percent(told.confidence)} sure that this is right`);
  }

  /** How sure the model is, below the words. */
  #note(text) {
    const note = document.createElement("small");
    note.lang = "en";
    note.textContent = text;
    this.element.append(note);
  }

  /** Writes text, each region's phrase in an element of its own; `inside` makes what is in it. */
  #write(text, regions, lang, inside) {
    const made = [];
    let end = 0;
    regions.forEach(({ span: [from, to] }, n) => {
      if (from < end || to <= from) return;
      made.push(inside(text.slice(end, from), end));
      const phrase = document.createElement("span");
      const number = document.createElement("sup");
      phrase.className = "phrase";
      phrase.style.setProperty("--tint", tint(n));
      number.textContent = n + 1;
      phrase.append(inside(text.slice(from, to), from), number);
      made.push(phrase);
      end = to;
    });
    made.push(inside(text.slice(end), end));
    this.element.lang = lang ?? "";
    this.element.replaceChildren(...made);
  }

  #button(text, word, { regions, placement, inputSize }) {
    const button = document.createElement("button");
    const region = regions.findIndex(({ span: [from, to] }) => from <= word.span[0] && word.span[1] <= to);
    button.type = "button";
    button.textContent = text;
    const on = () => {
      this.element.querySelector(".on")?.classList.remove("on");
      button.classList.add("on");
      this.stage.map(word.map, placement, inputSize);
      this.stage.light(region < 0 ? null : region);
    };
    const off = () => {
      button.classList.remove("on");
      this.stage.map(null);
      this.stage.light(null);
    };
    button.addEventListener("pointerenter", on);
    button.addEventListener("focus", on);
    button.addEventListener("click", on); // Safari does not focus what is clicked
    button.addEventListener("pointerleave", () => button !== document.activeElement && off());
    button.addEventListener("blur", off);
    return button;
  }
}
