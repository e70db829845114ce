package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"sessiongate/host"
	"sessiongate/jwks"
	"sessiongate/verifier/policy"
)

// hostFlags are the flags of every command that runs the guest.
type hostFlags struct {
	Policy   string `help:"Policy document (docs/policy.md)." required:"" placeholder:"FILE" env:"SESSIONGATE_POLICY"`
	CacheDir string `help:"Directory that keeps compiled code between runs, writable by this user alone; \"none\" keeps nothing. Default: sessiongate in the user's cache directory." default:"${cache_dir}" placeholder:"DIR" env:"SESSIONGATE_CACHE_DIR"`
}

func (f *hostFlags) check() error {
	if f.Policy == "" {
		return usage(errors.New("--policy: is empty; accepted: the name of a file"))
	}
	return nil
}

// config is the part of a host's configuration that the flags decide.
func (f *hostFlags) config(app *App, log *slog.Logger) (host.Config, error) {
	module, err := app.guest("core.wasm")
	if err != nil {
		return host.Config{}, err
	}
	return host.Config{Module: module, CacheDir: f.cacheDir(app), Logger: log}, nil
}

// cacheDir makes the cache directory. Compiled code is run as it is found there, so
// a directory that others can write to is not used. Going without costs seconds.
func (f *hostFlags) cacheDir(app *App) string {
	if f.CacheDir == "" || f.CacheDir == "none" {
		return ""
	}
	if err := os.MkdirAll(f.CacheDir, 0o700); err != nil {
		app.warn("--cache-dir: %s; compiled code is not kept", err)
		return ""
	}
	info, err := os.Stat(f.CacheDir)
	if err != nil || info.Mode().Perm()&0o022 != 0 || !ownedByUs(info) {
		app.warn("--cache-dir: %s is not this user's alone; compiled code is not kept", f.CacheDir)
		return ""
	}
	return f.CacheDir
}

// defaultCacheDir is where compiled code is kept unless a flag says otherwise.
func defaultCacheDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "none"
	}
	return filepath.Join(dir, "sessiongate")
}

// hostError gives an error of host.New its status and hint.
func hostError(err error, hint string) error {
	if c := (*host.ConfigError)(nil); errors.As(err, &c) {
		// The policy was asked to work, and does not: not a verdict on it.
		lines := make([]string, len(c.Faults))
		for i, f := range c.Faults {
			lines[i] = policy.Fault{Path: f.Path, Problem: f.Problem}.String()
		}
		return failed(fmt.Errorf("policy cannot be used:\n%s", strings.Join(lines, "\n")),
			"sessiongate policy check FILE tells the same; docs/policy.md explains every member")
	}
	return failed(err, hint)
}

// tokenFlags are the inputs of verify and explain.
type tokenFlags struct {
	hostFlags
	Jwks      []string `help:"Key set to use instead of fetching one. With several issuers: ISSUER=FILE, once for each." placeholder:"FILE" sep:"none" env:"SESSIONGATE_JWKS"`
	TokenFile string   `help:"File that holds the token." placeholder:"FILE" env:"SESSIONGATE_TOKEN_FILE"`
	Now       string   `help:"Judge as if it were this time (RFC 3339): to look at a token of yesterday." placeholder:"TIME" env:"SESSIONGATE_NOW"`
	Token     string   `arg:"" optional:"" help:"The token. Others on this machine can see it there: prefer standard input, which is read without it or for \"-\"."`
}

// maxTokenInput is how much of an input is read for a token. The guest refuses far
// less; what was cut off would change nothing.
const maxTokenInput = 64 << 10

// readToken reads the token from where the flags say.
func (f *tokenFlags) readToken(app *App) (string, error) {
	var from io.Reader
	switch {
	case f.Token != "" && f.Token != "-":
		if f.TokenFile != "" {
			return "", usage(errors.New("token, --token-file: give one of them"))
		}
		app.warn("a token on the command line is visible to others on this machine; prefer standard input")
		return f.Token, nil
	case f.TokenFile != "" && f.TokenFile != "-":
		if f.Token == "-" {
			return "", usage(errors.New("token, --token-file: give one of them"))
		}
		file, err := os.Open(f.TokenFile)
		if err != nil {
			return "", failed(fmt.Errorf("--token-file: %w", err), "")
		}
		defer file.Close()
		from = file
	default:
		if isTerminal(app.Stdin) {
			app.note("reading the token from standard input")
		}
		from = app.Stdin
	}
	b, err := io.ReadAll(io.LimitReader(from, maxTokenInput))
	if err != nil {
		return "", failed(fmt.Errorf("token: %w", err), "")
	}
	// Files end with a line break; anything else around a token makes it malformed.
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), nil
}

