// Package issuer mints session tokens: it keeps users and sessions, signs short
// tokens for them, publishes the keys and rotates them by the contract of package
// keyring. Package issuer/api serves it over HTTP.
package issuer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sessiongate/issuer/keyring"
	"sessiongate/issuer/seal"
	"sessiongate/issuer/store"
	"sessiongate/verdict"
)

// TokenVerifier judges a token that the issuer is shown. The one that ships is
// host.Host, which runs the WebAssembly guest: the issuer never verifies by itself.
type TokenVerifier interface {
	// Verify answers who the token speaks for; the error is a verdict.Reason.
	Verify(ctx context.Context, token string) (verdict.Principal, error)
	// UpdateKeys replaces the key set of an issuer.
	UpdateKeys(issuer string, jwks []byte) error
}

// Config is what an Issuer works with.
type Config struct {
	// Settings are the numbers and names of issuer.json.
	Settings Settings
	// Store holds users, sessions and keys. The Issuer closes it.
	Store store.Store
	// Sealer opens and seals private keys.
	Sealer *seal.Sealer
	// NewVerifier makes the verifier from a policy document that names this issuer
	// alone, with its keys inline and any audience; later keys come through
	// UpdateKeys. If the verifier is an io.Closer, the Issuer closes it. Nil: tokens
	// cannot be introspected.
	NewVerifier func(ctx context.Context, policy []byte) (TokenVerifier, error)
	// Logger takes what an operator should know. No token, credential or key is ever
	// in it. Nil: nothing is logged.
	Logger *slog.Logger
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Issuer is a running issuer. It is safe for concurrent use.
type Issuer struct {
	settings Settings
	contract keyring.Contract
	store    store.Store
	sealer   *seal.Sealer
	verifier TokenVerifier
	log      *slog.Logger
	now      func() time.Time
	metrics  *metrics

	live atomic.Pointer[snapshot] // what minting and the key set read, without a lock

	keysMu   sync.Mutex // held while keys change
	revision int64
	keys     []entry // all keys, in the order in which they were made
	unsaved  []entry // emergency changes that the store has not taken yet

	touchMu sync.Mutex
	touched map[string]time.Time // sessions whose last_active_at is to be written

	maintained atomic.Int64 // when Maintain last went through, Unix milliseconds
}

// New opens the issuer's keys, makes a first one for each algorithm of a new
// issuer, and the verifier. It closes the store if it fails.
func New(ctx context.Context, c Config) (_ *Issuer, err error) {
	i := &Issuer{
		settings: c.Settings.withDefaults(), store: c.Store, sealer: c.Sealer, log: c.Logger, now: c.Now,
		metrics: newMetrics(), touched: map[string]time.Time{},
	}
	i.contract = i.settings.contract()
	if i.log == nil {
		i.log = slog.New(slog.DiscardHandler)
	}
	if i.now == nil {
		i.now = time.Now
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, i.Close())
		}
	}()
	if i.store == nil || i.sealer == nil {
		return nil, errors.New("issuer: Config.Store and Config.Sealer are required")
	}
	if err := i.settings.Validate(); err != nil {
		return nil, err
	}
	if err := i.claimStore(ctx); err != nil {
		return nil, err
	}
	if err := i.openKeys(ctx); err != nil {
		return nil, err
	}
	if c.NewVerifier != nil {
		v, err := c.NewVerifier(ctx, i.VerifierPolicy())
		if err != nil {
			return nil, fmt.Errorf("verifier: %w", err)
		}
		i.verifier = v
	}
	i.maintained.Store(i.now().UnixMilli())
	return i, nil
}

// claimStore holds a store to one issuer name: under another one its private keys
// could not be opened, and its old tokens would be nobody's.
func (i *Issuer) claimStore(ctx context.Context) error {
	name, err := i.store.Issuer(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return i.store.SetIssuer(ctx, i.settings.Issuer)
	}
	if err == nil && name != i.settings.Issuer {
		err = fmt.Errorf("issuer: the database belongs to %s, the configuration says %s", name, i.settings.Issuer)
	}
	return err
}

// Settings are the settings in force.
func (i *Issuer) Settings() Settings { return i.settings }

// Logger is the configured logger.
func (i *Issuer) Logger() *slog.Logger { return i.log }

// Close writes what is pending and closes the store and the verifier.
func (i *Issuer) Close() error {
	var errs []error
	if i.store != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		errs = append(errs, i.flush(ctx), i.store.Close())
	}
	if c, ok := i.verifier.(io.Closer); ok {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// Run maintains the issuer until ctx ends: keys take their steps as they become
// due. An error of one round is logged and the next one tries again.
func (i *Issuer) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		wait := longestWait
		if err := i.Maintain(ctx); err == nil {
			wait = i.untilNext()
		} else if ctx.Err() == nil {
			i.log.Error("maintenance failed, will try again", "error", err)
		}
		timer.Reset(wait)
	}
}

const (
	longestWait  = time.Second // so that a clock that was set, or another process, is noticed
	shortestWait = 20 * time.Millisecond
)

func (i *Issuer) untilNext() time.Duration {
	now := i.now()
	wait := longestWait
	if next := i.nextStep(now); !next.IsZero() {
		wait = min(wait, next.Sub(now))
	}
	return max(wait, shortestWait)
}

// Maintain takes one round: it picks up keys that another process has changed,
// takes every key step that is due, and writes pending activity.
func (i *Issuer) Maintain(ctx context.Context) error {
	err := errors.Join(i.maintainKeys(ctx), i.flush(ctx))
	if err == nil {
		i.maintained.Store(i.now().UnixMilli())
	}
	return err
}

// Ready reports why the issuer cannot do its work, if so: the store does not take
// writes, an algorithm has no key to sign with, or maintenance has stopped.
func (i *Issuer) Ready(ctx context.Context) error {
	if err := i.store.Ping(ctx); err != nil {
		return err
	}
	live := i.live.Load()
	for _, alg := range i.settings.Algorithms {
		if live.signers[alg] == nil {
			return fmt.Errorf("no active key of %s", alg)
		}
	}
	if age := i.now().Sub(time.UnixMilli(i.maintained.Load())); age > 30*time.Second {
		return fmt.Errorf("keys were last maintained %s ago", age.Round(time.Second))
	}
	return nil
}
