import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { CALL, Guest, REASONS, Writer } from "../abi.js";
import { PolicyError, create, edit, open, protect, strip } from "../index.js";
import { inline, module, policy, sabotaged, set, token } from "./helpers.js";

const bearer = (t) => [["Authorization", `Bearer ${t}`]];
const ask = (g, headers = [], rest = {}) => g.filter({ method: "GET", scheme: "https", host: "api.test", path: "/", headers, ...rest });

test("the page about the ABI says what this loader does", () => {
  const page = readFileSync(new URL("../../../docs/abi.md", import.meta.url), "utf8");
  REASONS.forEach((name, code) => assert.ok(page.includes(`| ${code} | \`${name}\` |`), name));
  const names = { configure: "configure", updateKeys: "update keys", verify: "verify", filter: "filter", explain: "explain", stats: "stats",
    refresh: "refresh", refreshed: "refreshed", unknownKey: "unknown key" };
  for (const [name, number] of Object.entries(CALL)) assert.ok(page.includes(`${number} \`${names[name]}\``), name);
});

test("a policy with faults is refused with every one", async () => {
  const document = policy({ leeway: 301, audiance: "x" });
  for (const form of [document, JSON.stringify(document), new TextEncoder().encode(JSON.stringify(document))]) {
    await assert.rejects(create({ module, policy: form, timers: false }), (error) => {
      assert.ok(error instanceof PolicyError);
      const paths = error.faults.map((f) => f.path);
      assert.ok(paths.includes("/policy/issuers/0/leeway") && paths.includes("/policy/issuers/0/audiance"), error.message);
      assert.match(error.message, /leeway: .*300/);
      return true;
    });
  }
  await assert.rejects(create({ module, policy: "" }), PolicyError);
  await assert.rejects(create({ module, policy: policy({ jwks_file: true }) }), PolicyError);
});

test("a module that is not the guest is refused", async () => {
  const bytes = (...list) => new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...list]);
  await assert.rejects(create({ module: bytes(), policy: policy() }), /does not export/);
  // (import "env" "f" (func))
  const foreign = bytes(1, 4, 1, 0x60, 0, 0, 2, 9, 1, 3, 0x65, 0x6e, 0x76, 1, 0x66, 0, 0);
  await assert.rejects(create({ module: foreign, policy: policy() }), /imports env\.f/);
  await assert.rejects(create({ module: new Uint8Array(3), policy: policy() }), WebAssembly.CompileError);
  assert.throws(() => open({ module: bytes(), policy: policy() }), /module: is not/);
});

test("a request that passes, and what goes on of its headers", async (t) => {
  const g = await inline(t, {}, { log: ["subject"] });
  const d = ask(g, bearer(token({ roles: ["admin", "a,b", "é%"] })));
  assert.equal(d.forward, true);
  assert.equal(d.principal.subject, "user_1");
  assert.deepEqual(d.principal.roles, ["admin", "a,b", "é%"]);
  assert.deepEqual(d.set, [["x-user-id", "user_1"], ["x-user-roles", "admin,a%2Cb,%C3%A9%25"]]);
  assert.deepEqual(d.log, [["subject", "user_1"]]);
  const spoofed = [["X-User-Id", "root"], ["x_user_id", "root"], ["X-USER_ROLES", "root"], ["x-user-id", "again"], ["X-Other", "1"]];
  assert.deepEqual(edit(spoofed, d), [["X-Other", "1"], ...d.set]);
  assert.deepEqual(strip(spoofed, d), [["X-Other", "1"]], "as in a trailer");
  const open = ask(g, spoofed, { path: "/healthz" });
  assert.equal(open.principal, null);
  assert.deepEqual(edit(spoofed, open), [["X-Other", "1"]], "public rules too");
});

test("refusals are the guest's", async (t) => {
  const g = await inline(t);
  const cases = [
    [[], {}, "missing_token", 401],
    [[...bearer(token()), ...bearer(token({ sub: "other" }))], {}, "multiple_tokens", 400],
    [bearer(token()), { path: "/admin" }, "permission", 403],
    [bearer(token()), { path: "/a/../admin" }, "bad_path", 400],
    [bearer(token({ exp: 1 })), {}, "expired", 401],
    [bearer(`${token()}x`), {}, "bad_signature", 401],
    [bearer("x".repeat(20_000)), {}, "too_large", 401],
    [bearer("\u0100"), {}, "malformed", 401],
  ];
  for (const [headers, rest, reason, status] of cases) {
    const d = ask(g, headers, rest);
    if (reason === "bad_signature") assert.ok(["bad_signature", "malformed"].includes(d.reason), d.reason);
    else assert.equal(d.reason, reason);
    assert.equal(d.status, status, reason);
    assert.equal(d.forward, false);
    assert.equal(JSON.parse(new TextDecoder().decode(d.body)).code, d.reason);
  }
  assert.deepEqual(g.explain(token({ exp: 1 })).find((c) => c.reason !== "none").reason, "expired");
  assert.ok(g.stats().filtered >= cases.length);
});

