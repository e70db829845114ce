package guest

import (
	"strconv"

	"sessiongate/internal/strict"
	"sessiongate/jwks"
	"sessiongate/verdict"
	"sessiongate/verifier"
	"sessiongate/verifier/filter"
	"sessiongate/verifier/policy"
)

// object writes the members of a JSON object.
type object struct {
	dst   []byte
	comma bool
}

func (o *object) name(name string) {
	if o.comma {
		o.dst = append(o.dst, ',')
	}
	o.comma = true
	o.dst = append(strict.AppendQuote(o.dst, name), ':')
}

func (o *object) open() { o.dst, o.comma = append(o.dst, '{'), false }

func (o *object) close() { o.dst, o.comma = append(o.dst, '}'), true }

func (o *object) string(name, value string) {
	o.name(name)
	o.dst = strict.AppendQuote(o.dst, value)
}

func (o *object) int(name string, value int64) {
	o.name(name)
	o.dst = strconv.AppendInt(o.dst, value, 10)
}

func (o *object) bool(name string, value bool) {
	o.name(name)
	o.dst = strconv.AppendBool(o.dst, value)
}

func (o *object) strings(name string, values []string) {
	o.name(name)
	o.dst = append(o.dst, '[')
	for i, v := range values {
		if i > 0 {
			o.dst = append(o.dst, ',')
		}
		o.dst = strict.AppendQuote(o.dst, v)
	}
	o.dst = append(o.dst, ']')
}

// list writes an array of n objects, each by members.
func (o *object) list(name string, n int, members func(i int)) {
	o.name(name)
	o.dst = append(o.dst, '[')
	for i := range n {
		if i > 0 {
			o.dst = append(o.dst, ',')
		}
		o.open()
		members(i)
		o.close()
	}
	o.dst, o.comma = append(o.dst, ']'), true
}

var sourceNames = [...]string{policy.Inline: "inline", policy.URI: "uri", policy.File: "file", policy.Discovery: "discovery", policy.Secret: "secret"}

// AppendPlan writes what a host has to know of a policy.
func AppendPlan(dst []byte, p *policy.Policy, floor int64) []byte {
	o := object{dst: dst}
	o.open()
	o.list("issuers", len(p.Issuers), func(i int) {
		k := &p.Keys[i]
		o.string("issuer", p.Issuers[i].Name)
		o.string("keys", sourceNames[k.Kind])
		o.string("location", k.Location)
		o.string("cluster", k.Cluster)
		o.int("max_stale", k.MaxStale)
		o.int("cooldown", k.Cooldown)
	})
	o.strings("headers", filter.Headers(p))
	o.strings("strip", filter.Strip(p))
	o.int("clock_floor", floor)
	o.close()
	return o.dst
}

// AppendFaults writes what is wrong with what a host handed in.
func AppendFaults(dst []byte, err error) []byte {
	faults, ok := err.(policy.Errors)
	if !ok {
		faults = policy.Errors{{Problem: err.Error()}}
	}
	o := object{dst: dst}
	o.open()
	o.list("errors", len(faults), func(i int) {
		o.string("path", faults[i].Path)
		o.string("problem", faults[i].Problem)
	})
	o.close()
	return o.dst
}

// AppendUpdated writes what became of a key set.
func AppendUpdated(dst []byte, usable int, skipped []jwks.Skipped) []byte {
	o := object{dst: dst}
	o.open()
	o.int("usable", int64(usable))
	o.skipped(skipped)
	o.close()
	return o.dst
}

func (o *object) skipped(keys []jwks.Skipped) {
	o.list("skipped", len(keys), func(i int) {
		o.int("index", int64(keys[i].Index))
		o.string("kid", keys[i].KeyID)
		o.string("why", keys[i].Why)
	})
}

// AppendChecks writes an explanation.
func AppendChecks(dst []byte, checks []verifier.Check) []byte {
	o := object{dst: dst}
	o.open()
	o.list("checks", len(checks), func(i int) {
		o.string("name", checks[i].Name)
		o.string("reason", checks[i].Reason.String())
		o.bool("skipped", checks[i].Skipped)
		o.string("detail", checks[i].Detail)
	})
	o.close()
	return o.dst
}

// AppendStats writes what this guest has done and holds.
func (g *Guest) AppendStats(dst []byte) []byte {
	o := object{dst: dst}
	o.open()
	o.bool("configured", g.Configured())
	o.int("clock_floor", g.floor)
	o.int("verified", g.stats.verified)
	o.int("filtered", g.stats.filtered)
	o.int("key_updates", g.stats.updates)
	o.name("reasons")
	o.open()
	for code, n := range g.stats.refused {
		if n > 0 {
			o.int(verdict.Reason(code).String(), n)
		}
	}
	o.close()
	issuers := 0
	if g.Configured() {
		issuers = len(g.policy.Issuers)
	}
	o.list("issuers", issuers, func(i int) {
		set, confirmedAt := g.filter.Verifier().Keys(i)
		o.string("issuer", g.policy.Issuers[i].Name)
		o.int("usable", int64(set.Len()))
		o.int("confirmed_at", confirmedAt)
	})
	o.close()
	return o.dst
}

// escapePointer writes a member name as a token of a JSON Pointer (RFC 6901 section 3).
func escapePointer(name string) string {
	var b []byte
	for i := range len(name) {
		switch name[i] {
		case '~':
			b = append(b, "~0"...)
		case '/':
			b = append(b, "~1"...)
		default:
			b = append(b, name[i])
		}
	}
	return string(b)
}
