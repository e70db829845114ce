//go:build conformance

// Command conformance speaks the line protocol of the conformance runner: one JSON
// object a line on standard input, one back. It is built with the tag
// "conformance", which adds to the core what no host may have: a look at header
// and signature without claims.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// request is one case, in the runner's words.
type request struct {
	Mode   string  `json:"mode"`
	JWKS   string  `json:"jwks"`
	Token  string  `json:"token"`
	Alg    string  `json:"alg"`
	Now    int64   `json:"now"`
	Iss    string  `json:"iss"`
	Aud    string  `json:"aud"`
	Leeway float64 `json:"leeway"`
	Msg    string  `json:"msg"`
	Sig    string  `json:"sig"`
}

// answer is the verdict on it.
type answer struct {
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
	Skip  bool   `json:"skip,omitempty"`
	Keys  *int   `json:"keys,omitempty"`
}

func main() {
	name := flag.String("engine", "native", "native or wasm: where the core judges")
	module := flag.String("module", built("guests/core.wasm"), "wasm: `file` of the guest that ships, for modes jwt and jwks")
	extra := flag.String("extra", built("guests/core-conformance.wasm"), "wasm: `file` of the guest built with the tag, for modes jws and raw")
	cache := flag.String("cache", built("wazero"), "wasm: `directory` for compiled guests")
	listed := flag.String("check", "", "compare two result files of the runner, native and wasm, and hold them against the refusals listed in `file`")
	flag.Parse()
	if *listed != "" {
		ok, err := check(os.Stdout, *listed, flag.Arg(0), flag.Arg(1))
		if err != nil {
			fmt.Fprintln(os.Stderr, "conformance:", err)
			os.Exit(2)
		}
		if !ok {
			os.Exit(1)
		}
		return
	}
	e, err := open(*name, *module, *extra, *cache)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(2)
	}
	defer e.close()
	if err := run(e, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(2)
	}
}

func open(name, module, extra, cache string) (engine, error) {
	switch name {
	case "native":
		return native{}, nil
	case "wasm":
		return openWasm(module, extra, cache)
	}
	return nil, fmt.Errorf("-engine %q: wants native or wasm", name)
}

// built is where make puts what it builds beside this program: bin/conformance
// finds build/guests from any working directory.
func built(name string) string {
	self, err := os.Executable()
	if err != nil {
		return filepath.Join("build", name)
	}
	return filepath.Join(filepath.Dir(self), "..", "build", name)
}
