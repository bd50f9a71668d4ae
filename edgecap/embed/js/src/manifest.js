/** What a bundle says about itself, in either schema, checked as SPEC.md says. */
import { EdgecapError } from "./errors.js";
import { MANIFEST, checkFiles } from "./file_names.js";
import { MAX_JSON_BYTES, Real, parse } from "./json.js";
import { SHAPE_1, checkManifest1 } from "./schema1.js";
import { SHAPE_2, checkManifest2 } from "./schema2.js";

/** A checked manifest from the bytes of manifest.json, in the schema that it is written in. */
export function readManifest(bytes) {
  const value = parse(bytes, MANIFEST, MAX_JSON_BYTES);
  // 1.0 and true equal 1 where the reference looks; both are refused by their type afterwards.
  const schema = value?.schema instanceof Real ? value.schema.value : Number(value?.schema ?? NaN);
  if (value === null || typeof value !== "object" || typeof value.schema === "string" || ![1, 2].includes(schema)) {
    throw new EdgecapError(
      "bundle.schema",
      `${MANIFEST} has schema ${JSON.stringify(value?.schema)}; schemas 1 and 2 are read.`,
      "Export the bundle again, or use the edgecap that wrote it.",
    );
  }
  const [shape, check] = schema === 2 ? [SHAPE_2, checkManifest2] : [SHAPE_1, checkManifest1];
  const manifest = shape(value, "manifest");
  checkFiles(manifest.files);
  check(manifest);
  return manifest;
}
