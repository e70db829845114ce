package api

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sessiongate/issuer"
	"sessiongate/issuer/store"
)

// admin serves operators and programs that hold an API key.
type admin struct {
	iss      *issuer.Issuer
	hosts    []string // allowed in Host, beside loopback names
	draining func() bool
	requests *prometheus.HistogramVec
	metrics  http.Handler

	readyMu  sync.Mutex
	readyAt  time.Time
	readyErr error
}

// AdminConfig is what the admin listener works with.
type AdminConfig struct {
	// Hosts are host names, without port, under which the listener may be called,
	// beside loopback ones.
	Hosts []string
	// Draining reports that the process is about to stop: /readyz fails. May be nil.
	Draining func() bool
}

// route is what one path of the admin API does: a scope for each method.
type route struct {
	path  string
	calls map[string]call
}

type call struct {
	scope string
	do    handler
}

// Admin is the admin listener's handler. It checks Host, and asks for an API key
// everywhere but at /livez and /readyz.
func Admin(iss *issuer.Issuer, c AdminConfig) http.Handler {
	a := &admin{iss: iss, hosts: c.Hosts, draining: c.Draining}
	registry := prometheus.NewRegistry()
	a.requests = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "sessiongate", Subsystem: "issuer", Name: "admin_request_seconds", Help: "Calls of the admin API.",
		Buckets: []float64{.001, .005, .02, .1, .5, 2},
	}, []string{"route", "method", "status"})
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewBuildInfoCollector(), a.requests)
	registry.MustRegister(iss.Collectors()...)
	a.metrics = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})

	api := http.NewServeMux()
	for _, rt := range a.routes() {
		api.Handle(rt.path, a.authorized(rt))
	}
	api.Handle("/", a.authorized(route{path: "/"}))

	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", a.ready)
	mux.Handle("/", a.guarded(api))
	return mux
}

func (a *admin) routes() []route {
	const v1 = "/admin/v1"
	return []route{
		{"/metrics", map[string]call{"GET": {issuer.ScopeMetricsRead, a.showMetrics}}},
		{v1 + "/users/{id}", map[string]call{"GET": {issuer.ScopeUsersRead, a.getUser}, "PUT": {issuer.ScopeUsersWrite, a.putUser}}},
		{v1 + "/sessions", map[string]call{"GET": {issuer.ScopeSessionsRead, a.listSessions}, "POST": {issuer.ScopeSessionsWrite, a.createSession}}},
		{v1 + "/sessions/{id}", map[string]call{"GET": {issuer.ScopeSessionsRead, a.getSession}, "DELETE": {issuer.ScopeSessionsWrite, a.revokeSession}}},
		{v1 + "/sessions/{id}/methods", map[string]call{"POST": {issuer.ScopeSessionsWrite, a.addMethods}}},
		{v1 + "/sessions/{id}/end", map[string]call{"POST": {issuer.ScopeSessionsWrite, a.endSession}}},
		{v1 + "/sessions/{id}/tokens", map[string]call{"POST": {issuer.ScopeTokensMint, a.mint}}},
		{v1 + "/introspect", map[string]call{"POST": {issuer.ScopeTokensIntrospect, a.introspect}}},
		{v1 + "/keys", map[string]call{"GET": {issuer.ScopeKeysRead, a.listKeys}, "POST": {issuer.ScopeKeysRotate, a.announce}}},
		{v1 + "/keys/{kid}/rotate", map[string]call{"POST": {issuer.ScopeKeysRotate, a.rotate}}},
		{v1 + "/keys/{kid}/withdraw", map[string]call{"POST": {issuer.ScopeKeysWithdraw, a.withdraw}}},
		{v1 + "/api-keys", map[string]call{"GET": {issuer.ScopeAPIKeysRead, a.listAPIKeys}, "POST": {issuer.ScopeAPIKeysWrite, a.createAPIKey}}},
		{v1 + "/api-keys/{id}", map[string]call{"DELETE": {issuer.ScopeAPIKeysWrite, a.revokeAPIKey}}},
	}
}

