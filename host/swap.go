package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"sessiongate/internal/keyfetch"
	"sessiongate/jwks"
)

// Swap puts another module, another policy, or both in force while requests run;
// nil keeps the one there is. Calls that run end under the old one. If the new one
// is not accepted, the error says why and the old one keeps serving. Keys that
// were fetched from a source that the new policy names too are carried over.
func (h *Host) Swap(ctx context.Context, module, policy []byte) error {
	err := h.swap(ctx, module, policy)
	h.metrics.swapped(err)
	if err != nil {
		h.log.Error("swap refused, the old module and policy keep serving", "error", err)
		return fmt.Errorf("swap: %w", err)
	}
	h.log.Info("swapped")
	return nil
}

// Reload reads the policy file, if there is one, and the files that the policy
// names, and fetches keys anew. If anything is not accepted, the error says why
// and all stays as it was.
func (h *Host) Reload(ctx context.Context) error {
	var policy []byte
	if h.config.PolicyFile != "" {
		var err error
		if policy, err = readPolicy(h.config.PolicyFile); err != nil {
			h.metrics.swapped(err)
			h.log.Error("reload failed, the old policy keeps serving", "error", err)
			return fmt.Errorf("reload: %w", err)
		}
	}
	return h.Swap(ctx, nil, policy)
}

func (h *Host) swap(ctx context.Context, code, policy []byte) error {
	h.swapping.Lock()
	defer h.swapping.Unlock()
	old := h.current.Load()
	if old == nil && code == nil {
		return ErrClosed
	}
	m := (*module)(nil)
	if code != nil {
		compiled, err := h.engine.Compile(ctx, code)
		if err != nil {
			return fmt.Errorf("module: %w", err)
		}
		m = &module{Module: compiled}
	} else {
		m = old.module
	}
	if policy == nil {
		policy = old.policy
	}
	m.users.Add(1)
	next, err := h.prepare(ctx, m, policy, old)
	if err != nil {
		m.release()
		return err
	}
	h.current.Store(next)
	if old != nil {
		old.retire()
	}
	return nil
}

// prepare makes an edition that is ready to serve: one instance is configured, and
// each key source was tried once.
func (h *Host) prepare(ctx context.Context, m *module, policy []byte, old *edition) (*edition, error) {
	e := &edition{host: h, module: m, policy: policy}
	starting, cancel := h.bound(ctx, startTimeout)
	defer cancel()
	i, err := m.Instantiate(starting)
	if err != nil {
		return nil, err
	}
	if err := e.configure(starting, i); err != nil {
		i.Close()
		return nil, err
	}
	first, err := e.prepare(starting, i)
	if err != nil {
		return nil, err
	}
	e.keys.Store(&snapshot{sets: make([]keySet, len(e.plan.Issuers))})
	e.pool = newPool(h.config.Instances, e.create, func(w *worker) { w.Close() })
	e.pool.adopt(first)
	running, stop := context.WithCancel(context.Background())
	e.stop = stop
	h.retiring.Add(1)
	e.startKeepers(running, old)
	if err := e.firstAttempts(ctx); err != nil {
		m.users.Add(1) // retire releases it, and so does our caller
		e.retire()
		return nil, err
	}
	return e, nil
}

// carryOver puts what an older edition holds from the same source in force.
func (e *edition) carryOver(k *keeper, old *edition) {
	if old == nil {
		return
	}
	for _, o := range old.keepers {
		if o == nil || o.source.Issuer != k.source.Issuer || o.source.Keys != k.source.Keys || o.source.Location != k.source.Location {
			continue
		}
		s := o.snapshot()
		if s.Document == nil {
			return
		}
		if err := e.install(context.Background(), k.issuer, s.Document, s.ConfirmedAt); err != nil {
			e.host.log.Warn("keys not carried over", "issuer", k.source.Issuer, "error", err)
			return
		}
		k.restore(s, e.host.now())
		return
	}
}

// readPolicy reads a policy file. What is longer than any guest takes is cut off:
// the guest refuses it for its length.
func readPolicy(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 2<<20))
	if err != nil {
		return nil, err
	}
	if len(b) == 0 {
		return nil, fmt.Errorf("%s: is empty", path)
	}
	return b, nil
}

// watch reloads when the policy file or a secret file changes.
func (h *Host) watch(ctx context.Context, seen map[string]os.FileInfo) {
	ticker := time.NewTicker(h.config.WatchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if h.changed(seen) {
			_ = h.Reload(ctx) // logged and counted; a bad one is not tried again until it changes
		}
	}
}

// changed notes the present version of each watched file and tells whether one is
// new. A file that is away, while somebody replaces it perhaps, has not changed yet.
func (h *Host) changed(seen map[string]os.FileInfo) bool {
	e := h.current.Load()
	if e == nil {
		return false
	}
	changed := false
	look := func(path string, read os.FileInfo) {
		info, err := os.Stat(path)
		if err != nil {
			return
		}
		if last, known := seen[path]; known {
			read = last
		}
		changed = changed || !keyfetch.SameVersion(read, info)
		seen[path] = info
	}
	if h.config.PolicyFile != "" {
		look(h.config.PolicyFile, nil) // New has put what it read into seen
	}
	for path, read := range e.files {
		look(path, read)
	}
	return changed
}

// UpdateKeys puts a key set of an issuer in force in every instance. Calls that run
// end under the old one, and nothing waits. A set that the guest cannot use, or
// without a usable key, is a *ConfigError and changes nothing. Where the policy
// names a source for the issuer's keys, what that brings next replaces the set.
func (h *Host) UpdateKeys(issuer string, document []byte) error {
	for {
		e := h.current.Load()
		if e == nil {
			return ErrClosed
		}
		i := slices.IndexFunc(e.plan.Issuers, func(s source) bool { return s.Issuer == issuer && s.Keys != sourceSecret })
		if i < 0 {
			return fmt.Errorf("issuer %q: the policy has no key set of it", issuer)
		}
		if len(document) == 0 {
			return readFaults("") // to the guest it would mean something else
		}
		document := slices.Clone(document)
		now := h.now()
		err := e.install(context.Background(), i, document, now)
		if errors.Is(err, errRetired) {
			continue // swapped meanwhile
		}
		if err != nil {
			return fmt.Errorf("keys of issuer %q: %w", issuer, err)
		}
		if k := e.keepers[i]; k != nil {
			k.restore(jwks.Snapshot{Document: document, ConfirmedAt: now}, now)
		}
		return nil
	}
}
