// Package caddy is the driver of Caddy with the directive sessiongate.
package caddy

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"sessiongate/e2e/matrix"
)

func init() {
	matrix.Register(matrix.Host{Name: "caddy", Start: start, Lacks: map[matrix.Need]string{
		matrix.NoEscapes: "net/http answers 400 by itself",
	}})
}

// start runs the Caddyfile of the example, with other addresses.
func start(ctx context.Context, s *matrix.Stage) (*matrix.Running, error) {
	out, err := exec.CommandContext(ctx, filepath.Join(s.Top(), "e2e", "install-caddy")).Output()
	if err != nil {
		return nil, fmt.Errorf("e2e/install-caddy: %w", err)
	}
	guest, err := s.Guest("./wasm/core")
	if err != nil {
		return nil, err
	}
	var ports [2]int
	for i := range ports {
		if ports[i], err = matrix.FreePort(); err != nil {
			return nil, err
		}
	}
	listen := fmt.Sprintf("127.0.0.1:%d", ports[0])
	text, err := s.Replace("examples/caddy/Caddyfile",
		"http://:10000 {", fmt.Sprintf("http://:%d {", ports[0]),
		"http://:9000 {", fmt.Sprintf("http://:%d {", ports[1]), // the example's upstream, out of the way
		"127.0.0.1:9000", strings.TrimPrefix(s.Upstream, "http://"),
		"admin 127.0.0.1:2019", "admin off",
		"policy policy.json", "policy "+s.PolicyFile+"\n\t\tmodule "+guest)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(s.Dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	p, err := matrix.Start(s.Dir, "env", "XDG_DATA_HOME="+s.Dir, "XDG_CONFIG_HOME="+s.Dir, strings.TrimSpace(string(out)), "run", "--config", file)
	if err != nil {
		return nil, err
	}
	if err := p.AwaitPort(2*time.Minute, listen); err != nil {
		_ = p.Stop()
		return nil, err
	}
	return &matrix.Running{URL: "http://" + listen, H2: "http://" + listen, Stop: p.Stop, Log: p.Log}, nil
}
