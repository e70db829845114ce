// Requests and responses of node:http.
import { edit, strip } from "./http.js";

// What belongs to one connection (RFC 9110 section 7.6.1) and does not go on. How the
// body is framed does: this side and the next frame it alike.
const HOP = new Set(["connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer", "upgrade", "http2-settings", "expect"]);

/**
 * A listener that lets the gate decide and `next` answer what goes on.
 * @param {import("./index.d.ts").Gate} gate
 * @param {import("./node.d.ts").Next} next
 * @returns {(request: import("node:http").IncomingMessage, response: import("node:http").ServerResponse) => void}
 */
export function listener(gate, next) {
  return (request, response) => {
    const onward = decide(gate, request);
    if (onward.decision.forward) {
      next(request, response, onward);
      return;
    }
    const { status, headers, body } = onward.decision;
    request.resume();
    for (const [name, value] of headers) response.appendHeader(name, value);
    if (body.length > 0) response.setHeader("content-length", body.length);
    response.writeHead(status);
    response.end(body.length > 0 ? body : undefined);
  };
}

/**
 * What the gate decides about a request, and what of its head goes on.
 * @param {import("./index.d.ts").Gate} gate
 * @param {import("node:http").IncomingMessage} request
 * @returns {import("./node.d.ts").Onward}
 */
export function decide(gate, request) {
  const all = pairs(request.rawHeaders).filter(([name]) => !name.startsWith(":"));
  const host = request.headers.host ?? request.headers[":authority"] ?? "";
  const decision = gate.filter({ method: request.method, scheme: request.socket.encrypted ? "https" : "http", host, path: request.url, headers: all });
  if (!decision.forward) return { decision, headers: [], path: "", trailers: () => [] };
  const named = new Set(all.filter(([name]) => name.toLowerCase() === "connection").flatMap(([, value]) => value.toLowerCase().split(",").map((s) => s.trim())));
  const own = all.filter(([name]) => !HOP.has(name.toLowerCase()) && !named.has(name.toLowerCase()));
  if (!own.some(([name]) => name.toLowerCase() === "host")) own.push(["host", host]);
  return {
    decision,
    headers: edit(own, decision),
    path: decision.path || request.url,
    trailers: () => strip(pairs(request.rawTrailers), decision),
  };
}

function pairs(raw) {
  const list = [];
  for (let i = 0; i < raw.length; i += 2) list.push([raw[i], raw[i + 1]]);
  return list;
}
