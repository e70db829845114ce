// Package extauthz is the driver of examples/ext_authz.
package extauthz

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
	matrix.Register(matrix.Host{Name: "ext_authz", Start: start,
		Lacks: map[matrix.Need]string{
			matrix.OtherPath: "authz has no path normalised",
			matrix.CutQuery:  "an answer to ext_authz changes no path",
			matrix.Trailers:  "Envoy drops trailers of HTTP/1.1",
			matrix.NoEscapes: "net/http, of authz, answers 400 by itself",
		},
		NotOn: map[string]string{
			"cookies in two fields":           "Envoy joins them with a comma for authz",
			"no_rule: a method in lower case": "Envoy answers 400 by itself",
		},
		Adjust: adjust,
	})
}

// adjust: Envoy takes a 5xx for a failure of authz and answers by itself, makes an
// answer to gRPC out of the status, takes the type off an answer without body, and
// hands on the challenge that authz owes to it.
func adjust(row *matrix.Row, want *matrix.Cell) {
	switch {
	case want.Admitted:
	case want.Status == 503:
		want.Body, want.Header = "", nil
	case strings.HasPrefix(row.Name, "gRPC-Web"):
		want.Status, want.Header = 401, map[string]string{"www-authenticate": "Bearer"}
	case want.Header["grpc-status"] == "16":
		want.Header["www-authenticate"] = "Bearer"
	case want.Header["grpc-status"] == "3":
		want.Header["grpc-status"] = "13"
	case want.Body == "" && want.Status != 200:
		delete(want.Header, "content-type")
	}
}

// reasons finds the Reason where authz's answer is not handed on: in its log.
func reasons(log func() string) func(*matrix.Answer) string {
	read := 0 // lines
	return func(a *matrix.Answer) string {
		if reason := matrix.ReasonOf(a); reason != "" || a.Status != 503 && a.Header.Get("grpc-status") != "14" {
			return reason
		}
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			lines := strings.Split(log(), "\n")
			for i := len(lines) - 1; i >= read; i-- {
				if !strings.Contains(lines[i], " msg=request ") {
					continue
				}
				if _, rest, ok := strings.Cut(lines[i], " status=503 reason="); ok {
					read = i + 1
					reason, _, _ := strings.Cut(rest, " ")
					return reason
				}
				break
			}
		}
		return ""
	}
}

func start(ctx context.Context, s *matrix.Stage) (*matrix.Running, error) {
	out, err := exec.CommandContext(ctx, filepath.Join(s.Top(), "e2e/install-envoy")).Output()
	if err != nil {
		return nil, fmt.Errorf("install-envoy: %w", err)
	}
	authz, authzURL, err := gateway.Serve(ctx, s, "authz")
	if err != nil {
		return nil, err
	}
	stop := authz.Stop
	fail := func(err error) (*matrix.Running, error) { return nil, errors.Join(err, stop()) }
	public, err := matrix.FreePort()
	if err != nil {
		return fail(err)
	}
	config, err := s.Replace("examples/ext_authz/envoy.yaml",
		"admin:\n  address: {socket_address: {address: 127.0.0.1, port_value: 9901}}\n", "",
		"port_value: 10000", fmt.Sprintf("port_value: %d", public),
		"address: {socket_address: {address: 127.0.0.1, port_value: 9000}}\n", "address: {socket_address: {address: 127.0.0.1, port_value: 0}}\n",
		"port_value: 9000", "port_value: "+port(s.Upstream), "port_value: 9001", "port_value: "+port(authzURL))
	if err != nil {
		return fail(err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "envoy.yaml"), []byte(config), 0o600); err != nil {
		return fail(err)
	}
	p, err := matrix.Start(s.Dir, strings.TrimSpace(string(out)), "-c", "envoy.yaml", "--concurrency", "2", "--use-dynamic-base-id", "--log-level", "warning")
	if err != nil {
		return fail(err)
	}
	stop = func() error { return errors.Join(p.Stop(), authz.Stop()) }
	address := fmt.Sprintf("127.0.0.1:%d", public)
	if err := p.AwaitPort(time.Minute, address); err != nil {
		return fail(err)
	}
	return &matrix.Running{URL: "http://" + address, H2: "http://" + address, Stop: stop, Reason: reasons(authz.Log),
		Log: func() string { return p.Log() + authz.Log() }}, nil
}

func port(url string) string { return url[strings.LastIndexByte(url, ':')+1:] }
