//go:build wasip1

package main

import (
	"unsafe"

	"sessiongate/internal/abi"
	"sessiongate/internal/guest"
)

// buildSeconds is the time of the commit that this was built from, in Unix seconds,
// if the linker sets it: -X main.buildSeconds=….
var buildSeconds string

var calls = guest.Calls{BuildSeconds: buildSeconds}

func main() {}

//go:wasmexport sg_abi_version
func abiVersion() uint32 { return abi.Version }

//go:wasmexport sg_buffer
func buffer(size uint32) unsafe.Pointer {
	return unsafe.Pointer(unsafe.SliceData(calls.Buffer(size)))
}

//go:wasmexport sg_call
func call(number, length uint32, now int64) uint64 {
	out := calls.Call(abi.Call(number), length, now)
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(out))))<<32 | uint64(len(out))
}
