package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"sessiongate/issuer"
	"sessiongate/issuer/api"
	"sessiongate/issuer/client"
	"sessiongate/issuer/store"
)

// demoAdmin is the issuer's admin API, and the session that the demo made there.
type demoAdmin struct {
	*client.Client
	session string
}

// mint mints a token for the demo's session.
func (a *demoAdmin) mint(ctx context.Context, body api.TokenBody) (string, error) {
	t, err := a.Mint(ctx, a.session, body)
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	return t.Token, nil
}

// start starts issuer, upstream and gateway.
func (d *demo) start(ctx context.Context) error {
	d.heading("Starting")
	log := slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	jwksURI, err := d.startIssuer(ctx, log)
	if err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	upstream, err := d.startUpstream()
	if err != nil {
		return fmt.Errorf("upstream: %w", err)
	}
	d.say("  upstream  %-24s  tells which identity headers it saw\n", upstream)
	d.progress("compiling the guest, which takes some seconds the first time")
	size, err := d.startGateway(ctx, log, jwksURI, upstream)
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	d.progressDone()
	d.say("  gateway   %-24s  runs core.wasm (%s) on every request\n", d.gateway, size)
	return nil
}

func (d *demo) startIssuer(ctx context.Context, log *slog.Logger) (jwksURI string, err error) {
	public, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	admin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", errors.Join(err, public.Close())
	}
	url := "http://" + public.Addr().String()
	s := issuer.DefaultSettings()
	s.Issuer, s.Audience, s.ClientID = url, []string{"demo"}, "demo-app"
	s.TokenTTL, s.MaxTokenLifetime = demoTokenTTL, demoTokenTTL
	s.CacheAge, s.Skew, s.RotateEvery, s.Announce, s.Retire = demoCacheAge, demoSkew, 0, 0, 0
	made, err := issuer.Init(ctx, d.path("issuer"), s, os.Getenv)
	var iss *issuer.Issuer
	if err == nil {
		iss, err = issuer.Open(ctx, d.path("issuer"), issuer.Config{Logger: log}, os.Getenv)
	}
	if err != nil {
		return "", errors.Join(err, public.Close(), admin.Close())
	}
	ready := make(chan struct{})
	d.background(func(ctx context.Context) error {
		return errors.Join(api.Serve(ctx, iss, api.ServeConfig{Public: public, Admin: admin, Ready: func() { close(ready) }}), iss.Close())
	})
	if err := d.await(ctx, ready); err != nil {
		return "", err
	}
	c, err := client.New("http://"+admin.Addr().String(), made.APIKey)
	if err != nil {
		return "", err
	}
	d.admin = &demoAdmin{Client: c}
	d.say("  issuer    %-24s  tokens live up to %d s, key sets are cached up to %d s\n", url, demoTokenTTL, demoCacheAge)
	return api.PublicURL(iss.Settings(), public.Addr()) + api.JWKSPath, nil
}

// The identity headers of the demo's policy.
var demoIdentity = map[string]any{
	"x-user-id":     "subject",
	"x-user-roles":  map[string]string{"claim": "roles", "separator": ","},
	"x-user-tenant": "tenant",
}

// startUpstream starts what the gateway protects: it answers with the identity
// headers it saw, in whatever spelling.
func (d *demo) startUpstream() (url string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(sawIdentity(r.Header))
	})}
	d.background(func(ctx context.Context) error {
		go func() { <-ctx.Done(); s.Close() }()
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return "http://" + l.Addr().String(), nil
}

// startGateway writes a policy and runs the gateway with it, as the command does.
func (d *demo) startGateway(ctx context.Context, log *slog.Logger, jwksURI, upstream string) (module string, err error) {
	document, err := json.MarshalIndent(map[string]any{"version": 1, "policy": map[string]any{
		"issuers": []any{map[string]any{
			"issuer": jwksURI[:len(jwksURI)-len(api.JWKSPath)], "dialect": "own", "algorithms": []string{"ES256"}, "audience": []string{"demo"},
			"jwks_uri": jwksURI, "cooldown": demoCooldown, "leeway": demoSkew,
		}},
		"rules": []any{
			map[string]any{"path_prefix": "/public", "access": "public"},
			map[string]any{"path_prefix": "/"},
		},
		"identity_headers": demoIdentity,
	}}, "", "  ")
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(d.path("policy.json"), document, 0o600); err != nil {
		return "", err
	}
	code, err := d.app.guest("core.wasm")
	if err != nil {
		return "", err
	}
	app := *d.app
	app.Logger = log
	command := &GatewayCmd{
		hostFlags:     hostFlags{Policy: d.path("policy.json"), CacheDir: d.cache},
		listenFlags:   listenFlags{Listen: "127.0.0.1:0", Drain: 5 * time.Second, Patience: time.Minute},
		upstreamFlags: upstreamFlags{Upstream: upstream, UpstreamTimeout: 10 * time.Second},
	}
	s, h, err := command.open(&app)
	if err != nil {
		return "", err
	}
	ready := make(chan struct{})
	s.ready = func(a addresses) error { d.gateway = a.URL; close(ready); return nil }
	d.background(func(ctx context.Context) error { return errors.Join(s.run(ctx), h.Close()) })
	return size(int64(len(code))), d.await(ctx, ready)
}

// background runs a server until the demo ends.
func (d *demo) background(serve func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(d.app.Context))
	done := make(chan error, 1)
	go func() {
		err := serve(ctx)
		if ctx.Err() == nil {
			d.failures <- errors.Join(errors.New("a server has ended before its time"), err)
		}
		done <- err
	}()
	d.stops = append(d.stops, func() error { cancel(); return <-done })
}

func (d *demo) await(ctx context.Context, ready <-chan struct{}) error {
	select {
	case <-ready:
		return nil
	case err := <-d.failures:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// session makes a user and a session, and a first token of it.
func (d *demo) session(ctx context.Context) (token string, err error) {
	d.heading("A session")
	_, err = d.admin.PutUser(ctx, "user_ada", api.UserBody{Organizations: []store.Organization{{ID: "org_engines", Roles: []string{"owner", "editor"}}}})
	if err != nil {
		return "", fmt.Errorf("user: %w", err)
	}
	s, err := d.admin.CreateSession(ctx, api.SessionBody{UserID: "user_ada", TenantID: "org_engines",
		Methods: []api.MethodBody{{Method: "password", AAL: "aal1"}}})
	if err != nil {
		return "", fmt.Errorf("session: %w", err)
	}
	d.admin.session = s.Session.ID
	if token, err = d.admin.mint(ctx, api.TokenBody{}); err != nil {
		return "", err
	}
	d.say("  user      user_ada, owner and editor in org_engines\n")
	d.say("  session   %s\n", s.Session.ID)
	d.say("  token     %s, signed by key %s\n", short(token), short8(keyOf(token)))
	return token, nil
}
