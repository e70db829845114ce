package sessiongatecaddy

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"sessiongate/host"
)

// hosts are the hosts in use, by key. Directives of one key share theirs, and so do
// a configuration and the one that replaces it: a reload compiles nothing, and keys
// that were fetched stay, even while their issuer is down.
var hosts = caddy.NewUsagePool()

// key is what a host cannot change while it runs.
type key struct {
	policy, module, cacheDir string
	instances                int
}

// linger is how long a host outlives the configuration that used it. Caddy cleans up
// before the servers of that configuration have answered their last requests.
var linger = time.Minute

// shared is a host and what it was last given.
type shared struct {
	host   *host.Host
	policy string // the file
	log    *relay

	mu   sync.Mutex
	last content
}

// content tells the versions of files apart.
type content struct{ module, policy [sha256.Size]byte }

func (g *Gate) key() key {
	return key{policy: g.Policy, module: g.Module, cacheDir: g.CacheDir, instances: g.Instances}
}

// open gets the host of this directive, with module and policy as they are now.
func (g *Gate) open(ctx caddy.Context, module []byte) error {
	policy, err := os.ReadFile(g.Policy)
	if err != nil {
		return err
	}
	now := content{sha256.Sum256(module), sha256.Sum256(policy)}
	value, _, err := hosts.LoadOrNew(g.key(), func() (caddy.Destructor, error) {
		log := new(relay)
		attached := log.attach(g.log.Handler())
		defer log.detach(attached)
		h, err := host.New(ctx, host.Config{Module: module, PolicyFile: g.Policy, Instances: g.Instances, CacheDir: g.cacheDir(), Logger: slog.New(log)})
		if err != nil {
			return nil, err
		}
		return &shared{host: h, policy: g.Policy, log: log, last: now}, nil
	})
	if err != nil {
		return err
	}
	g.shared = value.(*shared)
	g.relay = g.shared.log.attach(g.log.Handler())
	return g.shared.renew(ctx, now, module, policy)
}

// renew puts a module or a policy in force that is not the one last given. If it is
// not accepted, the one in force stays.
func (s *shared) renew(ctx context.Context, now content, module, policy []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now == s.last {
		return nil
	}
	if now.module == s.last.module {
		module = nil
	}
	if err := s.host.Swap(ctx, module, policy); err != nil {
		return err
	}
	s.last = now
	return nil
}

// close gives the host back, once nobody can come to it any more.
func (g *Gate) close() error {
	g.shared.log.detach(g.relay)
	if caddy.Exiting() { // then Caddy has waited for the last answer
		_, err := hosts.Delete(g.key())
		return err
	}
	time.AfterFunc(linger, func() {
		if _, err := hosts.Delete(g.key()); err != nil {
			caddy.Log().Sugar().Errorf("closing the host of policy %s: %v", g.Policy, err)
		}
	})
	return nil
}

// Destruct implements caddy.Destructor.
func (s *shared) Destruct() error { return s.host.Close() }

// register adds the host's metrics to a configuration's registry. They are told
// apart by the policy's file.
func (s *shared) register(registry prometheus.Registerer) error {
	registry = prometheus.WrapRegistererWith(prometheus.Labels{"policy": s.policy}, registry)
	for _, c := range s.host.Collectors() {
		err := registry.Register(c)
		var known prometheus.AlreadyRegisteredError
		if errors.As(err, &known) && known.ExistingCollector == c {
			continue // another directive of this configuration shares the host
		}
		if err != nil {
			return fmt.Errorf("policy %s: another directive names it with another module, cache_dir or number of instances; one policy has one host", s.policy)
		}
	}
	return nil
}

// cacheDir is the directory for compiled code. Without one that can be written to,
// the default is to do without.
func (g *Gate) cacheDir() string {
	if g.CacheDir != "" {
		return g.CacheDir
	}
	dir := filepath.Join(caddy.AppDataDir(), "sessiongate")
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		var probe *os.File
		if probe, err = os.CreateTemp(dir, "probe"); err == nil {
			probe.Close()
			err = os.Remove(probe.Name())
		}
	}
	if err != nil {
		g.log.Warn("compiled code is not kept, so that starts are slow", "error", err)
		return ""
	}
	return dir
}

// relay is a slog.Handler that hands on to that of the newest configuration: a host
// outlives configurations, and Caddy closes a configuration's logs with it.
type relay struct {
	mu       sync.Mutex
	attached []*slog.Handler
	newest   atomic.Pointer[slog.Handler]
}

// attach makes h the newest, until it is detached by what attach returns.
func (r *relay) attach(h slog.Handler) *slog.Handler {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attached = append(r.attached, &h)
	r.newest.Store(&h)
	return &h
}

func (r *relay) detach(h *slog.Handler) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attached = slices.DeleteFunc(r.attached, func(other *slog.Handler) bool { return other == h })
	if n := len(r.attached); n > 0 {
		r.newest.Store(r.attached[n-1])
	} else {
		r.newest.Store(nil)
	}
}

func (r *relay) handler() slog.Handler {
	if h := r.newest.Load(); h != nil {
		return *h
	}
	return slog.DiscardHandler
}

// Enabled implements slog.Handler.
func (r *relay) Enabled(ctx context.Context, level slog.Level) bool {
	return r.handler().Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (r *relay) Handle(ctx context.Context, record slog.Record) error {
	return r.handler().Handle(ctx, record)
}

// WithAttrs and WithGroup stay with the configuration of now; a host uses neither.
func (r *relay) WithAttrs(attrs []slog.Attr) slog.Handler { return r.handler().WithAttrs(attrs) }

// WithGroup implements slog.Handler.
func (r *relay) WithGroup(name string) slog.Handler { return r.handler().WithGroup(name) }
