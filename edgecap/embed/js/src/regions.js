/**
 * From ids to words, phrases and boxes in the pixels of the user's image
 * (edgecap/bundle/regions_spec.py names the codecs). Spans count UTF-16 units.
 */
const SEPARATOR = /[.,;:!?、。，；：！？「」()"]/gu;
const leading = (text) => text.length - text.trimStart().length;

/**
 * { text, regions: [{ start, end, boxes, scores }], malformed }. `size`: [h, w] of the input. `startOf`:
 * from the text since the last region to where the phrase at its end begins (edges4, loc1000); by
 * default after the last punctuation mark or region. `strip`: take surrounding spaces off the text.
 */
export function readRegions(ids, codec, spec, size, placement, scores, { startOf = null, strip = true } = {}) {
  const walk = new Walk(ids, codec, spec, size, placement, scores);
  const regions = { cells2: marked, loc1024: beforePhrase }[spec.codec]?.(walk) ?? afterPhrase(walk, startOf);
  if (!strip) return { text: walk.text, regions, malformed: walk.malformed };
  const text = walk.text.trim();
  const lead = leading(walk.text);
  const moved = (place) => Math.min(Math.max(place - lead, 0), text.length);
  return {
    text,
    regions: regions.map((region) => ({ ...region, start: moved(Math.min(region.start, region.end)), end: moved(region.end) })),
    malformed: walk.malformed,
  };
}

class Walk {
  constructor(ids, codec, spec, size, placement, scores) {
    Object.assign(this, { ids, codec, spec, size, placement, scores, malformed: 0 });
    const unsaid = new Set(Object.values(spec.marks));
    this.words = [];
    this.counts = [0];
    for (const id of ids) {
      if (!this.isPlace(id) && !unsaid.has(id)) this.words.push(id);
      this.counts.push(this.words.length);
    }
    this.text = codec.decode(this.words);
  }

  isPlace(id) {
    return id >= this.spec.first && id < this.spec.first + this.spec.count;
  }

  /** Characters that the words among the first n ids make. */
  length(n) {
    return Math.min(this.codec.decode(this.words.slice(0, this.counts[n])).length, this.text.length);
  }

  /** [from, to) of every run of places. */
  runs() {
    const found = [];
    for (let at = 0; at < this.ids.length; at += 1) {
      if (!this.isPlace(this.ids[at])) continue;
      const start = at;
      while (at < this.ids.length && this.isPlace(this.ids[at])) at += 1;
      found.push([start, at]);
    }
    return found;
  }

  boxes(start, end) {
    const size = this.spec.codec === "cells2" ? 2 : 4;
    const found = { boxes: [], scores: [] };
    for (let i = start; i + size <= end; i += size) {
      const box = inputBox(this.ids.slice(i, i + size).map((id) => id - this.spec.first), this.spec, this.size);
      if (box === null) {
        this.malformed += 1;
        continue;
      }
      found.boxes.push(this.placement.toImage(box));
      found.scores.push(Math.exp(this.scores.slice(i, i + size).reduce((a, b) => a + b, 0) / size));
    }
    this.malformed += Number((end - start) % size > 0);
    return found;
  }
}

/** A box in px of the input from its places; null where it is none. */
function inputBox(values, spec, [h, w]) {
  let unit;
  if (spec.codec === "edges4") {
    const [x0, y0, x1, y1] = values.map((value) => value * spec.bin_px);
    return x0 < x1 && y0 < y1 ? [x0, y0, x1, y1] : null;
  }
  if (spec.codec === "cells2") unit = cells(values[0], values[1], Math.floor(Math.sqrt(spec.count)));
  else if (spec.codec === "loc1000") unit = values.map((value) => (value + 0.5) / spec.count);
  else unit = [1, 0, 3, 2].map((i) => values[i] / spec.count);
  const [x0, y0, x1, y1] = unit;
  return x0 <= x1 && y0 <= y1 ? [x0 * w, y0 * h, x1 * w, y1 * h] : null;
}

/** The unit box between two cells of an n x n grid, as Kosmos-2 reads it. */
function cells(first, last, n) {
  const [y0, x0, y1, x1] = [Math.floor(first / n), first % n, Math.floor(last / n), last % n];
  const [before, after] = x0 === x1 || y0 === y1 ? [0, 1] : [0.5, 0.5];
  return [(x0 + before) / n, (y0 + before) / n, (x1 + after) / n, (y1 + after) / n];
}

function afterMark(text) {
  let start = 0;
  for (const match of text.matchAll(SEPARATOR)) start = match.index + match[0].length;
  return start + leading(text.slice(start));
}

/** edges4, loc1000: the words since the last region, then the boxes. */
function afterPhrase(walk, startOf) {
  const rule = startOf ?? (walk.spec.codec === "edges4" ? afterMark : leading);
  const regions = [];
  let previous = 0;
  for (const [start, end] of walk.runs()) {
    const found = walk.boxes(start, end);
    const textEnd = walk.text.slice(0, walk.length(start)).trimEnd().length;
    if (found.boxes.length) {
      // Two runs with nothing said between them name nothing twice.
      const begin = Math.min(previous + rule(walk.text.slice(previous, textEnd)), textEnd);
      regions.push({ start: begin, end: textEnd, ...found });
    }
    previous = Math.max(textEnd, previous);
  }
  return regions;
}

/** loc1024: the boxes, then the words up to the next ";" or box. */
function beforePhrase(walk) {
  const runs = walk.runs();
  return runs.flatMap(([start, end], n) => {
    const found = walk.boxes(start, end);
    if (!found.boxes.length) return [];
    const last = runs[n + 1]?.[0] ?? walk.ids.length;
    const begin = walk.length(end);
    const phrase = walk.text.slice(begin, walk.length(last)).split(";")[0];
    const from = begin + leading(phrase);
    return [{ start: from, end: from + phrase.trim().length, ...found }];
  });
}

/** cells2: [<phrase> words </phrase>] <object> pair (delimiter pair)* </object>. */
function marked(walk) {
  const { ids, spec: { marks } } = walk;
  const regions = [];
  ids.forEach((id, start) => {
    if (id !== marks.object) return;
    let end = start + 1;
    while (end < ids.length && (walk.isPlace(ids[end]) || ids[end] === marks.delimiter)) end += 1;
    const pairs = [];
    for (let at = start + 1; at < end; at += 3) pairs.push([at, at + 2]);
    const whole = end < ids.length && ids[end] === marks.end_object && end - start === 3 * pairs.length;
    const divided = whole && pairs.slice(0, -1).every(([, b]) => ids[b] === marks.delimiter);
    if (!divided || !pairs.every(([a, b]) => ids.slice(a, b).every((place) => walk.isPlace(place)))) {
      walk.malformed += 1;
      return;
    }
    const read = pairs.map(([a, b]) => walk.boxes(a, b));
    const boxes = read.flatMap((found) => found.boxes);
    const scores = read.flatMap((found) => found.scores);
    if (!boxes.length) return;
    const span = markedPhrase(walk, start);
    const place = walk.length(start);
    if (span === null) boxes.forEach((box, i) => regions.push({ start: place, end: place, boxes: [box], scores: [scores[i]] }));
    else regions.push({ start: span[0], end: span[1], boxes, scores });
  });
  return regions;
}

/** Where the phrase lies that ends just before ids[start]; null where none does. */
function markedPhrase(walk, start) {
  const { ids, spec: { marks } } = walk;
  if (start < 1 || ids[start - 1] !== marks.end_phrase) return null;
  const all = Object.values(marks);
  let opening = start - 2;
  while (opening >= 0 && !all.includes(ids[opening]) && !walk.isPlace(ids[opening])) opening -= 1;
  if (opening < 0 || ids[opening] !== marks.phrase) return null;
  const begin = walk.length(opening + 1);
  const phrase = walk.text.slice(begin, walk.length(start - 1));
  return phrase ? [begin + leading(phrase), begin + phrase.trimEnd().length] : null;
}
