package jwks

import "bytes"

// Bounds of a refresh, in milliseconds and entries.
const (
	defaultCooldown = 30_000    // between fetches, unless the policy says otherwise
	defaultLifetime = 300_000   // of an answer that does not say how long it may be cached
	longestInterval = 3_600_000 // between periodic fetches, however long the answer may be cached
	longestBackoff  = 300_000   // between failing fetches, unless the driver says otherwise
	firstRetry      = 1_000     // after a failure, while there is no set at all
	orderTimeout    = 20_000    // an order unanswered for this long has failed
	clocksDiffer    = 60_000    // how far ahead the clock of whoever wrote a copy may be
	kidsRemembered  = 64
	longestKid      = 256 // longer ones are not remembered, only held back by the cooldown
)

// RefreshConfig holds the bounds of one key source, in milliseconds.
type RefreshConfig struct {
	MaxStale int64 // how long a set may go unconfirmed; 0: sets do not age
	Cooldown int64 // the least time between two fetches, once a set has arrived; 0: 30,000
	Backoff  int64 // the longest time between two failing fetches; 0: 300,000
}

// Refresh decides when the key set of one source is fetched and which set is in
// force. It is a pure state machine: it reads no clock and does no I/O. A driver
// asks Poll for orders, carries them out beside the request path and reports each
// with Answer; it tells Unknown which kids no key was found for. All times are
// Unix milliseconds of one clock; a clock that is set back shortens no wait and
// lengthens none. A Refresh is for one goroutine at a time.
type Refresh struct {
	config   RefreshConfig
	current  Snapshot
	order    uint32 // ID of the last order
	inFlight bool
	failures uint // since the last good answer

	clock    int64 // the latest time seen
	due      int64 // when the next fetch may be ordered
	earliest int64 // end of the cooldown
	deadline int64 // of the order in flight
	started  int64 // of the order in flight

	kids []unknownKid // at most kidsRemembered
}

type unknownKid struct {
	id     string
	order  uint32 // the first order placed after it was asked for
	absent bool   // that order did not bring it
	until  int64  // if absent: it asks for nothing until then
}

// Order asks the driver for one fetch.
type Order struct {
	ID          uint32 // to be repeated in the Answer
	IfNoneMatch string // the entity tag to send (RFC 9110 section 13.1.2), or ""
}

// AnswerStatus is how a fetch ended.
type AnswerStatus uint8

// How a fetch ended.
const (
	FetchFailed AnswerStatus = iota // no usable response, for whatever cause
	Fetched                         // 200 with a document
	NotModified                     // 304
)

// Answer reports the end of a fetch.
type Answer struct {
	ID       uint32 // of the Order
	Status   AnswerStatus
	Document []byte // of Fetched; kept, so it must not change afterwards
	ETag     string // of Fetched, "" if none
	Lifetime int64  // milliseconds the answer may be cached; negative if it does not say

	// ConfirmedAt is when the source itself last knew the set to be in force, where it
	// is a copy that says so; 0 is the time of the order. A time that is more than a
	// minute ahead says nothing, and makes the answer a FetchFailed.
	ConfirmedAt int64
}

// Outcome is what an Answer changed.
type Outcome uint8

// What an Answer changed.
const (
	Ignored   Outcome = iota // it answers no order in flight
	Updated                  // Snapshot has a new document to install
	Confirmed                // Snapshot has the same document, confirmed at a later time
	Rejected                 // the document is unusable or without a usable key; the last good one stays
	Failed                   // nothing came; the last good one stays
)

var outcomeNames = [...]string{"ignored", "updated", "confirmed", "rejected", "failed"}

// String returns the Outcome's name, such as "updated".
func (o Outcome) String() string { return outcomeNames[o] }

// Snapshot is the set in force. The zero Snapshot means that none has arrived.
type Snapshot struct {
	Document    []byte // a JWK Set (RFC 7517) with a usable key
	ETag        string
	ConfirmedAt int64 // when the source was last known to say so
}

// Freshness is whether the set in force may be used.
type Freshness uint8

// Whether the set in force may be used.
const (
	Missing Freshness = iota // none has arrived: keys_unavailable
	Fresh
	Stale // unconfirmed for longer than MaxStale: keys_stale
)

// NewRefresh returns the state machine of a source whose first fetch is due at once.
func NewRefresh(c RefreshConfig) *Refresh {
	if c.Cooldown <= 0 {
		c.Cooldown = defaultCooldown
	}
	if c.Backoff <= 0 {
		c.Backoff = longestBackoff
	}
	return &Refresh{config: c}
}

// Restore puts a set in force that did not come from a fetch: one that a
// predecessor left, or that was handed in. An order in flight is forgotten, and
// the next fetch is due at once: what was handed in may be old.
func (r *Refresh) Restore(s Snapshot, now int64) {
	r.advance(now)
	s.ConfirmedAt = min(s.ConfirmedAt, now)
	r.current = s
	r.inFlight = false
	r.failures = 0
	r.due = r.earliest
}

// Poll returns the order that is due, if one is. It must be carried out and
// answered; meanwhile there is no other. One left unanswered for 20 seconds counts as failed.
func (r *Refresh) Poll(now int64) (Order, bool) {
	r.advance(now)
	if r.inFlight && now >= r.deadline {
		r.inFlight = false
		r.failed(now)
	}
	if r.inFlight || now < r.due {
		return Order{}, false
	}
	r.order++
	r.inFlight = true
	r.started, r.deadline = now, now+orderTimeout
	r.earliest = now + r.config.Cooldown
	return Order{ID: r.order, IfNoneMatch: r.current.ETag}, true
}

