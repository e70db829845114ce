// Package nginx is the driver of examples/nginx.
package nginx

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
	const itself = "nginx answers 400 by itself"
	matrix.Register(matrix.Host{Name: "nginx", Start: start,
		Lacks: map[matrix.Need]string{
			matrix.Trailers:  "nginx drops trailers",
			matrix.OtherPath: "authz has no path normalised",
			matrix.NoEscapes: itself,
		},
		NotOn: map[string]string{
			"multiple_tokens: a header twice":           itself,
			"multiple_tokens: another scheme beside it": itself,
			"no_rule: a method in lower case":           itself,
			"bad_path: /app%00":                         itself,
			"spoofed in a trailer over HTTP/2":          "nginx ends the connection",
		},
		Adjust: adjust,
	})
}

// adjust: the body of an auth_request's answer cannot be had, and the challenge of a
// 401 goes to the client whatever is made of it.
func adjust(_ *matrix.Row, want *matrix.Cell) {
	switch {
	case want.Admitted:
		return
	case want.Status == 303:
		want.AnyBody, want.Header["content-type"], want.Header["www-authenticate"] = true, "text/html", "Bearer"
	case want.Header["grpc-status"] == "16":
		want.Header["www-authenticate"] = "Bearer"
	case want.Body != "":
		title := map[int]string{400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 503: "Service Unavailable"}[want.Status]
		want.Body = fmt.Sprintf(`{"type":"about:blank","title":"%s","status":%d,"code":"%s"}`+"\n", title, want.Status, want.Reason)
	}
}

func start(ctx context.Context, s *matrix.Stage) (*matrix.Running, error) {
	out, err := exec.CommandContext(ctx, filepath.Join(s.Top(), "e2e/install-nginx")).Output()
	if err != nil {
		return nil, fmt.Errorf("install-nginx: %w", err)
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
	config, err := s.Replace("examples/nginx/nginx.conf", "server 127.0.0.1:9001", "server "+strings.TrimPrefix(authzURL, "http://"),
		"server 127.0.0.1:9000", "server "+strings.TrimPrefix(s.Upstream, "http://"),
		"listen 127.0.0.1:10000", "listen "+ports[0], "listen 127.0.0.1:10001", "listen "+ports[1], "listen 127.0.0.1:9000", "listen "+ports[2])
	if err != nil {
		return fail(err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "nginx.conf"), []byte(config), 0o600); err != nil {
		return fail(err)
	}
	p, err := matrix.Start(s.Dir, strings.TrimSpace(string(out)), "-p", s.Dir, "-c", "nginx.conf")
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
