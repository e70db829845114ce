package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sessiongate/internal/keyfetch"
	"sessiongate/jwks"
	"sessiongate/verifier/policy"
)

// SyncCmd fetches keys for hosts that cannot.
type SyncCmd struct {
	Policy      string   `help:"Policy document (docs/policy.md)." required:"" placeholder:"FILE" env:"SESSIONGATE_POLICY"`
	For         string   `help:"Kind of host whose jwks_files are kept up to date." enum:"traefik,go" default:"traefik" placeholder:"KIND" env:"SESSIONGATE_SYNC_FOR"`
	Mount       []string `help:"Where a directory of the host's is here, as in the proxy's own settings: HERE:THERE[:ro]. Without it the paths of the policy are used as they are." placeholder:"HERE:THERE" env:"SESSIONGATE_SYNC_MOUNT"`
	Once        bool     `help:"Fetch each key set once, and exit; status 3 if one could not be had." env:"SESSIONGATE_SYNC_ONCE"`
	AdminListen string   `help:"Address of /livez, /readyz and /metrics; keep it off the public network." placeholder:"HOST:PORT" env:"SESSIONGATE_ADMIN_LISTEN"`
}

// Help is printed under the command's own help.
func (SyncCmd) Help() string {
	return `For each issuer with jwks_uri or discovery the policy's host member names a file. The key set
is fetched as every host fetches it, and put there by rename, with the time at which the issuer
last said so: {"confirmed_at":SECONDS,"keys":[…]}. It is written again whenever that is later,
also when the issuer says that nothing has changed. Whoever reads the file counts the set's age
from there: if this command is gone, keys are refused with keys_stale after max_stale.

Issuers with jwks_file are left alone: their files are put there by hand. The policy is read at
the start.`
}

// replace is replaceFile; tests let it fail.
var replace = replaceFile

// synced is one issuer whose key set goes to a file.
type synced struct {
	issuer, path string
	fetcher      keyfetch.Fetcher
	maxStale     int64

	mu      sync.Mutex
	refresh *jwks.Refresh
	written int64 // ConfirmedAt of the file as far as this command has written it
	problem string
}

// Run keeps the files up to date until it is told to stop.
func (c *SyncCmd) Run(app *App) error {
	s, err := c.open(app)
	if err != nil {
		return err
	}
	if c.Once {
		return s.once(app)
	}
	return s.serve(app, c.AdminListen)
}

// syncer keeps files up to date.
type syncer struct {
	files   []*synced
	log     *slog.Logger
	fetches *prometheus.CounterVec
	writes  *prometheus.CounterVec
	now     func() int64
}

func (c *SyncCmd) open(app *App) (*syncer, error) {
	if c.Policy == "-" {
		return nil, usage(errors.New("--policy: has to be a file"))
	}
	mounts, err := parseMounts(c.Mount)
	if err != nil {
		return nil, usage(err)
	}
	doc, err := app.readPolicy(c.Policy)
	if err != nil {
		return nil, err
	}
	// As the host reads it, for the files; and as nobody does, for the URLs.
	there, err := policy.Parse(doc, c.For)
	if err != nil {
		return nil, refused(fmt.Errorf("policy: %w", err), "sessiongate policy check --for "+c.For+" tells every fault")
	}
	from, err := policy.Parse(doc, "")
	if err != nil {
		return nil, refused(fmt.Errorf("policy: %w", err), "sessiongate policy check tells every fault")
	}
	s := &syncer{log: app.Logger, now: func() int64 { return time.Now().UnixMilli() },
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sessiongate_key_fetches_total", Help: "Fetches of key sets, by what came of them."}, []string{"outcome"}),
		writes:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sessiongate_key_file_writes_total", Help: "Writes of key files, by whether they worked."}, []string{"outcome"}),
	}
	client := keyfetch.NewClient(keyfetch.NewTransport())
	for i := range from.Keys {
		k := &from.Keys[i]
		if there.Keys[i].Kind != policy.File || k.Kind != policy.URI && k.Kind != policy.Discovery {
			continue
		}
		name := from.Issuers[i].Name
		path, err := mounts.here(there.Keys[i].Location)
		if err != nil {
			return nil, usage(err)
		}
		f := &synced{issuer: name, path: path, maxStale: k.MaxStale,
			refresh: jwks.NewRefresh(jwks.RefreshConfig{MaxStale: k.MaxStale, Cooldown: k.Cooldown})}
		if k.Kind == policy.URI {
			f.fetcher = keyfetch.URI(client, k.Location)
		} else {
			f.fetcher = keyfetch.Discovery(client, k.Location, name)
		}
		f.adopt(s.now())
		for _, other := range s.files {
			if other.path == path {
				return nil, usage(fmt.Errorf("policy: issuers %q and %q have one file, %s", other.issuer, name, path))
			}
		}
		s.files = append(s.files, f)
	}
	if len(s.files) == 0 {
		return nil, usage(fmt.Errorf("policy: no issuer with jwks_uri or discovery has a file in host.%s.jwks_files", c.For))
	}
	return s, nil
}

