package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// listenFlags are the flags of the commands that serve requests through the guest.
type listenFlags struct {
	Listen      string        `help:"Address to serve on; port 0 picks one." required:"" placeholder:"HOST:PORT" env:"SESSIONGATE_LISTEN"`
	AdminListen string        `help:"Address of /livez, /readyz and /metrics; keep it off the public network." placeholder:"HOST:PORT" env:"SESSIONGATE_ADMIN_LISTEN"`
	TLSCert     string        `name:"tls-cert" help:"Certificate chain (PEM) to serve TLS with; it is read again when it changes." placeholder:"FILE" env:"SESSIONGATE_TLS_CERT"`
	TLSKey      string        `name:"tls-key" help:"Private key (PEM) of --tls-cert." placeholder:"FILE" env:"SESSIONGATE_TLS_KEY"`
	Drain       time.Duration `help:"How long requests that run may take to end after SIGTERM." default:"30s" env:"SESSIONGATE_DRAIN"`
	DrainDelay  time.Duration `help:"How long new requests are still taken after SIGTERM, while /readyz fails already." default:"0s" env:"SESSIONGATE_DRAIN_DELAY"`
	Patience    time.Duration `help:"How long a client may take to send the next part of a body, or to take in the next part of a response. What is merely idle, such as a stream of events, is not cut off." default:"60s" env:"SESSIONGATE_PATIENCE"`
}

func (f *listenFlags) check() error {
	var errs []error
	if (f.TLSCert == "") != (f.TLSKey == "") {
		errs = append(errs, errors.New("--tls-cert, --tls-key: they go together"))
	}
	for _, d := range []struct {
		flag string
		is   time.Duration
		min  time.Duration
	}{{"--drain", f.Drain, 0}, {"--drain-delay", f.DrainDelay, 0}, {"--patience", f.Patience, time.Second}} {
		if d.is < d.min {
			errs = append(errs, fmt.Errorf("%s: %s is too short; accepted: %s or more", d.flag, d.is, d.min))
		}
	}
	if errs != nil {
		return usage(errors.Join(errs...))
	}
	return nil
}

// server serves requests until its context ends, and then drains.
type server struct {
	name    string // of the command
	flags   *listenFlags
	app     *App
	log     *slog.Logger
	handler http.Handler // of requests
	admin   func(draining func() bool) http.Handler
	reload  func(context.Context) error // at SIGHUP
	ready   func(addresses) error       // once it serves; nil: tells standard output

	draining atomic.Bool
	running  sync.WaitGroup // requests, hijacked ones too
}

// addresses is what a server tells once it is ready.
type addresses struct {
	URL      string `json:"url"`
	Listen   string `json:"listen"`
	AdminURL string `json:"admin_url,omitempty"`
	Admin    string `json:"admin_listen,omitempty"`
}

// run listens, tells where, and serves.
func (s *server) run(ctx context.Context) error {
	certs, err := loadCertificate(s.flags.TLSCert, s.flags.TLSKey, s.log)
	if err != nil {
		return err
	}
	front, err := listen("--listen", s.flags.Listen)
	if err != nil {
		return err
	}
	defer front.Close()
	told := addresses{URL: "http://" + front.Addr().String(), Listen: front.Addr().String()}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	if certs != nil {
		told.URL = "https://" + told.Listen
		protocols.SetHTTP2(true)
	} else {
		protocols.SetUnencryptedHTTP2(true)
	}
	// The context of every request. Ending it is the last resort of a drain: it
	// closes the connections that left HTTP, such as WebSockets.
	serving, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	failures := make(chan error, 2)
	public := &http.Server{
		Handler:                      s.track(patient(s.handler, s.flags.Patience)),
		Protocols:                    protocols,
		HTTP2:                        &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
		ReadHeaderTimeout:            10 * time.Second,
		IdleTimeout:                  2 * time.Minute,
		MaxHeaderBytes:               64 << 10,
		DisableGeneralOptionsHandler: true, // OPTIONS * is judged like everything else
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext:                  func(net.Listener) context.Context { return serving },
	}
	if certs != nil {
		public.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certs.get}
	}
	if s.flags.AdminListen != "" {
		l, err := listen("--admin-listen", s.flags.AdminListen)
		if err != nil {
			return err
		}
		told.Admin, told.AdminURL = l.Addr().String(), "http://"+l.Addr().String()
		admin := &http.Server{Handler: s.admin(s.draining.Load), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
			WriteTimeout: 30 * time.Second, ErrorLog: public.ErrorLog}
		defer admin.Close() // last, so that a drain can be watched
		go func() { failures <- admin.Serve(l) }()
	}
	go func() {
		if certs != nil {
			failures <- public.ServeTLS(front, "", "")
		} else {
			failures <- public.Serve(front)
		}
	}()
	stopReloads := s.reloads(serving, certs)
	defer stopReloads()
	s.log.Info("listening", "command", s.name, "url", told.URL, "admin", told.AdminURL)
	if s.ready == nil {
		s.ready = s.tell
	}
	if err := s.ready(told); err != nil {
		public.Close()
		return err
	}
	select {
	case err := <-failures:
		public.Close()
		return failed(err, "")
	case <-ctx.Done():
	}
	return s.drain(public, cut)
}

