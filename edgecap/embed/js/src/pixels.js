/**
 * Pixels as the app has them to upright RGB: orientation, channel order, transparency.
 * Letters: h, w in px, C channels.
 */
import { EdgecapError } from "./errors.js";

export const MAX_PIXELS = 89_478_485; // Pillow's own warning limit, as in the Python package

/** An image of `channels` 1-4 values a pixel as RGB; `background` grey behind alpha, null drops it. */
export function toRgb({ data, width, height, channels = 4 }, background) {
  if (!Number.isInteger(width) || !Number.isInteger(height) || width < 1 || height < 1) {
    throw new EdgecapError("image.empty", `the image has no pixels: ${width} x ${height}.`);
  }
  if (width * height > MAX_PIXELS) {
    throw new EdgecapError(
      "image.too_large",
      `the image is too large: ${width} x ${height} pixels; at most ${MAX_PIXELS} are taken.`,
      "Shrink it first.",
    );
  }
  if (![1, 2, 3, 4].includes(channels) || !data || data.length !== width * height * channels) {
    throw new EdgecapError(
      "image.array",
      `data must have ${width} x ${height} x channels values (1-4 channels), got ${data?.length}.`,
    );
  }
  if (!(data instanceof Uint8Array || data instanceof Uint8ClampedArray)) {
    throw new EdgecapError("image.array", "data must be a Uint8Array or Uint8ClampedArray.");
  }
  const grey = channels < 3;
  const alpha = channels % 2 === 0;
  const rgb = new Uint8ClampedArray(width * height * 3);
  for (let from = 0, to = 0; to < rgb.length; from += channels, to += 3) {
    const a = alpha && background !== null ? data[from + channels - 1] : 255;
    for (let c = 0; c < 3; c += 1) {
      const value = data[from + (grey ? 0 : c)];
      rgb[to + c] = a === 255 ? value : over(value, a, background);
    }
  }
  return { data: rgb, width, height };
}

/** Pillow's alpha_composite over an opaque grey g. */
function over(value, alpha, g) {
  if (alpha === 0) return g;
  const c1 = 128 * alpha;
  const t = value * c1 + g * (255 * 128 - c1) + 128 * 128;
  return ((t >> 8) + t) >> 8 >> 7;
}

/** An image turned upright from EXIF orientation 1-8. Any number of channels. */
export function upright({ data, width: w, height: h, channels = 3 }, orientation) {
  if (!(orientation >= 2 && orientation <= 8)) return { data, width: w, height: h, channels };
  const swap = orientation >= 5;
  const [width, height] = swap ? [h, w] : [w, h];
  const turned = new data.constructor(data.length);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const [sx, sy] = {
        2: [w - 1 - x, y], 3: [w - 1 - x, h - 1 - y], 4: [x, h - 1 - y], 5: [y, x],
        6: [y, h - 1 - x], 7: [w - 1 - y, h - 1 - x], 8: [w - 1 - y, x],
      }[orientation];
      for (let c = 0; c < channels; c += 1) {
        turned[(y * width + x) * channels + c] = data[(sy * w + sx) * channels + c];
      }
    }
  }
  return { data: turned, width, height, channels };
}
