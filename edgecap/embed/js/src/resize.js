/**
 * Pillow's 8-bit resize to the bit (Resample.c): double coefficients, 22-bit fixed point, the
 * horizontal pass first, rounded to 8 bits between the passes, a side that stays left out.
 *
 * Images are { data: Uint8Array [h,w,3], width, height }. Letters: h, w in px; n samples in, m out.
 */
const BITS = 22;

const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
/** name -> weight at a distance in samples, and the distance beyond which it is 0. */
const FILTERS = {
  box: [(x) => (x > -0.5 && x <= 0.5 ? 1 : 0), 0.5],
  bilinear: [(x) => Math.max(0, 1 - Math.abs(x)), 1],
  hamming: [
    (x) => (Math.abs(x) < 1 ? sinc(Math.abs(x)) * (0.54 + 0.46 * Math.cos(Math.PI * Math.abs(x))) : 0),
    1,
  ],
  bicubic: [
    (signed) => {
      const a = -0.5;
      const x = Math.abs(signed);
      if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
    },
    2,
  ],
  lanczos: [(x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0), 3],
};

/** Where each of m places begins among n samples, how many it takes, and their weights [m,most]. */
function coefficients(n, m, filter) {
  const [weight, radius] = FILTERS[filter];
  const scale = n / m;
  const widened = Math.max(scale, 1);
  const support = radius * widened;
  const most = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(m);
  const count = new Int32Array(m);
  const weights = new Int32Array(m * most);
  const doubles = new Float64Array(most);
  for (let place = 0; place < m; place += 1) {
    const centre = (place + 0.5) * scale;
    const begin = Math.max(0, Math.trunc(centre - support + 0.5));
    const taken = Math.min(n, Math.trunc(centre + support + 0.5)) - begin;
    let sum = 0;
    for (let i = 0; i < taken; i += 1) {
      // Multiplied by the inverse, as Pillow does: the last bit counts.
      doubles[i] = weight((i + begin - centre + 0.5) * (1 / widened));
      sum += doubles[i];
    }
    for (let i = 0; i < taken; i += 1) {
      const share = sum !== 0 ? doubles[i] / sum : doubles[i];
      weights[place * most + i] = Math.trunc((share < 0 ? -0.5 : 0.5) + share * 2 ** BITS);
    }
    first[place] = begin;
    count[place] = taken;
  }
  return { first, count, weights, most };
}

/** One pass along an axis: `lines` lines of n samples, strides in bytes, to m samples each. */
function pass(source, target, n, m, filter, lines) {
  const { first, count, weights, most } = coefficients(n, m, filter);
  for (let line = 0; line < lines.count; line += 1) {
    for (let place = 0; place < m; place += 1) {
      const from = line * lines.sourceLine + first[place] * lines.sourceSample;
      const to = line * lines.targetLine + place * lines.targetSample;
      let r = 1 << (BITS - 1);
      let g = r;
      let b = r;
      for (let i = 0; i < count[place]; i += 1) {
        const w = weights[place * most + i];
        const at = from + i * lines.sourceSample;
        r += source[at] * w;
        g += source[at + 1] * w;
        b += source[at + 2] * w;
      }
      // A Uint8ClampedArray clips; >> is Pillow's own rounding.
      target[to] = r >> BITS;
      target[to + 1] = g >> BITS;
      target[to + 2] = b >> BITS;
    }
  }
}

/** An RGB image resized; the same object where nothing changes. */
export function resize(image, width, height, filter) {
  if (filter === "nearest") return nearest(image, width, height);
  let { data } = image;
  const { width: w, height: h } = image;
  if (w !== width) {
    const across = new Uint8ClampedArray(width * h * 3);
    pass(data, across, w, width, filter, {
      count: h, sourceLine: w * 3, sourceSample: 3, targetLine: width * 3, targetSample: 3,
    });
    data = across;
  }
  if (h !== height) {
    const down = new Uint8ClampedArray(width * height * 3);
    pass(data, down, h, height, filter, {
      count: width, sourceLine: 3, sourceSample: width * 3, targetLine: 3, targetSample: width * 3,
    });
    data = down;
  }
  return data === image.data ? image : { data, width, height };
}

/** Pillow's NEAREST: an affine transform that adds up the step, side by side. */
function nearest(image, width, height) {
  const columns = places(image.width, width);
  const rows = places(image.height, height);
  const data = new Uint8ClampedArray(width * height * 3);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const from = (rows[y] * image.width + columns[x]) * 3;
      data.set(image.data.subarray(from, from + 3), (y * width + x) * 3);
    }
  }
  return { data, width, height };
}

function places(n, m) {
  const found = new Int32Array(m);
  const step = n / m;
  let at = step * 0.5;
  for (let i = 0; i < m; i += 1, at += step) found[i] = Math.min(Math.trunc(at), n - 1);
  return found;
}
