package host

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// plan is what the guest says a host has to know of a policy.
type plan struct {
	Issuers []source `json:"issuers"`
	Headers []string `json:"headers"` // request headers the guest wants to see, lower case
	Strip   []string `json:"strip"`   // headers that nobody but the policy sets

	wanted    map[string]string // canonical spelling → lower case
	lowerCase map[string]bool
}

// source is where an issuer's keys come from. Times are milliseconds.
type source struct {
	Issuer   string `json:"issuer"`
	Keys     string `json:"keys"`
	Location string `json:"location"`
	MaxStale int64  `json:"max_stale"`
	Cooldown int64  `json:"cooldown"`
}

// The kinds of source.
const (
	sourceInline    = "inline"
	sourceURI       = "uri"
	sourceFile      = "file"
	sourceDiscovery = "discovery"
	sourceSecret    = "secret"
)

func readPlan(text string) (*plan, error) {
	p := new(plan)
	if err := json.Unmarshal([]byte(text), p); err != nil {
		return nil, fmt.Errorf("guest's plan: %w", err)
	}
	p.wanted = make(map[string]string, len(p.Headers))
	p.lowerCase = make(map[string]bool, len(p.Headers))
	for _, name := range p.Headers {
		p.wanted[http.CanonicalHeaderKey(name)] = name
		p.lowerCase[name] = true
	}
	return p, nil
}

// Fault is one thing that is wrong with a policy or a key set.
type Fault struct {
	Path    string `json:"path"`    // JSON Pointer (RFC 6901) into the document; "" is the whole
	Problem string `json:"problem"` // what is wrong and what is accepted
}

// ConfigError is what New, Swap, Reload and UpdateKeys return for a document that
// the guest does not accept. It holds every fault at once, and no secret.
type ConfigError struct{ Faults []Fault }

// Error lists the faults, one a line.
func (e *ConfigError) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		path := f.Path
		if path == "" {
			path = "document"
		}
		lines[i] = path + ": " + f.Problem
	}
	return strings.Join(lines, "\n")
}

func readFaults(text string) error {
	var v struct {
		Errors []Fault `json:"errors"`
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil || len(v.Errors) == 0 {
		return &ConfigError{Faults: []Fault{{Problem: "is not accepted; the guest does not say why"}}}
	}
	return &ConfigError{Faults: v.Errors}
}