// Next returns when Poll should be called next; it may lie in the past.
func (r *Refresh) Next() int64 {
	if r.inFlight {
		return r.deadline
	}
	return r.due
}

// Answer takes the end of a fetch. A set that says nothing new keeps its
// document and moves ConfirmedAt to the time at which its fetch was ordered.
func (r *Refresh) Answer(a Answer, now int64) Outcome {
	r.advance(now)
	if !r.inFlight || a.ID != r.order {
		return Ignored
	}
	r.inFlight = false
	outcome := Confirmed
	if a.ConfirmedAt-clocksDiffer > now {
		a.Status = FetchFailed
	}
	switch {
	case a.Status == NotModified && r.current.ETag != "":
	case a.Status == Fetched && r.current.Document != nil && bytes.Equal(a.Document, r.current.Document):
		r.current.ETag = a.ETag
	case a.Status == Fetched:
		// A set whose keys all clash is no reason to give up a good one; as the first
		// it is installed, so that refusals tell of the clash.
		//
		// The entity tag of a bad update is not kept: a 304 would confirm it.
		set, err := Parse(a.Document)
		if err != nil || set.Len() == 0 || r.current.Document != nil && !set.Selects() {
			r.failed(now)
			return Rejected
		}
		r.current.Document, r.current.ETag = a.Document, a.ETag
		outcome = Updated
	default:
		r.failed(now)
		return Failed
	}
	r.current.ConfirmedAt = r.started
	if a.ConfirmedAt > 0 {
		r.current.ConfirmedAt = min(r.started, a.ConfirmedAt)
	}
	r.failures = 0
	r.due = max(now+r.interval(a.Lifetime), r.earliest)
	r.settleKids(now)
	return outcome
}

// Unknown tells that a token named a kid that is not in the set in force. The
// next fetch is moved to the end of the cooldown, unless the same kid was absent
// from a recent answer.
func (r *Refresh) Unknown(kid []byte, now int64) {
	r.advance(now)
	if len(kid) <= longestKid && !r.remember(kid, now) {
		return
	}
	r.due = min(r.due, max(now, r.earliest))
}

// Snapshot returns the set in force.
func (r *Refresh) Snapshot() Snapshot { return r.current }

// Freshness returns whether the set in force may be used.
func (r *Refresh) Freshness(now int64) Freshness {
	switch {
	case r.current.Document == nil:
		return Missing
	case r.config.MaxStale > 0 && now-r.current.ConfirmedAt > r.config.MaxStale:
		return Stale
	}
	return Fresh
}

// advance takes the time. When the clock was set back, every time in the
// future moves back with it, so that waits keep their length.
func (r *Refresh) advance(now int64) {
	if back := r.clock - now; back > 0 {
		r.due -= back
		r.earliest -= back
		r.deadline -= back
		r.started -= back
		for i := range r.kids {
			r.kids[i].until -= back
		}
		r.current.ConfirmedAt = min(r.current.ConfirmedAt, now)
	}
	r.clock = now
}

// interval is the time to the next periodic fetch after an answer that may be cached for lifetime.
func (r *Refresh) interval(lifetime int64) int64 {
	if lifetime < 0 {
		lifetime = defaultLifetime
	}
	lifetime = min(lifetime, longestInterval)
	if r.config.MaxStale > 0 {
		lifetime = min(lifetime, r.config.MaxStale/2) // leaves room for retries before the set is stale
	}
	return max(lifetime, r.config.Cooldown)
}

// failed plans the retry. A source that has never answered is asked again after
// a second, doubling up to the cooldown: nothing can be verified meanwhile. One
// whose set is in force backs off from the cooldown upwards.
func (r *Refresh) failed(now int64) {
	r.failures++
	cooldown := r.config.Cooldown
	first, longest := cooldown, max(cooldown, r.config.Backoff)
	switch r.Freshness(now) {
	case Missing:
		first, longest = min(firstRetry, cooldown), cooldown
	case Stale:
		longest = cooldown
	case Fresh:
		if r.config.MaxStale > 0 {
			longest = max(cooldown, min(longest, r.config.MaxStale/4))
		}
	}
	wait := longest
	if shift := r.failures - 1; shift < 16 {
		wait = min(longest, first<<shift)
	}
	r.due = now + wait
	for i := range r.kids {
		r.kids[i].order = r.order + 1 // still waiting: this fetch answered nothing
	}
}

// remember notes that a kid is being asked for. It is false when the kid may not ask now.
func (r *Refresh) remember(kid []byte, now int64) bool {
	for i := range r.kids {
		k := &r.kids[i]
		if k.id != string(kid) {
			continue
		}
		if k.absent && now < k.until {
			return false
		}
		if k.absent { // long enough ago: it may ask once more
			k.absent, k.order = false, r.order+1
		}
		return true
	}
	if len(r.kids) >= kidsRemembered {
		r.kids = append(r.kids[:0], r.kids[1:]...) // the oldest makes room
	}
	r.kids = append(r.kids, unknownKid{id: string(kid), order: r.order + 1})
	return true
}

// settleKids marks the kids that asked before the answered fetch began. One that
// it brought will not be unknown again; the others are absent for a while.
func (r *Refresh) settleKids(now int64) {
	for i := range r.kids {
		k := &r.kids[i]
		switch {
		case k.absent:
		case k.order <= r.order:
			k.absent, k.until = true, now+2*r.config.Cooldown
		default: // asked while this fetch ran
			r.due = min(r.due, r.earliest)
		}
	}
}
