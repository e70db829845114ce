// Package traefik holds the drivers of Traefik: all of it, with the configuration of
// examples/traefik, and its plugin engine by itself.
package traefik

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"sessiongate/e2e/matrix"
	"sessiongate/jwks"
)

func init() {
	lacks := map[matrix.Need]string{
		matrix.Trailers:  "passes no trailers of requests on",
		matrix.NoEscapes: "net/http answers 400 by itself",
	}
	query := map[string]string{"an odd query is no path": `writes "%3B" for ";" in every query`}
	matrix.Register(matrix.Host{Name: "traefik-engine", Start: startEngine, Lacks: lacks, NotOn: query})
	notOn := maps.Clone(query)
	notOn["bad_path: /%61dmin"] = `makes "/admin" of it before a middleware sees it`
	matrix.Register(matrix.Host{Name: "traefik", Start: startTraefik, Lacks: lacks, NotOn: notOn})
}

// prepare puts guest, configuration and key files where the example has them.
func prepare(s *matrix.Stage) error {
	guest, err := s.Guest("./wasm/httpwasm")
	if err != nil {
		return err
	}
	plugin := filepath.Join(s.Dir, "plugins-local", "src", "sessiongate")
	if err := os.MkdirAll(plugin, 0o755); err != nil {
		return err
	}
	code, err := os.ReadFile(guest)
	if err != nil {
		return err
	}
	manifest, err := os.ReadFile(filepath.Join(s.Top(), "examples", "traefik", "plugin.yaml"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(plugin, "plugin.wasm"), code, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(plugin, ".traefik.yml"), manifest, 0o600)
}

// age says in the key files that are to grow old that nobody has confirmed them for
// an hour. Until then they are as if put there by hand.
func age(s *matrix.Stage) error {
	for _, set := range s.Keys {
		if set.State != matrix.Aging {
			continue
		}
		content, err := jwks.AppendFile(nil, set.Document, time.Now().Add(-time.Hour).UnixMilli())
		if err != nil {
			return err
		}
		path := filepath.Join(s.Dir, "keys", set.File)
		if err := os.WriteFile(path+".new", content, 0o600); err != nil {
			return err
		}
		if err := os.Rename(path+".new", path); err != nil {
			return err
		}
	}
	return nil
}

func running(s *matrix.Stage, p *matrix.Process, url string) *matrix.Running {
	return &matrix.Running{URL: url, H2: url, Stop: p.Stop, Log: p.Log, Age: func() error { return age(s) }}
}

func startEngine(ctx context.Context, s *matrix.Stage) (*matrix.Running, error) {
	if err := prepare(s); err != nil {
		return nil, err
	}
	config, err := json.Marshal(map[string]string{"document": string(s.Policy)})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "plugin.json"), config, 0o600); err != nil {
		return nil, err
	}
	program := filepath.Join(s.Top(), "build", "tools", "traefik-engine")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, ".")
	build.Dir = filepath.Join(s.Top(), "e2e", "hosts", "traefik", "engine")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("engine: %w: %s", err, out)
	}
	p, err := matrix.Start(s.Dir, program, "-config", "plugin.json", "-mounts", "keys:/keys:ro", "-upstream", s.Upstream)
	if err != nil {
		return nil, err
	}
	var url string
	told := regexp.MustCompile(`(?m)^http://127\.0\.0\.1:[0-9]+$`)
	if err := p.Await(2*time.Minute, "the engine tells where it listens", func() bool {
		url = told.FindString(p.Log())
		return url != ""
	}); err != nil {
		_ = p.Stop()
		return nil, err
	}
	return running(s, p, url), nil
}

func startTraefik(ctx context.Context, s *matrix.Stage) (*matrix.Running, error) {
	if err := prepare(s); err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, filepath.Join(s.Top(), "e2e", "install-traefik")).Output()
	if err != nil {
		return nil, fmt.Errorf("install-traefik: %w", err)
	}
	port, err := matrix.FreePort()
	if err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	static, err := s.Replace("examples/traefik/traefik.yaml", "127.0.0.1:10000", address)
	if err != nil {
		return nil, err
	}
	dynamic, err := s.Replace("examples/traefik/dynamic.head.yaml", "http://127.0.0.1:9000", s.Upstream)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(s.Policy)) {
		dynamic += "            " + line
	}
	for name, text := range map[string]string{"traefik.yaml": static, "dynamic.yaml": dynamic + "\n"} {
		if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	p, err := matrix.Start(s.Dir, strings.TrimSpace(string(out)), "--configFile=traefik.yaml")
	if err != nil {
		return nil, err
	}
	url := "http://" + address
	if err := p.Await(2*time.Minute, "Traefik has compiled the guest", func() bool {
		resp, err := http.Get(url)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode != http.StatusNotFound // until it has its routers
	}); err != nil {
		_ = p.Stop()
		return nil, err
	}
	return running(s, p, url), nil
}
