package filter

import (
	"slices"
	"strconv"
	"strings"

	"sessiongate/internal/strict"
	"sessiongate/verdict"
	"sessiongate/verifier/policy"
)

// Header values are percent-encoded as far as it takes for a value to survive the
// way and for decoding to give back what the token held: controls, bytes outside
// ASCII and "%" itself, a space at either end, which a hop may trim, and in the
// items of a list the separator. Log values are written in the same way, so that
// none of them can forge a line.

// removeIdentity takes away every header that the policy sets, and what in
// Connection (RFC 9110 section 7.6.1) would make a later hop take ours away.
func (f *Filter) removeIdentity(req *Request) {
	for i := range f.policy.Identity {
		f.remove = append(f.remove, f.policy.Identity[i].Name)
	}
	named := false
	for i := range req.Headers {
		if h := &req.Headers[i]; h.Name == "connection" {
			for rest, more := h.Value, true; more && !named; {
				var option string
				option, rest, more = strings.Cut(rest, ",")
				named = f.identityName(trim(option))
			}
		}
	}
	if !named {
		return
	}
	f.buf = f.buf[:0]
	for i := range req.Headers {
		if req.Headers[i].Name != "connection" {
			continue
		}
		for rest, more := req.Headers[i].Value, true; more; {
			var option string
			option, rest, more = strings.Cut(rest, ",")
			if option = trim(option); option == "" || f.identityName(option) {
				continue
			}
			if len(f.buf) > 0 {
				f.buf = append(f.buf, ", "...)
			}
			f.buf = append(f.buf, option...)
		}
	}
	f.remove = append(f.remove, "connection")
	if len(f.buf) > 0 {
		f.set = append(f.set, verdict.Field{Name: "connection", Value: string(f.buf)})
	}
}

// identityName compares with the policy's names as a careless server would: without
// case, and "_" is "-".
func (f *Filter) identityName(name string) bool {
	for i := range f.policy.Identity {
		ours := f.policy.Identity[i].Name
		if len(ours) != len(name) {
			continue
		}
		same := true
		for j := 0; j < len(name) && same; j++ {
			same = dash(lower(name[j])) == dash(lower(ours[j]))
		}
		if same {
			return true
		}
	}
	return false
}

func dash(c byte) byte {
	if c == '_' {
		return '-'
	}
	return c
}

// setIdentity sets the headers for which the token has something to say.
func (f *Filter) setIdentity() {
	for i := range f.policy.Identity {
		h := &f.policy.Identity[i]
		if value, ok := f.value(h.Claim, h.Separator); ok {
			f.set = append(f.set, verdict.Field{Name: h.Name, Value: value})
		}
	}
}

// fillLog holds what the policy lets a host log about the token just verified.
func (f *Filter) fillLog() {
	if len(f.policy.Log) == 0 {
		return
	}
	f.log = f.log[:0]
	for _, claim := range f.policy.Log {
		if value, ok := f.value(claim, ","); ok {
			f.log = append(f.log, verdict.Field{Name: claim.String(), Value: value})
		}
	}
	f.decision.Log = f.log
}

// value is a claim of the verified token in its encoded form; false if the token
// does not have it. A Principal's empty string or list and its zero time are what
// an absent claim leaves.
func (f *Filter) value(claim policy.Claim, separator string) (string, bool) {
	p := &f.result.Principal
	text := ""
	switch claim.Field {
	case policy.FieldPointer:
		return f.pointed(f.result.Claims().Pointer(claim.Pointer), separator)
	case policy.FieldRoles:
		return f.joined(p.Roles, separator)
	case policy.FieldPermissions:
		return f.joined(p.Permissions, separator)
	case policy.FieldAuthenticatedAt:
		return seconds(p.AuthenticatedAt)
	case policy.FieldIssuedAt:
		return seconds(p.IssuedAt)
	case policy.FieldExpiresAt:
		return seconds(p.ExpiresAt)
	case policy.FieldIssuer:
		text = p.Issuer
	case policy.FieldSubject:
		text = p.Subject
	case policy.FieldSession:
		text = p.Session
	case policy.FieldType:
		text = p.Type
	case policy.FieldTenant:
		text = p.Tenant
	case policy.FieldActor:
		text = p.Actor
	case policy.FieldAssurance:
		text = p.Assurance
	case policy.FieldParty:
		text = p.Party
	case policy.FieldTokenID:
		text = p.TokenID
	}
	if text == "" {
		return "", false
	}
	return f.encoded(text), true
}

