package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"sessiongate/host"
	"sessiongate/issuer"
	"sessiongate/issuer/api"
	"sessiongate/issuer/keyring"
	"sessiongate/issuer/seal"
)

// IssuerCmd makes a data directory, or serves one.
type IssuerCmd struct {
	Init  IssuerInitCmd  `cmd:"" help:"Make a data directory: keys, database, configuration and a first API key."`
	Serve IssuerServeCmd `cmd:"" default:"withargs" help:"Mint session tokens, publish the keys and rotate them."`
}

// IssuerInitCmd makes a data directory.
type IssuerInitCmd struct {
	Data          string   `help:"Data directory to make." required:"" placeholder:"DIR" env:"SESSIONGATE_DATA"`
	Issuer        string   `help:"The iss of every token: an https URL, or http to loopback. It cannot be changed later." default:"http://127.0.0.1:8080" placeholder:"URL" env:"SESSIONGATE_ISSUER"`
	PublicURL     string   `name:"public-url" help:"Where verifiers reach the public listener, if that is not the issuer's URL." placeholder:"URL" env:"SESSIONGATE_PUBLIC_URL"`
	Algorithm     []string `help:"Algorithms to hold keys of: ES256, EdDSA, RS256; the first is the usual one." default:"ES256" placeholder:"ALG" env:"SESSIONGATE_ALGORITHM"`
	Audience      []string `help:"The usual aud of tokens." default:"sessiongate" placeholder:"AUD" env:"SESSIONGATE_AUDIENCE"`
	SealingKey    string   `help:"File to make for the sealing key; default: sealing.key in the data directory." placeholder:"FILE" env:"SESSIONGATE_SEALING_KEY_FILE"`
	SealingKeyEnv string   `help:"Environment variable that holds the sealing key, in place of a file." placeholder:"NAME" env:"SESSIONGATE_SEALING_KEY_ENV"`

	TokenTTL         time.Duration `name:"token-ttl" help:"Usual lifetime of a token." default:"5m" env:"SESSIONGATE_TOKEN_TTL"`
	MaxTokenLifetime time.Duration `help:"Longest lifetime of a token." default:"24h" env:"SESSIONGATE_MAX_TOKEN_LIFETIME"`
	CacheAge         time.Duration `help:"Longest time for which a verifier uses a key set; twice its policy's cooldown or more." default:"1h" env:"SESSIONGATE_CACHE_AGE"`
	Skew             time.Duration `help:"How far apart clocks may be, leeway included." default:"1m" env:"SESSIONGATE_SKEW"`
	RotateEvery      time.Duration `help:"How long a key signs; 0: keys rotate by hand." default:"720h" env:"SESSIONGATE_ROTATE_EVERY"`
}

// settings are the default ones with what the flags say. Announce and Retire are
// the least that the other times allow.
func (c *IssuerInitCmd) settings() (issuer.Settings, error) {
	s := issuer.DefaultSettings()
	s.Issuer, s.PublicURL, s.Algorithms, s.Audience = c.Issuer, c.PublicURL, c.Algorithm, c.Audience
	if c.SealingKey != "" {
		s.SealingKeyFile = c.SealingKey
	}
	if c.SealingKeyEnv != "" {
		s.SealingKeyFile, s.SealingKeyEnv = "", c.SealingKeyEnv
	}
	s.Announce, s.Retire = 0, 0
	for _, d := range []struct {
		flag string
		from time.Duration
		to   *int64
	}{{"--token-ttl", c.TokenTTL, &s.TokenTTL}, {"--max-token-lifetime", c.MaxTokenLifetime, &s.MaxTokenLifetime},
		{"--cache-age", c.CacheAge, &s.CacheAge}, {"--skew", c.Skew, &s.Skew}, {"--rotate-every", c.RotateEvery, &s.RotateEvery}} {
		if d.from%time.Second != 0 {
			return s, fmt.Errorf("%s: must be whole seconds", d.flag)
		}
		*d.to = int64(d.from / time.Second)
	}
	return s, nil
}

// Run makes the data directory.
func (c *IssuerInitCmd) Run(app *App) error {
	s, err := c.settings()
	if err != nil {
		return usage(err)
	}
	made, err := issuer.Init(app.Context, c.Data, s, os.Getenv)
	if faults := (issuer.Faults)(nil); errors.As(err, &faults) {
		return usage(err)
	}
	if errors.Is(err, fs.ErrExist) {
		return failed(err, "nothing was overwritten; choose another --data, or remove what is there")
	}
	if err != nil {
		return failed(err, "")
	}
	if app.JSON {
		return app.printJSON(map[string]string{
			"api_key": made.APIKey, "api_key_id": made.APIKeyID, "issuer": s.Issuer, "data": c.Data,
			"config": made.SettingsPath, "database": made.DatabasePath, "sealing_key": made.SealingKey,
		})
	}
	return app.print(`Issuer %s is made in %s.

API key, with every scope; it is shown this once:
  %s

Next:
  1. Keep %s apart from backups of %s: together they are your signing keys.
  2. Read %s; it says how long tokens live and how often keys rotate.
  3. sessiongate issuer --data %s --listen 127.0.0.1:8080 --admin-listen 127.0.0.1:8081
  4. SESSIONGATE_API_KEY=… sessiongate keys list --admin http://127.0.0.1:8081
`, s.Issuer, c.Data, made.APIKey, made.SealingKey, made.DatabasePath, made.SettingsPath, c.Data)
}

