package plugin

import (
	"strconv"

	"sessiongate/jwks"
	"sessiongate/verifier/policy"
)

// source drives the state machine of one issuer's key file. There is nothing beside
// the requests that could do it, so one request a second looks whether the file is
// still the same.
type source struct {
	issuer      int
	path        string
	refresh     *jwks.Refresh
	read        Version // of the file before it was read last
	confirmedAt int64   // what that file said
	version     int
	installed   int64  // ConfirmedAt of the set in force
	problem     string // logged last, so that it is not logged again
}

const interval = 1000 // milliseconds between looks at a file

func newSource(issuer int, k *policy.KeySource) *source {
	return &source{issuer: issuer, path: k.Location,
		refresh: jwks.NewRefresh(jwks.RefreshConfig{MaxStale: k.MaxStale, Cooldown: interval, Backoff: interval})}
}

// look reads the file if it is time to, and puts what comes of it in force.
func (s *source) look(p *Plugin, now int64) {
	if order, due := s.refresh.Poll(now); due {
		answer, err := s.fetch(p.host, order)
		answer.ID = order.ID
		switch s.refresh.Answer(answer, now) {
		case jwks.Updated:
			current := s.refresh.Snapshot()
			var usable int
			usable, _, err = p.setup.guest.UpdateKeys(s.issuer, current.Document, current.ConfirmedAt)
			s.installed = current.ConfirmedAt
			if err == nil && s.version > 1 {
				p.host.Log(LevelInfo, "sessiongate: keys updated issuer="+p.setup.policy.Issuers[s.issuer].Name+" usable="+strconv.Itoa(usable))
			}
		case jwks.Rejected:
			err = errRejected
		case jwks.Failed:
			if err == nil {
				err = errFuture
			}
		}
		s.report(p, err)
	}
	// Confirmed, or the clock was set back: a confirmation in the future would keep the
	// keys alive for longer than their bound.
	if current := s.refresh.Snapshot(); current.Document != nil && current.ConfirmedAt != s.installed {
		_, _, _ = p.setup.guest.UpdateKeys(s.issuer, nil, current.ConfirmedAt)
		s.installed = current.ConfirmedAt
	}
}

type problem string

func (p problem) Error() string { return string(p) }

const (
	errRejected = problem("the file is no key set with a usable key")
	errFuture   = problem("the file says that it was confirmed at a time that is yet to come")
)

// fetch carries out an order. Every version of the file has a tag of its own, so that
// one that was rejected is never taken for the one before.
func (s *source) fetch(h Host, o jwks.Order) (jwks.Answer, error) {
	v, err := h.Stat(s.path)
	if err != nil {
		return jwks.Answer{}, err
	}
	if v == s.read && o.IfNoneMatch == strconv.Itoa(s.version) {
		return jwks.Answer{Status: jwks.NotModified, Lifetime: interval, ConfirmedAt: s.confirmedAt}, nil
	}
	content, err := h.ReadFile(s.path, jwks.MaxFileBytes+1)
	if err != nil {
		return jwks.Answer{}, err
	}
	document, confirmedAt, err := jwks.ParseFile(content)
	if err != nil {
		return jwks.Answer{}, err
	}
	s.read, s.confirmedAt = v, confirmedAt // as it was before it was read: a write in between shows next time
	s.version++
	return jwks.Answer{Status: jwks.Fetched, Document: document, ETag: strconv.Itoa(s.version), Lifetime: interval, ConfirmedAt: confirmedAt}, nil
}

// report logs a problem once, and its end.
func (s *source) report(p *Plugin, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text == s.problem {
		return
	}
	s.problem = text
	if err != nil {
		p.host.Log(LevelWarn, "sessiongate: keys not updated, the last good ones stay issuer="+p.setup.policy.Issuers[s.issuer].Name+" file="+s.path+": "+text)
	} else {
		p.host.Log(LevelInfo, "sessiongate: key file is back issuer="+p.setup.policy.Issuers[s.issuer].Name)
	}
}
