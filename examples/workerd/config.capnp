# workerd serve config.capnp
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    # Where keys come from: the issuer of this example is on a loopback address.
    (name = "internet", network = (allow = ["public", "local"], tlsOptions = (trustBrowserCas = true))),
    (name = "upstream", external = (address = "127.0.0.1:9000", http = ())),
  ],
  sockets = [(name = "http", address = "127.0.0.1:10000", http = (), service = "main")],
);

const worker :Workerd.Worker = (
  compatibilityDate = "2026-01-01",
  modules = [
    (name = "worker.js", esModule = embed "worker.js"),
    (name = "policy.json", text = embed "policy.json"),
    (name = "core.wasm", wasm = embed "../../wasm/js/core.wasm"),
    (name = "sessiongate/index.js", esModule = embed "../../wasm/js/index.js"),
    (name = "sessiongate/abi.js", esModule = embed "../../wasm/js/abi.js"),
    (name = "sessiongate/http.js", esModule = embed "../../wasm/js/http.js"),
    (name = "sessiongate/keys.js", esModule = embed "../../wasm/js/keys.js"),
  ],
  globalOutbound = "internet",
  bindings = [(name = "UPSTREAM", service = "upstream")],
);
