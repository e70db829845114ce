/** The core guest: compiled, its bytes, or a response that brings them. */
export type Module = WebAssembly.Module | BufferSource | Response | Promise<WebAssembly.Module | BufferSource | Response>;

export interface Options {
  /** The core guest, compiled. */
  module: WebAssembly.Module;
  /** The policy document (docs/policy.md): its text, or what JSON makes of it. */
  policy: string | Uint8Array | object;
  /** The member of the policy's `host` that applies; default "js". */
  kind?: string;
  /** Fetches keys; default: the runtime's. It must neither follow redirects that it is told not to, nor add credentials. */
  fetch?: typeof fetch;
  /** The clock, in Unix milliseconds; default Date.now. */
  now?: () => number;
  /** Is told what goes wrong beside the requests, and never a token nor a claim. */
  log?: (message: string, details: Record<string, unknown>) => void;
  /** False where timers end with the request that set them: keys are then refreshed by `refresh`. Default true. */
  timers?: boolean;
  /** Unix milliseconds before which a clock is refused; 0: none; negative, the default: the module's own build. For tests. */
  clockFloor?: number;
}

export type Reason =
  | "missing_token" | "multiple_tokens" | "malformed" | "too_large" | "algorithm_not_allowed" | "critical_header" | "unknown_key"
  | "ambiguous_key" | "bad_signature" | "wrong_type" | "missing_claim" | "wrong_issuer" | "wrong_audience" | "wrong_party" | "expired"
  | "not_yet_valid" | "issued_in_future" | "lifetime_too_long" | "session_pending" | "proof_required" | "revoked" | "bad_path" | "no_rule"
  | "cross_site" | "session_type" | "tenant" | "permission" | "assurance" | "authentication_age" | "status_unknown" | "status_stale"
  | "keys_unavailable" | "keys_stale" | "clock_unusable" | "internal";

/** Who a token speaks for. Texts are "" and times 0 where it does not say; times are Unix milliseconds. */
export interface Principal {
  issuer: string;
  subject: string;
  session: string;
  type: string;
  tenant: string;
  roles: string[];
  permissions: string[];
  actor: string;
  assurance: string;
  party: string;
  tokenId: string;
  authenticatedAt: number;
  issuedAt: number;
  expiresAt: number;
}

export type Verdict = { ok: true; reason: "none"; principal: Principal } | { ok: false; reason: Reason; principal: null };

export interface RequestHead {
  method: string;
  scheme?: "http" | "https";
  /** As received, with its port. */
  host?: string;
  /** Path and query, as received. */
  path: string;
  /** In any case; a repeated one repeated. */
  headers: Iterable<[string, string]>;
}

export type Decision = Forward | Answer;

/** The request goes on: first `remove`, then `set`, and `path` in place of its own unless that is "". */
export interface Forward {
  forward: true;
  reason: "none";
  principal: Principal | null;
  remove: string[];
  set: [string, string][];
  path: string;
  /** Claims that the policy lets be logged. */
  log: [string, string][];
}

/** The request is answered here. */
export interface Answer {
  forward: false;
  reason: Reason | "none";
  principal: Principal | null;
  status: number;
  headers: [string, string][];
  body: Uint8Array;
  log: [string, string][];
}

export interface Check {
  name: string;
  reason: Reason | "none";
  skipped: boolean;
  detail: string;
}

export interface Plan {
  issuers: { issuer: string; keys: "inline" | "uri" | "discovery" | "file" | "secret"; location: string; cluster: string; max_stale: number; cooldown: number }[];
  headers: string[];
  strip: string[];
  clock_floor: number;
}

/** What was handed in is wrong. */
export class PolicyError extends Error {
  /** Each fault, its place as a JSON Pointer. */
  readonly faults: { path: string; problem: string }[];
}

export class Gate {
  private constructor();
  readonly plan: Plan;
  verify(token: string): Verdict;
  filter(request: RequestHead): Decision;
  /** For the eyes of whoever holds the token: details may hold claim values. */
  explain(token: string): Check[];
  stats(): Record<string, unknown>;
  /** Resolves when each source of keys was asked once. */
  ready(): Promise<void>;
  /** Begins what is due beside the requests; the promise is for a `waitUntil` and never rejects. */
  refresh(): Promise<void> | undefined;
  close(): void;
}

/** Compiles the module if need be, puts the policy in force, and waits until each source of keys was asked once. */
export function create(options: Omit<Options, "module"> & { module: Module }): Promise<Gate>;

/** The same without waiting, for a module that is compiled already. */
export function open(options: Options): Gate;

/** A handler that lets the gate decide, and `next` answer what goes on. A function makes the gate at the first request. */
export function protect<Rest extends unknown[]>(
  gate: Gate | (() => Gate),
  next: (request: Request, decision: Forward, ...rest: Rest) => Response | Promise<Response>,
): (request: Request, ...rest: Rest) => Promise<Response>;

/** The answer of a decision that does not forward. */
export function respond(decision: Answer): Response;

/** Headers or trailers without those that the policy removes or sets, in any spelling. */
export function strip(headers: Iterable<[string, string]>, decision: Forward): [string, string][];

/** Headers as they go on. */
export function edit(headers: Iterable<[string, string]>, decision: Forward): [string, string][];
