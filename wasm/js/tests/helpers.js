import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { generateKeyPairSync, sign } from "node:crypto";
import { create } from "../index.js";

const top = new URL("../../../", import.meta.url);

export const module = await WebAssembly.compile(read("wasm/js/core.wasm", "make js"));

/** The guest that breaks when it is told to. */
export const sabotaged = () => WebAssembly.compile(read("build/guests/core-conformance.wasm", "make js-test"));

export const cases = () => JSON.parse(read("build/cases.json", "make js-test").toString());

function read(name, make) {
  try {
    return readFileSync(new URL(name, top));
  } catch (error) {
    throw new Error(`${name} is not there: ${make} makes it`, { cause: error });
  }
}

const keys = new Map();

/** A key of its own for each kid. */
export function key(kid) {
  if (!keys.has(kid)) keys.set(kid, generateKeyPairSync("ec", { namedCurve: "P-256" }));
  return keys.get(kid);
}

export const set = (...kids) => JSON.stringify({ keys: kids.map((kid) => ({ ...key(kid).publicKey.export({ format: "jwk" }), kid, alg: "ES256", use: "sig" })) });

const b64 = (v) => Buffer.from(typeof v === "string" ? v : JSON.stringify(v)).toString("base64url");

export function token(claims = {}, { kid = "a", header = {}, now = Date.now() } = {}) {
  const iat = Math.floor(now / 1000);
  const input = `${b64({ alg: "ES256", typ: "at+jwt", kid, ...header })}.${b64({ iss: "https://issuer.test", sub: "user_1", aud: "api", sid: "s1", iat, exp: iat + 600, ...claims })}`;
  return `${input}.${sign("sha256", Buffer.from(input), { key: key(kid).privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
}

export const policy = (issuer = {}, rest = {}) => ({
  version: 1,
  policy: {
    issuers: [{ issuer: "https://issuer.test", dialect: "own", algorithms: ["ES256"], audience: ["api"], ...issuer }],
    rules: [{ path: "/healthz", access: "public" }, { path_prefix: "/admin", permissions_all: ["admin"] }, { path_prefix: "/" }],
    identity_headers: { "x-user-id": "subject", "x-user-roles": "roles" },
    ...rest,
  },
});

/** A gate with the keys in its policy. */
export const inline = (t, options = {}, rest = {}) => gate(t, { policy: policy({ jwks: JSON.parse(set("a")) }, rest), ...options });

export async function gate(t, options) {
  const g = await create({ module, timers: false, ...options });
  t.after(() => g.close());
  return g;
}

/** A server on a loopback address, and its URL. */
export async function serve(t, listener) {
  const server = createServer(listener);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  }));
  return { server, url: `http://127.0.0.1:${server.address().port}` };
}

/** Polls until something is so. */
export async function until(what, done, limit = 5_000) {
  for (const end = Date.now() + limit; !(await done());) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A source of keys with a clock of its own: what it serves can be changed, and what it was asked is kept. */
export class Source {
  asked = [];
  answer = () => new Response(set("a"));
  time = 1_800_000_000_000;

  options(issuer = {}) {
    return {
      policy: policy({ jwks_uri: "https://issuer.test/keys", cooldown: 10, max_stale: 600, ...issuer }),
      now: () => this.time,
      fetch: async (url, init) => {
        this.asked.push({ url, tag: init.headers["if-none-match"], init });
        return this.answer(url, init);
      },
    };
  }

  /** Lets time pass, and what is due happen. */
  async after(seconds, g) {
    this.time += seconds * 1000;
    await g.refresh();
  }
}
