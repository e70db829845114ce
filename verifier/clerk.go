package verifier

import "sessiongate/internal/strict"

// buildClerk reads the claims of Clerk's session tokens, version 1 (org_id,
// org_role, org_permissions) and version 2 (o, fea). Tokens of a template have
// neither sid nor v.
func (r *Result) buildClerk(root strict.Value) bool {
	if root.Member("sid").Kind() == strict.String {
		r.putText(fieldType, "sess")
	}
	version := root.Member("v")
	n, _ := version.Int()
	ok := false
	switch {
	case r.absent(version), n == 1:
		ok = r.buildClerk1(root)
	case n == 2:
		ok = r.buildClerk2(root)
	default:
		return r.wrong(version)
	}
	return ok && r.buildFactors(root.Member("fva"))
}

func (r *Result) buildClerk1(root strict.Value) bool {
	return r.put(fieldTenant, root.Member("org_id")) &&
		r.put(fieldRole, root.Member("org_role")) &&
		r.putList(fieldPermission, root.Member("org_permissions"))
}

func (r *Result) buildClerk2(root strict.Value) bool {
	org := root.Member("o")
	if r.absent(org) {
		return true
	}
	if org.Kind() != strict.Object {
		return r.wrong(org)
	}
	if !r.put(fieldTenant, org.Member("id")) {
		return false
	}
	if role := org.Member("rol"); !r.absent(role) {
		text, ok := role.Text()
		if !ok {
			return r.wrong(role)
		}
		r.putText(fieldRole, "org:", text)
	}
	features, ok1 := r.optionalText(root.Member("fea"))
	names, ok2 := r.optionalText(org.Member("per"))
	masks, ok3 := r.optionalText(org.Member("fpm"))
	return ok1 && ok2 && ok3 && (r.putFeatures(features, names, masks) || r.wrong(org.Member("fpm")))
}

// putFeatures decodes fpm: one number for each organisation-scoped feature of
// fea, in their order, whose bit i, the least significant first, grants the i-th
// name of per.
func (r *Result) putFeatures(features, names, masks string) bool {
	for features != "" && masks != "" {
		var feature, mask string
		feature, features = cutComma(features)
		scope, name := cutColon(feature)
		if !hasByte(scope, 'o') {
			continue
		}
		mask, masks = cutComma(masks)
		bits, ok := r.decimalBits(mask, 1+count(names, ','))
		if !ok {
			return false
		}
		rest := names
		for i := 0; rest != ""; i++ {
			var permission string
			permission, rest = cutComma(rest)
			if bits[i/32]>>(i%32)&1 == 1 && permission != "" {
				r.putText(fieldPermission, "org:", name, ":", permission)
			}
		}
	}
	return true
}

// decimalBits reads a decimal number of any length and returns its lowest n bits:
// there may be more names than a machine word has bits.
func (r *Result) decimalBits(number string, n int) ([]uint32, bool) {
	if number == "" {
		return nil, false
	}
	words := (n + 31) / 32
	if cap(r.bits) < words {
		r.bits = make([]uint32, words)
	}
	bits := r.bits[:words]
	clear(bits)
	for i := range len(number) {
		c := number[i] - '0'
		if c > 9 {
			return nil, false
		}
		carry := uint64(c)
		for w := range bits {
			carry += uint64(bits[w]) * 10
			bits[w] = uint32(carry)
			carry >>= 32
		}
	}
	return bits, true
}

// buildFactors reads fva: minutes before iat at which the first and the second
// factor were verified, -1 for a factor that was not.
func (r *Result) buildFactors(fva strict.Value) bool {
	if r.absent(fva) {
		r.putText(fieldAssurance, "aal1")
		return true
	}
	if fva.Kind() != strict.Array || fva.Len() != 2 {
		return r.wrong(fva)
	}
	first, ok1 := fva.First().Int()
	second, ok2 := fva.First().Next().Int()
	const longest = 1 << 40 // minutes, so that the product below cannot overflow
	if !ok1 || !ok2 || first < -1 || second < -1 || first > longest {
		return r.wrong(fva)
	}
	if second >= 0 {
		r.putText(fieldAssurance, "aal2")
	} else {
		r.putText(fieldAssurance, "aal1")
	}
	if first >= 0 && r.iat.set {
		r.Principal.AuthenticatedAt = r.iat.at - first*60_000
	}
	return true
}

// optionalText is a string's text, and "" for an absent value.
func (r *Result) optionalText(v strict.Value) (string, bool) {
	if r.absent(v) {
		return "", true
	}
	text, ok := v.Text()
	return text, ok || r.wrong(v)
}

// cutComma splits a list at its first comma and trims blanks around the element.
func cutComma(list string) (first, rest string) {
	first = list
	for i := range len(list) {
		if list[i] == ',' {
			first, rest = list[:i], list[i+1:]
			break
		}
	}
	for first != "" && first[0] == ' ' {
		first = first[1:]
	}
	for first != "" && first[len(first)-1] == ' ' {
		first = first[:len(first)-1]
	}
	return first, rest
}

func cutColon(s string) (before, after string) {
	for i := range len(s) {
		if s[i] == ':' {
			return s[:i], s[i+1:]
		}
	}
	return "", s
}

func hasByte(s string, c byte) bool { return count(s, c) > 0 }

func count(s string, c byte) int {
	n := 0
	for i := range len(s) {
		if s[i] == c {
			n++
		}
	}
	return n
}
