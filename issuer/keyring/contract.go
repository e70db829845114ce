package keyring

import (
	"errors"
	"fmt"
	"time"
)

// Contract is the numbers by which keys rotate. Its errors name the fields as
// issuer.json does.
type Contract struct {
	// CacheAge is the longest time that a verifier goes on using a key set after
	// the issuer made it, all caches on the way together.
	CacheAge time.Duration
	// Skew is how far apart the clocks of issuer and verifiers may be, their leeway
	// included.
	Skew time.Duration
	// MaxTokenLifetime caps every token.
	MaxTokenLifetime time.Duration
	// Announce is how long a key is published before it signs: CacheAge or more.
	Announce time.Duration
	// Retire is how long a key is published after it signed last:
	// MaxTokenLifetime + Skew + CacheAge or more.
	Retire time.Duration
	// RotateEvery is how long a key signs; 0 leaves rotation to the operator.
	RotateEvery time.Duration
}

// WithDefaults fills in Announce and Retire, where they are 0, with the least
// that the other numbers allow.
func (c Contract) WithDefaults() Contract {
	if c.Announce == 0 {
		c.Announce = c.CacheAge
	}
	if c.Retire == 0 {
		c.Retire = c.MaxTokenLifetime + c.Skew + c.CacheAge
	}
	return c
}

// MaxAge is the max-age of the key set's Cache-Control: half the cache age, so
// that a shared cache and a verifier behind it that does not heed Age (RFC 9111
// section 5.1) stay within it together. It is never over Announce.
func (c Contract) MaxAge() time.Duration { return (c.CacheAge / 2).Truncate(time.Second) }

// Validate returns every fault, joined.
func (c Contract) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }

	if c.CacheAge < time.Second {
		fault("cache_age: must be at least 1 second, is %s", c.CacheAge)
	}
	if c.Skew < 0 || c.Skew > 300*time.Second {
		fault("skew: must be 0 to 300 seconds, is %s", c.Skew)
	}
	if c.MaxTokenLifetime < time.Second {
		fault("max_token_lifetime: must be at least 1 second, is %s", c.MaxTokenLifetime)
	}
	if c.Announce < c.CacheAge {
		fault("announce: must be at least cache_age (%s), is %s", c.CacheAge, c.Announce)
	}
	if least := c.MaxTokenLifetime + c.Skew + c.CacheAge; c.Retire < least {
		fault("retire: must be at least max_token_lifetime + skew + cache_age (%s), is %s", least, c.Retire)
	}
	if c.RotateEvery < 0 || c.RotateEvery > 0 && c.RotateEvery < c.Announce {
		fault("rotate_every: must be 0 (by hand) or at least announce (%s), is %s", c.Announce, c.RotateEvery)
	}
	if c.RotateEvery > 0 && c.Retire/c.RotateEvery > MaxPublished-3 {
		fault("rotate_every: %s is too short for a retirement of %s: more than %d keys would be published at once",
			c.RotateEvery, c.Retire, MaxPublished)
	}
	return errors.Join(faults...)
}
