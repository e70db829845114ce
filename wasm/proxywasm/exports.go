//go:build wasip1

package main

import (
	"unsafe"

	"sessiongate/internal/guest"
	"sessiongate/wasm/proxywasm/internal/plugin"
)

// buildSeconds is the time of the commit that this was built from, in Unix seconds,
// if the linker sets it: -X main.buildSeconds=….
var buildSeconds string

var vm = plugin.New(proxy{}, guest.ClockFloor(buildSeconds))

func main() {}

// The name of this function is all that the proxy looks at.
//
//go:wasmexport proxy_abi_version_0_2_1
func abiVersion() {}

//go:wasmexport proxy_on_memory_allocate
func onMemoryAllocate(size uint32) unsafe.Pointer { return answers.room(size) }

// A failing start of the VM would make some threads skip the guest, so it never fails.
//
//go:wasmexport proxy_on_vm_start
func onVMStart(_, _ uint32) uint32 { return 1 }

//go:wasmexport proxy_on_context_create
func onContextCreate(context, parent uint32) { vm.Create(context, parent) }

//go:wasmexport proxy_on_configure
func onConfigure(context, size uint32) uint32 {
	if vm.Configure(context, size) {
		return 1
	}
	return 0
}

//go:wasmexport proxy_on_tick
func onTick(context uint32) { vm.Tick(context) }

//go:wasmexport proxy_on_request_headers
func onRequestHeaders(context, _, _ uint32) uint32 { return uint32(vm.RequestHeaders(context)) }

//go:wasmexport proxy_on_request_trailers
func onRequestTrailers(context, _ uint32) uint32 { return uint32(vm.RequestTrailers(context)) }

//go:wasmexport proxy_on_http_call_response
func onHTTPCallResponse(context, call, _, bodySize, _ uint32) {
	vm.CallResponse(context, call, bodySize)
}

//go:wasmexport proxy_on_delete
func onDelete(context uint32) { vm.Delete(context) }
