// Command proxywasm is the guest for Envoy, Istio and the other proxies that speak
// proxy-wasm 0.2.1. It is built as a reactor:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o proxywasm.wasm sessiongate/wasm/proxywasm
//
// The policy document is the plugin's configuration; docs/hosts.md says how a proxy
// is set up around it.
package main
