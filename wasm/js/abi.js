// The boundary to the guest, as docs/abi.md describes it: one instance with the few
// functions of WASI that it imports, its calls, and the encodings of what they take
// and give.

/** Names of the Reasons, by their codes. */
export const REASONS = [
  "none", "missing_token", "multiple_tokens", "malformed", "too_large", "algorithm_not_allowed", "critical_header", "unknown_key",
  "ambiguous_key", "bad_signature", "wrong_type", "missing_claim", "wrong_issuer", "wrong_audience", "wrong_party", "expired",
  "not_yet_valid", "issued_in_future", "lifetime_too_long", "session_pending", "proof_required", "revoked", "bad_path", "no_rule",
  "cross_site", "session_type", "tenant", "permission", "assurance", "authentication_age", "status_unknown", "status_stale",
  "keys_unavailable", "keys_stale", "clock_unusable", "internal",
];

/** Numbers of the calls. */
export const CALL = { configure: 2, updateKeys: 3, verify: 4, filter: 5, explain: 6, stats: 7, refresh: 9, refreshed: 10, unknownKey: 11 };

export const MAX_TOKEN = 16384;
const VERSION = 1;
const MAX_INPUT = 4 << 20;
const MOST_MEMORY = 256 << 20; // bytes; an instance that has grown to more is not kept
const OK = 0;
const FAULTS = 1;
const BROKEN = 5;

/** Something is wrong with an instance, which is not to be used any more. */
export class BrokenError extends Error {
  name = "BrokenError";
}

/** What was handed to the guest is wrong. `faults` says where. */
export class PolicyError extends Error {
  name = "PolicyError";
  /** @param {{path: string, problem: string}[]} faults */
  constructor(faults) {
    super(faults.map((f) => (f.path ? `${f.path}: ${f.problem}` : f.problem)).join("\n"));
    this.faults = faults;
  }
}

/** One instance of the guest. It is used for one call at a time, as JavaScript does anyway. */
export class Guest {
  #exports;
  #words = ""; // the runtime's last ones
  #broken = "";

  /** @param {WebAssembly.Module} module */
  constructor(module) {
    const shim = wasi(() => this.#exports.memory, (text) => { this.#words = (this.#words + text).slice(-2000); });
    const imports = {};
    for (const { module: from, name } of WebAssembly.Module.imports(module)) {
      // Anything else would be a module that wants more than a verifier needs.
      if (from !== "wasi_snapshot_preview1" || !Object.hasOwn(shim, name)) throw new Error(`module imports ${from}.${name}, which no guest of sessiongate needs`);
      imports[name] = shim[name];
    }
    this.#exports = new WebAssembly.Instance(module, { wasi_snapshot_preview1: imports }).exports;
    const e = this.#exports;
    for (const name of ["_initialize", "sg_abi_version", "sg_buffer", "sg_call"]) {
      if (typeof e[name] !== "function") throw new Error(`module does not export ${name}: it is not sessiongate's core guest`);
    }
    this.#guard(() => e._initialize());
    const version = this.#guard(() => e.sg_abi_version());
    if (version !== VERSION) throw new Error(`module speaks version ${version} of the ABI; accepted: ${VERSION}`);
  }

  get broken() {
    return this.#broken !== "";
  }

  /**
   * Makes a call. The result begins with what follows the status.
   * @param {number} number
   * @param {Uint8Array} input
   * @param {bigint} now Unix milliseconds
   * @returns {Reader}
   */
  call(number, input, now) {
    if (this.#broken) throw new BrokenError(this.#broken);
    if (input.length > MAX_INPUT) throw new RangeError("input is over 4 MiB");
    const e = this.#exports;
    const output = this.#guard(() => {
      const address = e.sg_buffer(input.length) >>> 0;
      if (address === 0 || address + input.length > e.memory.buffer.byteLength) throw new BrokenError("guest gives no buffer");
      new Uint8Array(e.memory.buffer, address, input.length).set(input);
      const packed = BigInt.asUintN(64, e.sg_call(number, input.length, now));
      const at = Number(packed >> 32n);
      const length = Number(packed & 0xffffffffn);
      // Growing replaces the buffer, so it is taken anew.
      if (length === 0 || at + length > e.memory.buffer.byteLength) throw new BrokenError("guest's output lies outside its memory");
      const bytes = new Uint8Array(e.memory.buffer, at, length).slice();
      if (bytes[0] === BROKEN) throw new BrokenError("guest is broken");
      return bytes;
    });
    if (e.memory.buffer.byteLength > MOST_MEMORY) this.#broken = "guest has grown beyond its memory";
    const r = new Reader(output);
    const status = r.u8();
    if (status === FAULTS) throw new PolicyError(JSON.parse(r.rest()).errors);
    if (status !== OK) throw new Error(`guest answers call ${number} with status ${status}`);
    return r;
  }