// adopt takes over what a predecessor has left in the file: a bad update is not to
// replace it, and what it says of its age stays true.
func (f *synced) adopt(now int64) {
	content, err := readFile(f.path, "keys", jwks.MaxFileBytes)
	if err != nil {
		return
	}
	document, confirmedAt, err := jwks.ParseFile(content)
	if err != nil || confirmedAt == 0 || confirmedAt > now {
		return
	}
	if set, err := jwks.Parse(document); err != nil || !set.Selects() {
		return
	}
	f.refresh.Restore(jwks.Snapshot{Document: document, ConfirmedAt: confirmedAt}, now)
	f.written = confirmedAt
}

// mounts are directories of the host's, and where they are here.
type mounts []struct{ here, there string }

func parseMounts(texts []string) (m mounts, err error) {
	for _, text := range texts {
		parts := strings.Split(strings.TrimSuffix(text, ":ro"), ":")
		if len(parts) > 2 || parts[0] == "" || parts[len(parts)-1] == "" {
			return nil, fmt.Errorf("--mount: %q is not HERE:THERE", text)
		}
		m = append(m, struct{ here, there string }{parts[0], filepath.Clean(parts[len(parts)-1])})
	}
	return m, nil
}

// here is where the host's file is.
func (m mounts) here(path string) (string, error) {
	for _, mount := range m {
		if rest, ok := strings.CutPrefix(filepath.Clean(path), strings.TrimSuffix(mount.there, "/")+"/"); ok {
			return filepath.Join(mount.here, rest), nil
		}
	}
	if len(m) > 0 {
		return "", fmt.Errorf("--mount: the file %s lies in none of the mounts", path)
	}
	return path, nil
}

