import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { create } from "../index.js";
import { Source, gate, inline, module, policy, serve, set, token, until } from "./helpers.js";

test("keys are asked for as the rules say", async (t) => {
  const s = new Source();
  const g = await gate(t, s.options());
  assert.equal(s.asked.length, 1);
  const { url, init } = s.asked[0];
  assert.equal(url, "https://issuer.test/keys");
  assert.deepEqual(init.headers, { accept: "application/jwk-set+json, application/json" });
  assert.equal(init.redirect, "manual");
  assert.equal(init.credentials, "omit");
  assert.ok(init.signal instanceof AbortSignal);
  assert.equal(g.verify(token({}, { now: s.time })).reason, "none");
  assert.equal(s.asked.length, 1, "a request fetches nothing");
});

test("an entity tag is sent back, and a 304 confirms", async (t) => {
  const s = new Source();
  s.answer = (_, { headers }) => headers["if-none-match"] === '"1"' ? new Response(null, { status: 304, headers: { "cache-control": "max-age=60" } }) : new Response(set("a"), { headers: { etag: '"1"', "cache-control": "max-age=60" } });
  const g = await gate(t, s.options());
  for (let i = 0; i < 20; i++) await s.after(61, g); // 20 minutes, twice max_stale
  assert.equal(s.asked.length, 21);
  assert.equal(s.asked[20].tag, '"1"');
  assert.equal(g.verify(token({}, { now: s.time })).reason, "none");
});

test("a rotation is found by the first token with the new key, once per cooldown", async (t) => {
  const s = new Source();
  const g = await gate(t, s.options());
  s.answer = () => new Response(set("a", "b"));
  const fresh = token({}, { kid: "b", now: s.time });
  for (let i = 0; i < 50; i++) assert.equal(g.verify(fresh).reason, "unknown_key");
  assert.equal(g.refresh(), undefined, "not before the cooldown has passed");
  await s.after(10, g);
  assert.equal(g.verify(fresh).reason, "none");
  assert.equal(g.verify(token({}, { kid: "a", now: s.time })).reason, "none");
  for (let i = 0; i < 9; i++) {
    assert.equal(g.filter({ method: "GET", path: "/", headers: [["authorization", `Bearer ${token({}, { kid: "none", now: s.time })}`]] }).reason, "unknown_key");
    await s.after(1, g);
  }
  assert.equal(s.asked.length, 2);
});

test("an outage keeps the last good keys, until they are stale", async (t) => {
  const s = new Source();
  const g = await gate(t, s.options({ max_stale: 6000 }));
  const bad = [
    () => { throw new TypeError("fetch failed"); },
    () => new Response("no", { status: 500 }),
    () => new Response(null, { status: 302, headers: { location: "https://issuer.test/other" } }),
    () => new Response("<html>"),
    () => new Response('{"keys":[]}'),
    () => new Response(new Uint8Array((1 << 20) + 1)),
    () => new Response(null, { status: 304 }), // nobody asked for it
  ];
  for (let i = 0; s.time < 1_800_006_000_000; i++) {
    s.answer = bad[i % bad.length];
    assert.equal(g.verify(token({}, { now: s.time })).reason, "none");
    await s.after(50, g);
  }
  assert.ok(s.asked.length > bad.length);
  assert.equal(g.verify(token({}, { now: s.time })).reason, "none", "at the bound");
  await s.after(1, g);
  const stale = g.filter({ method: "GET", path: "/", headers: [["authorization", `Bearer ${token({}, { now: s.time })}`]] });
  assert.equal(stale.reason, "keys_stale");
  assert.equal(stale.status, 503);
  s.answer = () => new Response(set("a"));
  await s.after(300, g);
  assert.equal(g.verify(token({}, { now: s.time })).reason, "none", "and it heals");
});

test("an issuer that is down at the start is asked again soon", async (t) => {
  const s = new Source();
  s.answer = () => { throw new TypeError("fetch failed"); };
  const g = await gate(t, s.options());
  assert.equal(g.verify(token({}, { now: s.time })).reason, "keys_unavailable");
  s.answer = () => new Response(set("a"));
  await s.after(1, g);
  assert.equal(g.verify(token({}, { now: s.time })).reason, "none");
});

test("a clock that is set back makes no key live longer", async (t) => {
  const s = new Source();
  const g = await gate(t, s.options());
  s.answer = () => { throw new TypeError("fetch failed"); };
  await s.after(-500, g);
  await s.after(601, g);
  assert.equal(g.verify(token({}, { now: s.time })).reason, "keys_stale");
});

test("discovery", async (t) => {
  const s = new Source();
  const metadata = { issuer: "https://issuer.test", jwks_uri: "https://keys.test/set" };
  s.answer = (url) => new Response(url.endsWith("/meta") ? JSON.stringify(metadata) : set("a"));
  const g = await gate(t, s.options({ jwks_uri: undefined, discovery: "https://issuer.test/meta" }));
  assert.deepEqual(s.asked.map((a) => a.url), ["https://issuer.test/meta", "https://keys.test/set"]);
  assert.equal(g.verify(token({}, { now: s.time })).reason, "none");
  for (const wrong of [{ issuer: "https://other.test" }, { jwks_uri: "http://keys.test/set" }]) {
    const other = new Source();
    other.answer = () => new Response(JSON.stringify({ ...metadata, ...wrong }));
    const h = await gate(t, other.options({ jwks_uri: undefined, discovery: "https://issuer.test/meta" }));
    assert.equal(other.asked.length, 1);
    assert.equal(h.verify(token({}, { now: other.time })).reason, "keys_unavailable");
  }
});

