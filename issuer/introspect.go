package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"sessiongate/issuer/store"
	"sessiongate/verdict"
)

// VerifierPolicy is a policy document for verifying this issuer's own tokens: its
// keys inline, any audience.
func (i *Issuer) VerifierPolicy() []byte {
	i.keysMu.Lock()
	algs := slices.Clone(i.settings.Algorithms)
	for _, e := range i.keys {
		if e.Published() && !slices.Contains(algs, e.Algorithm) {
			algs = append(algs, e.Algorithm)
		}
	}
	i.keysMu.Unlock()
	doc, err := json.Marshal(map[string]any{
		"version": 1,
		"policy": map[string]any{
			"issuers": []any{map[string]any{
				"issuer": i.settings.Issuer, "dialect": "own", "algorithms": algs, "audience": "unchecked",
				"leeway": i.settings.Skew, "max_lifetime": i.settings.MaxTokenLifetime, "jwks": json.RawMessage(i.live.Load().jwks),
			}},
			"rules": []any{map[string]any{"path_prefix": "/"}},
		},
	})
	if err != nil {
		panic(err) // strings, numbers and a key set that was marshalled before
	}
	return doc
}

// Verdict is what the issuer says of a token that it is shown.
type Verdict struct {
	Reason    verdict.Reason    // None: the token and its session are good
	Principal verdict.Principal // who it speaks for; zero unless Reason is None
}

// Introspect judges a token: by the verifier first, then by the state of its
// session, which only the issuer knows. A Reason whose status is 503 means that it
// could not be judged.
func (i *Issuer) Introspect(ctx context.Context, token string) (Verdict, error) {
	if i.verifier == nil {
		return Verdict{}, refuse(NoVerifier, "this issuer runs without the module that verifies tokens")
	}
	p, err := i.verifier.Verify(ctx, token)
	if err != nil {
		var r verdict.Reason
		if !errors.As(err, &r) {
			return Verdict{}, fmt.Errorf("verifier: %w", err)
		}
		i.metrics.introspected.WithLabelValues(r.String()).Inc()
		return Verdict{Reason: r}, nil
	}
	out := Verdict{Principal: p}
	if p.Session != "" {
		s, err := i.store.Session(ctx, p.Session)
		switch {
		case errors.Is(err, store.ErrNotFound):
			out = Verdict{Reason: verdict.Revoked}
		case err != nil:
			return Verdict{}, err
		case s.StatusAt(i.now()) == store.Expired:
			out = Verdict{Reason: verdict.Expired}
		case s.Status != store.Active:
			out = Verdict{Reason: verdict.Revoked}
		}
	}
	i.metrics.introspected.WithLabelValues(out.Reason.String()).Inc()
	return out, nil
}