// seconds writes Unix milliseconds as a NumericDate, the unit that the token uses.
func seconds(ms int64) (string, bool) {
	if ms == 0 {
		return "", false
	}
	var digits [32]byte
	b, rest := digits[:0], ms%1000
	if ms < 0 {
		b, rest = append(b, '-'), -rest
		b = strconv.AppendInt(b, -(ms / 1000), 10)
	} else {
		b = strconv.AppendInt(b, ms/1000, 10)
	}
	if rest != 0 {
		b = append(b, '.', '0'+byte(rest/100), '0'+byte(rest/10%10), '0'+byte(rest%10))
		for b[len(b)-1] == '0' {
			b = b[:len(b)-1]
		}
	}
	return string(b), true
}

func (f *Filter) joined(items []string, separator string) (string, bool) {
	if len(items) == 0 {
		return "", false
	}
	if len(items) == 1 && !needsEncoding(items[0], separator) {
		return items[0], true
	}
	f.buf = f.buf[:0]
	for i, item := range items {
		if i > 0 {
			f.buf = append(f.buf, separator...)
		}
		f.buf = appendEncoded(f.buf, item, separator)
	}
	return string(f.buf), true
}

// pointed writes a claim of any kind: a string is its text; numbers, booleans and
// objects are as the token spells them; null and an empty list are like an absent
// claim. In a list, null and a list are spelled out too.
func (f *Filter) pointed(v strict.Value, separator string) (string, bool) {
	switch v.Kind() {
	case strict.Invalid, strict.Null:
		return "", false
	case strict.String:
		text, _ := v.Text()
		return f.encoded(text), true
	case strict.Array:
		if v.Len() == 0 {
			return "", false
		}
		f.buf = f.buf[:0]
		first := true
		for e := v.First(); e.Kind() != strict.Invalid; e = e.Next() {
			if !first {
				f.buf = append(f.buf, separator...)
			}
			first = false
			if e.Kind() != strict.String {
				f.buf = appendEncoded(f.buf, e.Raw(), separator)
				continue
			}
			f.other, _ = e.AppendText(f.other[:0])
			f.buf = appendEncoded(f.buf, f.other, separator)
		}
		return string(f.buf), true
	}
	f.buf = appendEncoded(f.buf[:0], v.Raw(), "")
	return string(f.buf), true
}

func (f *Filter) encoded(text string) string {
	if !needsEncoding(text, "") {
		return text
	}
	f.buf = appendEncoded(f.buf[:0], text, "")
	return string(f.buf)
}

func needsEncoding(text, separator string) bool {
	for i := 0; i < len(text); i++ {
		if encodes(text, i, separator) {
			return true
		}
	}
	return false
}

// encodes reports whether the byte at i is to be percent-encoded.
func encodes[T string | []byte](text T, i int, separator string) bool {
	c := text[i]
	return c < ' ' || c >= 0x7f || c == '%' || c == ' ' && (i == 0 || i == len(text)-1) ||
		separator != "" && strings.IndexByte(separator, c) >= 0
}

const upperHex = "0123456789ABCDEF"

func appendEncoded[T string | []byte](dst []byte, text T, separator string) []byte {
	dst = slices.Grow(dst, len(text))
	for i := 0; i < len(text); i++ {
		if c := text[i]; encodes(text, i, separator) {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}
