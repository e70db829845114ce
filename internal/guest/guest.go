// Package guest is what the guests for every kind of host share: a configured
// filter behind a floor for the host's clock, and the words in which a guest
// tells of itself. A guest's main binds it to an ABI and decides nothing.
package guest

import (
	"strconv"

	"sessiongate/jwks"
	"sessiongate/verdict"
	"sessiongate/verifier"
	"sessiongate/verifier/filter"
	"sessiongate/verifier/policy"
)

// releaseTime is a time before which no clock can be right, in Unix seconds, for a
// guest that was not told when it was built. Every release raises it.
const releaseTime = 1_782_864_000 // 2026-07-01

// ClockFloor is the time before which a host's clock cannot be right, in Unix
// milliseconds: the guest was not written yet. seconds is the time of the commit,
// which the linker sets (-X main.buildSeconds=…), and may be empty.
func ClockFloor(seconds string) int64 {
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || n < releaseTime {
		n = releaseTime
	}
	return n * 1000
}

// Guest is a policy in force, with its keys. A Guest is for one goroutine at a time.
type Guest struct {
	policy *policy.Policy
	filter *filter.Filter
	floor  int64
	result verifier.Result
	stats  stats
}

type stats struct {
	verified, filtered, updates int64
	refused                     [256]int64 // by Reason
}

// Secret is the secret of an issuer whose policy names a file of it.
type Secret struct {
	Issuer int // index in Policy.Issuers
	Value  []byte
}

// Configure puts a policy in force, without any key but those that stand in it.
// floor is the earliest time that a clock may show, 0 for none: see ClockFloor. An
// error, which is policy.Errors, leaves everything as it was.
func (g *Guest) Configure(kind string, document []byte, floor int64, secrets []Secret) (*policy.Policy, error) {
	p, err := policy.Parse(document, kind)
	if err != nil {
		return nil, err
	}
	if errs := putSecrets(p, kind, secrets); errs != nil {
		return nil, errs
	}
	f, err := filter.New(p)
	if err != nil {
		return nil, policy.Errors{{Path: "", Problem: err.Error()}}
	}
	g.policy, g.filter, g.floor = p, f, floor
	return p, nil
}

// putSecrets gives the issuers their secrets out of files, which Parse could not read.
func putSecrets(p *policy.Policy, kind string, secrets []Secret) policy.Errors {
	for _, s := range secrets {
		if s.Issuer < 0 || s.Issuer >= len(p.Keys) || p.Keys[s.Issuer].Kind != policy.Secret {
			return policy.Errors{{Path: "", Problem: "issuer " + strconv.Itoa(s.Issuer) + " takes no secret"}}
		}
		p.Issuers[s.Issuer].Secret = s.Value
	}
	var errs policy.Errors
	for i := range p.Issuers {
		is := &p.Issuers[i]
		if p.Keys[i].Kind != policy.Secret || p.Keys[i].Location == "" {
			continue
		}
		for _, a := range is.Algorithms {
			if len(is.Secret) < a.SecretSize() {
				errs = append(errs, policy.Fault{Path: "/host/" + kind + "/secret_files/" + escapePointer(is.Name),
					Problem: "the file gives " + strconv.Itoa(len(is.Secret)) + " bytes; " + a.String() + " wants at least " + strconv.Itoa(a.SecretSize())})
				break
			}
		}
	}
	return errs
}

// Configured says whether a policy is in force.
func (g *Guest) Configured() bool { return g.filter != nil }

// UpdateKeys puts an issuer's key set in force. An empty document confirms the
// one in force anew. A document that is unusable, or without a usable key,
// changes nothing. It returns how many keys are in force.
func (g *Guest) UpdateKeys(issuer int, document []byte, confirmedAt int64) (usable int, skipped []jwks.Skipped, err error) {
	if issuer < 0 || issuer >= len(g.policy.Keys) || g.policy.Keys[issuer].Kind == policy.Secret {
		return 0, nil, policy.Errors{{Path: "", Problem: "issuer " + strconv.Itoa(issuer) + " takes no key set"}}
	}
	g.stats.updates++
	skipped, err = g.filter.UpdateKeys(issuer, document, confirmedAt)
	set, _ := g.filter.Verifier().Keys(issuer)
	return set.Len(), skipped, err
}

// Verify judges one token. The result is good until the next call.
func (g *Guest) Verify(token []byte, now int64) (*verifier.Result, verdict.Reason) {
	g.stats.verified++
	reason := verdict.ClockUnusable
	if now >= g.floor {
		reason = g.filter.Verifier().VerifyInto(&g.result, token, now)
	} else {
		g.result = verifier.Result{Issuer: -1} // nothing of the last token is left in it
	}
	g.stats.refused[reason]++
	return &g.result, reason
}

// Filter decides about one request. The Decision is good until the next call.
func (g *Guest) Filter(req *filter.Request, now int64) *verdict.Decision {
	g.stats.filtered++
	sabotage(req)
	var d *verdict.Decision
	if now >= g.floor {
		d = g.filter.Decide(req, now)
	} else {
		d = g.filter.Refuse(req, verdict.ClockUnusable)
	}
	g.stats.refused[d.Reason]++
	return d
}

// Refusal says whose keys a host should fetch again after what Filter decided, and for which kid.
func (g *Guest) Refusal() (issuer int, kid []byte) { return g.filter.Refusal() }

// Explain judges one token and tells of every check, that of the clock first.
func (g *Guest) Explain(token string, now int64) []verifier.Check {
	clock := verifier.Check{Name: "clock", Detail: verifier.FormatTime(now)}
	if now < g.floor {
		clock.Reason = verdict.ClockUnusable
		clock.Detail += ", earlier than " + verifier.FormatTime(g.floor)
	}
	return append([]verifier.Check{clock}, g.filter.Verifier().Explain(token, now)...)
}
