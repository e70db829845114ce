// Opens the page in headless Chromium and lets it verify tokens: the arguments, each
// TOKEN=WHAT, WHAT being a Reason or a subject. PLAYWRIGHT and CHROMIUM say where those are.
import { server } from "./serve.js";

const { chromium } = await import(process.env.PLAYWRIGHT);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, chromiumSandbox: false, args: ["--disable-gpu", "--disable-quic", "--no-first-run"] });
let failed = 0;
try {
  const page = await browser.newPage();
  page.on("console", (m) => console.error(`  page: ${m.text()}`));
  page.on("pageerror", (e) => console.error(`  page: ${e.message}`));
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await page.waitForSelector("html[data-ready]", { state: "attached", timeout: 30_000 });
  for (const argument of process.argv.slice(2)) {
    const [token, wanted] = argument.split("=");
    await page.fill("textarea", token);
    await page.click("button");
    const got = await page.innerText("output");
    const good = got.includes(wanted);
    if (!good) failed++;
    console.log(`${good ? "ok" : "not as it should be"}: ${got.replaceAll(/\s+/g, " ").slice(0, 120)}`);
  }
} finally {
  await browser.close();
  server.close();
  server.closeAllConnections();
}
process.exitCode = failed;