  // Whatever is thrown out of the guest has left it in the middle of something.
  #guard(entry) {
    try {
      return entry();
    } catch (error) {
      const text = error instanceof Error ? error.message : "trap";
      this.#broken = this.#words ? `${text}: ${this.#words.trim().split("\n")[0]}` : text;
      throw new BrokenError(this.#broken);
    }
  }
}

// wasi is what the Go runtime imports: no file, no socket, no argument, no environment.
function wasi(memory, say) {
  const EBADF = 8;
  const view = () => new DataView(memory().buffer);
  const none = (count, size) => {
    view().setUint32(count, 0, true);
    view().setUint32(size, 0, true);
    return 0;
  };
  const bad = () => EBADF;
  return {
    args_get: () => 0, args_sizes_get: none, environ_get: () => 0, environ_sizes_get: none,
    clock_time_get(clock, _precision, out) {
      const ms = clock === 0 || typeof performance === "undefined" ? Date.now() : performance.now();
      view().setBigUint64(out, BigInt(Math.round(ms * 1e6)), true);
      return 0;
    },
    random_get(at, length) { // in parts: one call gives at most 65,536 bytes
      for (let done = 0; done < length; done += 65536) {
        crypto.getRandomValues(new Uint8Array(memory().buffer, at + done, Math.min(65536, length - done)));
      }
      return 0;
    },
    sched_yield: () => 0,
    poll_oneoff(subscriptions, events, count, happened) { // nobody sleeps here: every time has come
      const v = view();
      for (let i = 0; i < count; i++) {
        v.setBigUint64(events + 32 * i, v.getBigUint64(subscriptions + 48 * i, true), true);
        v.setBigUint64(events + 32 * i + 8, BigInt(v.getUint8(subscriptions + 48 * i + 8)) << 16n, true);
      }
      v.setUint32(happened, count, true);
      return 0;
    },
    proc_exit(code) {
      throw new BrokenError(`guest exits with ${code}`);
    },
    fd_write(fd, vectors, count, written) {
      if (fd !== 1 && fd !== 2) return EBADF;
      const v = view();
      let total = 0;
      for (let i = 0; i < count; i++) {
        const length = v.getUint32(vectors + 8 * i + 4, true);
        say(utf8.decode(new Uint8Array(v.buffer, v.getUint32(vectors + 8 * i, true), length)));
        total += length;
      }
      v.setUint32(written, total, true);
      return 0;
    },
    fd_close: bad, fd_fdstat_get: bad, fd_fdstat_set_flags: bad, fd_prestat_dir_name: bad, fd_prestat_get: bad, fd_read: bad, fd_seek: bad,
  };
}

const utf8 = new TextDecoder();
const encoder = new TextEncoder();

/** @param {string} s */
export const encode = (s) => encoder.encode(s);

/** Writes an input. */
export class Writer {
  #bytes = new Uint8Array(512);
  #length = 0;

