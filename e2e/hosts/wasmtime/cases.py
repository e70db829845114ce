#!/usr/bin/env python3
"""The table of cases through the core guest in wasmtime, a second engine.

    PYTHONPATH="$(e2e/install-wasmtime)" python3 e2e/hosts/wasmtime/cases.py core.wasm cases.json

It is written from docs/abi.md alone. cases.json is what internal/cases/export writes. The
status is 1 if any case differs, or if there are suspiciously few.
"""

import base64
import json
import struct
import sys
import time

from wasmtime import Engine, Func, Linker, Module, Store, Trap, WasmtimeError

CONFIGURE, UPDATE_KEYS, VERIFY, FILTER, EXPLAIN = 2, 3, 4, 5, 6
EBADF = 8


def string(b):
    b = b.encode() if isinstance(b, str) else b
    return struct.pack("<I", len(b)) + b


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        if self.at + n > len(self.data):
            raise ValueError("output is cut short")
        self.at += n
        return self.data[self.at - n : self.at]

    def number(self, form):
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def raw(self):
        return self.take(self.number("I"))

    def text(self):
        return self.raw().decode()

    def list(self, item):
        return [item() for _ in range(self.number("I"))]

    def principal(self):
        p = {k: self.text() for k in ("issuer", "subject", "session", "type", "tenant")}
        p["roles"], p["permissions"] = self.list(self.text), self.list(self.text)
        p.update({k: self.text() for k in ("actor", "assurance", "party", "tokenId")})
        p.update({k: self.number("q") for k in ("authenticatedAt", "issuedAt", "expiresAt")})
        return p

    def end(self):
        if self.at != len(self.data):
            raise ValueError("output has bytes left over")


class Guest:
    """One instance, with only those functions of WASI that docs/abi.md names."""

    def __init__(self, engine, module):
        self.store, linker = Store(engine), Linker(engine)
        linker.allow_shadowing = True  # Go imports some functions twice
        for i in module.imports:
            if i.module != "wasi_snapshot_preview1":
                raise ValueError(f"module imports {i.module}.{i.name}")
            linker.define(self.store, i.module, i.name, Func(self.store, i.type, getattr(self, i.name, None) or self.bad(i.name)))
        self.exports = linker.instantiate(self.store, module).exports(self.store)
        self.memory = self.exports["memory"]
        self.exports["_initialize"](self.store)
        if self.exports["sg_abi_version"](self.store) != 1:
            raise ValueError("another version of the ABI")

    def bad(self, name):
        if not name.startswith("fd_"):
            raise ValueError(f"module imports {name}")
        return lambda *_: EBADF

    def put(self, at, form, *values):
        self.memory.write(self.store, struct.pack("<" + form, *values), at & 0xFFFFFFFF)
        return 0

    def args_sizes_get(self, count, size):
        return self.put(count, "I", 0) or self.put(size, "I", 0)

    environ_sizes_get = args_sizes_get

    def args_get(self, *_):
        return 0

    environ_get = args_get
    sched_yield = args_get

    def clock_time_get(self, _clock, _precision, out):
        return self.put(out, "Q", time.time_ns())

    def random_get(self, at, length):
        self.memory.write(self.store, bytes(length), at & 0xFFFFFFFF)  # nothing may depend on it
        return 0

    def poll_oneoff(self, _subscriptions, _events, _count, happened):
        return self.put(happened, "I", 0)

    def proc_exit(self, code):
        raise RuntimeError(f"guest exits with {code}")

    def call(self, number, data, now=0):
        at = self.exports["sg_buffer"](self.store, len(data)) & 0xFFFFFFFF
        self.memory.write(self.store, data, at)
        packed = self.exports["sg_call"](self.store, number, len(data), now) & 0xFFFFFFFFFFFFFFFF
        at, length = packed >> 32, packed & 0xFFFFFFFF
        out = bytes(self.memory.read(self.store, at, at + length))
        return out[0], out[1:]


def judge(guest, case, reasons):
    """What the guest says of a case: of the token, of a request with it, and in words."""
    status, text = guest.call(CONFIGURE, string("go") + struct.pack("<q", 0) + string(case["policy"]) + struct.pack("<I", 0))
    if status != 0:
        return [text.decode()]
    for key in case["keys"]:
        status, text = guest.call(UPDATE_KEYS, struct.pack("<Iq", key["issuer"], key["confirmed_at"]) + string(key["document"]), case["now"])
        if status != 0 and not (status == 1 and case["reason"] == "keys_unavailable"):
            return [text.decode()]
    token = base64.b64decode(case["token"])[:16385]
    wrong = []

    def same(what, got, wanted):
        if got != wanted:
            wrong.append(f"{what}: {got!r}, wanted {wanted!r}")

    r = Reader(guest.call(VERIFY, token, case["now"])[1])
    reason = reasons[r.number("B")]
    same("verify", reason, case["reason"])
    if reason == "none":
        same("principal", r.principal(), case["principal"])
    else:
        r.number("i"), r.raw()
    r.end()

    checks = json.loads(guest.call(EXPLAIN, token, case["now"])[1])["checks"]
    same("explain", next((c["reason"] for c in checks if c["reason"] != "none"), "none"), case["reason"])

    if token and all(chr(c).isalnum() and c < 128 or c in b"-_." for c in token):
        head = string("GET") + string("https") + string("api.test") + string("/") + struct.pack("<I", 1)
        r = Reader(guest.call(FILTER, head + string("authorization") + string(b"Bearer " + token), case["now"])[1])
        r.number("i"), r.raw()
        bits, reason = r.number("B"), reasons[r.number("B")]
        same("filter", reason, case["reason"])
        same("forward", bool(bits & 1), case["reason"] == "none")
        same("filter's principal", r.principal() if bits & 2 else None, case["principal"])
    return wrong


def table(page):
    """The names of the Reasons, by their codes, as docs/abi.md has them."""
    codes = {}
    for line in page.splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        for code, name in zip(cells[::2], cells[1::2]):
            if code.isdigit() and name.startswith("`"):
                codes[int(code)] = name.strip("`")
    return codes


def main(module, cases, page):
    with open(page, encoding="utf-8") as f:
        reasons = table(f.read())
    engine = Engine()
    with open(module, "rb") as f:
        compiled = Module(engine, f.read())
    guest = Guest(engine, compiled)
    with open(cases, encoding="utf-8") as f:
        cases = json.load(f)
    failed = 0
    for case in cases:
        try:
            wrong = judge(guest, case, reasons)
        except (Trap, WasmtimeError, ValueError, RuntimeError) as e:
            wrong, guest = [str(e)], Guest(engine, compiled)
        if wrong:
            failed += 1
            print(f"{case['name']}: " + "; ".join(wrong))
    print(f"wasmtime: {len(cases) - failed} passed, {failed} failed")
    return failed > 0 or len(cases) < 400


if __name__ == "__main__":
    here = __file__.rsplit("/", 1)[0] if "/" in __file__ else "."
    sys.exit(main(sys.argv[1], sys.argv[2], here + "/../../../docs/abi.md"))
