// Package haproxy is the driver of examples/haproxy.
package haproxy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"sessiongate/e2e/hosts/gateway"
	"sessiongate/e2e/matrix"
)

func init() {
	matrix.Register(matrix.Host{Name: "haproxy", Start: start,
		Lacks: map[matrix.Need]string{
			matrix.OtherPath:   "authz has no path normalised",
			matrix.OwnTrailers: "HAProxy hands trailers on as they are",
		},
	})
}

func start(ctx context.Context, s *matrix.Stage) (*matrix.Running, error) {
	out, err := exec.CommandContext(ctx, filepath.Join(s.Top(), "e2e/install-haproxy")).Output()
	if err != nil {
		return nil, fmt.Errorf("install-haproxy: %w", err)
	}
	authz, authzURL, err := gateway.Serve(ctx, s, "authz")
	if err != nil {
		return nil, err
	}
	stop := authz.Stop
	fail := func(err error) (*matrix.Running, error) { return nil, errors.Join(err, stop()) }
	var ports [3]string
	for i := range ports {
		port, err := matrix.FreePort()
		if err != nil {
			return fail(err)
		}
		ports[i] = fmt.Sprintf("127.0.0.1:%d", port)
	}
	config, err := s.Replace("examples/haproxy/haproxy.cfg", "http://127.0.0.1:9001", authzURL,
		"lua-load sessiongate.lua", "lua-load "+filepath.Join(s.Top(), "examples/haproxy/sessiongate.lua"),
		"server upstream 127.0.0.1:9000", "server upstream "+strings.TrimPrefix(s.Upstream, "http://"),
		"bind 127.0.0.1:10001", "bind "+ports[1], "bind 127.0.0.1:10000", "bind "+ports[0], "bind 127.0.0.1:9000", "bind "+ports[2])
	if err != nil {
		return fail(err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "haproxy.cfg"), []byte(config), 0o600); err != nil {
		return fail(err)
	}
	p, err := matrix.Start(s.Dir, strings.TrimSpace(string(out)), "-db", "-f", "haproxy.cfg")
	if err != nil {
		return fail(err)
	}
	stop = func() error { return errors.Join(p.Stop(), authz.Stop()) }
	if err := p.AwaitPort(20*time.Second, ports[0]); err != nil {
		return fail(err)
	}
	return &matrix.Running{URL: "http://" + ports[0], H2: "http://" + ports[1], Stop: stop,
		Log: func() string { return p.Log() + authz.Log() }}, nil
}
