// What a program in TypeScript writes; check in this directory compiles it.
import { readFile } from "node:fs/promises";
import http from "node:http";
import { type Decision, type Gate, PolicyError, type Reason, create, edit, open, protect, respond, strip } from "sessiongate";
import { answer, decide, listener } from "sessiongate/node";

export async function program(): Promise<Gate> {
  try {
    return await create({ module: readFile("core.wasm"), policy: await readFile("policy.json", "utf8"), log: (message) => console.error(message) });
  } catch (error) {
    if (error instanceof PolicyError) for (const { path, problem } of error.faults) console.error(path, problem);
    throw error;
  }
}

export function judge(gate: Gate, token: string): string | Reason {
  const verdict = gate.verify(token);
  // @ts-expect-error: a refused token speaks for nobody
  verdict.principal.subject;
  return verdict.ok ? verdict.principal.subject : verdict.reason;
}

export function carryOut(d: Decision, headers: [string, string][]): Response | [string, string][] {
  // @ts-expect-error: only what goes on has headers to be edited
  edit(headers, d);
  return d.forward ? edit(strip(headers, d), d) : respond(d);
}

export const handler = (module: WebAssembly.Module) =>
  protect(() => open({ module, policy: { version: 1 }, timers: false }), (request, decision, env: { UPSTREAM: { fetch: typeof fetch } }) =>
    decision.principal ? env.UPSTREAM.fetch(request) : new Response(null, { status: 204 }));

export function server(gate: Gate) {
  const s = http.createServer(listener(gate, (_request, response, { headers, path, decision, trailers }) => {
    response.end(JSON.stringify([headers, path, decision.set, trailers()]));
  }));
  s.on("upgrade", (request, socket) => {
    const { decision } = decide(gate, request);
    if (!decision.forward) answer(new http.ServerResponse(request), decision);
    socket.destroy();
  });
  return s;
}
