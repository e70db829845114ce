import assert from "node:assert/strict";
import { connect } from "node:net";
import http2 from "node:http2";
import { test } from "node:test";
import { decide, listener } from "../node.js";
import { inline, serve, token } from "./helpers.js";

/** A server that tells what the gate lets on. */
async function telling(t) {
  const gate = await inline(t);
  const tell = listener(gate, (request, response, { headers, path, decision, trailers }) => {
    request.resume();
    request.on("end", () => response.end(JSON.stringify({ headers, path, subject: decision.principal?.subject, trailers: trailers() })));
  });
  return { gate, tell, ...await serve(t, tell) };
}

/** What a server answers to these bytes. */
const raw = (url, text) => new Promise((resolve, reject) => {
  let answer = "";
  const socket = connect(new URL(url).port, "127.0.0.1", () => socket.end(text));
  socket.on("data", (d) => { answer += d; }).on("end", () => resolve(answer)).on("error", reject);
});

const bodyOf = (answer) => JSON.parse(answer.slice(answer.indexOf("{"), answer.lastIndexOf("}") + 1));

test("refusals", async (t) => {
  const { url } = await telling(t);
  const none = await fetch(url);
  assert.equal(none.status, 401);
  assert.equal(none.headers.get("www-authenticate"), 'Bearer realm="sessiongate"');
  assert.equal((await none.json()).code, "missing_token");
  const twice = await raw(url, `GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer ${token()}\r\nAuthorization: Bearer ${token({ sub: "b" })}\r\n\r\n`);
  assert.equal(bodyOf(twice).code, "multiple_tokens");
  assert.equal(bodyOf(await raw(url, `GET /a/../b HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer ${token()}\r\n\r\n`)).code, "bad_path");
  const head = await fetch(url, { method: "HEAD" });
  assert.equal(head.status, 401);
  assert.equal(await head.text(), "");
});

test("nothing of what a client says in our name goes on", async (t) => {
  const { url } = await telling(t);
  const text = (path, auth) => `POST ${path} HTTP/1.1\r\nHost: a.example\r\n${auth}X-USER-ID: root\r\nx_user_id: root\r\nX-User_Roles: root\r\nKeep: 1\r\nDrop: 2\r\n` +
    "Connection: close, Drop, x-user-id\r\nTransfer-Encoding: chunked\r\nTrailer: X-User-Id, X-Sum\r\n\r\n0\r\nX-User-Id: root\r\nx_user-roles: root\r\nX-Sum: 3\r\n\r\n";
  for (const [path, auth, subject, set] of [
    ["/healthz", "", undefined, []],
    ["/a", `Authorization: Bearer ${token()}\r\n`, "user_1", [["x-user-id", "user_1"]]],
  ]) {
    const got = bodyOf(await raw(url, text(path, auth)));
    assert.equal(got.subject, subject);
    const names = got.headers.map(([name]) => name.toLowerCase());
    for (const gone of ["connection", "drop", "trailer", "x_user_id", "x-user_roles"]) assert.ok(!names.includes(gone), gone);
    assert.deepEqual(got.headers.filter(([name]) => name.toLowerCase().startsWith("x-user")), set);
    assert.deepEqual(got.headers.filter(([name]) => name === "Host" || name === "Keep"), [["Host", "a.example"], ["Keep", "1"]]);
    assert.deepEqual(got.trailers, [["X-Sum", "3"]]);
  }
});

test("a target in absolute form", async (t) => {
  const { url } = await telling(t);
  for (const [target, path] of [["http://b.example/a?b", "/a?b"], ["HTTP://b.example", "/"], ["http://b.example?x", "/?x"]]) {
    const got = bodyOf(await raw(url, `GET ${target} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nAuthorization: Bearer ${token()}\r\n\r\n`));
    assert.equal(got.path, path);
    assert.deepEqual(got.headers.filter(([name]) => name.toLowerCase() === "host"), [["Host", "b.example"]]);
  }
});

test("HTTP/2", async (t) => {
  const { tell } = await telling(t);
  const server = http2.createServer(tell);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const client = http2.connect(`http://127.0.0.1:${server.address().port}`);
  t.after(() => {
    client.close();
    server.close();
  });
  const ask = (headers) => new Promise((resolve, reject) => {
    const stream = client.request({ ":path": "/a", ":authority": "a.example", ...headers });
    let status;
    let body = "";
    stream.on("response", (h) => { status = h[":status"]; }).on("data", (d) => { body += d; }).on("error", reject)
      .on("end", () => resolve({ status, ...JSON.parse(body) }));
    stream.end();
  });
  assert.equal((await ask({})).code, "missing_token");
  const got = await ask({ authorization: `Bearer ${token()}`, "x-user-id": "root", x_user_id: "root" });
  assert.equal(got.status, 200);
  assert.deepEqual(got.headers.filter(([name]) => /^x|^:|host/i.test(name)), [["Host", "a.example"], ["x-user-id", "user_1"]]);
});

test("an upgrade is decided about like any other request", async (t) => {
  const gate = await inline(t);
  const { server, url } = await serve(t, () => assert.fail("no upgrade"));
  const seen = [];
  server.on("upgrade", (request, socket) => {
    seen.push(decide(gate, request));
    socket.end("HTTP/1.1 204 No Content\r\n\r\n");
  });
  const upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
  await raw(url, `${upgrade}\r\n`);
  await raw(url, `${upgrade}Authorization: Bearer ${token()}\r\n\r\n`);
  assert.deepEqual(seen.map((s) => s.decision.reason), ["missing_token", "none"]);
  assert.ok(!seen[1].headers.some(([name]) => /upgrade|connection/i.test(name)));
});
