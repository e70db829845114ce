// Package browser is the driver of examples/browser: a page in headless Chromium
// decides, and the proxy of examples/node carries the requests, since a browser takes
// no connections.
package browser

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"sessiongate/e2e/hosts/node"
	"sessiongate/e2e/matrix"
)

func init() {
	matrix.Register(matrix.Host{Name: "browser", Start: start, NotOn: map[string]string{
		"no_rule: a method in lower case": "Node, which carries the requests, answers 400 by itself",
	}})
}

func start(ctx context.Context, s *matrix.Stage) (*matrix.Running, error) {
	var tools [2]string
	for i, install := range [][]string{{"install-js", "playwright"}, {"install-chromium"}} {
		out, err := exec.CommandContext(ctx, filepath.Join(s.Top(), "e2e", install[0]), install[1:]...).Output()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", install[0], err)
		}
		tools[i] = strings.TrimSpace(string(out))
	}
	return node.Serve(s, false, "env", "PLAYWRIGHT="+tools[0], "CHROMIUM="+tools[1], "node", filepath.Join(s.Top(), "e2e/hosts/browser/harness.mjs"))
}
