//go:build !wasip1

package main

import "os"

// Elsewhere there is no guest to be.
func main() {
	println("httpwasm: build it with GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared")
	os.Exit(2)
}
