/**
 * A bundle's files, from a URL, from files of a picker, from bytes, or from a directory in Node; or
 * all of them in one packed file (.edgecap), which is fetched as a whole and not unpacked.
 * Each is checked against its size and SHA-256 before anything uses it. Browsers keep what was
 * fetched in the Cache API, so that a page captions offline after the first load.
 */
import { CONFIDENCE } from "./confidence.js";
import { SUFFIX, isContainer, readContainer } from "./container.js";
import { EdgecapError } from "./errors.js";
import { MANIFEST } from "./file_names.js";
import { readManifest } from "./manifest.js";

const CACHE = "edgecap-bundles-1";
/** What only checks, and what people read and may edit (SPEC.md): a host needs none of it. */
const CHECKS = /^(parity\.json|plan\.json|search\.json|golden\/.*)$/;
const PEOPLE_READ = /\.(md|txt|rst|pdf|html|png|jpe?g|gif|svg|webp)$|^(.*\/)?(LICEN[SC]E|COPYING|NOTICE|AUTHORS|CITATION)$/i;
const LFS_POINTER = "version https://git-lfs.github.com/spec/";
const AGAIN = "Copy the bundle again, or export it again.";

/**
 * Opens `source`: a URL or path of a bundle's directory or packed file, a FileList or array of Files,
 * an object or Map of name -> bytes, or the bytes of a packed file. `onProgress({ status, file, loaded, total })` follows the bytes.
 * Gives { manifest, read(name) -> Promise<Uint8Array>, models: names of what engines need }.
 */
export async function openBundle(source, { onProgress = null, cache = true, signal } = {}) {
  const packed = await packedFiles(source, { cache, signal, onProgress });
  const fetchFile = packed ? async (name) => packed.get(name) ?? null : reader(source, { cache, signal });
  const manifestBytes = await fetchFile(MANIFEST, null, () => {});
  if (manifestBytes === null) {
    throw new EdgecapError("bundle.missing_file", `${describe(source)} has no ${MANIFEST}: not a bundle.`);
  }
  const manifest = readManifest(manifestBytes);
  const needed = Object.keys(manifest.files).filter((name) => !CHECKS.test(name) && !PEOPLE_READ.test(name));
  const total = needed.reduce((sum, name) => sum + manifest.files[name].size, 0);
  const kept = new Map();
  let before = 0;
  const absent = (name) => {
    if (name === CONFIDENCE) return null; // the model then has no confidence
    throw new EdgecapError("bundle.missing_file", `${name} is listed but missing.`, AGAIN);
  };

  async function load(name) {
    const entry = manifest.files[name];
    if (packed) {
      if (!packed.has(name)) return absent(name);
      await checkFile(name, entry, packed.get(name));
      return packed.get(name);
    }
    const report = (loaded) => onProgress?.({ status: "progress", file: name, loaded: before + loaded, total });
    onProgress?.({ status: "initiate", file: name, loaded: before, total });
    const bytes = await fetchFile(name, entry, report);
    if (bytes === null) return absent(name);
    await checkFile(name, entry, bytes);
    before += bytes.length;
    onProgress?.({ status: "done", file: name, loaded: before, total });
    return bytes;
  }
  for (const name of needed) {
    const bytes = await load(name);
    if (bytes !== null) kept.set(name, bytes);
  }
  const texts = [manifest.tokenizer?.file ?? manifest.tokenizer, manifest.encoder, CONFIDENCE];
  const functions = manifest.functions ?? manifest.contract.functions;
  const graphs = new Set(Object.values(functions).map(({ file }) => file));
  const weights = needed.filter((name) => !graphs.has(name) && !texts.includes(name));
  const has = (name) => kept.has(name);
  const read = (name) => {
    if (!has(name)) throw new EdgecapError("bundle.missing_file", `the bundle has no ${name}.`);
    return kept.get(name);
  };
  return { manifest, read, has, weights, release: () => kept.clear() };
}