// open starts a host that has its keys.
func (f *tokenFlags) open(app *App) (*host.Host, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	doc, err := app.readPolicy(f.Policy)
	if err != nil {
		return nil, err
	}
	if f.Policy == "-" && f.TokenFile == "" && (f.Token == "" || f.Token == "-") {
		return nil, usage(errors.New("--policy, token: only one of them can come from standard input"))
	}
	quiet := slog.New(slog.DiscardHandler) // the verdict says it all
	c, err := f.config(app, quiet)
	if err != nil {
		return nil, err
	}
	c.Policy, c.WatchInterval, c.Instances = doc, -1, 1
	if f.Now != "" {
		at, err := time.Parse(time.RFC3339Nano, f.Now)
		if err != nil {
			return nil, usage(fmt.Errorf("--now: %q is no RFC 3339 time, such as 2026-03-01T12:00:00Z", f.Now))
		}
		c.Now = func() time.Time { return at }
		c.ClockFloor = time.Unix(0, 0) // whoever sets the time does not need to be told that it is past
	}
	sets, err := f.readSets(app, doc)
	if err != nil {
		return nil, err
	}
	if len(sets) > 0 {
		c.Transport = noNetwork{} // --jwks says where keys come from
	} else {
		f.announceFetches(app, doc)
	}
	h, err := host.New(app.Context, c)
	if err != nil {
		return nil, hostError(err, "")
	}
	for issuer, set := range sets {
		if err := h.UpdateKeys(issuer, set); err != nil {
			h.Close()
			return nil, failed(fmt.Errorf("--jwks: keys of issuer %s: %w", issuer, err), "a JWK Set (RFC 7517) with at least one key that can verify")
		}
	}
	return h, nil
}

// readSets reads the files of --jwks, by issuer.
func (f *tokenFlags) readSets(app *App, doc []byte) (map[string][]byte, error) {
	if len(f.Jwks) == 0 {
		return nil, nil
	}
	p, err := policy.Parse(doc, "go")
	if err != nil {
		return nil, nil // the host says what is wrong
	}
	var wanting []string
	for i, k := range p.Keys {
		if k.Kind != policy.Inline && k.Kind != policy.Secret {
			wanting = append(wanting, p.Issuers[i].Name)
		}
	}
	if len(wanting) == 0 {
		return nil, usage(errors.New("--jwks: every issuer of the policy has its keys in the policy"))
	}
	sets := make(map[string][]byte)
	for _, arg := range f.Jwks {
		issuer, file := wanting[0], arg
		for _, name := range wanting {
			if rest, ok := strings.CutPrefix(arg, name+"="); ok && name != "" {
				issuer, file = name, rest
			}
		}
		if file == arg && len(wanting) > 1 {
			return nil, usage(fmt.Errorf("--jwks: several issuers want keys; write ISSUER=FILE with one of %s", strings.Join(wanting, ", ")))
		}
		if sets[issuer] != nil {
			return nil, usage(fmt.Errorf("--jwks: two files for issuer %s", issuer))
		}
		if sets[issuer], err = readFile(file, "--jwks", jwks.MaxBytes); err != nil {
			return nil, err
		}
		if set, err := jwks.Parse(sets[issuer]); err == nil { // otherwise the guest says so
			for _, k := range set.Skipped() {
				app.warn("--jwks: key %d (kid %q) is skipped: %s", k.Index, k.KeyID, plain(k.Why))
			}
		}
	}
	return sets, nil
}

// announceFetches says what takes a moment.
func (f *tokenFlags) announceFetches(app *App, doc []byte) {
	p, err := policy.Parse(doc, "go")
	if err != nil {
		return
	}
	for _, k := range p.Keys {
		if k.Kind == policy.URI || k.Kind == policy.Discovery {
			app.note("fetching keys from %s", plain(k.Location))
		}
	}
}

// noNetwork is for a host whose keys are brought by hand.
type noNetwork struct{}

func (noNetwork) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("keys come from --jwks")
}

// ownedByUs reports whether a file belongs to the user that runs this command.
func ownedByUs(info os.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return !ok || int(s.Uid) == os.Geteuid()
}