// drain lets requests end, and cuts off those that do not.
func (s *server) drain(public *http.Server, cut context.CancelFunc) error {
	s.draining.Store(true)
	s.log.Info("draining", "delay", s.flags.DrainDelay, "at_most", s.flags.Drain)
	time.Sleep(s.flags.DrainDelay)
	bound, cancel := context.WithTimeout(context.Background(), s.flags.Drain)
	defer cancel()
	err := public.Shutdown(bound)
	ended := make(chan struct{})
	go func() { s.running.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-bound.Done():
		err = bound.Err()
	}
	if err != nil {
		s.log.Warn("requests cut off", "after", s.flags.Drain)
		cut()
		public.Close()
	}
	s.log.Info("stopped")
	return nil
}

// track counts requests, so that a drain can wait for those that left HTTP, which
// http.Server forgets about.
func (s *server) track(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.running.Add(1)
		defer s.running.Done()
		next.ServeHTTP(w, r)
	})
}

func (s *server) tell(a addresses) error {
	if s.app.JSON {
		return s.app.printJSON(a)
	}
	rows := [][]string{{s.name, a.URL}}
	if a.AdminURL != "" {
		rows = append(rows, []string{"admin", a.AdminURL})
	}
	return table(s.app.Stdout, "", rows)
}

// reloads reads files again at SIGHUP. What the host watches by itself, it also
// reads again by itself.
func (s *server) reloads(ctx context.Context, certs *certificate) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		changes := time.NewTicker(2 * time.Second)
		defer changes.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-changes.C:
				certs.refresh(false)
			case <-hangups:
				s.log.Info("reloading", "signal", "SIGHUP")
				certs.refresh(true)
				_ = s.reload(ctx) // logged by the host, which keeps what it has
			}
		}
	})
	return func() {
		signal.Stop(hangups)
		cancel()
		done.Wait()
	}
}

// listen opens a TCP listener.
func listen(flag, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err == nil {
		return l, nil
	}
	err = fmt.Errorf("%s: %w", flag, err)
	var addr *net.AddrError
	switch {
	case errors.As(err, &addr):
		return nil, usage(err)
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, failed(err, "another process has this port; port 0 picks a free one")
	case errors.Is(err, syscall.EACCES):
		return nil, failed(err, "ports under 1024 need a privilege")
	}
	return nil, failed(err, "")
}

// certificate is a TLS certificate that may be replaced on disk. A nil one is none.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	current           atomic.Pointer[tls.Certificate]
	stamp             string
}

func loadCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	if certFile == "" {
		return nil, nil
	}
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log, stamp: stampOf(certFile, keyFile)}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, failed(fmt.Errorf("--tls-cert, --tls-key: %w", err), "")
	}
	c.current.Store(&pair)
	return c, nil
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// refresh reads the files again if they changed. While only one of the two has been
// replaced they do not fit together: the old pair stays, and the next look finds both.
func (c *certificate) refresh(always bool) {
	if c == nil {
		return
	}
	stamp := stampOf(c.certFile, c.keyFile)
	if stamp == c.stamp && !always {
		return
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		c.log.Error("certificate not replaced, the old one keeps serving", "error", err)
	} else {
		c.log.Info("certificate read again")
		c.current.Store(&pair)
	}
	c.stamp = stamp
}

func stampOf(files ...string) string {
	all := ""
	for _, name := range files {
		if info, err := os.Stat(name); err == nil {
			all += fmt.Sprintf("%d-%d/", info.Size(), info.ModTime().UnixNano())
		}
	}
	return all
}
