/** node manifests.mjs FILE: the code that each manifest of a JSON list is refused with, or null. */
import { readFileSync } from "node:fs";
import { readManifest } from "../../edgecap/embed/js/src/manifest.js";

const codes = JSON.parse(readFileSync(process.argv[2], "utf8")).map((manifest) => {
  try {
    readManifest(new TextEncoder().encode(JSON.stringify(manifest)));
    return null;
  } catch (error) {
    return error.code ?? String(error.stack);
  }
});
process.stdout.write(JSON.stringify(codes));