async function checkFile(name, entry, bytes) {
  if (new TextDecoder("latin1").decode(bytes.subarray(0, LFS_POINTER.length)) === LFS_POINTER) {
    throw new EdgecapError(
      "bundle.lfs_pointer", `${name} is a Git-LFS pointer; the file itself was not downloaded.`, "Run: git lfs pull",
    );
  }
  if (bytes.length !== entry.size) {
    const code = bytes.length < entry.size ? "bundle.truncated" : "bundle.oversized";
    throw new EdgecapError(code, `${name} has ${bytes.length} bytes; the manifest says ${entry.size}.`, AGAIN);
  }
  const subtle = globalThis.crypto?.subtle; // none on plain http beside localhost: sizes must do there
  if (!subtle) return;
  const digest = new Uint8Array(await subtle.digest("SHA-256", bytes));
  if (Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") !== entry.sha256) {
    throw new EdgecapError("bundle.altered", `${name} is not the file the manifest was written for.`, AGAIN);
  }
}

const describe = (source) => (typeof source === "string" || source instanceof URL ? String(source) : "what was given");

/** Files by name of a source that is one packed bundle; null for any other source. */
async function packedFiles(source, { cache, signal, onProgress }) {
  if (source instanceof Uint8Array || source instanceof ArrayBuffer) return readContainer(await asBytes(source));
  const single = typeof source?.length === "number" && source.length === 1 && typeof source !== "string" ? source[0] : source;
  if (typeof Blob !== "undefined" && single instanceof Blob) {
    const start = new Uint8Array(await single.slice(0, 4).arrayBuffer());
    return single === source || isContainer(start) ? readContainer(await asBytes(single)) : null;
  }
  if (typeof source !== "string" && !(source instanceof URL)) return null;
  const address = String(source);
  if (!new RegExp(`\\${SUFFIX}([?#]|$)`).test(address)) return null;
  const file = address.split("/").pop();
  const report = (loaded, total) => onProgress?.({ status: "progress", file, loaded, total });
  onProgress?.({ status: "initiate", file, loaded: 0, total: 0 });
  const bytes = isUrl(source) ? await packedFromUrl(source, { cache, signal, report }) : await readPath(source);
  if (bytes === null) throw new EdgecapError("bundle.missing", `${address} does not exist.`);
  onProgress?.({ status: "done", file, loaded: bytes.length, total: bytes.length });
  return readContainer(bytes);
}

const isUrl = (source) =>
  !String(source).startsWith("file:") &&
  (/^(https?|blob|data):/.test(String(source)) || typeof process === "undefined" || !process.versions?.node);

async function readPath(source) {
  const [{ readFile }, { fileURLToPath }] = await Promise.all([import("node:fs/promises"), import("node:url")]);
  try {
    return new Uint8Array(await readFile(String(source).startsWith("file:") ? fileURLToPath(source) : source));
  } catch (error) {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return null;
    throw error;
  }
}

