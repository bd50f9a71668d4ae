/** node upgraded.mjs BUNDLE: the manifest of a directory as it is run, in schema 2. */
import { readFileSync } from "node:fs";
import { readManifest } from "../../edgecap/embed/js/src/manifest.js";
import { openVocabulary } from "../../edgecap/embed/js/src/vocabulary.js";

const read = (name) => new Uint8Array(readFileSync(`${process.argv[2]}/${name}`));
const { manifest } = openVocabulary({ manifest: readManifest(read("manifest.json")), read });
process.stdout.write(JSON.stringify(manifest));
