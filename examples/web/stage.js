/** The image with its boxes and the map of a word. */
const TINTS = ["#c2410c", "#1d4ed8", "#15803d", "#a21caf", "#b45309", "#0f766e", "#be123c"];
export const tint = (n) => TINTS[n % TINTS.length];

/** A probability in words; rounded down, since nothing is certain. */
export const percent = (probability) => `${Math.floor(100 * probability)} %`;

export class Stage {
  constructor(element) {
    this.frame = element.querySelector(".frame");
    this.hint = element.querySelector(".hint");
    this.image = element.querySelector("img");
    this.heat = element.querySelector("canvas");
    this.layer = element.querySelector("#boxes");
  }

  /** Shows an image; rejects where the browser cannot read it. */
  async show(blob, name) {
    const url = URL.createObjectURL(blob);
    const image = new Image();
    image.src = url;
    await image.decode();
    URL.revokeObjectURL(this.image.src);
    this.image.src = url;
    this.image.alt = name;
    this.size = [image.naturalWidth, image.naturalHeight];
    this.frame.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight);
    this.frame.hidden = false;
    this.hint.hidden = true;
    this.boxes([]);
    this.map(null);
  }

  /** Boxes of regions, numbered as in the caption; how sure each is shows where it is brought forward. */
  boxes(regions) {
    const [w, h] = this.size ?? [1, 1];
    this.layer.replaceChildren(
      ...regions.flatMap(({ boxes, confidences }, n) =>
        boxes.map(([x0, y0, x1, y1], i) => {
          const box = document.createElement("div");
          const label = document.createElement("b");
          const sure = document.createElement("span");
          box.className = "box";
          box.dataset.region = n;
          label.textContent = n + 1;
          if (confidences.length) sure.textContent = ` ${percent(confidences[i])}`;
          label.append(sure);
          box.append(label);
          box.style.cssText = `left:${(100 * x0) / w}%;top:${(100 * y0) / h}%;width:${(100 * (x1 - x0)) / w}%;height:${(100 * (y1 - y0)) / h}%;--tint:${tint(n)}`;
          return box;
        }),
      ),
    );
  }

  /** Brings forward the boxes of one region; null: all alike. */
  light(n) {
    this.layer.classList.toggle("some", n !== null);
    for (const box of this.layer.children) box.classList.toggle("lit", Number(box.dataset.region) === n);
  }

  /**
   * Where the model looked: a map { data, rows, columns } over the whole input, cut to the image that
   * lies there as `placement` says. null takes it away.
   */
  map(map, placement, inputSize) {
    this.heat.classList.toggle("shown", map !== null);
    if (map === null) return;
    const { data, rows, columns } = map;
    const most = Math.max(...data) || 1;
    const small = new OffscreenCanvas(columns, rows);
    const pixels = new ImageData(columns, rows);
    data.forEach((value, i) => {
      const heat = Math.min(1, value / most) ** 0.7; // weak attention shows too
      pixels.data.set([255, 40 + 190 * heat, 30, 215 * heat], i * 4);
    });
    small.getContext("2d").putImageData(pixels, 0, 0);
    const [w, h] = this.size;
    const scale = Math.min(1, 640 / Math.max(w, h));
    Object.assign(this.heat, { width: Math.max(1, Math.round(w * scale)), height: Math.max(1, Math.round(h * scale)) });
    const { left, top, scaledWidth, scaledHeight } = placement;
    const across = columns / inputSize[1];
    const down = rows / inputSize[0];
    const context = this.heat.getContext("2d");
    context.fillStyle = "rgb(0 0 0 / 45%)";
    context.fillRect(0, 0, this.heat.width, this.heat.height);
    context.drawImage(
      small, left * across, top * down, scaledWidth * across, scaledHeight * down,
      0, 0, this.heat.width, this.heat.height,
    );
  }
}
