/**
 * Packed bundles (.edgecap): a zip archive of stored files in the one layout that SPEC.md gives,
 * "Single file". Nothing is copied: files are views of the archive's bytes.
 */
import { crc32 } from "./crc32.js";
import { EdgecapError } from "./errors.js";
import { MANIFEST, isPlainPath } from "./file_names.js";

export const SUFFIX = ".edgecap";
const [LOCAL, CENTRAL, END, EXTRA] = [30, 46, 22, 6];
const ALIGNMENT = 64;
const MOST_FILES = 4096;

/** Whether bytes begin as a packed bundle does. */
export function isContainer(bytes) {
  return bytes[0] === 0x50 && bytes[1] === 0x4b && bytes[2] === 3 && bytes[3] === 4;
}

/** Map of name -> Uint8Array, manifest.json first; EdgecapError bundle.container, .path, .altered. */
export function readContainer(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const two = (at) => view.getUint16(at, true);
  const four = (at) => view.getUint32(at, true);
  const refuse = (problem) => {
    throw new EdgecapError("bundle.container", `this packed bundle ${problem}.`, "Make it again with: edgecap pack");
  };
  if (bytes.length < END || bytes.length > 0xffffffff) refuse("has no archive's size");
  const end = bytes.length - END;
  if (four(end) !== 0x06054b50) refuse("has no end record: it is truncated, or something follows it");
  const [count, central] = [two(end + 10), four(end + 16)];
  if (four(end + 4) !== 0 || two(end + 20) !== 0 || two(end + 8) !== count || four(end + 12) + central !== end) {
    refuse("has a wrong end record");
  }
  if (count < 1 || count > MOST_FILES) refuse(`has ${count} files; 1 to ${MOST_FILES} are allowed`);

  const files = new Map();
  let [at, record, last] = [0, central, ""];
  for (let index = 0; index < count; index += 1) {
    if (end - record < CENTRAL) refuse("has a directory that ends early");
    checkRecord(two, four, record, refuse);
    const length = two(record + 28);
    if (end - record - CENTRAL < length) refuse("has a directory that ends early");
    const name = String.fromCharCode(...bytes.subarray(record + CENTRAL, record + CENTRAL + length));
    if (index === 0 && name !== MANIFEST) refuse(`does not begin with ${MANIFEST}`);
    if (index > 0 && (name === MANIFEST || !isPlainPath(name))) {
      throw new EdgecapError("bundle.path", `"${name.slice(0, 60)}" is not a plain path inside the bundle.`);
    }
    if (index > 1 && name <= last) refuse(`has ${name} twice or out of order`);
    const header = localHeader(bytes.subarray(record, record + CENTRAL + length), at);
    if (four(record + 42) !== at || at + header.length > central || header.some((byte, i) => bytes[at + i] !== byte)) {
      refuse(`has files that overlap or leave a gap at ${name}`);
    }
    const [begin, size] = [at + header.length, four(record + 20)];
    if (size > central - begin) refuse(`ends inside ${name}`);
    files.set(name, bytes.subarray(begin, begin + size));
    at = begin + size;
    record += CENTRAL + length;
    last = name;
  }
  if (at !== central || record !== end) refuse("has bytes that belong to no file");
  if (crc32(files.get(MANIFEST)) !== four(central + 16)) {
    throw new EdgecapError("bundle.altered", `${MANIFEST} of this packed bundle is damaged.`, "Copy it again.");
  }
  return files;
}

function checkRecord(two, four, at, refuse) {
  if (four(at) !== 0x02014b50) refuse("has a directory that ends early");
  if (two(at + 8) & 1) refuse("has an encrypted file");
  if (two(at + 10) !== 0 || four(at + 20) !== four(at + 24)) refuse("has a compressed file; files are stored");
  if (four(at + 38) !== 0x81a40000) refuse("has a link, a directory or another special file");
  const rest = [4, 6, 8, 12, 14, 30, 32, 34, 36].map((place) => two(at + place));
  if (rest.join() !== [0x0314, 10, 0, 0, 0x21, 0, 0, 0, 0].join()) refuse("has fields that differ from those of a packed bundle");
}

/** The header that belongs to a record of the directory, for a file at `at`. */
function localHeader(record, at) {
  const name = record.subarray(CENTRAL);
  const fixed = LOCAL + name.length + EXTRA;
  const padding = (ALIGNMENT - ((at + fixed) % ALIGNMENT)) % ALIGNMENT;
  const header = new Uint8Array(fixed + padding);
  const view = new DataView(header.buffer);
  view.setUint32(0, 0x04034b50, true);
  view.setUint16(4, 10, true);
  view.setUint16(12, 0x21, true);
  header.set(record.subarray(16, 28), 14); // CRC-32 and both sizes
  view.setUint16(26, name.length, true);
  view.setUint16(28, EXTRA + padding, true);
  header.set(name, LOCAL);
  [0xd935, 2 + padding, ALIGNMENT].forEach((value, i) => view.setUint16(LOCAL + name.length + 2 * i, value, true));
  return header;
}
