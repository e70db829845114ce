// Command httpwasm is the guest for Traefik and the other proxies that speak the
// http-wasm HTTP handler ABI. It is built as a reactor:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o httpwasm.wasm sessiongate/wasm/httpwasm
//
// The policy document is the plugin's configuration, or the text in its member
// "document"; docs/hosts.md says how a proxy
// is set up around it.
package main
