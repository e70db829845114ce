// Command core is the guest for hosts that speak the ABI of docs/abi.md. It is
// built as a reactor:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o core.wasm sessiongate/wasm/core
package main
