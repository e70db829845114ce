// Package node is the driver of examples/node.
package node

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"sessiongate/e2e/matrix"
)

func init() {
	matrix.Register(matrix.Host{Name: "node", Start: start, NotOn: map[string]string{
		"no_rule: a method in lower case": "Node answers 400 by itself",
	}})
}

func start(_ context.Context, s *matrix.Stage) (*matrix.Running, error) {
	program, err := exec.LookPath("node")
	if err != nil {
		return nil, err
	}
	return Serve(s, true, program, filepath.Join(s.Top(), "examples/node/server.js"))
}

// Serve starts an example that is told by its environment what to do.
func Serve(s *matrix.Stage, h2 bool, program string, args ...string) (*matrix.Running, error) {
	guest, err := s.Guest("./wasm/core")
	if err != nil {
		return nil, err
	}
	var at [2]string
	for i := range at {
		port, err := matrix.FreePort()
		if err != nil {
			return nil, err
		}
		at[i] = fmt.Sprintf("127.0.0.1:%d", port)
	}
	all := append([]string{"UPSTREAM=" + s.Upstream, "POLICY=" + s.PolicyFile, "MODULE=" + guest, "LISTEN=" + at[0], "LISTEN2=" + at[1], program}, args...)
	p, err := matrix.Start(s.Dir, "env", all...)
	if err != nil {
		return nil, err
	}
	running := &matrix.Running{URL: "http://" + at[0], Stop: p.Stop, Log: p.Log}
	if h2 {
		running.H2 = "http://" + at[1]
	}
	if err := p.AwaitPort(time.Minute, at[0]); err != nil {
		return nil, fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	return running, nil
}
