/**
 * An image to the bytes that `encode` takes, by the manifest's `image`
 * (edgecap/runtime/image_processing.py has the arithmetic to the bit). h, w in px.
 */
import { EdgecapError } from "./errors.js";
import { inputSize } from "./schema2.js";
import { MAX_PIXELS, toRgb } from "./pixels.js";
import { Placement } from "./placement.js";
import { resize } from "./resize.js";

/**
 * { crops, grid, placement }: uint8 [h,w,3] each, one of them or those of a grid of [rows, columns],
 * row by row, and behind them one of the whole image, in which `placement` is; [0, 0]: no grid.
 */
export function processed(image, spec) {
  const rgb = toRgb(image, spec.background);
  const fitted = fit(rgb, spec);
  const [H, W] = inputSize(spec);
  if (spec.crops) {
    const { crops, grid } = cut(fitted, spec);
    return { crops: crops.map((crop) => bytesOf(crop, spec)), grid, placement: new Placement(rgb.width, rgb.height, 0, 0, W, H) };
  }
  // Rounds as transformers' center_crop: down where it cuts, up where it pads.
  const offset = (side, target) => (spec.crop ? 0 - Math.floor((side - target) / 2) : Math.floor((target - side) / 2));
  const [top, left] = [offset(fitted.height, H), offset(fitted.width, W)];
  return {
    crops: [bytesOf(centred(fitted, H, W, top, left, spec.fill), spec)],
    grid: [0, 0],
    placement: new Placement(rgb.width, rgb.height, left, top, fitted.width, fitted.height),
  };
}

/** A resized image as crops of side x side, and the grid they form. */
function cut(fitted, spec) {
  const { side, split } = spec.crops;
  const [h, w] = split ? multiples(fitted, side) : [side, side];
  const image = checked(fitted, w, h, spec);
  const [rows, columns] = [h / side, w / side];
  if (rows * columns === 1) return { crops: [image], grid: [0, 0] };
  const crops = [];
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) crops.push(centred(image, side, side, -row * side, -column * side, 0));
  }
  return { crops: [...crops, checked(image, side, side, spec)], grid: [rows, columns] };
}

/** Its bytes in the order of channels that the model takes. */
function bytesOf({ data }, spec) {
  const pixels = Uint8Array.from(data);
  if (spec.channels === "BGR") {
    for (let i = 0; i < pixels.length; i += 3) [pixels[i], pixels[i + 2]] = [pixels[i + 2], pixels[i]];
  }
  return pixels;
}

function checked(image, width, height, spec) {
  if (Math.max(height, image.height) * width > MAX_PIXELS) {
    throw new EdgecapError(
      "image.elongated",
      `an image of ${image.width} x ${image.height} px would be resized to ${width} x ${height}.`,
      "Crop it first.",
    );
  }
  return resize(image, width, height, spec.filter);
}

function fit(image, spec) {
  const { width: w, height: h } = image;
  const [H, W] = spec.size;
  const to = ([height, width], from = image) => checked(from, width, height, spec);
  if (spec.fit === "stretch") return to([H, W]);
  if (spec.fit === "contain") return to(contained(h, w, H, W));
  if (spec.fit === "longest_edge") return to(longestEdge(h, w, H));
  const covered = to(covering(h, w, Math.min(H, W)));
  return spec.fit === "cover" ? covered : to(thumbnail(covered.height, covered.width, H, W), covered);
}

function contained(h, w, H, W) {
  const [fill, m] = W * h <= H * w ? [W, w] : [H, h];
  const side = (length) => Math.max(1, Math.floor((length * fill + Math.floor(m / 2)) / m));
  return [side(h), side(w)];
}

function covering(h, w, edge) {
  const longer = Math.trunc((edge * Math.max(h, w)) / Math.min(h, w));
  return w <= h ? [longer, edge] : [edge, longer];
}

function thumbnail(h, w, H, W) {
  let [ih, iw] = [Math.min(h, H), Math.min(w, W)];
  if (ih === h && iw === w) return [h, w];
  if (h > w) iw = Math.trunc((w * ih) / h);
  else if (w > h) ih = Math.trunc((h * iw) / w);
  return [Math.max(1, ih), Math.max(1, iw)];
}

function longestEdge(h, w, edge) {
  const ratio = w / h;
  let other = Math.trunc(w >= h ? edge / ratio : edge * ratio);
  other = Math.max(1, other + (other % 2));
  return w >= h ? [other, edge] : [edge, other];
}

function multiples({ width: w, height: h }, side) {
  const multiple = (length) => Math.max(1, Math.ceil(length / side)) * side;
  const ratio = w / h;
  if (w >= h) {
    const width = multiple(w);
    return [multiple(Math.trunc(width / ratio)), width];
  }
  const height = multiple(h);
  return [height, multiple(Math.trunc(height * ratio))];
}

function centred(image, H, W, top, left, fill) {
  const { data, width: w, height: h } = image;
  if (h === H && w === W) return image;
  const out = new Uint8ClampedArray(H * W * 3).fill(fill);
  const [x0, x1] = [Math.max(left, 0), Math.min(left + w, W)];
  for (let y = Math.max(top, 0); y < Math.min(top + h, H); y += 1) {
    const from = ((y - top) * w + x0 - left) * 3;
    if (x1 > x0) out.set(data.subarray(from, from + (x1 - x0) * 3), (y * W + x0) * 3);
  }
  return { data: out, width: W, height: H };
}
