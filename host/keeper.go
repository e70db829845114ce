package host

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"sessiongate/internal/abi"
	"sessiongate/internal/keyfetch"
	"sessiongate/jwks"
	"sessiongate/verdict"
)

// keeper drives the state machine of one issuer's key source: it carries out its
// orders beside the request path, and puts what they bring in force.
type keeper struct {
	edition *edition
	issuer  int
	source  source
	fetcher keyfetch.Fetcher
	kids    chan string   // unknown ones, as the guest reports them
	tried   chan struct{} // closed after the first attempt

	mu        sync.Mutex
	refresh   *jwks.Refresh
	installed bool // the machine's snapshot is the one in force

	problem string // logged last, so that it is not logged again
}

const (
	longestSleep = time.Second // between looks at a clock that somebody may set
	kidsQueued   = 16
)

var (
	errBadUpdate = errors.New("document is no key set with a usable key")
	errFuture    = errors.New("file says that it was confirmed at a time that is yet to come")
)

// startKeepers starts one keeper for each source that has to be asked.
func (e *edition) startKeepers(ctx context.Context, old *edition) {
	e.keepers = make([]*keeper, len(e.plan.Issuers))
	for i, s := range e.plan.Issuers {
		k := &keeper{edition: e, issuer: i, source: s, kids: make(chan string, kidsQueued), tried: make(chan struct{})}
		bounds := jwks.RefreshConfig{MaxStale: s.MaxStale, Cooldown: s.Cooldown}
		client := keyfetch.NewClient(e.host.config.Transport)
		switch s.Keys {
		case sourceURI:
			k.fetcher = keyfetch.URI(client, s.Location)
		case sourceDiscovery:
			k.fetcher = keyfetch.Discovery(client, s.Location, s.Issuer)
		case sourceFile:
			k.fetcher = keyfetch.File(s.Location)
			bounds.Cooldown, bounds.Backoff = keyfetch.FileInterval, keyfetch.FileInterval
		default:
			continue
		}
		k.refresh = jwks.NewRefresh(bounds)
		e.carryOver(k, old)
		e.keepers[i] = k
		e.running.Go(func() { k.run(ctx) })
	}
}

// firstAttempts waits until each source without a key set has been tried once.
func (e *edition) firstAttempts(ctx context.Context) error {
	for _, k := range e.keepers {
		if k == nil || k.snapshot().Document != nil {
			continue
		}
		select {
		case <-k.tried:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	// What was tried in time does not count for a caller who has given up.
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (k *keeper) run(ctx context.Context) {
	tried := sync.OnceFunc(func() { close(k.tried) })
	defer tried()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := k.edition.host.now()
		k.mu.Lock()
		order, due := k.refresh.Poll(now)
		next := k.refresh.Next()
		confirmed, installed := k.refresh.Snapshot().ConfirmedAt, k.installed
		k.mu.Unlock()
		if installed && confirmed < k.edition.confirmedAt(k.issuer) {
			// The clock was set back. A confirmation in the future would keep the
			// keys alive for longer than their bound.
			k.edition.confirm(k.issuer, confirmed)
		}
		if due {
			k.carryOut(ctx, order)
			tried()
		} else {
			timer.Reset(max(time.Millisecond, min(longestSleep, time.Duration(next-now)*time.Millisecond)))
			select {
			case <-ctx.Done():
			case kid := <-k.kids:
				k.mu.Lock()
				k.refresh.Unknown([]byte(kid), k.edition.host.now())
				k.mu.Unlock()
			case <-timer.C:
			}
		}
		if ctx.Err() != nil {
			return
		}
	}
}

func (k *keeper) carryOut(ctx context.Context, order jwks.Order) {
	e := k.edition
	answer, err := k.fetcher.Fetch(ctx, order)
	if ctx.Err() != nil {
		return
	}
	answer.ID = order.ID
	k.mu.Lock()
	outcome := k.refresh.Answer(answer, e.host.now())
	s := k.refresh.Snapshot()
	install := outcome == jwks.Updated || outcome == jwks.Confirmed && !k.installed
	if install {
		k.installed = false
	}
	k.mu.Unlock()
	e.host.metrics.fetched(outcome)
	switch {
	case install:
		k.forgetKids()
		if err = e.install(ctx, k.issuer, s.Document, s.ConfirmedAt); err == nil {
			k.mu.Lock()
			k.installed = true
			k.mu.Unlock()
			e.host.log.Info("keys updated", "issuer", k.source.Issuer, "usable", e.keys.Load().sets[k.issuer].usable)
		}
	case outcome == jwks.Confirmed:
		e.confirm(k.issuer, s.ConfirmedAt)
	case outcome == jwks.Rejected:
		err = errBadUpdate
	case outcome == jwks.Failed && err == nil:
		err = errFuture
	}
	k.report(err)
}

// forgetKids drops what was unknown before a new set came: whatever still is will
// be reported again by the next token.
func (k *keeper) forgetKids() {
	for {
		select {
		case <-k.kids:
		default:
			return
		}
	}
}

// report logs a problem once, and its end.
func (k *keeper) report(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text == k.problem {
		return
	}
	k.problem = text
	if err != nil {
		k.edition.host.log.Warn("keys not updated, the last good ones stay", "issuer", k.source.Issuer, "error", text)
	} else {
		k.edition.host.log.Info("key source is back", "issuer", k.source.Issuer)
	}
}

func (k *keeper) snapshot() jwks.Snapshot {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.refresh.Snapshot()
}

// restore tells the machine of a set that was put in force without it.
func (k *keeper) restore(s jwks.Snapshot, now int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refresh.Restore(s, now)
	k.installed = true
}

// hint passes on that a key was not found. The request does not wait for what
// comes of it; if many are waiting already, one more says nothing new.
func (e *edition) hint(reason verdict.Reason, h abi.Hint) {
	if reason != verdict.UnknownKey || h.Issuer < 0 || int(h.Issuer) >= len(e.keepers) || e.keepers[h.Issuer] == nil {
		return
	}
	select {
	case e.keepers[h.Issuer].kids <- strings.Clone(h.KeyID):
	default:
	}
}
