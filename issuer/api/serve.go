package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"sessiongate/issuer"
)

// ServeConfig is where and how the issuer serves.
type ServeConfig struct {
	// Public and Admin are the listeners. Serve closes them.
	Public, Admin net.Listener
	// Ready is called once both answer. May be nil.
	Ready func()
	// Grace is how long requests in flight have after ctx has ended; 0 is 10 s.
	Grace time.Duration
}

// Serve serves and maintains the issuer until ctx ends, then drains: /readyz
// fails and requests in flight end. It returns nil after that, or what kept a
// listener from its work. It does not close the Issuer, whose Close writes what is
// pending.
func Serve(ctx context.Context, iss *issuer.Issuer, c ServeConfig) error {
	if c.Grace == 0 {
		c.Grace = 10 * time.Second
	}
	var draining atomic.Bool
	errorLog := slog.NewLogLogger(iss.Logger().Handler(), slog.LevelDebug)
	server := func(h http.Handler) *http.Server {
		return &http.Server{
			Handler: h, ErrorLog: errorLog, MaxHeaderBytes: 32 << 10,
			ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 60 * time.Second,
		}
	}
	servers := []*http.Server{
		server(Public(iss, PublicURL(iss.Settings(), c.Public.Addr()))),
		server(Admin(iss, AdminConfig{Hosts: iss.Settings().AdminHosts, Draining: draining.Load})),
	}
	if host, _, err := net.SplitHostPort(c.Admin.Addr().String()); err == nil {
		if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
			iss.Logger().Warn("the admin listener is open to other machines; API keys travel in the clear unless a proxy adds TLS", "address", c.Admin.Addr().String())
		}
	}
	inner, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	failed := make(chan error, len(servers))
	for n, l := range []net.Listener{c.Public, c.Admin} {
		wg.Go(func() {
			if err := servers[n].Serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		})
	}
	wg.Go(func() { iss.Run(inner) })
	if c.Ready != nil {
		c.Ready()
	}
	var failure error
	select {
	case <-ctx.Done():
	case failure = <-failed:
	}
	draining.Store(true)
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.Grace)
	defer cancel()
	for _, s := range servers {
		if err := s.Shutdown(grace); err != nil {
			iss.Logger().Warn("requests were cut off", "error", err)
			s.Close()
		}
	}
	stop()
	wg.Wait()
	return failure
}

// PublicURL is where verifiers reach the public listener: public_url, or the
// issuer's own URL. An issuer named by loopback over http is somebody's trial, perhaps on a
// port that the system picked: there it is the listener's real address.
func PublicURL(s issuer.Settings, addr net.Addr) string {
	if s.PublicURL != "" {
		return s.PublicURL
	}
	u, err := url.Parse(s.Issuer)
	if err != nil {
		return s.Issuer
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme != "http" || u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return s.Issuer
	}
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return s.Issuer
	}
	if bound := net.ParseIP(host); bound == nil || !bound.IsLoopback() {
		host = u.Hostname()
	}
	return "http://" + net.JoinHostPort(host, port)
}
