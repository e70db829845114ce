// A worker with sessiongate in it, in front of the service UPSTREAM.
import { open, protect } from "sessiongate/index.js";
import module from "core.wasm";
import policy from "policy.json";

// Nothing may run before the first request, so the gate is made at that.
const make = () => open({ module, policy, timers: false, log: (message, details) => console.error(message, details) });

export default {
  fetch: protect(make, (request, decision, env) => env.UPSTREAM.fetch(request, { redirect: "manual" })),
};
