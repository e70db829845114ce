// Command caddy is Caddy with its standard modules, the directive sessiongate, and the
// guest inside.
package main

import (
	_ "embed"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	sessiongate "sessiongate/caddy"
)

// The guest is built from the required version of the module, so that host and guest
// are always of one version.
//
//go:generate make core.wasm
//go:embed core.wasm
var core []byte

func main() {
	sessiongate.Guest = core
	caddycmd.Main()
}
