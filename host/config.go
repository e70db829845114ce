package host

import (
	"errors"
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"sessiongate/internal/keyfetch"
)

// Config says what a Host runs and how. Module and one of Policy and PolicyFile
// are required; the zero value of every other field is a sound choice.
type Config struct {
	// Module is the guest: the bytes of wasm/core, built with
	// GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared sessiongate/wasm/core.
	Module []byte

	// Policy is the policy document (docs/policy.md).
	Policy []byte
	// PolicyFile names a file that holds the policy document, in place of Policy.
	// It is read again when it changes, and by Reload.
	PolicyFile string
	// Kind is the member of the policy's "host" that applies here. Default "go".
	Kind string

	// CacheDir is a directory that keeps compiled code between runs; a start is
	// then some 20 times faster. Nobody else may be able to write there: what it
	// holds is run as it is. Default: compiled code is not kept.
	CacheDir string
	// Instances is the most instances of the guest at a time. Each is held for the
	// length of a call, which never waits for anything, and has 4 MiB of memory and
	// more. The first is made by New, the others when they are needed.
	// Default: two for each processor that Go uses.
	Instances int
	// MemoryLimit is the most memory that one instance may take, in bytes. One that
	// wants more is thrown away, and the call is refused. Default 256 MiB.
	MemoryLimit int64
	// Untrusted is for a guest that may not come back from a call: a call then ends
	// with its context, and in any case after CallTimeout. Verifications take about
	// 2.3 times as long. A guest of this project is bounded by its input instead.
	Untrusted bool
	// CallTimeout bounds each call if Untrusted is set. Default 1 s.
	CallTimeout time.Duration

	// ClockFloor is the time before which the clock cannot be right: until then
	// everything is refused with clock_unusable. Default: when the guest was
	// written. time.Unix(0, 0) is no floor at all, for tests.
	ClockFloor time.Time
	// Now is the clock. Default time.Now.
	Now func() time.Time

	// Transport fetches keys. Default: one that keeps http to loopback addresses
	// and heeds the environment's proxies. Whatever it is, only https and http to
	// loopback are asked for, redirects are not followed, and 1 MiB and 5 s bound
	// each fetch.
	Transport http.RoundTripper
	// WatchInterval is how often files are looked at for changes. Default 1 s;
	// negative: only Reload looks at the policy and secret files.
	WatchInterval time.Duration

	// Logger is told of key updates, reloads and broken instances, of each refusal's
	// Reason, and of the claims that the policy's "log" names. No token and no other
	// claim reaches it. Default: nothing is logged.
	Logger *slog.Logger
}

func (c *Config) complete() error {
	var errs []error
	if len(c.Module) == 0 {
		errs = append(errs, errors.New("Module: is empty; it holds the bytes of the guest sessiongate/wasm/core"))
	}
	if (len(c.Policy) == 0) == (c.PolicyFile == "") {
		errs = append(errs, errors.New("Policy, PolicyFile: exactly one of them is required"))
	}
	if c.Instances < 0 {
		errs = append(errs, errors.New("Instances: is negative"))
	}
	if c.MemoryLimit < 0 || c.MemoryLimit > 4<<30 {
		errs = append(errs, errors.New("MemoryLimit: is not within 0 and 4 GiB"))
	}
	if c.CallTimeout < 0 {
		errs = append(errs, errors.New("CallTimeout: is negative"))
	}
	if len(errs) != 0 {
		return errors.Join(errs...)
	}
	if c.Kind == "" {
		c.Kind = "go"
	}
	if c.Instances == 0 {
		c.Instances = 2 * runtime.GOMAXPROCS(0)
	}
	if c.MemoryLimit == 0 {
		c.MemoryLimit = 256 << 20
	}
	if c.CallTimeout == 0 {
		c.CallTimeout = time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.WatchInterval == 0 {
		c.WatchInterval = time.Second
	}
	if c.Transport == nil {
		c.Transport = keyfetch.NewTransport()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}