// openError gives an error of issuer.Open its status and hint.
func (c *IssuerServeCmd) openError(err error) error {
	var faults issuer.Faults
	settings := filepath.Join(c.Data, issuer.SettingsFile)
	if _, missing := os.Stat(settings); errors.Is(missing, fs.ErrNotExist) {
		return failed(err, "sessiongate issuer init --data DIR makes a data directory")
	}
	if errors.As(err, &faults) {
		return failed(err, "times are whole seconds; a member that is left out has its default")
	}
	if errors.Is(err, seal.ErrOtherKey) || errors.Is(err, seal.ErrDamaged) {
		return failed(err, "database and sealing key belong together; restore both from the same backup")
	}
	return failed(err, "")
}

// IssuerServeCmd serves a data directory.
type IssuerServeCmd struct {
	Data        string        `help:"Data directory that issuer init made." required:"" placeholder:"DIR" env:"SESSIONGATE_DATA"`
	Listen      string        `help:"Address of the key set, discovery and tokens; port 0 picks one." default:"127.0.0.1:8080" placeholder:"HOST:PORT" env:"SESSIONGATE_LISTEN"`
	AdminListen string        `help:"Address of the admin API, /livez, /readyz and /metrics; port 0 picks one." default:"127.0.0.1:8081" placeholder:"HOST:PORT" env:"SESSIONGATE_ADMIN_LISTEN"`
	CacheDir    string        `help:"Directory that keeps compiled code between runs, writable by this user alone; \"none\" keeps nothing." default:"${cache_dir}" placeholder:"DIR" env:"SESSIONGATE_CACHE_DIR"`
	Drain       time.Duration `help:"How long requests that run may take to end after SIGTERM." default:"10s" env:"SESSIONGATE_DRAIN"`
}

// issuerAddresses is what the issuer tells once it is ready.
type issuerAddresses struct {
	addresses
	Issuer  string `json:"issuer"`
	JWKSURI string `json:"jwks_uri"`
}

// Run serves until SIGINT or SIGTERM.
func (c *IssuerServeCmd) Run(app *App) (err error) {
	if c.Drain <= 0 {
		return usage(errors.New("--drain: must be more than 0"))
	}
	module, err := app.guest("core.wasm")
	if err != nil {
		return err
	}
	cacheDir := (&hostFlags{CacheDir: c.CacheDir}).cacheDir(app)
	log := app.Logger.With("command", "issuer")
	iss, err := issuer.Open(app.Context, c.Data, issuer.Config{
		Logger: log,
		NewVerifier: func(ctx context.Context, policy []byte) (issuer.TokenVerifier, error) {
			return host.New(ctx, host.Config{Module: module, Policy: policy, CacheDir: cacheDir, Logger: log})
		},
	}, os.Getenv)
	if err != nil {
		return c.openError(err)
	}
	defer func() {
		if closeErr := iss.Close(); closeErr != nil && err == nil {
			err = failed(closeErr, "")
		}
	}()
	public, err := listen("--listen", c.Listen)
	if err != nil {
		return err
	}
	defer public.Close()
	admin, err := listen("--admin-listen", c.AdminListen)
	if err != nil {
		return err
	}
	defer admin.Close()

	serving, stop := context.WithCancel(app.Context)
	defer stop()
	told := error(nil)
	err = api.Serve(serving, iss, api.ServeConfig{Public: public, Admin: admin, Grace: c.Drain, Ready: func() {
		s := iss.Settings()
		a := issuerAddresses{Issuer: s.Issuer, JWKSURI: api.PublicURL(s, public.Addr()) + api.JWKSPath}
		a.Listen, a.Admin = public.Addr().String(), admin.Addr().String()
		a.URL, a.AdminURL = "http://"+a.Listen, "http://"+a.Admin
		for _, k := range iss.Keys() {
			if k.State == keyring.Active {
				log.Info("signing", "kid", k.ID, "algorithm", k.Algorithm)
			}
		}
		if told = c.tell(app, a); told != nil {
			stop() // nobody can hear us
		}
	}})
	if err != nil {
		return failed(err, "")
	}
	return told
}

func (c *IssuerServeCmd) tell(app *App, a issuerAddresses) error {
	app.Logger.Info("listening", "command", "issuer", "url", a.URL, "admin", a.AdminURL)
	if app.JSON {
		return app.printJSON(a)
	}
	return table(app.Stdout, "", [][]string{{"issuer", a.Issuer}, {"public", a.URL}, {"admin", a.AdminURL}, {"key set", a.JWKSURI}})
}
