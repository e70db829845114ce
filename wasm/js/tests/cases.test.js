import assert from "node:assert/strict";
import { test } from "node:test";
import { open } from "../index.js";
import { cases, module } from "./helpers.js";

// Every case of the table that the verifier itself is tested with, through the loader:
// as a token, as a request with it, and as an explanation.
test("the guest says of every case what the verifier says", async (t) => {
  const all = cases();
  assert.ok(all.length > 400);
  for (const c of all) {
    await t.test(c.name, async () => {
      const times = [...new Set(c.keys.map((k) => k.confirmed_at))].sort((a, b) => a - b);
      let time = times[0] ?? c.now;
      const fetch = async (url) => { // each set is to be had at its time, and no other
        const set = c.keys.find((k) => url === `http://127.0.0.1:9/jwks/${k.issuer}` && k.confirmed_at === time);
        return new Response(set?.document ?? "", { status: set ? 200 : 404 });
      };
      const gate = open({ module, policy: c.policy, kind: "go", fetch, now: () => time, timers: false, clockFloor: 0 });
      try {
        await gate.ready();
        for (time of times.slice(1)) await gate.refresh();
        time = c.now;
        const token = Buffer.from(c.token, "base64").toString("latin1");
        const expected = { ok: c.reason === "none", reason: c.reason, principal: c.principal };
        assert.deepEqual(gate.verify(token), expected);
        const checks = gate.explain(token);
        assert.equal(checks.find((check) => check.reason !== "none")?.reason ?? "none", c.reason);
        if (/^[\w.-]+$/.test(token)) {
          const d = gate.filter({ method: "GET", scheme: "https", host: "api.test", path: "/", headers: [["Authorization", `Bearer ${token}`]] });
          assert.equal(d.reason, c.reason);
          assert.equal(d.forward, c.reason === "none");
          assert.deepEqual(d.principal, c.principal);
        }
      } finally {
        gate.close();
      }
    });
  }
});
