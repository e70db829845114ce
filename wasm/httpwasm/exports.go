//go:build wasip1

package main

import (
	"sessiongate/internal/guest"
	"sessiongate/wasm/httpwasm/internal/plugin"
)

// buildSeconds is the time of the commit that this was built from, in Unix seconds,
// if the linker sets it: -X main.buildSeconds=….
var buildSeconds string

var instance = plugin.New(proxy{}, guest.ClockFloor(buildSeconds))

// The configuration is there from the beginning, and its bytes alone decide whether
// it can be used. A proxy refuses all requests of a plugin that does not start, and
// says so to whoever looks after it.
func init() {
	if !instance.Start() {
		panic("sessiongate: the configuration is not accepted; the log says why")
	}
}

func main() {}

// The lower half of the result is whether the request goes on.
//
//go:wasmexport handle_request
func handleRequest() uint64 {
	if instance.HandleRequest() {
		return 1
	}
	return 0
}

// Responses go by as they are.
//
//go:wasmexport handle_response
func handleResponse(_, _ uint32) {}
