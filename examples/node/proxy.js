// What a reverse proxy does with a request that goes on, by node:http alone.
import http from "node:http";
import { answer } from "../../wasm/js/node.js";

const agent = new http.Agent({ keepAlive: true });

// What an answer's head says of this connection stays here.
const HOP = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]);

/** Gives what forwards requests, and what joins upgraded connections, to an upstream. */
export function proxy(upstream) {
  const { hostname, port } = new URL(upstream);
  // The request's head as the policy left it.
  const ask = (request, { headers, path }, more) =>
    http.request({ agent, host: hostname, port, method: request.method, path, headers: headers.concat(more).flat() });

  function forward(request, response, onward) {
    // HTTP/2 frames bodies in its own way.
    const chunked = request.httpVersionMajor > 1 && !("content-length" in request.headers) && !request.stream.endAfterHeaders;
    const out = ask(request, onward, chunked ? [["transfer-encoding", "chunked"]] : []);
    out.on("response", (got) => {
      for (let i = 0; i < got.rawHeaders.length; i += 2) {
        if (!HOP.has(got.rawHeaders[i].toLowerCase())) response.appendHeader(got.rawHeaders[i], got.rawHeaders[i + 1]);
      }
      response.writeHead(got.statusCode);
      got.pipe(response);
    });
    out.on("error", () => (response.headersSent ? response.destroy() : response.writeHead(502).end()));
    response.on("close", () => response.writableFinished || out.destroy());
    request.on("end", () => { // trailers come with a body's end, and go on with it
      const trailers = onward.trailers();
      if (trailers.length > 0) out.addTrailers(trailers);
    });
    request.pipe(out);
  }

  function upgrade(request, socket, head, onward) {
    socket.on("error", () => socket.destroy());
    if (!onward.decision.forward) {
      const response = new http.ServerResponse(request);
      response.shouldKeepAlive = false;
      response.assignSocket(socket);
      response.on("finish", () => socket.end());
      answer(response, onward.decision);
      return;
    }
    const failed = () => socket.end("HTTP/1.1 502 Bad Gateway\r\nconnection: close\r\n\r\n");
    const out = ask(request, onward, [["connection", "upgrade"], ["upgrade", request.headers.upgrade]]);
    out.on("upgrade", (got, peer, first) => {
      const lines = ["HTTP/1.1 101 Switching Protocols"];
      for (let i = 0; i < got.rawHeaders.length; i += 2) lines.push(`${got.rawHeaders[i]}: ${got.rawHeaders[i + 1]}`);
      socket.write(`${lines.join("\r\n")}\r\n\r\n`);
      socket.write(first);
      peer.write(head);
      peer.on("error", () => socket.destroy());
      socket.on("close", () => peer.destroy());
      socket.pipe(peer).pipe(socket);
    });
    out.on("response", failed);
    out.on("error", failed);
    out.end();
  }

  return { forward, upgrade };
}