  #room(size) {
    const need = this.#length + size;
    if (need > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(need, 2 * this.#bytes.length));
      grown.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = grown;
    }
    const at = this.#length;
    this.#length = need;
    return at;
  }

  u32(n) {
    const at = this.#room(4);
    for (let i = 0; i < 4; i++) this.#bytes[at + i] = n >>> (8 * i);
    return this;
  }

  i64(n) {
    const at = this.#room(8);
    new DataView(this.#bytes.buffer).setBigInt64(at, BigInt(n), true);
    return this;
  }

  bytes(b) {
    this.u32(b.length);
    const at = this.#room(b.length); // may replace the buffer
    this.#bytes.set(b, at);
    return this;
  }

  text(s) {
    return this.bytes(encode(s));
  }

  // raw is for header fields and paths, where runtimes give each byte as a character.
  // Anything that is no byte was put there by a program, and is written as UTF-8.
  raw(s) {
    const start = this.#length;
    this.u32(s.length);
    const at = this.#room(s.length);
    for (let i = 0; i < s.length; i++) {
      const c = s.charCodeAt(i);
      if (c > 0xff) {
        this.#length = start;
        return this.text(s);
      }
      this.#bytes[at + i] = c;
    }
    return this;
  }

  done() {
    return this.#bytes.subarray(0, this.#length);
  }
}

/** Reads an output, and throws when there is less of it than it says. */
export class Reader {
  #bytes;
  #view;
  #at = 0;

  constructor(bytes) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  #take(size) {
    const at = this.#at;
    if (at + size > this.#bytes.length) throw new RangeError("guest's output is cut short");
    this.#at = at + size;
    return at;
  }

  u8() { return this.#view.getUint8(this.#take(1)); }
  u32() { return this.#view.getUint32(this.#take(4), true); }
  i32() { return this.#view.getInt32(this.#take(4), true); }
  i64() { return Number(this.#view.getBigInt64(this.#take(8), true)); }

  bytes() {
    const length = this.u32();
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  text() { return utf8.decode(this.bytes()); }

  raw() {
    let s = "";
    for (const c of this.bytes()) s += String.fromCharCode(c);
    return s;
  }

  list(item) {
    const count = this.u32();
    const all = [];
    for (let i = 0; i < count; i++) all.push(item());
    return all;
  }

  texts() { return this.list(() => this.text()); }
  fields() { return this.list(() => [this.raw(), this.raw()]); }
  reason() { return REASONS[this.u8()] ?? "internal"; }

  principal() {
    const [issuer, subject, session, type, tenant] = [0, 0, 0, 0, 0].map(() => this.text());
    const [roles, permissions] = [this.texts(), this.texts()];
    const [actor, assurance, party, tokenId] = [0, 0, 0, 0].map(() => this.text());
    const [authenticatedAt, issuedAt, expiresAt] = [0, 0, 0].map(() => this.i64());
    return { issuer, subject, session, type, tenant, roles, permissions, actor, assurance, party, tokenId, authenticatedAt, issuedAt, expiresAt };
  }

  hint() { return { issuer: this.i32(), kid: this.bytes() }; }

  decision() {
    const bits = this.u8();
    if (bits & ~3) throw new RangeError("guest's decision has bits that nobody knows");
    const d = { forward: (bits & 1) !== 0, reason: this.reason(), principal: null };
    if (bits & 2) d.principal = this.principal();
    if (d.forward) {
      d.remove = this.texts();
      d.set = this.fields();
      d.path = this.raw();
    } else {
      d.status = this.u32();
      d.headers = this.fields();
      d.body = this.bytes().slice();
      if (d.status < 200 || d.status > 599) throw new RangeError("guest's answer has no HTTP status");
    }
    d.log = this.list(() => [this.text(), this.text()]);
    return d;
  }

  rest() { return utf8.decode(this.#bytes.subarray(this.#take(this.#bytes.length - this.#at))); }

  end() {
    if (this.#at !== this.#bytes.length) throw new RangeError("guest's output is longer than it says");
  }
}
