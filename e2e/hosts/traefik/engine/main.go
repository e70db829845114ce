// Command engine runs a local plugin the way Traefik does, with Traefik's own
// plugin engine and its entry point's X-Forwarded headers around net/http: what of
// Traefik a plugin notices, without the ten minutes that all of it takes to build.
//
// It is a module of its own so that it has the versions of Traefik's go.mod, that
// of wazero above all.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/rs/zerolog"
	zlog "github.com/rs/zerolog/log"
	"github.com/traefik/traefik/v3/pkg/middlewares/forwardedheaders"
	"github.com/traefik/traefik/v3/pkg/plugins"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	dir := flag.String("dir", ".", "directory with plugins-local/src/sessiongate")
	config := flag.String("config", "policy.json", "file with the plugin's configuration, as JSON")
	mounts := flag.String("mounts", "", "the plugin's settings.mounts, separated by commas")
	upstream := flag.String("upstream", "", "URL of the upstream")
	address := flag.String("listen", "127.0.0.1:0", "address to listen on")
	flag.Parse()

	zerolog.SetGlobalLevel(zerolog.InfoLevel)
	zlog.Logger = zerolog.New(os.Stderr)
	zerolog.DefaultContextLogger = &zlog.Logger

	text, err := os.ReadFile(*config)
	if err != nil {
		return err
	}
	var settings map[string]any
	if err := json.Unmarshal(text, &settings); err != nil {
		return fmt.Errorf("%s: %w", *config, err)
	}
	to, err := url.Parse(*upstream)
	if err != nil {
		return err
	}
	if err := os.Chdir(*dir); err != nil { // the engine looks below its working directory
		return err
	}
	local := plugins.LocalDescriptor{ModuleName: "sessiongate"}
	if *mounts != "" {
		local.Settings.Mounts = strings.Split(*mounts, ",")
	}
	builder, err := plugins.NewBuilder(nil, nil, map[string]plugins.LocalDescriptor{"sessiongate": local})
	if err != nil {
		return err
	}
	build, err := builder.Build("sessiongate", settings, "gate@file")
	if err != nil {
		return err
	}
	handler, err := build(context.Background(), &httputil.ReverseProxy{Director: direct(to), FlushInterval: -1})
	if err != nil {
		// Traefik says 404 on a router whose middleware could not be made.
		zlog.Error().Err(err).Msg("middleware was not made")
		handler = http.NotFoundHandler()
	}
	if handler, err = forwardedheaders.NewXForwarded(false, nil, nil, handler); err != nil {
		return err
	}
	mux := &measured{next: encodeSemicolons(handler)}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: mux, Protocols: protocols, DisableGeneralOptionsHandler: true}
	l, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	fmt.Println("http://" + l.Addr().String())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { server.Close() })
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// direct does what Traefik's own proxy does: the path goes on as it came.
func direct(to *url.URL) func(*http.Request) {
	return func(r *http.Request) {
		r.URL.Scheme, r.URL.Host = to.Scheme, to.Host
		u := r.URL
		if r.RequestURI != "" {
			if parsed, err := url.ParseRequestURI(r.RequestURI); err == nil {
				u = parsed
			}
		}
		r.URL.Path, r.URL.RawPath = u.Path, u.RawPath
		r.URL.RawQuery = u.RawQuery
		r.RequestURI = ""
		if _, ok := r.Header["User-Agent"]; !ok {
			r.Header.Set("User-Agent", "")
		}
	}
}

// encodeSemicolons does what Traefik's entry point does with queries.
func encodeSemicolons(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.RawQuery, ";") {
			r.URL.RawQuery = strings.ReplaceAll(r.URL.RawQuery, ";", "%3B")
			r.RequestURI = r.URL.RequestURI()
		}
		next.ServeHTTP(w, r)
	})
}

// measured answers /-/memory itself, after a collection.
type measured struct {
	next http.Handler
	mu   sync.Mutex
}

func (m *measured) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/-/memory" || r.Host != "engine.internal" {
		m.next.ServeHTTP(w, r)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.URL.RawQuery == "gc" {
		runtime.GC()
	}
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	status, _ := os.ReadFile("/proc/self/status")
	resident := ""
	for line := range strings.SplitSeq(string(status), "\n") {
		if name, value, ok := strings.Cut(line, ":"); ok && name == "VmRSS" {
			resident = strings.TrimSuffix(strings.TrimSpace(value), " kB")
		}
	}
	fmt.Fprintf(w, `{"heap_bytes":%d,"resident_kib":%s}`+"\n", s.HeapAlloc, resident)
}
