// Keys, fetched beside the requests. When what is to be fetched, and what comes of it,
// the state machine in the guest says; all that happens here is the fetching.
import { CALL, Guest, Writer } from "./abi.js";

const TIMEOUT = 5_000; // milliseconds, of one fetch
const LARGEST = 1 << 20; // bytes, of an answer
const LONGEST_SLEEP = 1_000; // milliseconds between looks at a clock that somebody may set
const LONGEST_DELAY = 30_000; // milliseconds until an instance is made again after one broke

/**
 * Keeper has an instance of its own, which judges nothing: a token that breaks an
 * instance does not take along what is known about the keys.
 */
export class Keeper {
  #o;
  #guest = null;
  #retry = 0; // when the instance may be made again
  #next = 0;
  #polled = 0;
  #untried;
  #firstTries = deferred();
  #timer;
  #closed = false;
  #problems = new Map();

  /** Key sets by issuer: what other instances are to be told. */
  sets = new Map();

  /**
   * @param {{start: () => Guest, now: () => number, fetch: typeof fetch, log: Function, plan: any, changed: (issuer: number) => void}} options
   */
  constructor(options) {
    this.#o = options;
    this.#untried = new Set(options.plan.issuers.flatMap((s, i) => (s.keys === "uri" || s.keys === "discovery" ? [i] : [])));
    if (this.#untried.size === 0) this.#closed = true;
    if (this.#closed) this.#firstTries.resolve();
  }

  /** Resolves when each source was asked once, for good or ill. */
  get firstTries() {
    return this.#firstTries.promise;
  }

  /** Refreshes by itself from now on. */
  run() {
    if (!this.#closed) this.#sleep(0);
  }

  #sleep(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.refresh();
      if (!this.#closed) this.#sleep(Math.max(1, Math.min(LONGEST_SLEEP, this.#next - this.#o.now())));
    }, ms);
    this.#timer.unref?.(); // keys alone keep no process alive
  }

  /**
   * Begins what is due. The promise, which never rejects, is for runtimes that end work
   * with the request that began it; undefined if nothing is due.
   * @returns {Promise<void> | undefined}
   */
  refresh() {
    const now = this.#o.now();
    const idle = now - this.#polled;
    if (this.#closed || (now < this.#next && idle >= 0 && idle < LONGEST_SLEEP)) return undefined;
    let orders;
    try {
      const answer = JSON.parse(this.#call(CALL.refresh, new Uint8Array(0), now).rest());
      this.#polled = now;
      this.#next = answer.next;
      for (const s of answer.sources) this.#note(s.issuer, undefined, s.confirmed_at);
      orders = answer.orders;
    } catch (error) {
      this.#failed(error, now);
      return undefined;
    }
    if (orders.length === 0) return undefined;
    return Promise.all(orders.map((order) => this.#carryOut(order))).then(() => undefined);
  }

  /** A token named a kid that is not there. */
  unknown(issuer, kid) {
    if (this.#closed || issuer < 0) return;
    const now = this.#o.now();
    try {
      this.#call(CALL.unknownKey, new Writer().u32(issuer).bytes(kid).done(), now);
      this.#next = 0;
      if (this.#timer !== undefined) this.#sleep(0);
    } catch (error) {
      this.#failed(error, now);
    }
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#firstTries.resolve();
    this.#guest = null;
  }

  #call(number, input, now) {
    if (this.#guest === null || this.#guest.broken) {
      if (now < this.#retry && this.#retry - now <= LONGEST_DELAY) throw new Error("key machine broke and is not made again yet");
      this.#retry = now + LONGEST_DELAY;
      this.#guest = this.#o.start();
    }
    return this.#guest.call(number, input, BigInt(Math.floor(now)));
  }

  #failed(error, now) {
    this.#polled = now;
    this.#next = now + LONGEST_SLEEP;
    this.#report(-1, error.message);
  }

  async #carryOut(order) {
    const { issuer } = order;
    while (order) {
      const answer = await this.#get(order);
      if (this.#closed) return;
      order = this.#take(order, answer);
    }
    this.#untried.delete(issuer);
    if (this.#untried.size === 0) this.#firstTries.resolve();
    if (this.#timer !== undefined) this.#sleep(0); // the answer has set another time
  }

  #take(order, answer) {
    const now = this.#o.now();
    try {
      const input = new Writer().u32(order.issuer).u32(order.id).u32(answer.status).raw(answer.etag).raw(answer.control).raw(answer.age);
      const result = JSON.parse(this.#call(CALL.refreshed, input.bytes(answer.body).done(), now).rest());
      this.#next = 0;
      this.#report(order.issuer, result.problem || (result.outcome === "failed" ? "no usable answer" : ""));
      if (result.outcome !== "ignored") this.#note(order.issuer, result.outcome === "updated" ? answer.body : undefined, result.confirmed_at);
      return result.order;
    } catch (error) {
      this.#failed(error, now);
      return undefined;
    }
  }

  #note(issuer, document, confirmedAt) {
    const set = this.sets.get(issuer);
    if (document !== undefined) this.sets.set(issuer, { document, confirmedAt });
    else if (set && confirmedAt > 0 && set.confirmedAt !== confirmedAt) set.confirmedAt = confirmedAt;
    else return;
    this.#o.changed(issuer);
  }

  // report logs a problem once, and its end.
  #report(issuer, problem) {
    if ((this.#problems.get(issuer) ?? "") === problem) return;
    this.#problems.set(issuer, problem);
    const name = this.#o.plan.issuers[issuer]?.issuer;
    if (problem) this.#o.log("keys not updated, the last good ones stay", { issuer: name, problem });
    else this.#o.log("key source is back", { issuer: name });
  }

  async #get(order) {
    const nothing = { status: 0, etag: "", control: "", age: "", body: new Uint8Array(0) };
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), TIMEOUT);
    try {
      const headers = { accept: order.accept };
      if (order.if_none_match) headers["if-none-match"] = order.if_none_match;
      const fetch = this.#o.fetch;
      const response = await fetch(order.url, { ...extras(), method: "GET", headers, redirect: "manual", signal: abort.signal });
      const { status } = response;
      if (status !== 200) {
        await response.body?.cancel();
        return { ...nothing, status, control: response.headers.get("cache-control") ?? "", age: response.headers.get("age") ?? "" };
      }
      const body = await limited(response);
      if (body === undefined) return nothing;
      const field = (name) => response.headers.get(name) ?? "";
      return { status, etag: field("etag"), control: field("cache-control"), age: field("age"), body };
    } catch {
      return nothing;
    } finally {
      clearTimeout(timer);
    }
  }
}

async function limited(response) {
  const reader = response.body.getReader();
  const chunks = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > LARGEST) {
      await reader.cancel();
      return undefined;
    }
    chunks.push(value);
  }
  const body = new Uint8Array(length);
  let at = 0;
  for (const c of chunks) {
    body.set(c, at);
    at += c.length;
  }
  return body;
}

// extras are what keeps cookies and a cache out of it, where the runtime has such things.
let known;
function extras() {
  if (known === undefined) {
    known = {};
    for (const [name, value] of [["credentials", "omit"], ["cache", "no-store"]]) {
      try {
        new Request("http://127.0.0.1/", { [name]: value });
        known[name] = value;
      } catch {
        // it has none
      }
    }
  }
  return known;
}

function deferred() {
  const d = {};
  d.promise = new Promise((resolve) => { d.resolve = resolve; });
  return d;
}
