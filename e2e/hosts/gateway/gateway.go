// Package gateway is the driver of the gateway of this project's own.
package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"strings"
	"time"

	"sessiongate/e2e/matrix"
)

func init() {
	matrix.Register(matrix.Host{Name: "gateway", Start: start, Lacks: map[matrix.Need]string{
		matrix.NoEscapes: "net/http answers 400 by itself",
	}})
}

func start(ctx context.Context, s *matrix.Stage) (*matrix.Running, error) {
	p, url, err := Serve(ctx, s, "gateway", "--upstream", s.Upstream)
	if err != nil {
		return nil, err
	}
	return &matrix.Running{URL: url, H2: url, Stop: p.Stop, Log: p.Log}, nil
}

// Serve starts a serving command of this project with the stage's policy and guest,
// on a port that it picks, and returns its URL.
func Serve(ctx context.Context, s *matrix.Stage, command string, args ...string) (*matrix.Process, string, error) {
	program, err := s.Build(ctx, ".", "./cmd/sessiongate")
	if err != nil {
		return nil, "", err
	}
	guest, err := s.Guest("./wasm/core")
	if err != nil {
		return nil, "", err
	}
	all := append([]string{"--json", "--module", guest, command, "--policy", s.PolicyFile, "--listen", "127.0.0.1:0"}, args...)
	p, err := matrix.Start(s.Dir, program, all...)
	if err != nil {
		return nil, "", err
	}
	var told struct{ URL string }
	err = p.Await(2*time.Minute, command+" tells where it listens", func() bool {
		lines := bufio.NewScanner(strings.NewReader(p.Log()))
		for lines.Scan() {
			if json.Unmarshal(lines.Bytes(), &told) == nil && told.URL != "" {
				return true
			}
		}
		return false
	})
	if err != nil {
		_ = p.Stop()
		return nil, "", err
	}
	return p, told.URL, nil
}
