/**
 * Where an image lies in the model's input, and boxes back to the image's pixels.
 *
 * `width`, `height`: of the image as displayed, after EXIF orientation. `left`, `top`: px of the
 * input to the image's corner, negative where it is cut off. `scaledWidth`, `scaledHeight`: px of
 * the input that the whole image covers. Boxes are [x0, y0, x1, y1].
 */
export class Placement {
  constructor(width, height, left, top, scaledWidth, scaledHeight) {
    Object.assign(this, { width, height, left, top, scaledWidth, scaledHeight });
  }

  /** A box of the input in the image's pixels, clipped to the image. */
  toImage([x0, y0, x1, y1]) {
    const across = this.width / this.scaledWidth;
    const down = this.height / this.scaledHeight;
    const clip = (value, most) => Math.min(Math.max(value, 0), most);
    return [
      clip((x0 - this.left) * across, this.width),
      clip((y0 - this.top) * down, this.height),
      clip((x1 - this.left) * across, this.width),
      clip((y1 - this.top) * down, this.height),
    ];
  }
}
