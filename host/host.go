// Package host runs sessiongate's guest in a Go program. The guest judges tokens
// and requests inside WebAssembly; the host holds its instances, brings it keys
// beside the request path, and replaces module, policy and keys while requests run.
//
//	h, err := host.New(ctx, host.Config{Module: core, PolicyFile: "policy.json"})
//	…
//	http.ListenAndServe(addr, h.Handler(next))
package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sessiongate/internal/abi"
	"sessiongate/internal/engine"
	"sessiongate/internal/keyfetch"
	"sessiongate/verdict"
)

const mostScratch = 64 << 10 // bytes that an idle instance keeps for the next request

// ErrClosed is what a closed Host answers.
var ErrClosed = errors.New("host is closed")

// Host is a guest in force. It is safe for concurrent use.
type Host struct {
	config  Config
	log     *slog.Logger
	engine  *engine.Engine
	metrics *metrics

	current  atomic.Pointer[edition]
	swapping sync.Mutex // held while current is replaced
	retiring sync.WaitGroup

	stop    context.CancelFunc // of the watch over files
	watched sync.WaitGroup
}

// Request is the head of a request, for Filter.
type Request struct {
	Method  string
	Scheme  string          // "http" or "https"; "" if unknown
	Host    string          // as received, with a port if there was one
	Path    string          // path and query, as received
	Headers []verdict.Field // a repeated field repeated, in the order received; those the policy has no use for are left out by Filter
}

// Check is one line of an explanation.
type Check struct {
	Name    string
	Reason  verdict.Reason // None if the check passed
	Skipped bool           // an earlier fault left nothing to check
	Detail  string         // what was compared; it may hold claim values
}

// New compiles the module, configures one instance and, for each issuer whose keys
// are fetched or read from a file, waits for the first attempt at them; that it
// fails is no error. The context bounds New alone. A policy that the guest does
// not accept is a *ConfigError.
func New(ctx context.Context, c Config) (*Host, error) {
	if err := c.complete(); err != nil {
		return nil, fmt.Errorf("host: %w", err)
	}
	policy, seen := c.Policy, make(map[string]os.FileInfo)
	if c.PolicyFile != "" {
		var err error
		seen[c.PolicyFile], _ = os.Stat(c.PolicyFile) // before it is read: a write in between shows later
		if policy, err = readPolicy(c.PolicyFile); err != nil {
			return nil, fmt.Errorf("host: %w", err)
		}
	}
	e, err := engine.New(ctx, engine.Config{CacheDir: c.CacheDir, MemoryLimit: c.MemoryLimit, Interruptible: c.Untrusted})
	if err != nil {
		return nil, fmt.Errorf("host: %w", err)
	}
	h := &Host{config: c, log: c.Logger, engine: e}
	h.config.Module, h.config.Policy = nil, nil // compiled, and held by the edition
	h.metrics = newMetrics(h)
	watching, stop := context.WithCancel(context.Background())
	h.stop = stop
	if err := h.swap(ctx, c.Module, policy); err != nil {
		stop()
		h.retiring.Wait()
		return nil, errors.Join(fmt.Errorf("host: %w", err), e.Close())
	}
	if c.WatchInterval > 0 {
		h.watched.Go(func() { h.watch(watching, seen) })
	}
	return h, nil
}

// Close lets calls that run end, then frees everything. What is asked of the Host
// from then on is refused with ErrClosed.
func (h *Host) Close() error {
	h.stop()
	h.watched.Wait()
	h.swapping.Lock()
	defer h.swapping.Unlock()
	e := h.current.Swap(nil)
	if e == nil {
		return nil
	}
	e.retire()
	h.retiring.Wait()
	if t, ours := h.config.Transport.(*keyfetch.Transport); ours {
		t.Close()
	}
	return h.engine.Close()
}

// Verify judges one token. A refusal is a verdict.Reason, so that errors.Is tells
// which, and leaves the Principal empty. So does what keeps the host from judging:
// such an error matches verdict.Internal and its cause, such as the context's,
// which bounds the wait for an instance.
func (h *Host) Verify(ctx context.Context, token string) (verdict.Principal, error) {
	e, w, err := h.take(ctx)
	if err != nil {
		return verdict.Principal{}, h.failed(callVerify, err)
	}
	now := h.now()
	text, err := h.call(ctx, e, w, abi.CallVerify, now, token[:min(len(token), abi.MaxToken+1)])
	if err != nil {
		return verdict.Principal{}, h.failed(callVerify, err)
	}
	v, err := abi.DecodeVerified(text)
	if err != nil {
		return verdict.Principal{}, h.failed(callVerify, err)
	}
	h.metrics.count(callVerify, v.Reason)
	if v.Reason != verdict.None {
		e.hint(v.Reason, v.Hint)
		return verdict.Principal{}, v.Reason
	}
	return v.Principal, nil
}

