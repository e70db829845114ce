// A browser takes no connections. So the page of examples/browser decides, in headless Chromium, and what carries requests to
// it and decisions back is the proxy of examples/node. UPSTREAM, LISTEN, POLICY, MODULE, PLAYWRIGHT and CHROMIUM say what with.
import http from "node:http";

const { UPSTREAM, LISTEN: listen, PLAYWRIGHT, CHROMIUM } = process.env;
process.env.LISTEN = "127.0.0.1:0"; // the page's
const examples = new URL("../../../examples/", import.meta.url);
const { server: pages } = await import(new URL("browser/serve.js", examples).href);
const { proxy } = await import(new URL("node/proxy.js", examples).href);
const { decide, listener } = await import(new URL("../wasm/js/node.js", examples).href);
const { chromium } = await import(PLAYWRIGHT);

const browser = await chromium.launch({ executablePath: CHROMIUM, chromiumSandbox: false,
  args: ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"] });
process.on("SIGTERM", () => browser.close().finally(() => process.exit(0)));
const page = await browser.newPage();
page.on("console", (m) => console.log(`page: ${m.text()}`));
page.on("pageerror", (e) => console.log(`page: ${e.message}`));
// Key sets of the matrix are not served to other origins.
const at = `http://127.0.0.1:${pages.address().port}`;
await page.route((url) => url.origin !== at, async (route) => {
  const response = await route.fetch({ maxRedirects: 0 });
  await route.fulfill({ response, headers: { ...response.headers(), "access-control-allow-origin": "*" } });
});
await page.goto(`${at}/`);
await page.waitForSelector("html[data-ready]", { state: "attached", timeout: 60_000 });

/** The decision about a request, as a gate that has made it already. */
async function decided(request) {
  let head;
  decide({ filter: (h) => { head = h; return { forward: false }; } }, request);
  const decision = await page.evaluate((h) => {
    const d = globalThis.gate.filter(h);
    return d.body ? { ...d, body: [...d.body] } : d;
  }, { ...head, headers: [...head.headers] });
  if (decision.body) decision.body = Uint8Array.from(decision.body);
  return { filter: () => decision };
}

const { forward, upgrade } = proxy(UPSTREAM);
const server = http.createServer({ maxHeaderSize: 64 << 10 }, async (request, response) => {
  try {
    listener(await decided(request), forward)(request, response);
  } catch (error) {
    console.log(error.message);
    response.writeHead(503).end();
  }
});
server.on("upgrade", async (request, socket, head) => {
  try {
    upgrade(request, socket, head, decide(await decided(request), request));
  } catch {
    socket.destroy();
  }
});
const [host, port] = listen.split(":");
server.listen(Number(port), host);
