// An upstream for the examples: it tells what it was asked.
import http from "node:http";

const NAMES = ["x-user-id", "x-session-id", "x-user-roles"];

http.createServer((request, response) => {
  const told = { method: request.method, path: request.url };
  for (const name of NAMES) told[name] = request.headers[name] ?? null;
  response.setHeader("content-type", "application/json");
  response.end(`${JSON.stringify(told)}\n`);
}).listen(9000, "127.0.0.1");
