// Package abi is the boundary between a host and the guest in wasm/core: the
// version, the numbers of the calls and the binary encodings of what passes on
// every request. Guest and host use this package alike; docs/abi.md says the same
// for hosts in other languages.
//
// Numbers are little-endian. A string or a byte string is its length in four
// bytes and then its bytes; a list is its length in four bytes and then its items.
package abi

import "errors"

// Version is what the guest's ExportVersion returns. It changes with every
// change that a host would notice, save new calls and new members of JSON objects.
const Version = 1

// The functions that a guest exports, beside its memory and _initialize.
const (
	ExportVersion = "sg_abi_version" // () → i32: Version
	ExportBuffer  = "sg_buffer"      // (size i32) → i32: where the input goes; 0 if size is over MaxInput
	ExportCall    = "sg_call"        // (call i32, length i32, now i64) → i64: address << 32 | length of the output
)

// Bounds in bytes.
const (
	MaxInput = 4 << 20  // of a call
	MaxToken = 16 << 10 // of a token: the first MaxToken+1 bytes of a longer one are enough to refuse it
)

// Call is the number of a call.
type Call uint32

// The calls. Input and output of each stand in docs/abi.md.
const (
	CallPlan              Call = 1 // reads a policy and changes nothing
	CallConfigure         Call = 2
	CallUpdateKeys        Call = 3
	CallVerify            Call = 4
	CallFilter            Call = 5
	CallExplain           Call = 6
	CallStats             Call = 7
	CallUpdateRevocations Call = 8 // StatusUnsupported in this version
	CallRefresh           Call = 9 // what is to be fetched now, by the state machine in the guest
	CallRefreshed         Call = 10
	CallUnknownKey        Call = 11

	// Only in guests built with the tag sgtest, to prove what cannot be reached otherwise.
	CallTestJWS    Call = 1001 // signature and header alone, any payload
	CallTestRaw    Call = 1002 // a raw signature under the first key
	CallTestPanic  Call = 1003
	CallTestTrap   Call = 1004
	CallTestLoop   Call = 1005
	CallTestGrow   Call = 1006 // takes memory until there is none
	CallTestDefect Call = 1007 // the next request or token meets a defect of the guest
)

// Status is the first byte of every output.
type Status uint8

// The statuses.
const (
	StatusOK            Status = 0 // the call's own output follows
	StatusFaults        Status = 1 // what was handed in is wrong; JSON says where: {"errors":[{"path","problem"}]}
	StatusUnsupported   Status = 2 // this guest has no such call
	StatusBadInput      Status = 3 // the input does not follow its encoding
	StatusNotConfigured Status = 4 // no policy is in force
	StatusBroken        Status = 5 // an earlier or this call did not end as it should: the instance is to be thrown away
)

var statusNames = [...]string{"ok", "faults", "unsupported call", "bad input", "not configured", "broken guest"}

// String returns words for the Status.
func (s Status) String() string {
	if int(s) >= len(statusNames) {
		return "unknown status"
	}
	return statusNames[s]
}

// ErrEncoding is every fault of a binary encoding.
var ErrEncoding = errors.New("value does not follow its encoding")

// Configure is the input of CallConfigure and, as far as Kind and Policy, of CallPlan.
type Configure struct {
	Kind       string // of host: the member of the policy's "host" that applies, such as "go"
	ClockFloor int64  // milliseconds: an earlier clock is unusable; 0: none; negative: the guest's own
	Policy     string // the whole document
	Secrets    []Secret
}

// Secret is the HS* secret of an issuer, for a policy that names a file of it.
type Secret struct {
	Issuer uint32 // index in the plan
	Value  string
}

// UpdateKeys is the input of CallUpdateKeys.
type UpdateKeys struct {
	Issuer      uint32 // index in the plan
	ConfirmedAt int64  // milliseconds: when the source was last known to say so
	Document    string // a JWK Set; empty: the set in force, confirmed anew
}

// Append encodes c.
func (c *Configure) Append(dst []byte) []byte {
	dst = appendString(dst, c.Kind)
	dst = appendInt64(dst, c.ClockFloor)
	dst = appendString(dst, c.Policy)
	dst = appendUint32(dst, uint32(len(c.Secrets)))
	for _, s := range c.Secrets {
		dst = appendUint32(dst, s.Issuer)
		dst = appendString(dst, s.Value)
	}
	return dst
}

// DecodeConfigure is the inverse of Append.
func DecodeConfigure(src string) (Configure, error) {
	r := reader{rest: src}
	c := Configure{Kind: r.string(), ClockFloor: r.int64(), Policy: r.string()}
	if n := r.count(8); n > 0 {
		c.Secrets = make([]Secret, n)
		for i := range c.Secrets {
			c.Secrets[i] = Secret{Issuer: r.uint32(), Value: r.string()}
		}
	}
	if !r.done() {
		return Configure{}, ErrEncoding
	}
	return c, nil
}

// Append encodes u.
func (u *UpdateKeys) Append(dst []byte) []byte {
	dst = appendUint32(dst, u.Issuer)
	dst = appendInt64(dst, u.ConfirmedAt)
	return appendString(dst, u.Document)
}

// DecodeUpdateKeys is the inverse of Append.
func DecodeUpdateKeys(src string) (UpdateKeys, error) {
	r := reader{rest: src}
	u := UpdateKeys{Issuer: r.uint32(), ConfirmedAt: r.int64(), Document: r.string()}
	if !r.done() {
		return UpdateKeys{}, ErrEncoding
	}
	return u, nil
}

// Refreshed is the input of CallRefreshed: how a fetch ended.
type Refreshed struct {
	Issuer       uint32 // of the order
	ID           uint32 // of the order
	Status       uint32 // of the HTTP response; 0: there was none, for whatever cause
	ETag         string // the response's header fields, empty if absent
	CacheControl string
	Age          string
	Document     string // the body of a 200
}

// UnknownKey is the input of CallUnknownKey: a Hint after verdict.UnknownKey.
type UnknownKey struct {
	Issuer uint32 // index in the plan
	KeyID  string
}

// Append encodes f.
func (f *Refreshed) Append(dst []byte) []byte {
	dst = appendUint32(appendUint32(appendUint32(dst, f.Issuer), f.ID), f.Status)
	for _, s := range [...]string{f.ETag, f.CacheControl, f.Age, f.Document} {
		dst = appendString(dst, s)
	}
	return dst
}

// DecodeRefreshed is the inverse of Append.
func DecodeRefreshed(src string) (Refreshed, error) {
	r := reader{rest: src}
	f := Refreshed{Issuer: r.uint32(), ID: r.uint32(), Status: r.uint32(),
		ETag: r.string(), CacheControl: r.string(), Age: r.string(), Document: r.string()}
	if !r.done() {
		return Refreshed{}, ErrEncoding
	}
	return f, nil
}

// Append encodes u.
func (u *UnknownKey) Append(dst []byte) []byte {
	return appendString(appendUint32(dst, u.Issuer), u.KeyID)
}

// DecodeUnknownKey is the inverse of Append.
func DecodeUnknownKey(src string) (UnknownKey, error) {
	r := reader{rest: src}
	u := UnknownKey{Issuer: r.uint32(), KeyID: r.string()}
	if !r.done() {
		return UnknownKey{}, ErrEncoding
	}
	return u, nil
}
