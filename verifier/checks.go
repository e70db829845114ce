package verifier

import (
	"sessiongate/internal/strict"
	"sessiongate/verdict"
)

// check is one thing that a token read without fault must satisfy.
type check struct {
	name string
	run  func(v *Verifier, r *Result, now int64) verdict.Reason
	// issuer says that the check needs a known issuer, key one that was found.
	issuer, key bool
}

// checks are in the order in which a token is judged: what needs no arithmetic
// comes before the signature, what a claim means only after it, so that a Reason
// such as "expired" is never said of a token that nobody signed.
var checks = [...]check{
	{name: "algorithm known", run: checkKnownAlgorithm},
	{name: "issuer", run: checkIssuer},
	{name: "algorithm allowed", run: checkAlgorithm, issuer: true},
	{name: "type", run: checkType, issuer: true},
	{name: "keys at hand", run: checkKeys, issuer: true},
	{name: "key", run: checkKey, issuer: true},
	{name: "signature", run: checkSignature, issuer: true, key: true},
	{name: "exp", run: checkExpiry, issuer: true},
	{name: "nbf", run: checkNotBefore, issuer: true},
	{name: "iat", run: checkIssuedAt, issuer: true},
	{name: "lifetime", run: checkLifetime, issuer: true},
	{name: "audience", run: checkAudience, issuer: true},
	{name: "authorised party", run: checkParty, issuer: true},
	{name: "proof of possession", run: checkProof},
}

// checkKnownAlgorithm refuses at once what no issuer allows, "none" included.
func checkKnownAlgorithm(v *Verifier, r *Result, _ int64) verdict.Reason {
	if r.algorithm == 0 || v.allowed>>r.algorithm&1 == 0 {
		return verdict.AlgorithmNotAllowed
	}
	return verdict.None
}

func checkIssuer(v *Verifier, r *Result, _ int64) verdict.Reason {
	if v.issuers[0].UncheckedIssuer {
		r.Issuer = 0
		return verdict.None
	}
	iss := r.claims.Root().Member("iss")
	if iss.Kind() == strict.Invalid {
		return verdict.MissingClaim
	}
	name, _ := iss.AppendText(r.text[:0])
	r.text = name
	i, ok := v.byName[string(name)]
	if !ok {
		return verdict.WrongIssuer
	}
	r.Issuer = i
	return verdict.None
}

func checkAlgorithm(v *Verifier, r *Result, _ int64) verdict.Reason {
	if v.issuers[r.Issuer].allowed>>r.algorithm&1 == 0 {
		return verdict.AlgorithmNotAllowed
	}
	return verdict.None
}

// checkType compares typ as a media type (RFC 7515 section 4.1.9).
func checkType(v *Verifier, r *Result, _ int64) verdict.Reason {
	is := &v.issuers[r.Issuer]
	if is.UncheckedType {
		return verdict.None
	}
	typ, _ := r.header.Root().Member("typ").AppendText(r.text[:0])
	r.text = typ
	for i, c := range typ {
		if c >= 'A' && c <= 'Z' {
			typ[i] = c + 'a' - 'A'
		}
	}
	const prefix = "application/"
	if len(typ) > len(prefix) && string(typ[:len(prefix)]) == prefix {
		typ = typ[len(prefix):]
	}
	for _, want := range is.Types {
		if string(typ) == want {
			return verdict.None
		}
	}
	return verdict.WrongType
}

// checkKeys fails static up to the policy's bound, then closed.
func checkKeys(v *Verifier, r *Result, now int64) verdict.Reason {
	is := &v.issuers[r.Issuer]
	switch {
	case is.symmetric():
		return verdict.None
	case is.keys.Len() == 0:
		return verdict.KeysUnavailable
	case is.MaxStale > 0 && now-is.confirmedAt > is.MaxStale:
		return verdict.KeysStale
	}
	return verdict.None
}

func checkKey(v *Verifier, r *Result, _ int64) verdict.Reason {
	is := &v.issuers[r.Issuer]
	if is.symmetric() {
		return verdict.None
	}
	var reason verdict.Reason
	r.key, reason = is.keys.Find(r.KeyID, r.KeyID != nil, r.algorithm)
	return reason
}

func checkSignature(v *Verifier, r *Result, _ int64) verdict.Reason {
	is := &v.issuers[r.Issuer]
	if is.symmetric() {
		return signed(r.algorithm.VerifySecret(is.Secret, r.input, r.signature))
	}
	return signed(r.key.Verify(r.algorithm, r.input, r.signature))
}

func signed(ok bool) verdict.Reason {
	if ok {
		return verdict.None
	}
	return verdict.BadSignature
}

func checkExpiry(v *Verifier, r *Result, now int64) verdict.Reason {
	is := &v.issuers[r.Issuer]
	switch {
	case !r.exp.set && !is.OptionalExpiry:
		return verdict.MissingClaim
	case r.exp.set && now-is.Leeway >= r.exp.at:
		return verdict.Expired
	}
	return verdict.None
}

func checkNotBefore(v *Verifier, r *Result, now int64) verdict.Reason {
	if r.nbf.set && now+v.issuers[r.Issuer].Leeway < r.nbf.at {
		return verdict.NotYetValid
	}
	return verdict.None
}

func checkIssuedAt(v *Verifier, r *Result, now int64) verdict.Reason {
	if r.iat.set && now+v.issuers[r.Issuer].Leeway < r.iat.at {
		return verdict.IssuedInFuture
	}
	return verdict.None
}

func checkLifetime(v *Verifier, r *Result, now int64) verdict.Reason {
	is := &v.issuers[r.Issuer]
	if is.MaxLifetime == 0 || !r.exp.set {
		return verdict.None
	}
	from := now
	if r.iat.set {
		from = r.iat.at
	}
	if r.exp.at-from > is.MaxLifetime {
		return verdict.LifetimeTooLong
	}
	return verdict.None
}

// checkAudience holds to RFC 7519 section 4.1.3: a token that names audiences is
// for them alone, also where the policy knows only authorised parties.
func checkAudience(v *Verifier, r *Result, _ int64) verdict.Reason {
	is := &v.issuers[r.Issuer]
	if is.UncheckedAudience {
		return verdict.None
	}
	aud := r.claims.Root().Member("aud")
	if aud.Kind() == strict.Invalid {
		if len(is.Audience) != 0 {
			return verdict.MissingClaim
		}
		return verdict.None
	}
	for _, want := range is.Audience {
		if aud.Is(want) {
			return verdict.None
		}
		for e := aud.First(); e.Kind() != strict.Invalid; e = e.Next() {
			if e.Is(want) {
				return verdict.None
			}
		}
	}
	return verdict.WrongAudience
}

func checkParty(v *Verifier, r *Result, _ int64) verdict.Reason {
	is := &v.issuers[r.Issuer]
	if len(is.Parties) == 0 {
		return verdict.None
	}
	azp := r.claims.Root().Member("azp")
	if azp.Kind() == strict.Invalid {
		return verdict.MissingClaim
	}
	for _, want := range is.Parties {
		if azp.Is(want) {
			return verdict.None
		}
	}
	return verdict.WrongParty
}

// checkProof refuses a sender-constrained token (RFC 7800) that comes as a bearer.
func checkProof(_ *Verifier, r *Result, _ int64) verdict.Reason {
	if r.claims.Root().Member("cnf").Kind() != strict.Invalid {
		return verdict.ProofRequired
	}
	return verdict.None
}
