/**
 * Which token may come next: the table of a manifest, checked and run.
 * Letters: V vocabulary.
 */
import { EdgecapError } from "./errors.js";
import { list, record, table, text, whole } from "./typed.js";

const MAX_STATES = 64;
const MAX_ROOM = 64;
const END_ID = 1; // of <eos>, in every bundle with a grammar

const MOVE = record({ token: text, to: text, room: whole, above: whole });
export const GRAMMAR = record({
  start: table(text),
  classes: table(list(list(whole))),
  states: table(list(MOVE)),
});

function bad(message) {
  throw new EdgecapError("bundle.grammar", `manifest.json: grammar: ${message}.`);
}

/** Refuses (bundle.grammar) a table that a host cannot follow without surprises. */
export function checkGrammar(grammar, vocabulary) {
  const { start, classes, states } = grammar;
  if (Object.keys(start).sort().join() !== "boxes,plain") bad("start must name boxes and plain");
  if (Object.keys(states).length > MAX_STATES || Object.keys(classes).length > MAX_STATES) {
    bad(`there are more than ${MAX_STATES} states or classes`);
  }
  for (const [name, ranges] of Object.entries(classes)) {
    const edges = ranges.flat();
    const ascending = edges.every((edge, i) => i === 0 || edge > edges[i - 1]);
    if (!edges.length || !ascending || ranges.some((r) => r.length !== 2) || edges.at(-1) > vocabulary || edges[0] < 0) {
      bad(`class ${name} is not made of ascending ranges of ids below ${vocabulary}`);
    }
  }
  for (const [state, moves] of Object.entries(states)) checkMoves(grammar, state, moves);
  for (const state of Object.values(start)) {
    if (!(state in states) || !states[state].length) bad(`the start ${state} is no state with moves`);
  }
  const ending = new Set();
  let before = -1;
  while (ending.size > before) {
    before = ending.size;
    for (const [state, moves] of Object.entries(states)) {
      if (!moves.length || moves.some((move) => ending.has(move.to))) ending.add(state);
    }
  }
  const endless = Object.keys(states).find((state) => !ending.has(state));
  if (endless !== undefined) bad(`no way leads from state ${endless} to <eos>`);
}

function checkMoves({ classes, states }, state, moves) {
  const ranges = [];
  for (const { token, to, room, above } of moves) {
    if (!(to in states) || !(token in classes)) bad(`state ${state} moves by ${token} to ${to}; one is unknown`);
    if (room < 1 || room > MAX_ROOM || above < 0 || above > MAX_ROOM) {
      bad(`state ${state}: room must be 1-${MAX_ROOM} and above 0-${MAX_ROOM}`);
    }
    if (!states[to].length && JSON.stringify(classes[token]) !== JSON.stringify([[END_ID, END_ID + 1]])) {
      bad(`state ${state} ends in ${to} by ${token}, not by <eos>`);
    }
    ranges.push(...classes[token]);
  }
  ranges.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  if (ranges.some((range, i) => i > 0 && ranges[i - 1][1] > range[0])) bad(`state ${state} has two moves for one token`);
}

/** A checked grammar from one of its starts. `known`: ids of the tokenizer, of V that the model has. */
export class TokenGrammar {
  constructor(grammar, start, vocabulary, known) {
    this.start = grammar.start[start];
    this.states = grammar.states;
    this.classes = grammar.classes;
    this.vocabulary = vocabulary;
    this.known = known;
  }

  /** Mask uint8 [V] of what may follow `tokens` when `left` more may be generated. */
  allowed(state, tokens, left) {
    const mask = new Uint8Array(this.vocabulary);
    let any = false;
    for (const move of this.states[state]) {
      if (left < move.room) continue;
      const above = move.above && tokens.length >= move.above ? tokens.at(-move.above) + 1 : 0;
      for (const [begin, end] of this.classes[move.token]) {
        const from = Math.max(begin, above);
        const to = Math.min(end, this.known);
        if (from < to) {
          mask.fill(1, from, to);
          any = true;
        }
      }
    }
    if (!any) throw new EdgecapError("bundle.grammar", `no token may follow in state ${state}.`);
    return mask;
  }

  /** The state that an allowed token leads to. */
  after(state, token) {
    const holds = (move) => this.classes[move.token].some(([a, b]) => a <= token && token < b);
    return this.states[state].find(holds).to;
  }
}
