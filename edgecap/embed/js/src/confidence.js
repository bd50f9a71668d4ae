/**
 * How sure a captioner is: the probability that a caption is right, and that a box is, by logistic
 * regression on the log-probabilities of their tokens. The weights travel with the bundle in
 * confidence.json (SPEC.md, Confidence); a model without them has no confidence and declines nothing.
 * Where a prompt needs a second caption of the image, by another prompt, that is made only if a lowest
 * confidence was asked for.
 */
import { EdgecapError } from "./errors.js";
import { MAX_JSON_BYTES, parse } from "./json.js";
import { optional, real, record, table, text, whole } from "./typed.js";

export const CONFIDENCE = "confidence.json";
const SCHEMA = 1;
const LOWEST = -50; // of a log-probability, so that a token that was thought impossible stays finite
const SECOND = record({ style: text, mean: real });
const CALIBRATION = record({
  schema: whole,
  right: text,
  fitted_on: text,
  weights: optional(text),
  captions: table(record({ bias: real, mean: real, least: real, threshold: real, second: optional(SECOND) }, { second: null })),
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
  for (const [name, { mean, least, second, threshold }] of Object.entries(found.captions)) {
    if (threshold < 0 || threshold > 1) bad(`captions.${name} needs a threshold in 0 … 1`);
    if (Math.min(mean, least, second?.mean ?? 0) < 0) bad(`captions.${name} would trust an unlikely caption more than a likely one`);
  }
  if (found.weights !== null && !/^[0-9a-f]{64}$/.test(found.weights)) bad("weights must be null or a SHA-256");
  return found;
}

/** The calibration of a model, if it has one, and the lowest confidence that is not declined. */
export class Confidence {
  /** `minimum`: a number in 0 … 1, "auto" for the calibration's own limits, or null. Refuses confidence.*. */
  constructor(calibration, minimum) {
    if (minimum !== null && minimum !== "auto" && !(typeof minimum === "number" && minimum >= 0 && minimum <= 1)) {
      throw new EdgecapError("confidence.minimum", `minConfidence is ${minimum}; allowed: 0 … 1, and "auto".`);
    }
    if (minimum !== null && calibration === null) {
      throw new EdgecapError(
        "confidence.none",
        "this model carries no calibration of its confidence.",
        "Fit one to your images: edgecap calibrate BUNDLE --images DIR --others DIR",
      );
    }
    Object.assign(this, { calibration, minimum });
  }

  /** Refuses (confidence.style) a prompt for which the minimum cannot be kept. */
  check(prompt) {
    if (this.minimum === null || prompt in this.calibration.captions) return;
    throw new EdgecapError(
      "confidence.style",
      `the calibration of this model is for ${Object.keys(this.calibration.captions).join(", ")}, not for ${prompt}.`,
    );
  }

  /** The prompt that the images of captions by `prompt` must be captioned by as well, or null. */
  secondPrompt(prompt) {
    return (this.minimum !== null && this.calibration.captions[prompt]?.second?.style) || null;
  }

  /**
   * The caption with `confidence`, `declined` and each region's `confidences`; empty where it is declined.
   * `second`: the caption by `secondPrompt`, or null.
   */
  rated(caption, second) {
    const weights = this.calibration?.captions[caption.prompt];
    if (!weights || !caption.scores.length || (weights.second && !second)) return { ...caption, confidence: null, declined: false };
    const mean = meanOf(caption.scores);
    const least = Math.max(Math.min(...caption.scores), LOWEST);
    const also = weights.second ? weights.second.mean * meanOf(second.scores) : 0;
    const confidence = logistic(weights.bias + weights.mean * mean + weights.least * least + also);
    const limit = this.minimum === "auto" ? weights.threshold : this.minimum;
    if (limit !== null && confidence < limit) {
      return { ...caption, text: "", raw: "", regions: [], words: [], confidence, declined: true };
    }
    const box = this.calibration.regions[caption.prompt];
    const sure = (score) => logistic(box.bias + box.box * Math.max(Math.log(score), LOWEST) + box.mean * mean);
    const regions = caption.regions.map((region) => ({ ...region, confidences: box ? region.scores.map(sure) : [] }));
    return { ...caption, regions, confidence, declined: false };
  }
}

/** Of log-probabilities; of none, as of a token that was thought impossible. */
function meanOf(scores) {
  if (!scores.length) return LOWEST;
  return scores.reduce((sum, score) => sum + Math.max(score, LOWEST), 0) / scores.length;
}

const logistic = (x) => 1 / (1 + Math.exp(-x));