test("keys in the policy are not fetched", async (t) => {
  const g = await inline(t, { fetch: () => assert.fail("fetched") });
  assert.equal(g.verify(token()).reason, "none");
  assert.equal(g.verify(token({}, { kid: "b" })).reason, "unknown_key");
  assert.equal(g.refresh(), undefined);
});

// The rest is against a real server, with the real fetch, timers and clock.

async function jwks(t) {
  const state = { asked: 0, body: set("a"), delay: 0 };
  const { server, url } = await serve(t, async (request, response) => {
    state.asked++;
    if (state.hang) return;
    if (state.redirect) response.writeHead(302, { location: "/keys2" }).end();
    else if (state.down) request.socket.destroy();
    else if (request.headers["if-none-match"] === `"${state.body.length}"`) response.writeHead(304, { "cache-control": "max-age=1" }).end();
    else response.writeHead(200, { etag: `"${state.body.length}"`, "cache-control": "max-age=1" }).end(state.body);
  });
  return Object.assign(state, { server, policy: policy({ jwks_uri: `${url}/keys`, cooldown: 1, max_stale: 3 }) });
}

test("with timers, keys are refreshed without being asked", async (t) => {
  const source = await jwks(t);
  const logged = [];
  const g = await gate(t, { policy: source.policy, timers: true, log: (...line) => logged.push(line) });
  assert.equal(g.verify(token()).reason, "none");
  source.body = set("a", "b", "c");
  const fresh = token({}, { kid: "c" });
  await until("rotated", () => g.verify(fresh).ok, 10_000);
  assert.deepEqual(logged, []);

  source.down = true;
  await until("stale", () => g.verify(fresh).reason === "keys_stale", 8_000);
  assert.deepEqual(logged, [["keys not updated, the last good ones stay", { issuer: "https://issuer.test", problem: "no answer came" }]]);
  source.down = false;
  await until("back", () => g.verify(fresh).ok, 8_000);
  assert.equal(logged.length, 2);
});

test("a redirect is not followed, and a server that hangs is given up", async (t) => {
  const source = await jwks(t);
  source.redirect = true;
  const g = await gate(t, { policy: source.policy });
  assert.equal(source.asked, 1);
  assert.equal(g.verify(token()).reason, "keys_unavailable");

  const slow = await jwks(t);
  slow.hang = true;
  const start = Date.now();
  const h = await gate(t, { policy: slow.policy });
  assert.ok(Date.now() - start > 4_500 && Date.now() - start < 7_000);
  assert.equal(h.verify(token()).reason, "keys_unavailable");
});

test("two thousand tokens during a rotation, and no good one refused", async (t) => {
  const source = await jwks(t);
  source.policy.policy.issuers[0].max_stale = 600;
  const g = await gate(t, { policy: source.policy, timers: true });
  const [old, next] = [token(), token({}, { kid: "b" })];
  source.body = set("a", "b"); // announced, and signing only when every cache has it
  await until("announced", () => g.verify(next).ok, 10_000);
  let refused = 0;
  for (let i = 0; i < 2_000; i++) {
    if (i === 1_000) source.body = set("b");
    if (!g.verify(i < 1_000 ? old : next).ok) refused++;
    await new Promise(setImmediate);
  }
  assert.equal(refused, 0);
  await until("withdrawn", () => g.verify(old).reason === "unknown_key", 10_000);
});

test("an open gate keeps no process alive", async (t) => {
  const source = await jwks(t);
  const { spawn } = await import("node:child_process");
  const program = `import { readFileSync } from "node:fs"; import { create } from ${JSON.stringify(new URL("../index.js", import.meta.url).href)};
    const g = await create({ module: readFileSync(${JSON.stringify(new URL("../core.wasm", import.meta.url).pathname)}), policy: ${JSON.stringify(source.policy)} });
    console.log(g.verify("x").reason);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], { stdio: ["ignore", "pipe", "inherit"] });
  let out = "";
  child.stdout.on("data", (d) => { out += d; });
  const [code] = await once(child, "exit");
  assert.equal(code, 0);
  assert.equal(out, "malformed\n");
});

test("a gate that is closed refuses, and asks for nothing more", async (t) => {
  const source = await jwks(t);
  const g = await create({ module, policy: source.policy });
  g.close();
  assert.equal(g.verify(token()).reason, "internal");
  assert.equal(g.filter({ method: "GET", path: "/healthz", headers: [] }).forward, false);
  const { asked } = source;
  await new Promise((resolve) => setTimeout(resolve, 1_200));
  assert.equal(source.asked, asked);
});
