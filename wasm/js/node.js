// Requests and responses of node:http.
import { edit, onward, strip } from "./http.js";

/**
 * A listener that lets the gate decide and `next` answer what goes on.
 * @param {import("./index.d.ts").Gate} gate
 * @param {import("./node.d.ts").Next} next
 * @returns {(request: import("node:http").IncomingMessage, response: import("node:http").ServerResponse) => void}
 */
export function listener(gate, next) {
  return (request, response) => {
    const decided = decide(gate, request);
    if (decided.decision.forward) {
      next(request, response, decided);
      return;
    }
    request.resume();
    answer(response, decided.decision);
  };
}

/**
 * Writes the answer of a decision that does not forward.
 * @param {import("node:http").ServerResponse} response
 * @param {import("./index.d.ts").Answer} decision
 */
export function answer(response, { status, headers, body }) {
  for (const [name, value] of headers) response.appendHeader(name, value);
  if (body.length > 0) response.setHeader("content-length", body.length);
  response.writeHead(status);
  response.end(body.length > 0 ? body : undefined);
}

/**
 * What the gate decides about a request, and what of its head goes on.
 * @param {import("./index.d.ts").Gate} gate
 * @param {import("node:http").IncomingMessage} request
 * @returns {import("./node.d.ts").Onward}
 */
export function decide(gate, request) {
  const all = pairs(request.rawHeaders).filter(([name]) => !name.startsWith(":"));
  // A target in absolute form counts more than Host (RFC 9112 section 3.2.2).
  const [, authority, rest] = /^https?:\/\/([^/?#]*)(.*)$/is.exec(request.url) ?? [];
  const host = authority ?? request.headers.host ?? request.headers[":authority"] ?? "";
  const path = authority === undefined ? request.url : rest.startsWith("/") ? rest : `/${rest}`;
  const decision = gate.filter({ method: request.method, scheme: request.socket.encrypted ? "https" : "http", host, path, headers: all });
  if (!decision.forward) return { decision, headers: [], path: "", trailers: () => [] };
  const own = onward(all, all).filter(([name]) => !["upgrade", "host"].includes(name.toLowerCase()));
  own.unshift(["Host", host]);
  return {
    decision,
    // What the policy lets stand of Connection is of this connection all the same.
    headers: edit(own, decision).filter(([name]) => name.toLowerCase() !== "connection"),
    path: decision.path || path,
    trailers: () => strip(pairs(request.rawTrailers), decision),
  };
}

function pairs(raw) {
  const list = [];
  for (let i = 0; i < raw.length; i += 2) list.push([raw[i], raw[i + 1]]);
  return list;
}
