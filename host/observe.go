package host

import (
	"context"

	"sessiongate/verdict"
)

type observerKey struct{}

// WithObserver returns a context for requests whose Decisions the caller wants to
// see, for an access log of its own: Handler calls observe once for each request,
// before it acts, with the Decision and what kept the guest from making one, and
// logs nothing itself. The Decision must not be changed or kept.
func WithObserver(ctx context.Context, observe func(d *verdict.Decision, err error)) context.Context {
	return context.WithValue(ctx, observerKey{}, observe)
}
