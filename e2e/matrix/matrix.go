// Package matrix asks every host the same requests and compares what comes of them:
// whether a request was admitted, the Reason, what the client got and what the
// upstream saw.
//
// A driver (package hosts/NAME) registers a Host; the rows are in rows_*.go; run
// (package matrix/run) puts them together.
package matrix

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Host is one way of running the verifier in front of an upstream.
type Host struct {
	Name string

	// Start brings the host up for a stage. It is to listen on loopback addresses
	// alone, and need not have keys yet: the runner waits for them.
	Start func(ctx context.Context, s *Stage) (*Running, error)

	// Lacks says why rows that need something cannot be expressed on this host, and
	// NotOn why single rows, by their names. Such cells are n/a, and counted.
	Lacks map[Need]string
	NotOn map[string]string

	// Adjust changes what is wanted where docs/hosts.md says that this host differs
	// in what the client gets. Admission, Reason and what the upstream sees are no
	// matter of adjustment. Nil: nothing differs.
	Adjust func(row *Row, want *Cell)
}

// Need is something that not every host can do.
type Need string

// What rows may need.
const (
	H2           Need = "HTTP/2"
	Trailers     Need = "trailers that reach the upstream"
	OwnTrailers  Need = "trailers out of which some can be taken"
	Upgrade      Need = "an upgraded connection"
	OddPaths     Need = "paths that reach the policy as they were sent" // "paths": "refuse"
	NoEscapes    Need = "a percent sign that begins no escape"
	OtherPath    Need = "another path for the upstream" // "paths": "normalize"
	CutQuery     Need = "another query for the upstream"
	LargeHeaders Need = "headers of 20 KiB"
	StaleKeys    Need = "keys that grow old"
	Sabotage     Need = "a guest that breaks when it is told to" // built with the tag sgtest
	WrongClock   Need = "a guest from the future"
)

// Stages by name.
const (
	Main   = "main"   // the policy's defaults
	Other  = "other"  // everything set otherwise: strip, first, normalize, check, sign_in, ory
	Broken = "broken" // a guest that thinks it is built in the future, or breaks when it is told to
)

// Stage is what every host is started with.
type Stage struct {
	Name       string
	Policy     []byte // the whole document; "host" has a member for each kind
	PolicyFile string // the same, in Dir
	Upstream   string // URL of the echo upstream: HTTP/1.1, and HTTP/2 by prior knowledge
	Issuers    string // URL of the server of key sets; the cluster "issuers" of kind envoy
	Dir        string // scratch, for this host and stage alone
	// Keys are the fetched key sets. The policy's member traefik names them
	// /keys/FILE; they stand in Dir/keys/FILE, save those that are not to be had.
	Keys []KeySet

	rig *Rig
}

// KeySet is a key set that hosts fetch, or read from a file.
type KeySet struct {
	Issuer   string // iss
	File     string // name in Dir/keys
	URL      string
	State    KeyState
	Document []byte
}

// KeyState is what a row is to find.
type KeyState string

// The states of a key set.
const (
	Fresh   KeyState = "fresh"
	Missing KeyState = "missing" // keys_unavailable
	Aging   KeyState = "aging"   // good at first; keys_stale some seconds after Running.Age was called
)

// Guest builds a guest of this repository, such as "./wasm/core", as the stage needs
// it, and returns its file. Main and Other use the ordinary one.
func (s *Stage) Guest(pkg string) (string, error) { return s.rig.guest(pkg, s.Name == Broken) }

// Running is a host that has been started.
type Running struct {
	URL string // http://127.0.0.1:PORT, HTTP/1.1
	// H2 is where HTTP/2 is spoken: http:// by prior knowledge, https:// by ALPN
	// (any certificate will do); "" if it is not.
	H2   string
	Stop func() error
	// Age lets keys in state Aging grow old, for hosts that read files: nobody
	// confirms them any more. Nil for hosts that fetch.
	Age func() error
	// Log returns what the host has logged, for a failed cell.
	Log func() string
	// Reason finds the Reason of an answer that does not show it as the gateway
	// does: code in the body, X-Sessiongate-Reason, or grpc-message.
	Reason func(a *Answer) string
}

// Row is one request, or several on one connection, and what must come of it.
type Row struct {
	Name  string
	Stage string
	Needs []Need
	Asks  []Ask
	// Reasonless says that the client is not told the Reason: HEAD, redirects.
	Reasonless bool
}

// Ask is a request and what must come of it.
type Ask struct {
	Request Request
	Want    Cell
}

// Request is sent as it stands.
type Request struct {
	Method  string
	Path    string // request target
	Host    string
	Header  []string // "Name: value"
	Body    string
	Trailer []string // "Name: value", announced
	H2      bool
	WS      bool // a WebSocket handshake; on 101 a message goes to and fro
}

// Cell is what is compared.
type Cell struct {
	Admitted bool
	Reason   string
	Status   int
	Body     string
	AnyBody  bool              // the body is not compared
	Header   map[string]string // of the answer: those that are compared
	// What the upstream saw, if it was admitted.
	Method, Path string
	Upstream     map[string]string // headers by lower-case name; "trailer NAME" for trailers
	Sent         string            // the body
}

var hosts []Host

// Register makes a host known. Drivers call it from init.
func Register(h Host) { hosts = append(hosts, h) }

// Hosts returns the registered hosts that names selects, all without names, in the
// order of their names.
func Hosts(names []string) ([]Host, error) {
	all := slices.Clone(hosts)
	slices.SortFunc(all, func(a, b Host) int { return strings.Compare(a.Name, b.Name) })
	if len(names) == 0 {
		return all, nil
	}
	var chosen []Host
	for _, name := range names {
		i := slices.IndexFunc(all, func(h Host) bool { return h.Name == name })
		if i < 0 {
			known := make([]string, len(all))
			for i, h := range all {
				known[i] = h.Name
			}
			return nil, fmt.Errorf("no host %q; there are %s", name, strings.Join(known, ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// notOn is why a row is n/a on a host, "" if it is not.
func (h *Host) notOn(r *Row, running *Running) string {
	if why := h.NotOn[r.Name]; why != "" {
		return why
	}
	for _, need := range r.Needs {
		if why := h.Lacks[need]; why != "" {
			return why
		}
		if need == H2 && running != nil && running.H2 == "" {
			return "speaks no HTTP/2"
		}
	}
	return ""
}
