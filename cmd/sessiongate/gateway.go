package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"sessiongate/host"
	"sessiongate/verdict"
)

// GatewayCmd is a reverse proxy whose every request the guest has judged.
type GatewayCmd struct {
	hostFlags
	listenFlags
	upstreamFlags
}

// Help is printed under the command's own help.
func (GatewayCmd) Help() string {
	return `HTTP/1.1, HTTP/2 (with TLS, and without it by prior knowledge), WebSockets and other
upgrades, and streams in both directions pass through as they are. The path that was judged
is the path that the upstream sees.

Nobody but this gateway tells the upstream about the client: X-Forwarded-For (the address of
the connection), X-Forwarded-Host and X-Forwarded-Proto are set anew. A client's Forwarded,
X-Forwarded-… and X-Real-IP are dropped before the request is judged, and so is what makes
some servers take another path or method for the one that was judged: X-Original-URL,
X-Rewrite-URL, X-HTTP-Method-Override and their like.

An upstream that cannot be reached is 502, one that takes too long 504. SIGHUP and changed
files read policy, key files and certificate again; what is not accepted is logged, and the
old ones keep serving. SIGTERM drains.`
}

// Run serves until it is told to stop.
func (c *GatewayCmd) Run(app *App) error {
	s, h, err := c.open(app)
	if err != nil {
		return err
	}
	defer h.Close()
	return s.run(app.Context)
}

func (c *GatewayCmd) open(app *App) (*server, *host.Host, error) {
	if err := c.listenFlags.check(); err != nil {
		return nil, nil, err
	}
	proxy, err := newProxy(&c.upstreamFlags, app.Logger)
	if err != nil {
		return nil, nil, err
	}
	h, err := c.openService(app)
	if err != nil {
		return nil, nil, err
	}
	log := newAccessLog(app.Logger)
	return &server{
		name: "gateway", flags: &c.listenFlags, app: app, log: app.Logger, reload: h.Reload,
		handler: logged(log, noTunnels(withoutOverrides(h.Handler(proxy)))),
		admin:   adminOf(h, log),
	}, h, nil
}

// noTunnels refuses CONNECT: its target is no path that a policy could judge.
func noTunnels(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect {
			problem(w, http.StatusMethodNotAllowed, "no_tunnels", "this gateway opens no tunnels")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// adminOf makes the admin handler of a command that runs a host.
func adminOf(h *host.Host, log *accessLog) func(draining func() bool) http.Handler {
	return func(draining func() bool) http.Handler {
		return adminHandler(func() error { return keysReady(h.Keys()) }, draining, append(h.Collectors(), log)...)
	}
}

// keysReady is nil if every issuer's tokens can be judged.
func keysReady(keys []host.KeyStatus) error {
	if len(keys) == 0 {
		return errors.New("no policy is in force")
	}
	var errs []error
	for _, k := range keys {
		if k.State != host.KeysReady {
			errs = append(errs, fmt.Errorf("keys of issuer %q are %s", k.Issuer, k.State))
		}
	}
	return errors.Join(errs...)
}

// logged logs each request once it has been answered.
func logged(log *accessLog, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		e := &entry{method: r.Method, host: r.Host, path: r.URL.EscapedPath(), reason: verdict.None}
		ctx := host.WithObserver(r.Context(), func(d *verdict.Decision, err error) {
			e.reason, e.claims = d.Reason, d.Log
			if err != nil {
				log.log.LogAttrs(r.Context(), slog.LevelError, "request refused without a verdict", slog.String("error", err.Error()))
			}
		})
		status := &statusWriter{ResponseWriter: w}
		defer func() { // also when the proxy cuts a response off with a panic
			e.status, e.duration = status.status, time.Since(start)
			log.record(ctx, e)
		}()
		next.ServeHTTP(status, r.WithContext(ctx))
	})
}

// statusWriter remembers the status of a response.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status < 200 && w.status != http.StatusSwitchingProtocols { // 1xx before it are not the answer
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status < 200 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap gives http.ResponseController the way to the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
