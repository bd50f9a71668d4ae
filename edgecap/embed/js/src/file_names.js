/** The names of a bundle's files: which are allowed, and which are listed. */
import { EdgecapError } from "./errors.js";

export const MANIFEST = "manifest.json";
const MAX_FOLDERS = 4;

/** Whether a name is a relative path of letters, digits, _ - . at most four folders deep. */
export function isPlainPath(name) {
  const parts = name.split("/");
  return parts.every((part) => /^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$/.test(part)) && parts.length <= MAX_FOLDERS + 1;
}

/** Refuses (bundle.path, bundle.manifest) a list of files that no host can have. */
export function checkFiles(files) {
  const bad = (message) => {
    throw new EdgecapError("bundle.manifest", `${MANIFEST}: ${message}.`);
  };
  for (const [name, entry] of Object.entries(files)) {
    if (!isPlainPath(name)) {
      throw new EdgecapError(
        "bundle.path",
        `${JSON.stringify(name)} is not a plain path inside the bundle (letters, digits, _ - . and /).`,
      );
    }
    if (name === MANIFEST) throw new EdgecapError("bundle.path", `${MANIFEST} must not list itself.`);
    if (!/^[0-9a-f]{64}$/.test(entry.sha256) || entry.size < 0) bad(`files.${name} has no valid SHA-256 and size`);
  }
  const names = Object.keys(files);
  if (new Set(names.map((name) => name.toLowerCase())).size !== names.length) {
    bad("two files differ in upper and lower case only");
  }
}

/** Refuses (bundle.missing_file) a file that is not listed; `*.mlpackage` is a directory of listed files. */
export function checkListed(files, name, what = name) {
  const isPackage = name.endsWith(".mlpackage") && Object.keys(files).some((file) => file.startsWith(`${name}/`));
  if (!isPackage && !(name in files)) {
    throw new EdgecapError("bundle.missing_file", `${what} is not listed.`);
  }
}