// step does what is due for a file, and says when there is more to do. The error is
// what kept the file from being up to date.
func (s *syncer) step(ctx context.Context, f *synced) (next int64, err error) {
	f.mu.Lock()
	order, due := f.refresh.Poll(s.now())
	f.mu.Unlock()
	outcome := jwks.Ignored
	if due {
		var answer jwks.Answer
		answer, err = f.fetcher.Fetch(ctx, order)
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		answer.ID = order.ID
		f.mu.Lock()
		outcome = f.refresh.Answer(answer, s.now())

		f.mu.Unlock()
		s.fetches.WithLabelValues(outcome.String()).Inc()
		if outcome == jwks.Rejected {
			err = errors.New("answer is no key set with a usable key")
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	// Later, or earlier: a clock that was set back makes a time in the future, which
	// readers do not believe.
	if current := f.refresh.Snapshot(); current.Document != nil && current.ConfirmedAt != f.written {
		if failure := f.write(current); failure != nil {
			s.writes.WithLabelValues("failed").Inc()
			return s.now() + 1000, failure // the readers' bound is running
		}
		s.writes.WithLabelValues("written").Inc()
		f.written = current.ConfirmedAt
		if outcome == jwks.Updated {
			s.log.Info("keys updated", "issuer", f.issuer, "file", f.path)
		}
	}
	return f.refresh.Next(), err
}

func (f *synced) write(current jwks.Snapshot) error {
	content, err := jwks.AppendFile(nil, current.Document, current.ConfirmedAt)
	if err != nil {
		return err
	}
	return replace(f.path, append(content, '\n'))
}

type syncedFile struct {
	Issuer      string `json:"issuer"`
	File        string `json:"file"`
	ConfirmedAt string `json:"confirmed_at,omitempty"`
	Error       string `json:"error,omitempty"`
}

// once fetches each set once.
func (s *syncer) once(app *App) error {
	files := make([]syncedFile, len(s.files))
	errs := make([]error, len(s.files))
	var all sync.WaitGroup
	for i, f := range s.files {
		all.Go(func() {
			files[i] = syncedFile{Issuer: f.issuer, File: f.path}
			if _, err := s.step(app.Context, f); err != nil {
				errs[i] = fmt.Errorf("keys of issuer %q: %w", f.issuer, err)
				files[i].Error = err.Error()
				return
			}
			files[i].ConfirmedAt = time.UnixMilli(f.written).UTC().Format(time.RFC3339)
		})
	}
	all.Wait()
	if app.JSON {
		if err := app.printJSON(struct {
			Files []syncedFile `json:"files"`
		}{files}); err != nil {
			return err
		}
	} else {
		var rows [][]string
		for _, f := range files {
			if f.Error == "" {
				rows = append(rows, []string{plain(f.File), f.ConfirmedAt, plain(f.Issuer)})
			}
		}
		if err := table(app.Stdout, "", rows); err != nil {
			return err
		}
	}
	if err := errors.Join(errs...); err != nil {
		return failed(err, "a file that was there before is still there")
	}
	return nil
}

// serve runs until it is told to stop.
func (s *syncer) serve(app *App, adminListen string) error {
	ctx, cancel := context.WithCancel(app.Context)
	defer cancel()
	failures := make(chan error, 1)
	told := struct {
		Files    int    `json:"files"`
		AdminURL string `json:"admin_url,omitempty"`
	}{Files: len(s.files)}
	if adminListen != "" {
		l, err := listen("--admin-listen", adminListen)
		if err != nil {
			return err
		}
		told.AdminURL = "http://" + l.Addr().String()
		admin := &http.Server{Handler: adminHandler(s.ready, func() bool { return ctx.Err() != nil }, s.fetches, s.writes, s),
			ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}
		defer admin.Close()
		go func() { failures <- admin.Serve(l) }()
	}
	if app.JSON {
		if err := app.printJSON(told); err != nil {
			return err
		}
	} else if err := app.print("sync  %s  %s\n", count(len(s.files), "file"), told.AdminURL); err != nil {
		return err
	}
	var running sync.WaitGroup
	for _, f := range s.files {
		running.Go(func() { s.keep(ctx, f) })
	}
	var err error
	select {
	case <-ctx.Done():
	case failure := <-failures:
		err = failed(failure, "")
	}
	cancel()
	running.Wait()
	return err
}

// keep keeps one file up to date.
func (s *syncer) keep(ctx context.Context, f *synced) {
	for ctx.Err() == nil {
		next, err := s.step(ctx, f)
		if ctx.Err() != nil {
			return
		}
		s.report(f, err)
		// Not for long at a time: somebody may set the clock.
		wait := min(time.Second, max(time.Millisecond, time.Duration(next-s.now())*time.Millisecond))
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// report logs a problem once, and its end.
func (s *syncer) report(f *synced, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	text := ""
	if err != nil {
		text = err.Error()
	} else if f.problem != "" && f.refresh.Freshness(s.now()) != jwks.Fresh {
		return // nothing was due; the problem is still there
	}
	if text == f.problem {
		return
	}
	f.problem = text
	if err != nil {
		s.log.Warn("key file not updated, the last one stays", "issuer", f.issuer, "file", f.path, "error", text)
	} else {
		s.log.Info("key file is up to date", "issuer", f.issuer, "file", f.path)
	}
}

// ready is nil if every file holds keys that its readers may use.
func (s *syncer) ready() error {
	var errs []error
	for _, f := range s.files {
		f.mu.Lock()
		written := f.written
		f.mu.Unlock()
		switch {
		case written == 0:
			errs = append(errs, fmt.Errorf("keys of issuer %q have not been written yet", f.issuer))
		case f.maxStale > 0 && s.now()-written > f.maxStale:
			errs = append(errs, fmt.Errorf("keys of issuer %q are stale", f.issuer))
		}
	}
	return errors.Join(errs...)
}

var confirmedDesc = prometheus.NewDesc("sessiongate_key_file_confirmed_timestamp_seconds",
	"When the key set in a file was last confirmed by its issuer; 0 if it was not yet.", []string{"issuer", "file"}, nil)

// Describe implements prometheus.Collector.
func (s *syncer) Describe(ch chan<- *prometheus.Desc) { ch <- confirmedDesc }

// Collect implements prometheus.Collector.
func (s *syncer) Collect(ch chan<- prometheus.Metric) {
	for _, f := range s.files {
		f.mu.Lock()
		written := f.written
		f.mu.Unlock()
		ch <- prometheus.MustNewConstMetric(confirmedDesc, prometheus.GaugeValue, float64(written/1000), f.issuer, f.path)
	}
}
