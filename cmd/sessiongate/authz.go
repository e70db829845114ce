package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"sessiongate/host"
	"sessiongate/verdict"
)

// AuthzCmd answers proxies that ask before they forward.
type AuthzCmd struct {
	hostFlags
	listenFlags
}

// Help is printed under the command's own help.
func (AuthzCmd) Help() string {
	return `Each proxy has its own path, and only that path's headers are believed. Each of them has to
be there exactly once; clients must not be able to reach this server.

  /nginx, /haproxy  X-Original-Method, X-Original-Scheme, X-Original-Host, X-Original-URI
  /traefik, /caddy  X-Forwarded-Method, X-Forwarded-Proto, X-Forwarded-Host, X-Forwarded-Uri
  /envoy/…          ext_authz with path_prefix /envoy: the request line itself

200 lets the request pass. Its headers are to be copied onto the request: every identity
header of the policy, empty if there is nothing to say, so that copying always overwrites
what a client sent; with "token": "strip" also the token's header (empty) and Cookie (what
is left of it); X-Sessiongate-Path is the path to forward. X-Sessiongate-Remove lists what
is empty; for Envoy, X-Envoy-Auth-Headers-To-Remove does.

Everything else refuses, with X-Sessiongate-Reason, and is what the client gets to see.
nginx knows 401 and 403 alone: on /nginx every other refusal is 403, and X-Sessiongate-Status
is what the client is to get. A path that the policy would normalise is refused here, as no proxy can be relied on to forward another one.`
}

// Run serves until it is told to stop.
func (c *AuthzCmd) Run(app *App) error {
	if err := c.listenFlags.check(); err != nil {
		return err
	}
	h, err := c.openService(app)
	if err != nil {
		return err
	}
	defer h.Close()
	log := newAccessLog(app.Logger)
	s := &server{
		name: "authz", flags: &c.listenFlags, app: app, log: app.Logger, reload: h.Reload,
		handler: &authz{host: h, log: log},
		admin:   adminOf(h, log),
	}
	return s.run(app.Context)
}

// openService starts a host that follows the policy file.
func (f *hostFlags) openService(app *App) (*host.Host, error) {
	if f.Policy == "-" {
		return nil, usage(errors.New("--policy: a server reads its policy again when it changes, so it has to be a file"))
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	if _, err := app.readPolicy(f.Policy); err != nil { // to say it as every command does
		return nil, err
	}
	c, err := f.config(app, app.Logger)
	if err != nil {
		return nil, err
	}
	c.PolicyFile = f.Policy
	h, err := host.New(app.Context, c)
	if err != nil {
		return nil, hostError(err, "")
	}
	return h, nil
}

type judge interface {
	Filter(context.Context, host.Request) (verdict.Decision, error)
}

type authz struct {
	host judge
	log  *accessLog
}

// ServeHTTP answers one question. The body of the question is not read.
func (a *authz) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	c := conventionOf(r.RequestURI)
	if c == nil {
		names := make([]string, len(conventions))
		for i, c := range conventions {
			names[i] = "/" + c.name
		}
		w.Header().Set(reasonHeader, "bad_request")
		problem(w, http.StatusNotFound, "not_found", "ask at "+strings.Join(names, ", ")+"/… (Envoy with the original path behind it)")
		return
	}
	q, err := c.original(r)
	if err != nil {
		a.log.log.LogAttrs(r.Context(), slog.LevelWarn, "question does not follow its convention", slog.String("proxy", c.name), slog.String("error", err.Error()))
		w.Header().Set(reasonHeader, "bad_request")
		status := http.StatusBadRequest
		if c.only401and403 {
			status = http.StatusForbidden
		}
		problem(w, status, "bad_request", err.Error())
		return
	}
	d, err := a.host.Filter(r.Context(), q)
	if err != nil {
		a.log.log.LogAttrs(r.Context(), slog.LevelError, "request refused without a verdict", slog.String("error", err.Error()))
	}
	status := a.answer(w, r, c, &q, &d)
	a.log.record(r.Context(), &entry{proxy: c.name, method: q.Method, host: q.Host, path: q.Path, status: status, reason: d.Reason,
		claims: d.Log, duration: time.Since(start)})
}

func (a *authz) answer(w http.ResponseWriter, r *http.Request, c *convention, q *host.Request, d *verdict.Decision) int {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if d.Forward && rewritten(q, d) {
		*d = verdict.Decision{Reason: verdict.BadPath}
		h.Set(reasonHeader, d.Reason.String())
		status := c.refusalStatus(d)
		c.tellStatus(h, d.Reason.Status())
		problem(w, status, d.Reason.String(), d.Reason.Text())
		return status
	}
	if d.Forward {
		c.allow(h, q, d)
		w.WriteHeader(http.StatusOK)
		return http.StatusOK
	}
	for _, f := range d.Headers {
		h.Add(f.Name, f.Value)
	}
	h.Set(reasonHeader, d.Reason.String())
	status := c.refusalStatus(d)
	c.tellStatus(h, d.Status)
	if status == http.StatusUnauthorized && h.Get("WWW-Authenticate") == "" {
		h.Set("WWW-Authenticate", "Bearer") // gRPC's answers are 200s and have none
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(d.Body)
	}
	return status
}

func sortedKeys(m map[string][]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
