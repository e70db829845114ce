package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"sessiongate/issuer/api"
	"sessiongate/issuer/client"
	"sessiongate/verdict"
)

const demoClients = 4

// load is clients that keep asking, with tokens that have to pass.
type load struct {
	demo     *demo
	requests atomic.Int64
	refused  atomic.Int64

	mu      sync.RWMutex // held for reading during a request
	tokens  map[string][]string
	reasons map[string]int64
	countMu sync.Mutex
}

// rotate rotates the key under load, withdraws the old one, and presents its tokens.
func (d *demo) rotate(ctx context.Context, first string) error {
	d.heading(fmt.Sprintf("A key rotates while %d clients keep asking", demoClients))
	r := &d.report.Rotation
	r.OldKey = keyOf(first)
	l := &load{demo: d, tokens: map[string][]string{r.OldKey: {first}}, reasons: map[string]int64{}}
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	for range demoClients {
		running.Go(func() { l.client(ctx) })
	}
	running.Go(func() { l.minter(ctx) })
	old, err := d.steps(ctx, l, r)
	stop()
	running.Wait()
	if err != nil {
		return err
	}
	r.Requests, r.ValidRefused, r.RefusedReasons = l.requests.Load(), l.refused.Load(), l.reasons
	d.heading("Result")
	d.say("  valid tokens refused                     %d of %d\n", r.ValidRefused, r.Requests)
	d.expect(r.ValidRefused == 0, "%d of %d valid tokens were refused: %v", r.ValidRefused, r.Requests, l.reasons)
	d.expect(r.Requests > 100, "only %d requests were made", r.Requests)
	d.say("  tokens of the withdrawn key accepted     %d of %d, none of them expired\n", r.WithdrawnAccepted, r.WithdrawnTried)
	d.expect(r.WithdrawnAccepted == 0, "%d of %d tokens of the withdrawn key were accepted", r.WithdrawnAccepted, r.WithdrawnTried)
	d.expect(len(old) > 0 && r.WithdrawnReasons[verdict.UnknownKey.String()] == len(old),
		"tokens of the withdrawn key: got %v, want %d unknown_key", r.WithdrawnReasons, len(old))
	return nil
}

// steps is the life of a key. It returns the old key's tokens.
func (d *demo) steps(ctx context.Context, l *load, r *demoRotation) (old []string, err error) {
	if err := d.watch(ctx, l, 3*time.Second, "one key"); err != nil {
		return nil, err
	}
	announced := time.Now()
	next, err := d.admin.Rotate(ctx, r.OldKey, api.RotateBody{})
	if err != nil {
		return nil, fmt.Errorf("rotation: %w", err)
	}
	r.NewKey = next.KeyID
	d.step(l, "key %s is announced: published, it does not sign yet", short8(r.NewKey))
	for {
		if err := d.watch(ctx, l, 500*time.Millisecond, "new key announced"); err != nil {
			return nil, err
		}
		if l.has(r.NewKey) {
			break
		}
		if time.Since(announced) > (demoCacheAge+10)*time.Second {
			d.expect(false, "the announced key does not take over")
			return nil, nil
		}
	}
	r.Takeover = float64(time.Since(announced).Round(100*time.Millisecond)) / float64(time.Second)
	d.expect(r.Takeover >= demoCacheAge-0.5, "the announced key signed after %.1f s, before every cache could know it", r.Takeover)
	d.step(l, "key %s signs; tokens of both keys are in use", short8(r.NewKey))
	if err := d.watch(ctx, l, 5*time.Second, "tokens of both keys"); err != nil {
		return nil, err
	}

	// Withdrawing it now would cut off tokens that are good: the contract refuses.
	_, err = d.admin.Withdraw(ctx, r.OldKey, api.WithdrawBody{})
	unsafe := (*client.Error)(nil)
	if d.expect(errors.As(err, &unsafe) && unsafe.Code == "rotation_unsafe" && unsafe.SafeAt != nil, "withdrawing a key in use: got %v, want rotation_unsafe", err) {
		d.step(l, "withdrawing key %s is refused: safe in %s", short8(r.OldKey), time.Until(*unsafe.SafeAt).Round(time.Second))
	}
	old = l.drop(r.OldKey)
	gone, err := d.admin.Withdraw(ctx, r.OldKey, api.WithdrawBody{Emergency: true, Reason: "demo: the key is in other hands"})
	if err != nil {
		return nil, fmt.Errorf("withdrawal: %w", err)
	}
	turned := time.Now().Add(demoCacheAge * time.Second)
	if gone.Forgotten != nil {
		turned = *gone.Forgotten
	}
	d.step(l, "EMERGENCY: key %s is withdrawn; caches turn over within %d s", short8(r.OldKey), demoCacheAge)
	if err := d.watch(ctx, l, time.Until(turned)+100*time.Millisecond, "caches turn over"); err != nil {
		return nil, err
	}
	if err := d.present(ctx, r, old); err != nil {
		return nil, err
	}
	d.step(l, "%d unexpired tokens of key %s presented: %d accepted", r.WithdrawnTried, short8(r.OldKey), r.WithdrawnAccepted)
	return old, d.watch(ctx, l, 3*time.Second, "new key alone")
}