// Whatever a program hands in, the answer is a refusal.
test("nonsense is refused, and nothing is thrown", async (t) => {
  const g = await inline(t);
  for (const nonsense of [undefined, null, 7, {}, "", "a.b.c", "\ud800", "é".repeat(16_384), Symbol.iterator]) {
    const v = g.verify(nonsense);
    assert.equal(v.ok, false);
    assert.equal(v.principal, null);
  }
  for (const request of [{}, { method: "GET" }, { method: "GET", path: "/", headers: 7 }, { method: "GET", path: "/", headers: [[1, 2]] },
    { method: "GET", path: "/", headers: [["authorization", {}]] }, { method: "GET", path: 7, headers: [] },
    { method: "GET", path: "/", headers: [["authorization", "x".repeat(5 << 20)]] }]) {
    const d = g.filter(request);
    assert.equal(d.forward, false, JSON.stringify(request).slice(0, 80));
    assert.ok(d.status >= 400);
  }
  assert.equal(g.verify(token()).ok, true, "and it goes on");
});

test("a clock that cannot be right judges nothing", async (t) => {
  let time = 1_000;
  const g = await inline(t, { now: () => time });
  assert.equal(g.verify(token()).reason, "clock_unusable");
  assert.equal(ask(g).reason, "clock_unusable");
  assert.equal(ask(g, [], { path: "/healthz" }).forward, false);
  for (time of [NaN, Infinity, -1, "x"]) assert.equal(g.verify(token()).ok, false);
  time = Date.now();
  assert.equal(g.verify(token()).ok, true);
});

test("an instance that breaks is replaced, and the request refused", async (t) => {
  const broken = await sabotaged();
  const PANIC = 1003, TRAP = 1004;
  for (const number of [PANIC, TRAP]) {
    const guest = new Guest(broken);
    guest.call(CALL.configure, new Writer().text("js").i64(0).text(JSON.stringify(policy({ jwks: JSON.parse(set("a")) }))).u32(0).done(), 0n);
    assert.throws(() => guest.call(number, new Uint8Array(0), 0n), /broken|exits|unreachable/);
    assert.ok(guest.broken);
    assert.throws(() => guest.call(CALL.verify, new Uint8Array(0), 0n), { name: "BrokenError" });
  }
  // The same below a gate: a clock that throws in the middle of a call is a trap.
  let trap = false;
  const time = Date.now;
  const logged = [];
  const g = await inline(t, { log: (...line) => logged.push(line) });
  assert.equal(ask(g, bearer(token())).forward, true);
  const { getUint8 } = DataView.prototype;
  const good = token();
  t.after(() => { DataView.prototype.getUint8 = getUint8; });
  DataView.prototype.getUint8 = function (...a) { if (trap) throw new WebAssembly.RuntimeError("unreachable"); return getUint8.apply(this, a); };
  trap = true;
  assert.equal(ask(g, bearer(good)).reason, "internal");
  assert.equal(g.verify(good).reason, "internal");
  trap = false;
  assert.equal(ask(g, bearer(good)).forward, true);
  assert.equal(logged.length, 2);
  assert.ok(time() > 0);
});

test("a handler for Request and Response", async (t) => {
  const seen = [];
  const handler = protect(await inline(t, {}, { token: "strip" }), (request, decision, extra) => {
    seen.push({ request, decision, extra });
    return new Response("upstream");
  });
  const refused = await handler(new Request("https://api.test/"));
  assert.equal(refused.status, 401);
  assert.equal(refused.headers.get("www-authenticate"), 'Bearer realm="sessiongate"');
  assert.equal((await refused.json()).code, "missing_token");
  assert.equal(seen.length, 0);

  const passed = await handler(new Request("https://api.test/a%2Bb?c=d", {
    method: "POST", body: "text", headers: { authorization: `Bearer ${token()}`, "x-user-id": "root", x_user_id: "root", "x-other": "1" },
  }), "extra");
  assert.equal(await passed.text(), "upstream");
  const [{ request, decision, extra }] = seen;
  assert.equal(extra, "extra");
  assert.equal(decision.principal.subject, "user_1");
  assert.equal(request.url, "https://api.test/a%2Bb?c=d");
  assert.equal(request.method, "POST");
  assert.equal(await request.text(), "text");
  assert.deepEqual([...request.headers].filter(([name]) => name !== "content-type"), [["x-other", "1"], ["x-user-id", "user_1"]]);

  const head = await handler(new Request("https://api.test/", { method: "HEAD" }));
  assert.equal(head.status, 401);
  assert.equal(await head.text(), "");
});

test("a gate that is made at the first request", async (t) => {
  const waited = [];
  const context = { waitUntil: (work) => waited.push(work) };
  let made = 0;
  const handler = protect(() => {
    made++;
    const g = open({ module, timers: false, policy: policy({ jwks_uri: "https://issuer.test/keys" }), fetch: async () => new Response(set("a")) });
    t.after(() => g.close());
    return g;
  }, () => new Response("upstream"));
  assert.equal(made, 0);
  const request = () => new Request("https://api.test/", { headers: { authorization: `Bearer ${token()}` } });
  const answers = await Promise.all([handler(request(), {}, context), handler(request(), {}, context)]);
  assert.deepEqual(answers.map((a) => a.status), [200, 200]);
  assert.equal(made, 1);
  assert.ok(waited.length > 0);
  await Promise.all(waited);

  t.mock.method(console, "error", () => {});
  const faulty = protect(() => open({ module, policy: "{}" }), () => assert.fail("passed"));
  assert.equal((await faulty(request())).status, 503);
});
