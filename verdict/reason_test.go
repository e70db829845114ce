package verdict_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"sessiongate/verdict"
)

// The table of names, codes and HTTP statuses. Codes are the ABI's: a new Reason
// comes at the end, and none ever moves.
var table = []struct {
	name   string
	status int
}{
	{"missing_token", 401}, {"multiple_tokens", 400}, {"malformed", 401}, {"too_large", 401}, {"algorithm_not_allowed", 401},
	{"critical_header", 401}, {"unknown_key", 401}, {"ambiguous_key", 401}, {"bad_signature", 401}, {"wrong_type", 401}, {"missing_claim", 401},
	{"wrong_issuer", 401}, {"wrong_audience", 401}, {"wrong_party", 401}, {"expired", 401}, {"not_yet_valid", 401}, {"issued_in_future", 401},
	{"lifetime_too_long", 401}, {"session_pending", 401}, {"proof_required", 401}, {"revoked", 401}, {"bad_path", 400}, {"no_rule", 403},
	{"cross_site", 403}, {"session_type", 403}, {"tenant", 403}, {"permission", 403}, {"assurance", 401}, {"authentication_age", 401},
	{"status_unknown", 503}, {"status_stale", 503}, {"keys_unavailable", 503}, {"keys_stale", 503}, {"clock_unusable", 503}, {"internal", 503},
}

func TestReasons(t *testing.T) {
	all := verdict.Reasons()
	assert.Len(t, all, len(table))
	texts := map[string]bool{}
	for i, r := range all {
		want := table[i]
		assert.Equal(t, i+1, int(r), want.name)
		assert.Equal(t, want.name, r.String())
		assert.Equal(t, want.status, r.Status(), want.name)
		back, ok := verdict.ParseReason(want.name)
		assert.True(t, ok)
		assert.Equal(t, r, back)

		// One sentence in lower case, without a full stop, and no other's.
		assert.Regexp(t, regexp.MustCompile(`^[a-z][^.]*[a-z]$`), strings.ReplaceAll(r.Text(), "JWS with a JSON", "jws with a json"), want.name)
		assert.False(t, texts[r.Text()], want.name)
		texts[r.Text()] = true
		assert.Equal(t, want.name+": "+r.Text(), r.Error())
	}
	assert.Equal(t, verdict.Internal, all[len(all)-1])
}

func TestReasonIsAnError(t *testing.T) {
	var err error = verdict.Expired
	assert.ErrorIs(t, err, verdict.Expired)
	assert.ErrorIs(t, fmt.Errorf("token: %w", err), verdict.Expired)
	assert.NotErrorIs(t, err, verdict.NotYetValid)
	var r verdict.Reason
	assert.True(t, errors.As(fmt.Errorf("token: %w", err), &r))
	assert.Equal(t, verdict.Expired, r)
	assert.Zero(t, testing.AllocsPerRun(10, func() { err = verdict.BadSignature }))
	assert.ErrorIs(t, err, verdict.BadSignature)
}

func TestNoneAndUnknownCodes(t *testing.T) {
	var zero verdict.Reason
	assert.Equal(t, verdict.None, zero)
	assert.Equal(t, 200, zero.Status())
	assert.Equal(t, "none", zero.String())
	for _, r := range []verdict.Reason{verdict.Internal + 1, 255} {
		assert.Equal(t, "internal", r.String())
		assert.Equal(t, verdict.Internal.Text(), r.Text())
		assert.Equal(t, 503, r.Status())
	}
	for _, name := range []string{"", "Expired", "expired ", "unknown"} {
		r, ok := verdict.ParseReason(name)
		assert.False(t, ok)
		assert.Equal(t, verdict.Internal, r, "a name that is not known refuses")
	}
}

// The zero Decision and the zero Principal let nobody through and are nobody.
func TestZeroValuesRefuse(t *testing.T) {
	var d verdict.Decision
	assert.False(t, d.Forward)
	assert.False(t, d.Authenticated)
	assert.Empty(t, d.Principal)
}
