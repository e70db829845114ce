// sessiongate in a JavaScript runtime: Node, Deno, workerd, browsers. The judgement is
// the guest's; this gives it its keys and a clock, and carries out what it decides.
import { CALL, Guest, MAX_TOKEN, Writer, encode } from "./abi.js";
import { refusal } from "./http.js";
import { Keeper } from "./keys.js";

export { PolicyError } from "./abi.js";
export { edit, protect, respond, strip } from "./http.js";

const RETRY = 1_000; // milliseconds until an instance is made again after that failed

/**
 * Compiles the module if need be, puts the policy in force, and waits until each source
 * of keys was asked once.
 * @param {import("./index.d.ts").Options & {module: import("./index.d.ts").Module}} options
 * @returns {Promise<Gate>}
 */
export async function create(options) {
  const gate = open({ ...options, module: await compile(options.module) });
  try {
    await gate.ready();
  } catch (error) {
    gate.close();
    throw error;
  }
  return gate;
}

async function compile(source) {
  const module = await source;
  if (module instanceof WebAssembly.Module) return module;
  if (typeof Response !== "undefined" && module instanceof Response) return WebAssembly.compileStreaming(module);
  return WebAssembly.compile(module);
}

/**
 * The same without waiting, for a module that is compiled already. Where nothing may run
 * before the first request (workerd), call it in that.
 * @param {import("./index.d.ts").Options} options
 */
export function open(options) {
  return new Gate(options);
}

/** A policy in force. None of its methods but `explain` and `stats` ever throws. */
export class Gate {
  #o;
  #guest = null;
  #retry = 0;
  #told = new Map(); // by issuer: what the instance was told last
  #keeper;
  #closed = false;
  #wanted;

  /** What the policy asks of a host. */
  plan;

  constructor({ module, policy, kind = "js", now = Date.now, fetch = globalThis.fetch, log = () => {}, timers = true, clockFloor = -1 }) {
    if (!(module instanceof WebAssembly.Module)) throw new TypeError("module: is not a WebAssembly.Module");
    const document = typeof policy === "string" ? encode(policy) : policy instanceof Uint8Array ? policy : encode(JSON.stringify(policy));
    const configure = new Writer().text(kind).i64(Math.floor(clockFloor)).bytes(document).u32(0).done().slice();
    this.#o = { module, configure, now, log };
    this.#guest = this.#start();
    this.#wanted = new Set(this.plan.headers);
    for (const s of this.plan.issuers) {
      if (s.keys === "file") throw new Error(`issuer ${JSON.stringify(s.issuer)}: its keys are in a file, which this host does not read`);
    }
    this.#keeper = new Keeper({ start: () => this.#start(), now, fetch: (...a) => fetch(...a), log, plan: this.plan, changed: (i) => this.#changed(i) });
    if (timers) this.#keeper.run();
  }

  /** Resolves when each source of keys was asked once. @returns {Promise<void>} */
  async ready() {
    this.refresh();
    await this.#keeper.firstTries;
  }

  /**
   * Begins what is due beside the requests, for hosts with `timers: false`.
   * @returns {Promise<void> | undefined} for a `waitUntil`; it never rejects
   */
  refresh() {
    return this.#keeper.refresh();
  }

  /** Ends what runs beside the requests. Everything is refused from then on. */
  close() {
    this.#closed = true;
    this.#keeper.close();
    this.#guest = null;
  }

  /**
   * Judges one token.
   * @param {string} token
   * @returns {import("./index.d.ts").Verdict}
   */
  verify(token) {
    try {
      const bytes = encode(String(token).slice(0, MAX_TOKEN + 1)).subarray(0, MAX_TOKEN + 1);
      const r = this.#call(CALL.verify, bytes);
      const reason = r.reason();
      const principal = reason === "none" ? r.principal() : null;
      const hint = reason === "none" ? null : r.hint();
      r.end();
      this.#hint(reason, hint);
      return { ok: reason === "none", reason, principal };
    } catch (error) {
      this.#report(error);
      return { ok: false, reason: "internal", principal: null };
    }
  }

  /**
   * Decides about a request.
   * @param {import("./index.d.ts").RequestHead} request
   * @returns {import("./index.d.ts").Decision}
   */
  filter(request) {
    const headers = [];
    try {
      for (const [name, value] of request.headers) {
        const lower = name.toLowerCase();
        if (this.#wanted.has(lower)) headers.push([lower, value]);
      }
      const input = new Writer().raw(request.method).raw(request.scheme ?? "").raw(request.host ?? "").raw(request.path).u32(headers.length);
      for (const [name, value] of headers) input.raw(name).raw(value);
      const r = this.#call(CALL.filter, input.done());
      const hint = r.hint();
      const decision = r.decision();
      r.end();
      this.#hint(decision.reason, hint);
      return decision;
    } catch (error) {
      this.#report(error);
      return refusal(request.method, headers.find(([name]) => name === "content-type")?.[1]);
    }
  }

  /** Tells of every check of a token. Details may hold claim values. */
  explain(token) {
    return JSON.parse(this.#call(CALL.explain, encode(String(token)).subarray(0, MAX_TOKEN + 1)).rest()).checks;
  }

  /** What the instance that judges has done. */
  stats() {
    return JSON.parse(this.#call(CALL.stats, new Uint8Array(0)).rest());
  }

  #start() {
    const guest = new Guest(this.#o.module);
    const plan = JSON.parse(guest.call(CALL.configure, this.#o.configure, 0n).rest());
    this.plan ??= plan;
    return guest;
  }

  // A broken instance is gone: the next call is made to a new one, with the same keys.
  #call(number, input) {
    const now = this.#o.now();
    const time = BigInt(Math.floor(now));
    if (this.#closed) throw new Error("gate is closed");
    if (this.#guest === null || this.#guest.broken) {
      if (now < this.#retry && this.#retry - now <= RETRY) throw new Error("no instance of the guest");
      this.#guest = null;
      this.#told.clear();
      this.#retry = now + RETRY;
      this.#guest = this.#start();
      this.#retry = 0;
      for (const issuer of this.#keeper.sets.keys()) this.#changed(issuer);
    }
    return this.#guest.call(number, input, time);
  }

  #changed(issuer) {
    if (this.#guest === null || this.#guest.broken) return; // the next one is told everything
    try {
      this.#tell(issuer);
    } catch (error) {
      this.#report(error);
    }
  }

  #tell(issuer) {
    const { document, confirmedAt } = this.#keeper.sets.get(issuer);
    const told = this.#told.get(issuer);
    const same = told?.document === document;
    if (same && told.confirmedAt === confirmedAt) return;
    const input = new Writer().u32(issuer).i64(confirmedAt).bytes(same ? new Uint8Array(0) : document).done();
    this.#guest.call(CALL.updateKeys, input, BigInt(Math.floor(this.#o.now())));
    this.#told.set(issuer, { document, confirmedAt });
  }

  #hint(reason, hint) {
    if (reason === "unknown_key") this.#keeper.unknown(hint.issuer, hint.kid);
  }

  #report(error) {
    this.#o.log("request refused: no judgement", { problem: error instanceof Error ? error.message : "unknown" });
  }
}
