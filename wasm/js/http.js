// Requests and responses of the Fetch standard.

/**
 * Headers, or trailers, without those that the policy removes or sets, in any spelling.
 * @param {Iterable<[string, string]>} headers
 * @param {import("./index.d.ts").Decision} decision that forwards
 * @returns {[string, string][]}
 */
export function strip(headers, decision) {
  const gone = new Set(decision.remove.map(plain));
  for (const [name] of decision.set) gone.add(plain(name));
  return [...headers].filter(([name]) => !gone.has(plain(name)));
}

/**
 * Headers as they go on: stripped, and with those that the policy sets.
 * @param {Iterable<[string, string]>} headers
 * @param {import("./index.d.ts").Decision} decision that forwards
 * @returns {[string, string][]}
 */
export const edit = (headers, decision) => strip(headers, decision).concat(decision.set);

/**
 * Headers without those that belong to one connection (RFC 9110 section 7.6.1), which
 * a message's own framing and an upgrade are not counted among.
 * @param {[string, string][]} headers
 * @param {Iterable<[string, string]>} received where `Connection` names more of them
 * @returns {[string, string][]}
 */
export function onward(headers, received) {
  const gone = new Set(["connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer", "http2-settings", "expect"]);
  for (const [name, value] of received) {
    if (name.toLowerCase() === "connection") for (const named of value.toLowerCase().split(",")) gone.add(named.trim());
  }
  gone.delete("upgrade");
  return headers.filter(([name]) => !gone.has(name.toLowerCase()));
}

// plain is a header's name without case, and with "_" as "-": CGI and its heirs write
// both the same way.
const plain = (name) => name.toLowerCase().replaceAll("_", "-");

/**
 * The answer of a decision that does not forward.
 * @param {import("./index.d.ts").Decision} decision
 */
export function respond(decision) {
  const empty = decision.body.length === 0;
  return new Response(empty ? null : decision.body, { status: decision.status, headers: decision.headers });
}

/**
 * A handler that lets the gate decide, and `next` answer what goes on. It gets the
 * request with the policy's edits, the decision, and what else the runtime passes on;
 * a `waitUntil` among that is told of work beside the request.
 * @template {any[]} Rest
 * @param {import("./index.d.ts").Gate | (() => import("./index.d.ts").Gate)} gate or what makes it, at the first request
 * @param {(request: Request, decision: import("./index.d.ts").Decision, ...rest: Rest) => Response | Promise<Response>} next
 * @returns {(request: Request, ...rest: Rest) => Promise<Response>}
 */
export function protect(gate, next) {
  let made = typeof gate === "function" ? undefined : { gate };
  return async (request, ...rest) => {
    const context = rest.find((r) => typeof r?.waitUntil === "function");
    const beside = (work) => work && context?.waitUntil(work);
    if (made === undefined) {
      try {
        const fresh = gate();
        // Before the first request nothing could be fetched; from now on nobody waits.
        const ready = fresh.ready();
        made = { gate: fresh, ready };
        beside(ready);
      } catch (error) {
        console.error(`sessiongate: ${error.message}`);
        return respond(refusal(request.method, request.headers.get("content-type")));
      }
    }
    return handle(made.gate, made.ready, request, rest, beside, next);
  };
}

async function handle(gate, ready, request, rest, beside, next) {
  await within(ready, 6_000);
  beside(gate.refresh());
  const { url } = request;
  const start = url.indexOf("/", url.indexOf("://") + 3);
  const origin = start < 0 ? url : url.slice(0, start);
  const path = start < 0 ? "/" : url.slice(start).split("#", 1)[0];
  const decision = gate.filter({
    method: request.method, scheme: origin.slice(0, origin.indexOf(":")), path,
    host: request.headers.get("host") ?? origin.slice(origin.indexOf("://") + 3), headers: request.headers,
  });
  beside(gate.refresh()); // an unknown key may have asked for it
  if (!decision.forward) {
    await request.body?.cancel();
    return respond(decision);
  }
  const own = onward([...request.headers], request.headers);
  const init = { method: request.method, headers: edit(own, decision).filter(([name]) => name.toLowerCase() !== "connection"), redirect: "manual" };
  if (request.body) Object.assign(init, { body: request.body, duplex: "half" });
  return next(new Request(origin + (decision.path || path), init), decision, ...rest);
}

// within waits for a promise, but not for ever: it may belong to a request that is gone.
function within(promise, ms) {
  if (promise === undefined) return undefined;
  let timer;
  return Promise.race([promise, new Promise((resolve) => { timer = setTimeout(resolve, ms); })]).finally(() => clearTimeout(timer));
}

/**
 * What is answered when no guest gave an answer: its own for the Reason `internal`.
 * @param {string} method
 * @param {string | null | undefined} contentType
 */
export function refusal(method, contentType) {
  const decision = { forward: false, reason: "internal", principal: null, status: 503, headers: [], body: new Uint8Array(0), log: [] };
  if (contentType?.toLowerCase().startsWith("application/grpc")) {
    decision.status = 200;
    decision.headers = [["content-type", "application/grpc"], ["grpc-status", "14"], ["grpc-message", "internal: internal error"]];
    return decision;
  }
  decision.headers = [["content-type", "application/problem+json"], ["cache-control", "no-store"], ["retry-after", "5"]];
  if (method !== "HEAD") {
    decision.body = new TextEncoder().encode('{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"internal error","code":"internal"}\n');
  }
  return decision;
}
