// Package workerd is the driver of examples/workerd.
package workerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"sessiongate/e2e/matrix"
)

func init() {
	const frames = "workerd speaks WebSocket itself, and what follows a handshake here is none"
	matrix.Register(matrix.Host{Name: "workerd", Start: start,
		Lacks: map[matrix.Need]string{matrix.Trailers: "fetch has no trailers"},
		NotOn: map[string]string{
			"no_rule: a method in lower case": "workerd answers 501 by itself",
			"cookies in two fields":           "workerd joins repeated fields by a comma, which is none between cookies",
			"WebSocket":                       frames, "WebSocket, spoofed": frames, "WebSocket with a cookie, from an allowed origin": frames,
		},
	})
}

func start(ctx context.Context, s *matrix.Stage) (*matrix.Running, error) {
	out, err := exec.CommandContext(ctx, filepath.Join(s.Top(), "e2e/install-js"), "workerd").Output()
	if err != nil {
		return nil, fmt.Errorf("install-js workerd: %w", err)
	}
	guest, err := s.Guest("./wasm/core")
	if err != nil {
		return nil, err
	}
	port, err := matrix.FreePort()
	if err != nil {
		return nil, err
	}
	at := fmt.Sprintf("127.0.0.1:%d", port)
	example := filepath.Join(s.Top(), "examples/workerd")
	// Files are embedded by paths relative to the configuration.
	config, err := s.Replace("examples/workerd/config.capnp", `"127.0.0.1:9000"`, `"`+strings.TrimPrefix(s.Upstream, "http://")+`"`,
		`"127.0.0.1:10000"`, `"`+at+`"`, `embed "../../wasm/js/core.wasm"`, `embed "core.wasm"`, `embed "policy.json"`, `embed "stage.json"`,
		`embed "../../wasm/js/`, `embed "js/`)
	if err != nil {
		return nil, err
	}
	link := func(from, to string) error {
		b, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(s.Dir, to), b, 0o600)
	}
	loader := filepath.Join(s.Top(), "wasm/js")
	err = errors.Join(os.MkdirAll(filepath.Join(s.Dir, "js"), 0o755), os.WriteFile(filepath.Join(s.Dir, "config.capnp"), []byte(config), 0o600),
		os.WriteFile(filepath.Join(s.Dir, "stage.json"), s.Policy, 0o600), link(guest, "core.wasm"), link(filepath.Join(example, "worker.js"), "worker.js"))
	for _, name := range []string{"index.js", "abi.js", "http.js", "keys.js"} {
		err = errors.Join(err, link(filepath.Join(loader, name), "js/"+name))
	}
	if err != nil {
		return nil, err
	}
	p, err := matrix.Start(s.Dir, strings.TrimSpace(string(out)), "serve", "config.capnp")
	if err != nil {
		return nil, err
	}
	if err := p.AwaitPort(time.Minute, at); err != nil {
		return nil, err
	}
	return &matrix.Running{URL: "http://" + at, Stop: p.Stop, Log: p.Log}, nil
}
