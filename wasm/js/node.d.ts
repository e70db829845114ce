import type { IncomingMessage, ServerResponse } from "node:http";
import type { Answer, Decision, Forward, Gate } from "./index.js";

/** What goes on of a request's head, if `decision.forward`. */
export interface Onward<D extends Decision = Decision> {
  decision: D;
  /** Without what belongs to one connection; names as they were received. */
  headers: [string, string][];
  path: string;
  /** The trailers that go on, once the body was read. */
  trailers(): [string, string][];
}

export type Next = (request: IncomingMessage, response: ServerResponse, onward: Onward<Forward>) => void;

/** A listener that lets the gate decide and `next` answer what goes on. */
export function listener(gate: Gate, next: Next): (request: IncomingMessage, response: ServerResponse) => void;

/** What the gate decides about a request, an upgrade say, and what of its head goes on. */
export function decide(gate: Gate, request: IncomingMessage): Onward;

/** Writes the answer of a decision that does not forward. */
export function answer(response: ServerResponse, decision: Answer): void;