/** The network first, since an address says nothing of the content; what was kept where it fails. */
async function packedFromUrl(source, { cache, signal, report }) {
  const url = new URL(String(source), globalThis.location?.href);
  const store = cache && globalThis.caches ? await caches.open(CACHE) : null;
  let response;
  try {
    response = await fetch(url, { signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const kept = store && (await store.match(url));
    if (kept) return new Uint8Array(await kept.arrayBuffer());
    throw new EdgecapError("bundle.missing", `${url} cannot be fetched: ${error.message}.`, "Is the machine online?");
  }
  if (response.status === 404) return null;
  if (!response.ok) throw new EdgecapError("bundle.missing", `${url} answers ${response.status}.`);
  const total = Number(response.headers.get("content-length") ?? 0);
  const bytes = await body(response, 0xffffffff, url.pathname.split("/").pop(), (loaded) => report(loaded, total));
  if (store) await store.put(url, new Response(bytes)).catch(() => {}); // a full disk must not cost the load
  return bytes;
}

/** A function (name, entry | null, report) -> bytes, or null where there is no such file. */
function reader(source, options) {
  if (typeof source === "string" || source instanceof URL) {
    return isUrl(source) ? fromUrl(source, options) : fromDirectory(source);
  }
  if (source instanceof Map) return async (name) => asBytes(source.get(name));
  if (source !== null && typeof source === "object") {
    const listed = typeof source.length === "number" ? Array.from(source) : null;
    return listed ? fromFiles(listed) : async (name) => asBytes(Object.hasOwn(source, name) ? source[name] : undefined);
  }
  throw new EdgecapError("bundle.missing", `a bundle is a URL, a directory, files or bytes by name; got ${typeof source}.`);
}

async function asBytes(value) {
  if (value === undefined || value === null) return null;
  if (value instanceof Uint8Array) return value;
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  return new Uint8Array(await value.arrayBuffer()); // a Blob
}

/** Files as a directory picker or a drop gives them: the bundle is the folder with the manifest. */
function fromFiles(files) {
  const path = (file) => file.webkitRelativePath || file.name;
  const manifest = files.map(path).find((name) => name === MANIFEST || name.endsWith(`/${MANIFEST}`)) ?? MANIFEST;
  const root = manifest.slice(0, manifest.length - MANIFEST.length);
  const byName = new Map(files.map((file) => [path(file), file]));
  return async (name) => asBytes(byName.get(root + name));
}

function fromDirectory(source) {
  return async (name, entry) => {
    const [{ readFile, stat }, { join }, { fileURLToPath }] = await Promise.all([
      import("node:fs/promises"), import("node:path"), import("node:url"),
    ]);
    const root = String(source).startsWith("file:") ? fileURLToPath(source) : source;
    try {
      const status = await stat(join(root, name));
      if (!status.isFile()) throw new EdgecapError("bundle.not_a_file", `${name} is a directory or a device, not a file.`);
      if (entry === null && status.size > 4 << 20) {
        throw new EdgecapError("bundle.oversized", `${name} has more than the ${4 << 20} bytes that are read.`);
      }
      return await readFile(join(root, name));
    } catch (error) {
      if (error.code === "ENOENT" || error.code === "ENOTDIR") return null;
      throw error;
    }
  };
}

function fromUrl(source, { cache, signal }) {
  const base = new URL(`${String(source).replace(/\/+$/, "")}/`, globalThis.location?.href);
  return async (name, entry, report) => {
    const url = new URL(name, base);
    // The hash in the key: a bundle that was exported again is fetched again.
    const key = entry && new URL(`${url}?sha256=${entry.sha256}`);
    const store = cache && key && globalThis.caches ? await caches.open(CACHE) : null;
    const known = store && (await store.match(key));
    if (known) return new Uint8Array(await known.arrayBuffer());
    let response;
    try {
      response = await fetch(url, { signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new EdgecapError("bundle.missing", `${url} cannot be fetched: ${error.message}.`, "Is the machine online?");
    }
    if (response.status === 404) return null;
    if (!response.ok) throw new EdgecapError("bundle.missing", `${url} answers ${response.status}.`);
    const bytes = await body(response, entry?.size ?? 4 << 20, name, report);
    if (store) await store.put(key, new Response(bytes)).catch(() => {}); // a full disk must not cost the load
    return bytes;
  };
}

async function body(response, most, name, report) {
  const parts = [];
  let loaded = 0;
  for await (const part of chunks(response.body)) {
    loaded += part.length;
    if (loaded > most) {
      throw new EdgecapError("bundle.oversized", `${name} has more than the ${most} bytes that are expected.`, AGAIN);
    }
    parts.push(part);
    report(loaded);
  }
  const bytes = new Uint8Array(loaded);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Safari's streams cannot be iterated. */
async function* chunks(stream) {
  const reader_ = stream.getReader();
  for (;;) {
    const { done, value } = await reader_.read();
    if (done) return;
    yield value;
  }
}
