// Package deno is the driver of examples/deno.
package deno

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"strings"

	"sessiongate/e2e/hosts/node"
	"sessiongate/e2e/matrix"
)

func init() {
	const upgrade = "fetch hands on no upgraded connection"
	matrix.Register(matrix.Host{Name: "deno", Start: start, Adjust: adjust,
		Lacks: map[matrix.Need]string{matrix.Trailers: "fetch has no trailers"},
		NotOn: map[string]string{
			"WebSocket": upgrade, "WebSocket, spoofed": upgrade, "WebSocket with a cookie, from an allowed origin": upgrade,
		},
	})
}

// adjust: fetch adds what the client did not send.
func adjust(_ *matrix.Row, want *matrix.Cell) {
	if !want.Admitted {
		return
	}
	want.Upstream = maps.Clone(want.Upstream)
	for name, value := range map[string]string{"accept": "*/*", "accept-language": "*"} {
		if want.Upstream[name] == "" {
			want.Upstream[name] = value
		}
	}
}

func start(ctx context.Context, s *matrix.Stage) (*matrix.Running, error) {
	out, err := exec.CommandContext(ctx, filepath.Join(s.Top(), "e2e/install-js"), "deno").Output()
	if err != nil {
		return nil, fmt.Errorf("install-js deno: %w", err)
	}
	r, err := node.Serve(s, false, strings.TrimSpace(string(out)), "run", "--no-config", "--cached-only", "--allow-net=127.0.0.1", "--allow-read", "--allow-env",
		filepath.Join(s.Top(), "examples/deno/main.js"))
	if err == nil {
		r.H2 = r.URL
	}
	return r, err
}
