// Package sessiongatecaddy is the Caddy module http.handlers.sessiongate: package
// host behind a directive. A program that builds Caddy imports it:
//
//	import _ "sessiongate/caddy"
package sessiongatecaddy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"sessiongate/host"
	"sessiongate/verdict"
)

// Guest is the guest of directives that name no module. A program that carries one
// sets it before Caddy starts, so that host and guest are of one version.
var Guest []byte

func init() { caddy.RegisterModule(new(Gate)) }

// Gate judges each request before the handlers behind it see it, and answers those
// that do not pass. What it decided is in the placeholders
//
//	{http.sessiongate.reason}         the Reason, "none" for a request that passed
//	{http.sessiongate.claim.<claim>}  a claim that the policy's "log" names, as it is named there
//
// and, if "log" names the subject, in {http.auth.user.id}, which Caddy's access log
// writes as user_id.
type Gate struct {
	// Policy names the file of the policy document. It is read again when it
	// changes; one that is not accepted is logged, and the old one keeps serving.
	Policy string `json:"policy"`
	// Module names the file of the guest, build/guests/core.wasm. Default: the one
	// that the program carries, if it does.
	Module string `json:"module,omitempty"`
	// Instances is the most instances of the guest at a time, each of 4 MiB and
	// more. Default: two for each processor.
	Instances int `json:"instances,omitempty"`
	// CacheDir is the directory that keeps compiled code between starts. Nobody
	// else may be able to write there. Default: sessiongate in Caddy's data
	// directory.
	CacheDir string `json:"cache_dir,omitempty"`

	log    *slog.Logger
	shared *shared
	relay  *slog.Handler // what it attached to shared.log
}

// CaddyModule implements caddy.Module.
func (*Gate) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.sessiongate", New: func() caddy.Module { return new(Gate) }}
}

// Provision makes the host ready to serve, or finds that the configuration in force
// has one already and lets it read module and policy again. The error tells of
// every fault at once.
func (g *Gate) Provision(ctx caddy.Context) error {
	g.log = ctx.Slogger()
	module, err := g.module()
	if err != nil {
		return err
	}
	if err := g.open(ctx, module); err != nil {
		return fmt.Errorf("policy %s: %w", g.Policy, err)
	}
	return g.shared.register(ctx.GetMetricsRegistry())
}

// module checks the options and reads the guest.
func (g *Gate) module() ([]byte, error) {
	var errs []error
	if g.Policy == "" {
		errs = append(errs, errors.New("policy: is missing; it names the file of the policy document"))
	}
	if g.Instances < 0 {
		errs = append(errs, errors.New("instances: is negative; accepted: 1 or more, or 0 for two for each processor"))
	}
	module := Guest
	if g.Module != "" {
		var err error
		if module, err = os.ReadFile(g.Module); err != nil {
			errs = append(errs, fmt.Errorf("module: %w", err))
		}
	}
	if len(module) == 0 && len(errs) == 0 {
		errs = append(errs, errors.New("module: is missing, and this program carries no guest; it names the file of the guest wasm/core"))
	}
	return module, errors.Join(errs...)
}

// Cleanup lets go of the host.
func (g *Gate) Cleanup() error {
	if g.shared == nil {
		return nil
	}
	return g.close()
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	var failure error
	behind := http.HandlerFunc(func(w http.ResponseWriter, out *http.Request) {
		takeOver(r, out)
		failure = next.ServeHTTP(w, out)
	})
	repl, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	ctx := host.WithObserver(r.Context(), func(d *verdict.Decision, err error) { g.observe(r.Context(), repl, d, err) })
	g.shared.host.Handler(behind).ServeHTTP(w, r.WithContext(ctx))
	return failure
}

// takeOver edits the request that Caddy knows into the one that passed. Its
// placeholders and matchers read the first one's header and URL: a copy alone would
// leave them with what the client sent.
func takeOver(r, out *http.Request) {
	clear(r.Header)
	maps.Copy(r.Header, out.Header)
	out.Header = r.Header
	if out.URL != r.URL {
		*r.URL = *out.URL
		out.URL, r.RequestURI = r.URL, out.RequestURI
	}
}

// observe puts a decision where access logs find it.
func (g *Gate) observe(ctx context.Context, repl *caddy.Replacer, d *verdict.Decision, err error) {
	if err != nil && !errors.Is(err, context.Canceled) { // a client that is gone is no error
		g.log.LogAttrs(ctx, slog.LevelError, "request refused without a verdict", slog.String("error", err.Error()))
	}
	if repl == nil {
		return
	}
	repl.Set("http.sessiongate.reason", d.Reason.String())
	for _, f := range d.Log {
		repl.Set("http.sessiongate.claim."+f.Name, f.Value)
		if f.Name == "subject" && d.Authenticated {
			repl.Set("http.auth.user.id", f.Value)
		}
	}
}

var (
	_ caddy.Provisioner           = (*Gate)(nil)
	_ caddy.CleanerUpper          = (*Gate)(nil)
	_ caddyhttp.MiddlewareHandler = (*Gate)(nil)
)
