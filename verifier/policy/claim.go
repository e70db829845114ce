package policy

import "strings"

var acceptedClaim = strings.Join(fieldNames[1:], ", ") + ", or a JSON Pointer into the claims such as /email"

// claim reads the name of a Principal field or a pointer into the claims.
func (r *reader) claim(s spot) (c Claim, ok bool) {
	text := r.text(s, acceptedClaim, nil)
	if text == "" {
		return c, false
	}
	for f := FieldIssuer; f < fieldCount; f++ {
		if fieldNames[f] == text {
			return Claim{Field: f}, true
		}
	}
	problem := checkPointer(text)
	if text[0] != '/' {
		problem = "is not a field" + meant(text, fieldNames[1:])
	}
	if problem != "" {
		r.fault(s.path, problem, acceptedClaim)
		return c, false
	}
	return Claim{Pointer: text}, true
}