// Filter decides about one request. An error, which matches verdict.Internal,
// comes with a Decision all the same: the refusal with which to answer.
func (h *Host) Filter(ctx context.Context, req Request) (verdict.Decision, error) {
	e, w, err := h.take(ctx)
	if err != nil {
		return req.refusal(), h.failed(callFilter, err)
	}
	fields := w.request.Headers[:0]
	for _, f := range req.Headers {
		if f.Name = strings.ToLower(f.Name); e.plan.lowerCase[f.Name] {
			fields = append(fields, f)
		}
	}
	w.request = abi.Request(req)
	w.request.Headers = fields
	d, err := h.filter(ctx, e, w)
	if err != nil {
		return req.refusal(), err
	}
	return d, nil
}

func (req *Request) refusal() verdict.Decision {
	for _, f := range req.Headers {
		if strings.EqualFold(f.Name, "content-type") {
			return refusal(req.Method, f.Value)
		}
	}
	return refusal(req.Method, "")
}

// filter makes the call for w.request, and gives w back.
func (h *Host) filter(ctx context.Context, e *edition, w *worker) (verdict.Decision, error) {
	now := h.now()
	in := w.request.Append(w.scratch[:0])
	if cap(in) <= mostScratch {
		w.scratch = in
	}
	clear(w.request.Headers) // an idle instance holds on to nobody's headers
	w.request = abi.Request{Headers: w.request.Headers[:0]}
	bounded, cancel := h.bound(ctx, h.config.CallTimeout)
	status, text, err := w.Call(bounded, abi.CallFilter, now, in)
	cancel()
	if err = e.settle(w, status, text, err); err != nil {
		return verdict.Decision{}, h.failed(callFilter, err)
	}
	f, err := abi.DecodeFiltered(text)
	if err != nil {
		return verdict.Decision{}, h.failed(callFilter, err)
	}
	h.metrics.count(callFilter, f.Decision.Reason)
	e.hint(f.Decision.Reason, f.Hint)
	return f.Decision, nil
}

// Explain judges one token and tells of every check, passed or not. It is for the
// person who holds the token: details may hold claim values.
func (h *Host) Explain(ctx context.Context, token string) ([]Check, error) {
	e, w, err := h.take(ctx)
	if err != nil {
		return nil, err
	}
	text, err := h.call(ctx, e, w, abi.CallExplain, h.now(), token[:min(len(token), abi.MaxToken+1)])
	if err != nil {
		return nil, err
	}
	var v struct {
		Checks []struct {
			Name    string `json:"name"`
			Reason  string `json:"reason"`
			Skipped bool   `json:"skipped"`
			Detail  string `json:"detail"`
		} `json:"checks"`
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return nil, fmt.Errorf("guest's explanation: %w", err)
	}
	checks := make([]Check, len(v.Checks))
	for i, c := range v.Checks {
		checks[i] = Check{Name: c.Name, Skipped: c.Skipped, Detail: c.Detail}
		if c.Reason != verdict.None.String() {
			checks[i].Reason, _ = verdict.ParseReason(c.Reason) // an unknown one counts as internal
		}
	}
	return checks, nil
}

// take takes an instance of the edition in force.
func (h *Host) take(ctx context.Context) (*edition, *worker, error) {
	for {
		e := h.current.Load()
		if e == nil {
			return nil, nil, ErrClosed
		}
		w, err := e.take(ctx)
		if err == nil {
			return e, w, nil
		}
		if !errors.Is(err, errRetired) {
			return nil, nil, err
		}
	}
}

// call makes one call with a string for its input, and gives w back.
func (h *Host) call(ctx context.Context, e *edition, w *worker, number abi.Call, now int64, input string) (string, error) {
	bounded, cancel := h.bound(ctx, h.config.CallTimeout)
	status, text, err := w.CallString(bounded, number, now, input)
	cancel()
	return text, e.settle(w, status, text, err)
}

// settle gives an instance back after a call, or throws it away.
func (e *edition) settle(w *worker, status abi.Status, text string, err error) error {
	if errors.Is(err, engine.ErrBroken) {
		e.drop(w, err)
		return err
	}
	e.pool.put(w)
	if err != nil {
		return err
	}
	return statusError(status, text)
}

// failed is the error of a call that the host could not bring to a verdict.
func (h *Host) failed(call int, err error) error {
	h.metrics.count(call, verdict.Internal)
	return fmt.Errorf("%w: %w", verdict.Internal, err)
}

func (h *Host) now() int64 { return h.config.Now().UnixMilli() }

func (h *Host) floor() int64 {
	if h.config.ClockFloor.IsZero() {
		return -1
	}
	return max(0, h.config.ClockFloor.UnixMilli())
}

// bound gives a call its time limit, where guests are interruptible.
func (h *Host) bound(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if !h.config.Untrusted {
		return ctx, noCancel
	}
	return context.WithTimeout(ctx, limit)
}

func noCancel() {}
