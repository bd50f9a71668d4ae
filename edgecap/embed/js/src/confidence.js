/**
 * How sure a captioner is: the probability that a caption is right, and that a box is, by logistic
 * regression on the log-probabilities of their tokens. The weights travel with the bundle in
 * confidence.json (SPEC.md, Confidence); a model without them has no confidence and declines nothing.
 */
import { EdgecapError } from "./errors.js";
import { MAX_JSON_BYTES, parse } from "./json.js";
import { optional, real, record, table, text, whole } from "./typed.js";

export const CONFIDENCE = "confidence.json";
const SCHEMA = 1;
const LOWEST = -50; // of a log-probability, so that a token that was thought impossible stays finite
const CALIBRATION = record({
  schema: whole,
  right: text,
  fitted_on: text,
  weights: optional(text),
  captions: table(record({ bias: real, mean: real, least: real, threshold: real })),
  regions: table(record({ bias: real, box: real, mean: real })),
});

function bad(message) {
  throw new EdgecapError("bundle.confidence", `${CONFIDENCE}: ${message}.`);
}

/** A checked calibration; refuses bundle.confidence, bundle.schema and those of typed JSON. */
export function readCalibration(bytes) {
  const found = CALIBRATION(parse(bytes, CONFIDENCE, MAX_JSON_BYTES), CONFIDENCE);
  if (found.schema !== SCHEMA) {
    throw new EdgecapError("bundle.schema", `${CONFIDENCE} has schema ${found.schema}; ${SCHEMA} is read.`);
  }
  if (!Object.keys(found.captions).length) bad("captions must not be empty");
  for (const [name, { mean, least, threshold }] of Object.entries(found.captions)) {
    if (threshold < 0 || threshold > 1) bad(`captions.${name} needs a threshold in 0 … 1`);
    if (mean < 0 || least < 0) bad(`captions.${name} would trust an unlikely caption more than a likely one`);
  }
  if (found.weights !== null && !/^[0-9a-f]{64}$/.test(found.weights)) bad("weights must be null or a SHA-256");
  return found;
}

/** Refuses a `minimum` that is not null, "auto" or a number in 0 … 1, or that the model cannot keep. */
export function checkMinimum(minimum, calibration) {
  if (minimum === null) return;
  if (minimum !== "auto" && !(typeof minimum === "number" && minimum >= 0 && minimum <= 1)) {
    throw new EdgecapError("confidence.minimum", `minConfidence is ${minimum}; allowed: 0 … 1, and "auto".`);
  }
  if (calibration === null) {
    throw new EdgecapError(
      "confidence.none",
      "this model carries no calibration of its confidence.",
      "Fit one to your images: edgecap calibrate BUNDLE --images DIR --others DIR",
    );
  }
}

/** Refuses a prompt for which a minimum cannot be kept. */
export function checkCalibrated(prompt, minimum, calibration) {
  if (minimum === null || prompt in calibration.captions) return;
  throw new EdgecapError(
    "confidence.style",
    `the calibration of this model is for ${Object.keys(calibration.captions).join(", ")}, not for ${prompt}.`,
  );
}

/** The caption with `confidence`, `declined` and each region's `confidences`; empty where it is declined. */
export function rated(caption, calibration, minimum) {
  const weights = calibration?.captions[caption.prompt];
  if (!weights || !caption.scores.length) return { ...caption, confidence: null, declined: false };
  const scores = caption.scores.map((score) => Math.max(score, LOWEST));
  const mean = scores.reduce((a, b) => a + b, 0) / scores.length;
  const confidence = logistic(weights.bias + weights.mean * mean + weights.least * Math.min(...scores));
  if (minimum !== null && confidence < (minimum === "auto" ? weights.threshold : minimum)) {
    return { ...caption, text: "", raw: "", regions: [], words: [], confidence, declined: true };
  }
  const boxes = calibration.regions[caption.prompt];
  const sure = (score) => logistic(boxes.bias + boxes.box * Math.max(Math.log(score), LOWEST) + boxes.mean * mean);
  const regions = boxes
    ? caption.regions.map((region) => ({ ...region, confidences: region.scores.map(sure) }))
    : caption.regions;
  return { ...caption, regions, confidence, declined: false };
}

const logistic = (x) => 1 / (1 + Math.exp(-x));
