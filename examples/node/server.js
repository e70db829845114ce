// A reverse proxy with sessiongate in it. UPSTREAM, POLICY, MODULE, LISTEN and LISTEN2 say otherwise.
import { readFile } from "node:fs/promises";
import http from "node:http";
import http2 from "node:http2";
import { create } from "../../wasm/js/index.js";
import { decide, listener } from "../../wasm/js/node.js";
import { proxy } from "./proxy.js";

const here = (name) => new URL(name, import.meta.url);
const {
  UPSTREAM = "http://127.0.0.1:9000", LISTEN = "127.0.0.1:10000", LISTEN2, // LISTEN2: HTTP/2 by prior knowledge
  POLICY = here("policy.json"), MODULE = here("../../wasm/js/core.wasm"),
} = process.env;

const gate = await create({ module: readFile(MODULE), policy: await readFile(POLICY), log: (message, details) => console.error(message, details) });
const { forward, upgrade } = proxy(UPSTREAM);

const server = http.createServer({ maxHeaderSize: 64 << 10 }, listener(gate, forward));
server.on("upgrade", (request, socket, head) => upgrade(request, socket, head, decide(gate, request)));
server.listen(...at(LISTEN), () => console.log(`listening on ${LISTEN}`));
if (LISTEN2) http2.createServer(listener(gate, forward)).listen(...at(LISTEN2));

function at(address) {
  const [host, port] = address.split(":");
  return [Number(port), host];
}
