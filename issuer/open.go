package issuer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"sessiongate/issuer/internal/durable"
	"sessiongate/issuer/seal"
	"sessiongate/issuer/store/sqlite"
)

// The files of a data directory.
const (
	SettingsFile = "issuer.json"
	DatabaseFile = "issuer.db"
)

// Initialized is what Init has made.
type Initialized struct {
	SettingsPath string
	DatabasePath string
	SealingKey   string // the file of the sealing key, or "environment variable NAME"
	APIKey       string // the first one, with every scope; it is shown only once
	APIKeyID     string
}

// Init makes a data directory: the sealing key (mode 0600), the database with a
// first signing key for each algorithm and a first API key, and issuer.json last,
// which makes the directory whole. It refuses to overwrite anything, and takes
// back what it made if it fails. getenv may be nil if SealingKeyEnv is empty.
func Init(ctx context.Context, dir string, s Settings, getenv func(string) string) (_ Initialized, err error) {
	s = s.withDefaults()
	if err := s.Validate(); err != nil {
		return Initialized{}, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Initialized{}, fmt.Errorf("data directory: %w", err)
	}
	out := Initialized{SettingsPath: filepath.Join(dir, SettingsFile), DatabasePath: filepath.Join(dir, DatabaseFile)}
	for _, path := range []string{out.SettingsPath, out.DatabasePath} {
		if _, err := os.Lstat(path); err == nil {
			return Initialized{}, fmt.Errorf("%s exists already, and init overwrites nothing: %w", path, fs.ErrExist)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return Initialized{}, err
		}
	}
	var made []string
	defer func() {
		if err != nil {
			for _, path := range made {
				os.Remove(path)
			}
		}
	}()
	var sealer *seal.Sealer
	if s.SealingKeyEnv != "" {
		sealer, err = sealerOf(dir, s, getenv)
		out.SealingKey = "environment variable " + s.SealingKeyEnv
	} else {
		out.SealingKey = sealingPath(dir, s)
		sealer, err = seal.CreateFile(out.SealingKey)
		if err == nil {
			made = append(made, out.SealingKey)
		}
	}
	if err != nil {
		return Initialized{}, err
	}
	db, err := sqlite.Create(ctx, out.DatabasePath)
	if err != nil {
		return Initialized{}, err
	}
	made = append(made, out.DatabasePath, out.DatabasePath+"-wal", out.DatabasePath+"-shm")
	i, err := New(ctx, Config{Settings: s, Store: db, Sealer: sealer})
	if err != nil {
		return Initialized{}, err
	}
	key, secret, err := i.CreateAPIKey(ctx, nil, "init", Scopes())
	if err = errors.Join(err, i.Close()); err != nil {
		return Initialized{}, err
	}
	out.APIKey, out.APIKeyID = secret, key.ID
	if err := durable.Create(out.SettingsPath, s.document()); err != nil {
		return Initialized{}, err
	}
	return out, nil
}

// Open opens a data directory that Init made. Settings, Store and Sealer of c are
// filled in from it; getenv is where a sealing key in the environment comes from.
func Open(ctx context.Context, dir string, c Config, getenv func(string) string) (*Issuer, error) {
	path := filepath.Join(dir, SettingsFile)
	s, err := ReadSettings(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s does not exist: %s is no data directory, or its init did not finish: %w", path, dir, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	sealer, err := sealerOf(dir, s, getenv)
	if err != nil {
		return nil, err
	}
	db, err := sqlite.Open(ctx, filepath.Join(dir, DatabaseFile))
	if err != nil {
		return nil, err
	}
	c.Settings, c.Sealer, c.Store = s, sealer, db
	return New(ctx, c)
}

func sealingPath(dir string, s Settings) string {
	if filepath.IsAbs(s.SealingKeyFile) {
		return s.SealingKeyFile
	}
	return filepath.Join(dir, s.SealingKeyFile)
}

func sealerOf(dir string, s Settings, getenv func(string) string) (*seal.Sealer, error) {
	if s.SealingKeyEnv == "" {
		return seal.ReadFile(sealingPath(dir, s))
	}
	text := ""
	if getenv != nil {
		text = getenv(s.SealingKeyEnv)
	}
	if text == "" {
		return nil, fmt.Errorf("sealing key: environment variable %s is not set", s.SealingKeyEnv)
	}
	sealer, err := seal.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("sealing key: environment variable %s: %w", s.SealingKeyEnv, err)
	}
	return sealer, nil
}
