package plugin

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"sessiongate/jwks"
	"sessiongate/verifier/policy"
)

// source is the key set of one place, as one VM sees it. Every thread has such a VM,
// and one of them leads: it drives the refresh state machine and fetches. The others
// adopt what it has published in the data that all share. See shared.go for the lease.
type source struct {
	vm    *VM
	place place
	name  string // begins its keys in the shared data
	users []user

	refresh   *jwks.Refresh
	cooldown  int64
	revision  uint64 // of what was published, as far as it is adopted here
	id        uint64 // among those who may hold the lease; 0 until it is needed
	leads     bool
	news      bool     // to be published
	notBefore int64    // a new leader keeps the pause that its predecessor began
	kids      [][]byte // asked for by tokens, and not yet passed on
	fetch     fetch
	problem   string // logged last, so that it is not logged at every attempt
}

// place is where a key set comes from.
type place struct {
	cluster   string
	location  string
	discovery bool
	issuer    string // whom the metadata of a discovery must speak for
}

// user is an issuer of a policy whose keys a source has.
type user struct {
	setup  *setup
	issuer int
}

const (
	kidsKept   = 16
	longestKid = 256 // as in package jwks: a longer one asks for a fetch, but is not remembered
)

// attach gives a setup the sources that it wants, with the keys that are known: what
// another configuration or another thread has fetched is there from the first request.
func (v *VM) attach(s *setup) (problem string) {
	s.sources = make([]*source, len(s.policy.Keys))
	for i := range s.policy.Keys {
		k := &s.policy.Keys[i]
		if k.Kind != policy.URI && k.Kind != policy.Discovery {
			continue
		}
		p := place{cluster: k.Cluster, location: k.Location, discovery: k.Kind == policy.Discovery}
		if p.discovery {
			p.issuer = s.policy.Issuers[i].Name
		}
		// Two policies may differ in what they ask of the same place: each has its own
		// machine, and what is published serves both.
		name := "sessiongate\n" + p.cluster + "\n" + p.issuer + "\n" + p.location
		id := name + "\n" + strconv.FormatInt(k.MaxStale, 10) + "\n" + strconv.FormatInt(k.Cooldown, 10)
		src := v.sources[id]
		if src == nil {
			src = &source{vm: v, place: p, name: name, cooldown: k.Cooldown,
				refresh: jwks.NewRefresh(jwks.RefreshConfig{MaxStale: k.MaxStale, Cooldown: k.Cooldown})}
			now := v.now()
			lease, _, status := src.readLease(now)
			if status != StatusOK {
				return "the proxy does not share data (status " + strconv.Itoa(int(status)) + ")"
			}
			src.adopt(lease.revision, now)
			v.sources[id] = src
		}
		u := user{s, i}
		src.users = append(src.users, u)
		src.install(u, false)
		s.sources[i] = src
	}
	return ""
}

// detach takes a setup away from its sources; one that nobody uses any more is gone.
func (v *VM) detach(s *setup) {
	if s == nil {
		return
	}
	for id, src := range v.sources {
		src.users = slices.DeleteFunc(src.users, func(u user) bool { return u.setup == s })
		if len(src.users) == 0 {
			src.giveUp(v.now())
			delete(v.sources, id)
		}
	}
}

func (s *source) missing() bool { return s.refresh.Snapshot().Document == nil }

// want notes a kid without a key, for the next tick. A request does nothing more.
func (s *source) want(kid []byte) {
	kid = kid[:min(len(kid), longestKid+1)]
	if len(s.kids) < kidsKept && !slices.ContainsFunc(s.kids, func(k []byte) bool { return bytes.Equal(k, kid) }) {
		s.kids = append(s.kids, bytes.Clone(kid))
	}
}

// tick adopts what another VM has published, or does what a leader has to do.
func (s *source) tick(now int64) {
	lease, cas, status := s.readLease(now)
	if status != StatusOK {
		s.leads = false
		s.report("the proxy does not share data")
		return
	}
	if lease.revision != s.revision {
		s.adopt(lease.revision, now)
		s.installAll()
	}
	if !s.mayLead(&lease, now) {
		s.leads = false
		s.passOn()
		return
	}
	s.collect(now)
	var order jwks.Order
	due := false
	if now >= s.notBefore {
		order, due = s.refresh.Poll(now)
	}
	if !s.keepLease(lease, cas, now) {
		// Another one leads now. Restoring what is there forgets the order.
		s.leads = false
		s.refresh.Restore(s.refresh.Snapshot(), now)
		return
	}
	if due {
		s.begin(order, now)
	}
}

// adopt takes over what is published under a revision; 0 is nothing.
func (s *source) adopt(revision uint64, now int64) {
	s.revision = revision
	if revision == 0 {
		return
	}
	if snapshot, ok := s.readKeys(); ok {
		s.news = false
		s.refresh.Restore(snapshot, now)
	}
}

func (s *source) installAll() {
	for _, u := range s.users {
		s.install(u, true)
	}
}

// install puts the set in force for one issuer of one policy.
func (s *source) install(u user, told bool) {
	snapshot := s.refresh.Snapshot()
	if snapshot.Document == nil {
		return
	}
	_, skipped, err := u.setup.guest.UpdateKeys(u.issuer, snapshot.Document, snapshot.ConfirmedAt)
	switch {
	case err != nil:
		s.report("the key set is not usable: " + err.Error())
	case told && s.leads:
		for _, k := range skipped {
			s.log(LevelWarn, "key "+strconv.Itoa(k.Index)+" of the set is skipped: "+k.Why)
		}
	}
}

// confirm moves the time at which the set in force was last known good.
func (s *source) confirm() {
	at := s.refresh.Snapshot().ConfirmedAt
	for _, u := range s.users {
		if _, _, err := u.setup.guest.UpdateKeys(u.issuer, nil, at); err != nil {
			s.install(u, false)
		}
	}
}

// settle tells the machine how an order ended.
func (s *source) settle(a jwks.Answer, problem string, now int64) {
	s.fetch.running = false
	a.ID = s.fetch.order.ID
	outcome := s.refresh.Answer(a, now)
	s.vm.metrics.fetched(s.vm.host, outcome)
	switch outcome {
	case jwks.Ignored:
		return
	case jwks.Updated:
		s.news = true
		s.log(LevelInfo, "keys updated")
		s.installAll()
	case jwks.Confirmed:
		s.news = true
		s.confirm()
	case jwks.Rejected:
		problem = "the answer is no key set with a usable key"
	}
	s.report(problem)
	if s.news {
		s.tick(now) // publishes
	}
}

// report logs a problem once, and again after it was gone.
func (s *source) report(problem string) {
	if problem != "" && problem != s.problem {
		s.log(LevelWarn, problem+"; the last good keys stay")
	}
	s.problem = problem
}

func (s *source) log(level Level, text string) {
	s.vm.host.Log(level, strings.Join([]string{"sessiongate: keys from cluster ", s.place.cluster, ", ", s.place.location, ": ", text}, ""))
}