// guarded refuses requests whose Host is not ours: a page whose name was made to
// resolve to loopback (DNS rebinding) speaks of its own host.
func (a *admin) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !a.ownHost(r.Host) {
			writeProblem(w, problemOf(refused(http.StatusMisdirectedRequest, "host_not_allowed",
				"the admin listener answers to loopback names and to admin_hosts of issuer.json only"), a.iss.Logger(), r))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (a *admin) ownHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		return true
	}
	return strings.EqualFold(host, "localhost") || slices.ContainsFunc(a.hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

type apiKeyOf struct{}

// authorized asks for an API key before it says anything of a path, and then for
// the scope of the method.
func (a *admin) authorized(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start, rec := time.Now(), &recorder{ResponseWriter: w, status: http.StatusOK}
		if err := a.answer(rec, r, rt); err != nil {
			out := problemOf(err, a.iss.Logger(), r)
			switch out.Status {
			case http.StatusUnauthorized:
				w.Header().Set("WWW-Authenticate", `Bearer realm="sessiongate admin"`)
			case http.StatusForbidden:
				w.Header().Set("WWW-Authenticate", `Bearer realm="sessiongate admin", error="insufficient_scope"`)
			}
			writeProblem(rec, out)
		}
		method := r.Method
		if _, ok := rt.calls[method]; !ok {
			method = "other" // a label that callers choose would grow without end
		}
		a.requests.WithLabelValues(rt.path, method, statusText(rec.status)).Observe(time.Since(start).Seconds())
	})
}

func (a *admin) answer(w http.ResponseWriter, r *http.Request, rt route) error {
	key, err := a.iss.Authenticate(r.Context(), bearer(r))
	if err != nil {
		return err
	}
	if rt.calls == nil {
		return refused(http.StatusNotFound, "not_found", "there is nothing here")
	}
	allowed := methods{}
	for method, c := range rt.calls {
		allowed[method] = func(w http.ResponseWriter, r *http.Request) error {
			if !slices.Contains(key.Scopes, c.scope) {
				return refused(http.StatusForbidden, "insufficient_scope", "this needs an API key with the scope "+c.scope)
			}
			return c.do(w, r.WithContext(context.WithValue(r.Context(), apiKeyOf{}, key)))
		}
	}
	return allowed.serve(w, r)
}

// recorder remembers the status for metrics.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController and MaxBytesReader reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func statusText(status int) string {
	return string([]byte{'0' + byte(status/100%10), '0' + byte(status/10%10), '0' + byte(status%10)})
}

func (a *admin) showMetrics(w http.ResponseWriter, r *http.Request) error {
	a.metrics.ServeHTTP(w, r)
	return nil
}

// readyEvery bounds how often the probe, which is open to all, writes to the disk.
const readyEvery = time.Second

func (a *admin) ready(w http.ResponseWriter, r *http.Request) {
	if a.draining != nil && a.draining() {
		write(w, http.StatusServiceUnavailable, map[string]string{"status": "draining"})
		return
	}
	a.readyMu.Lock()
	defer a.readyMu.Unlock()
	if now := time.Now(); now.Sub(a.readyAt) >= readyEvery {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 3*time.Second)
		defer cancel()
		err := a.iss.Ready(ctx)
		if err != nil && (a.readyErr == nil || a.readyErr.Error() != err.Error()) {
			a.iss.Logger().Error("not ready", "error", err) // the answer does not say why: it is open to all
		}
		a.readyAt, a.readyErr = now, err
	}
	if a.readyErr != nil {
		write(w, http.StatusServiceUnavailable, map[string]string{"status": "not ready"})
		return
	}
	write(w, http.StatusOK, map[string]string{"status": "ready"})
}

func (a *admin) createAPIKey(w http.ResponseWriter, r *http.Request) error {
	var b APIKeyBody
	if err := read(w, r, &b); err != nil {
		return err
	}
	by := r.Context().Value(apiKeyOf{}).(store.APIKey)
	k, secret, err := a.iss.CreateAPIKey(r.Context(), &by, b.Name, b.Scopes)
	if err != nil {
		return err
	}
	write(w, http.StatusCreated, NewAPIKey{apiKey(k), secret})
	return nil
}

func (a *admin) listAPIKeys(w http.ResponseWriter, r *http.Request) error {
	list, err := a.iss.APIKeys(r.Context())
	if err != nil {
		return err
	}
	out := APIKeys{APIKeys: []APIKey{}}
	for _, k := range list {
		out.APIKeys = append(out.APIKeys, apiKey(k))
	}
	write(w, http.StatusOK, out)
	return nil
}

func (a *admin) revokeAPIKey(w http.ResponseWriter, r *http.Request) error {
	if err := a.iss.RevokeAPIKey(r.Context(), r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func apiKey(k store.APIKey) APIKey {
	return APIKey{ID: k.ID, Name: k.Name, Scopes: k.Scopes, CreatedAt: k.CreatedAt, RevokedAt: optional(k.RevokedAt)}
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
