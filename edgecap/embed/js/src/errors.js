/**
 * One error class. Codes are those of the bundle's SPEC.md and of the Python package; a message says
 * what was got, a hint what is allowed or what to do next.
 */
export class EdgecapError extends Error {
  /** @param {string} code stable, for programs  @param {string} message one line  @param {string} hint */
  constructor(code, message, hint = "") {
    super(`[${code}] ${message}${hint ? ` ${hint}` : ""}`);
    this.name = "EdgecapError";
    this.code = code;
    this.hint = hint;
  }
}

/** `got` itself where it is one of `allowed`; else an error with the code `<what>.unknown`. */
export function pick(what, got, allowed) {
  const names = [...allowed];
  if (names.includes(got)) return got;
  throw new EdgecapError(
    `${what}.unknown`,
    `unknown ${what} ${JSON.stringify(got)}; allowed: ${names.join(", ")}.`,
  );
}
