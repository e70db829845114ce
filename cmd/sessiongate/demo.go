package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sessiongate/verdict"
)

// DemoCmd shows the main job, whole and real, on loopback.
type DemoCmd struct {
	CacheDir string `help:"Directory that keeps compiled code between runs, writable by this user alone; \"none\" keeps nothing. Default: sessiongate in the user's cache directory." default:"${cache_dir}" placeholder:"DIR" env:"SESSIONGATE_CACHE_DIR"`
}

// Help is printed under the command's own help.
func (DemoCmd) Help() string {
	return `Starts an issuer, an upstream that tells what it saw, and the gateway, on free loopback ports
and in a directory that is gone afterwards. Makes a user and a session through the admin API;
sends requests that pass and requests that must not; rotates the signing key while clients keep
asking, and withdraws the old one. Every verdict comes from the WebAssembly guest.

Takes about half a minute. Status 0 if everything was as it should be, 1 if anything was not.`
}

// The times of the demo, in seconds: the rotation contract in small. They stand in
// issuer.json and in the policy, as anybody may write them there.
const (
	demoCacheAge = 4  // of the key set, everywhere
	demoTokenTTL = 60 // longer than the demo: what is withdrawn has not expired
	demoCooldown = 1  // between two fetches of the gateway
	demoSkew     = 1  // and the leeway
)

// demoReport is the demo's result: what was expected of each request, what came,
// and the counts of the rotation.
type demoReport struct {
	OK       bool          `json:"ok"`
	Seconds  float64       `json:"seconds"`
	Requests []demoRequest `json:"requests"`
	Rotation demoRotation  `json:"rotation"`
	Failures []string      `json:"failures"`
}

type demoRequest struct {
	Name     string            `json:"name"`
	Status   int               `json:"status"`
	Reason   string            `json:"reason,omitempty"`
	Upstream map[string]string `json:"upstream_saw,omitempty"` // identity headers
	OK       bool              `json:"ok"`
}

type demoRotation struct {
	OldKey   string  `json:"old_key"`
	NewKey   string  `json:"new_key"`
	Takeover float64 `json:"takeover_seconds"` // from the announcement to the first signature

	Requests          int64            `json:"requests"`
	ValidRefused      int64            `json:"valid_refused"`      // must be 0
	WithdrawnTried    int              `json:"withdrawn_tried"`    // unexpired tokens of the withdrawn key
	WithdrawnAccepted int              `json:"withdrawn_accepted"` // must be 0
	WithdrawnReasons  map[string]int   `json:"withdrawn_reasons"`
	RefusedReasons    map[string]int64 `json:"refused_reasons,omitempty"`
}

// demo is one run.
type demo struct {
	app    *App
	cache  string
	began  time.Time
	dir    string
	out    io.Writer // what a person reads
	live   bool      // out is a terminal: progress rewrites its line
	report demoReport
	log    *tail
	client *http.Client

	admin    *demoAdmin
	gateway  string // URL
	stops    []func() error
	failures chan error // of what runs beside
}

// Run runs the demo.
func (c *DemoCmd) Run(app *App) error {
	d := &demo{app: app, cache: c.CacheDir, began: time.Now(), out: app.Stdout, log: new(tail), failures: make(chan error, 8),
		client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	if app.JSON {
		d.out = app.Stderr
		if app.Quiet {
			d.out = io.Discard
		}
	}
	d.live = isTerminal(d.out)
	d.report.Requests, d.report.Failures = []demoRequest{}, []string{}
	err := d.run(app.Context)
	if stopping := d.stop(); err == nil {
		err = stopping
	}
	if err != nil {
		if text := d.log.String(); text != "" {
			fmt.Fprintf(app.Stderr, "%s", text)
		}
		if interrupted := app.Context.Err(); interrupted != nil {
			err = errors.New("interrupted")
		}
		return failed(err, "")
	}
	return d.conclude()
}

// run is the demo, step by step.
func (d *demo) run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "sessiongate-demo-*")
	if err != nil {
		return err
	}
	d.dir = dir
	d.title("sessiongate demo", "on loopback only; nothing is left behind")
	if err := d.start(ctx); err != nil {
		return err
	}
	session, err := d.session(ctx)
	if err != nil {
		return err
	}
	if err := d.requests(ctx, session); err != nil {
		return err
	}
	return d.rotate(ctx, session)
}

// stop ends what was started, the last first, and removes the directory.
func (d *demo) stop() error {
	var errs []error
	d.client.CloseIdleConnections() // a server would wait for those that were never used
	for i := len(d.stops) - 1; i >= 0; i-- {
		errs = append(errs, d.stops[i]())
	}
	if d.dir != "" {
		errs = append(errs, os.RemoveAll(d.dir))
	}
	return errors.Join(errs...)
}

// expect records something that was not as it should be.
func (d *demo) expect(ok bool, format string, args ...any) bool {
	if !ok {
		d.report.Failures = append(d.report.Failures, fmt.Sprintf(format, args...))
	}
	return ok
}

func (d *demo) conclude() error {
	r := &d.report
	r.Seconds = float64(time.Since(d.began).Round(100*time.Millisecond)) / float64(time.Second)
	r.OK = len(r.Failures) == 0
	if r.OK {
		d.say("\nEverything was as it should be, in %.0f seconds.\n", r.Seconds)
	} else {
		d.say("\nNot as it should be:\n")
		for _, f := range r.Failures {
			d.say("  %s\n", f)
		}
	}
	if d.app.JSON {
		if err := d.app.printJSON(r); err != nil {
			return err
		}
	}
	if !r.OK {
		fmt.Fprintf(d.app.Stderr, "%s", d.log)
		return refused(fmt.Errorf("demo: %s", count(len(r.Failures), "expectation")+" failed"), "")
	}
	return nil
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, format, args...) }

func (d *demo) title(name, about string) { d.say("%s  (%s)\n", name, about) }

func (d *demo) heading(text string) { d.say("\n%s\n", text) }

// progress shows a state that changes. On a terminal it has one line of its own,
// which the next thing said overwrites; elsewhere it is a line now and then.
func (d *demo) progress(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if d.live {
		d.say("\r\x1b[K  %s\r", text)
	} else {
		d.say("  … %s\n", text)
	}
}

func (d *demo) progressDone() {
	if d.live {
		d.say("\r\x1b[K")
	}
}

// pause waits, or ends with the context or with a server that broke.
func (d *demo) pause(ctx context.Context, wait time.Duration) error {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case err := <-d.failures:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tail keeps the end of a log, for when something goes wrong.
type tail struct {
	mu    sync.Mutex
	lines []string
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, string(p))
	if len(t.lines) > 30 {
		t.lines = t.lines[len(t.lines)-30:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "")
}

// short is a token as it may be shown: nobody can use it.
func short(token string) string {
	if len(token) < 24 {
		return "…"
	}
	return fmt.Sprintf("%s…%s (%d bytes)", token[:12], token[len(token)-4:], len(token))
}

// wanted is what a request should lead to.
type wanted struct {
	status   int
	reason   verdict.Reason
	identity map[string]string // identity headers at the upstream; nil: it must not be reached
}

func (d *demo) path(name string) string { return filepath.Join(d.dir, name) }