// present presents the tokens of the withdrawn key.
func (d *demo) present(ctx context.Context, r *demoRotation, old []string) error {
	r.WithdrawnReasons = map[string]int{}
	for _, token := range old {
		got, err := d.ask(ctx, "/orders", token, nil)
		if err != nil {
			return err
		}
		r.WithdrawnTried++
		if got.status == http.StatusOK {
			r.WithdrawnAccepted++
		} else {
			r.WithdrawnReasons[got.reason]++
		}
	}
	return nil
}

// step tells of an event, at its time.
func (d *demo) step(l *load, format string, args ...any) {
	d.progressDone()
	d.say("  %5.1f s  %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}

// watch lets the load run and shows how it goes.
func (d *demo) watch(ctx context.Context, l *load, wait time.Duration, what string) error {
	end := time.Now().Add(wait)
	for {
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		if d.live {
			d.progress("%5.1f s  %6d requests, %d refused   %s", time.Since(d.began).Seconds(), l.requests.Load(), l.refused.Load(), what)
			left = min(left, 200*time.Millisecond)
		} else if wait >= 2*time.Second && left > wait-10*time.Millisecond {
			d.progress("%.0f s  %d requests, %d refused  (%s)", time.Since(d.began).Seconds(), l.requests.Load(), l.refused.Load(), what)
		}
		if err := d.pause(ctx, left); err != nil {
			return err
		}
	}
}

// client asks and asks, until the context ends.
func (l *load) client(ctx context.Context) {
	for ctx.Err() == nil {
		l.mu.RLock()
		token := l.pick()
		got, err := l.demo.ask(ctx, "/orders", token, nil)
		l.mu.RUnlock()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			got.reason = "no answer"
			fallthrough
		case got.status != http.StatusOK:
			if got.reason == "" {
				got.reason = fmt.Sprint("status ", got.status)
			}
			l.refused.Add(1)
			l.countMu.Lock()
			l.reasons[got.reason]++
			l.countMu.Unlock()
		}
		l.requests.Add(1)
		_ = l.demo.sleep(ctx, 5*time.Millisecond) // so that two small processors do not decide what is seen
	}
}

func (d *demo) sleep(ctx context.Context, wait time.Duration) error {
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pick takes any token of any key in use. The lock is held.
func (l *load) pick() string {
	for _, tokens := range l.tokens { // in an order that Go makes random
		return tokens[rand.IntN(len(tokens))]
	}
	return ""
}

// minter mints a token every quarter of a second, as sessions do.
func (l *load) minter(ctx context.Context) {
	for l.demo.sleep(ctx, 250*time.Millisecond) == nil {
		token, err := l.demo.admin.mint(ctx, api.TokenBody{})
		if err != nil {
			if ctx.Err() == nil {
				l.demo.failures <- err
			}
			return
		}
		l.mu.Lock()
		if kid := keyOf(token); len(l.tokens[kid]) < 64 {
			l.tokens[kid] = append(l.tokens[kid], token)
		}
		l.mu.Unlock()
	}
}

func (l *load) has(kid string) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.tokens[kid]) > 0
}

// drop takes a key's tokens out of the load, once no request with one is under way.
func (l *load) drop(kid string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	tokens := l.tokens[kid]
	delete(l.tokens, kid)
	return tokens
}

func short8(kid string) string { return kid[:min(len(kid), 8)] }
