// A reverse proxy with sessiongate in it. UPSTREAM, POLICY, MODULE and LISTEN say otherwise.
import { create, protect } from "../../wasm/js/index.js";

const env = (name, otherwise) => Deno.env.get(name) ?? otherwise;
const here = (name) => new URL(name, import.meta.url).pathname;
const upstream = env("UPSTREAM", "http://127.0.0.1:9000");
const [hostname, port] = env("LISTEN", "127.0.0.1:10000").split(":");

const gate = await create({
  module: Deno.readFile(env("MODULE", here("../../wasm/js/core.wasm"))),
  policy: await Deno.readFile(env("POLICY", here("policy.json"))),
  log: (message, details) => console.error(message, details),
});
Deno.serve({ hostname, port: Number(port) }, protect(gate, (request) => {
  // fetch cannot hand on an upgraded connection.
  if (request.headers.has("upgrade")) return new Response("no upgrade here\n", { status: 501 });
  const path = request.url.slice(new URL(request.url).origin.length);
  return fetch(new Request(upstream + path, request), { redirect: "manual" })
    .catch(() => new Response("upstream does not answer\n", { status: 502 }));
}));
