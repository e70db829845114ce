// The module judges the token; the page only shows what it says.
import { create } from "/loader/index.js";

const gate = await create({ module: fetch("/loader/core.wasm"), policy: await (await fetch("policy.json")).text(), log: console.warn });
globalThis.gate = gate; // for the console

document.forms[0].addEventListener("submit", (event) => {
  event.preventDefault();
  const { reason, principal } = gate.verify(document.forms[0].token.value.trim());
  document.querySelector("output").innerText = principal ? JSON.stringify(principal, null, 2) : reason;
});
document.documentElement.dataset.ready = "yes";
