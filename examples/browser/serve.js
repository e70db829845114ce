// Serves the page, and the loader below /loader/, on LISTEN. POLICY and MODULE say otherwise.
import { createReadStream, existsSync } from "node:fs";
import http from "node:http";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const { LISTEN = "127.0.0.1:10000", POLICY = here("policy.json"), MODULE = here("../../wasm/js/core.wasm") } = process.env;

const files = new Map([["/", here("index.html")], ["/page.js", here("page.js")], ["/policy.json", POLICY], ["/loader/core.wasm", MODULE]]);
for (const name of ["index.js", "abi.js", "http.js", "keys.js"]) files.set(`/loader/${name}`, here(`../../wasm/js/${name}`));
const types = { ".html": "text/html", ".js": "text/javascript", ".json": "application/json", ".wasm": "application/wasm" };

export const server = http.createServer((request, response) => {
  const file = files.get(request.url);
  if (!file || !existsSync(file)) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, {
    "content-type": types[extname(file)], // application/wasm, or it is not compiled as it streams
    // Of WebAssembly nothing more is allowed than to compile it; connect-src has to name where keys come from.
    "content-security-policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' http://127.0.0.1:* https:; form-action 'none'",
  });
  createReadStream(file).pipe(response);
});
const [host, port] = LISTEN.split(":");
server.listen(Number(port), host, () => console.log(`http://${host}:${server.address().port}/`));
