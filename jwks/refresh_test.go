package jwks_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/jwks"
)

// A P-256 key (RFC 7515 appendix A.3) under a kid of choice.
func keySet(kid string) []byte {
	return fmt.Appendf(nil, `{"keys":[{"kty":"EC","crv":"P-256","kid":%q,"x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`, kid)
}

// simulation drives a Refresh with a clock of its own, in milliseconds from the start.
type simulation struct {
	t   *testing.T
	r   *jwks.Refresh
	now int64
	id  uint32 // of the last order
}

const start = 1_700_000_000_000

func simulate(t *testing.T, c jwks.RefreshConfig) *simulation {
	return &simulation{t: t, r: jwks.NewRefresh(c)}
}

func (s *simulation) at(ms int64) *simulation {
	s.now = ms
	return s
}

func (s *simulation) ordered(etag string) *simulation {
	s.t.Helper()
	o, ok := s.r.Poll(start + s.now)
	require.True(s.t, ok, "an order at %d", s.now)
	require.Equal(s.t, etag, o.IfNoneMatch)
	s.id = o.ID
	return s
}

func (s *simulation) idle() *simulation {
	s.t.Helper()
	_, ok := s.r.Poll(start + s.now)
	require.False(s.t, ok, "no order at %d", s.now)
	return s
}

// orderedAt checks that the next order comes at exactly that time.
func (s *simulation) orderedAt(ms int64, etag string) *simulation {
	s.t.Helper()
	require.Equal(s.t, ms, s.r.Next()-start, "next order")
	return s.at(ms - 1).idle().at(ms).ordered(etag)
}

func (s *simulation) answer(want jwks.Outcome, a jwks.Answer) *simulation {
	s.t.Helper()
	a.ID = s.id
	require.Equal(s.t, want, s.r.Answer(a, start+s.now))
	return s
}

func (s *simulation) fetched(want jwks.Outcome, doc []byte, etag string, lifetime int64) *simulation {
	s.t.Helper()
	return s.answer(want, jwks.Answer{Status: jwks.Fetched, Document: doc, ETag: etag, Lifetime: lifetime})
}

func (s *simulation) failed() *simulation {
	s.t.Helper()
	return s.answer(jwks.Failed, jwks.Answer{Status: jwks.FetchFailed, Lifetime: -1})
}

func (s *simulation) unknown(kid string) *simulation {
	s.r.Unknown([]byte(kid), start+s.now)
	return s
}

func (s *simulation) holds(doc []byte, confirmed int64, f jwks.Freshness) *simulation {
	s.t.Helper()
	require.Equal(s.t, string(doc), string(s.r.Snapshot().Document))
	if doc != nil {
		require.Equal(s.t, confirmed, s.r.Snapshot().ConfirmedAt-start)
	}
	require.Equal(s.t, f, s.r.Freshness(start+s.now))
	return s
}

func TestRefreshStart(t *testing.T) {
	s := simulate(t, jwks.RefreshConfig{})
	s.holds(nil, 0, jwks.Missing)
	s.ordered("").idle() // at once, and only one at a time
	s.at(40).fetched(jwks.Updated, keySet("a"), `"1"`, 60_000).holds(keySet("a"), 0, jwks.Fresh)
	s.orderedAt(60_040, `"1"`)
}

func TestRefreshPeriod(t *testing.T) {
	tests := []struct {
		name               string
		lifetime, maxStale int64
		cooldown           int64
		want               int64
	}{
		{"as the answer says", 60_000, 0, 0, 60_000},
		{"not said", -1, 0, 0, 300_000},
		{"never to be cached", 0, 0, 0, 30_000},
		{"shorter than the cooldown", 10_000, 0, 20_000, 20_000},
		{"a year", 365 * 86_400_000, 0, 0, 3_600_000},
		{"half the staleness bound", 3_600_000, 600_000, 0, 300_000},
		{"staleness below the cooldown", 3_600_000, 10_000, 30_000, 30_000},
		{"seconds", 2_000, 86_400_000, 1_000, 2_000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := simulate(t, jwks.RefreshConfig{MaxStale: tt.maxStale, Cooldown: tt.cooldown})
			s.ordered("").fetched(jwks.Updated, keySet("a"), "", tt.lifetime)
			s.orderedAt(tt.want, "")
		})
	}
}

func TestRefreshConfirmation(t *testing.T) {
	s := simulate(t, jwks.RefreshConfig{MaxStale: 200_000})
	s.ordered("").fetched(jwks.Updated, keySet("a"), `"1"`, 50_000)
	s.orderedAt(50_000, `"1"`).at(50_500).answer(jwks.Confirmed, jwks.Answer{Status: jwks.NotModified, Lifetime: 60_000})
	s.holds(keySet("a"), 50_000, jwks.Fresh) // as of the time of the order

	// The same bytes again are no update, but bring a new tag.
	s.orderedAt(110_500, `"1"`).fetched(jwks.Confirmed, keySet("a"), `"2"`, 60_000).holds(keySet("a"), 110_500, jwks.Fresh)
	s.orderedAt(170_500, `"2"`).fetched(jwks.Updated, keySet("b"), "", 60_000).holds(keySet("b"), 170_500, jwks.Fresh)
	// No tag was given: a 304 answers a question that was not asked.
	s.orderedAt(230_500, "").answer(jwks.Failed, jwks.Answer{Status: jwks.NotModified})
	s.holds(keySet("b"), 170_500, jwks.Fresh)
}

func TestRefreshBadUpdate(t *testing.T) {
	for name, doc := range map[string][]byte{
		"not JSON":       []byte(`{"keys":[`),
		"empty":          {},
		"no keys":        []byte(`{"keys":[]}`),
		"no usable key":  []byte(`{"keys":[{"kty":"oct","k":"AAAA"}]}`),
		"not a key set":  []byte(`<html>`),
		"over the bound": make([]byte, jwks.MaxBytes+1),
	} {
		t.Run(name, func(t *testing.T) {
			s := simulate(t, jwks.RefreshConfig{MaxStale: 400_000})
			s.ordered("").fetched(jwks.Rejected, doc, `"bad"`, 60_000).holds(nil, 0, jwks.Missing)
			s.orderedAt(1_000, "").fetched(jwks.Updated, keySet("a"), `"good"`, 60_000)
			s.orderedAt(61_000, `"good"`).fetched(jwks.Rejected, doc, `"bad"`, 60_000)
			s.holds(keySet("a"), 1_000, jwks.Fresh)
			s.orderedAt(91_000, `"good"`) // the tag of the good one still
		})
	}
}

func TestRefreshOutageAtStart(t *testing.T) {
	s := simulate(t, jwks.RefreshConfig{})
	s.ordered("").failed()
	for _, at := range []int64{1_000, 3_000, 7_000, 15_000, 31_000, 61_000, 91_000} {
		s.orderedAt(at, "").failed().holds(nil, 0, jwks.Missing)
	}
	s.orderedAt(121_000, "").fetched(jwks.Updated, keySet("a"), "", -1).holds(keySet("a"), 121_000, jwks.Fresh)
	// The count of failures starts anew.
	s.orderedAt(421_000, "").failed().orderedAt(451_000, "")
}

func TestRefreshOutageLater(t *testing.T) {
	s := simulate(t, jwks.RefreshConfig{MaxStale: 400_000})
	s.ordered("").fetched(jwks.Updated, keySet("a"), "", 100_000)
	// Backs off from the cooldown to a quarter of the bound, then, once stale, asks every cooldown.
	for _, at := range []int64{100_000, 130_000, 190_000, 290_000, 390_000} {
		s.orderedAt(at, "").failed().holds(keySet("a"), 0, jwks.Fresh)
	}
	s.at(400_000).holds(keySet("a"), 0, jwks.Fresh)
	s.at(400_001).holds(keySet("a"), 0, jwks.Stale)
	s.orderedAt(490_000, "").failed().orderedAt(520_000, "").failed().holds(keySet("a"), 0, jwks.Stale)
	s.orderedAt(550_000, "").fetched(jwks.Confirmed, keySet("a"), "", 100_000).holds(keySet("a"), 550_000, jwks.Fresh)
}

func TestRefreshLongOutageOfKeysThatDoNotAge(t *testing.T) {
	s := simulate(t, jwks.RefreshConfig{Cooldown: 100_000})
	s.ordered("").fetched(jwks.Updated, keySet("a"), "", 0)
	at := int64(100_000)
	s.orderedAt(at, "").failed()
	for _, wait := range []int64{100_000, 200_000, 300_000, 300_000} {
		at += wait
		s.orderedAt(at, "").failed().holds(keySet("a"), 0, jwks.Fresh)
	}
	for range 100 { // no shift runs over
		at += 300_000
		s.orderedAt(at, "").failed()
	}
}

func TestRefreshBackoffOfASourceThatIsNear(t *testing.T) {
	s := simulate(t, jwks.RefreshConfig{Cooldown: 1_000, Backoff: 1_000}).ordered("").fetched(jwks.Updated, keySet("a"), "", 1_000)
	for at := int64(1_000); at < 20_000; at += 1_000 {
		s.orderedAt(at, "").failed()
	}
}

func TestRefreshUnansweredOrder(t *testing.T) {
	s := simulate(t, jwks.RefreshConfig{})
	s.ordered("")
	require.EqualValues(t, 20_000, s.r.Next()-start)
	first := s.id
	s.at(19_999).idle().at(20_000).idle().orderedAt(21_000, "")
	assert.NotEqual(t, first, s.id)
	// The first one's answer comes after all: it is not the one in flight.
	late := jwks.Answer{ID: first, Status: jwks.Fetched, Document: keySet("old")}
	assert.Equal(t, jwks.Ignored, s.r.Answer(late, start+21_500))
	s.at(22_000).fetched(jwks.Updated, keySet("a"), "", -1).holds(keySet("a"), 21_000, jwks.Fresh)
	s.answer(jwks.Ignored, jwks.Answer{Status: jwks.Fetched, Document: keySet("b")}) // answered already
}

func TestRefreshUnknownKid(t *testing.T) {
	steady := func(t *testing.T) *simulation {
		return simulate(t, jwks.RefreshConfig{}).ordered("").fetched(jwks.Updated, keySet("a"), "", 3_600_000)
	}
	t.Run("after the cooldown: at once", func(t *testing.T) {
		steady(t).at(100_000).unknown("b").ordered("").fetched(jwks.Updated, keySet("b"), "", 3_600_000)
	})
	t.Run("within the cooldown: at its end", func(t *testing.T) {
		steady(t).at(10_000).unknown("b").idle().orderedAt(30_000, "")
	})
	t.Run("once per cooldown, whatever the kids", func(t *testing.T) {
		s := steady(t)
		orders := 0
		for now := int64(0); now < 600_000; now += 100 {
			s.at(now).unknown(fmt.Sprint("kid", now))
			if o, ok := s.r.Poll(start + now); ok {
				orders++
				s.id = o.ID
				s.fetched(jwks.Confirmed, keySet("a"), "", 3_600_000)
			}
		}
		assert.Equal(t, 600_000/30_000-1, orders)
	})
	t.Run("a kid that was not brought is silent for two cooldowns", func(t *testing.T) {
		s := steady(t).at(100_000).unknown("b").ordered("").fetched(jwks.Confirmed, keySet("a"), "", 3_600_000)
		s.at(140_000).unknown("b").idle().at(159_999).unknown("b").idle()
		s.at(160_000).unknown("b").ordered("").fetched(jwks.Confirmed, keySet("a"), "", 3_600_000)
		s.at(200_000).unknown("b").idle().unknown("c").ordered("")
	})
	t.Run("asked while a fetch runs: that fetch does not count", func(t *testing.T) {
		s := steady(t).at(100_000).unknown("b").ordered("").at(101_000).unknown("c").idle()
		s.at(102_000).fetched(jwks.Confirmed, keySet("a"), "", 3_600_000).orderedAt(130_000, "")
		s.fetched(jwks.Confirmed, keySet("a"), "", 3_600_000).at(170_000).unknown("c").idle()
	})
	t.Run("a failed fetch is no answer about the kid", func(t *testing.T) {
		s := steady(t).at(100_000).unknown("b").ordered("").failed()
		s.at(120_000).unknown("b").idle().orderedAt(130_000, "")
		s.fetched(jwks.Updated, keySet("b"), "", 3_600_000)
	})
	t.Run("memory is bounded", func(t *testing.T) {
		s := steady(t)
		for i := range 100_000 {
			s.at(int64(i)).unknown(fmt.Sprint("kid", i))
		}
		s.at(200_000)
		assert.Zero(t, int(testing.AllocsPerRun(1000, func() { s.unknown("kid99999") })))
		long := make([]byte, 10_000)
		s.ordered("").fetched(jwks.Confirmed, keySet("a"), "", 3_600_000)
		s.at(300_000).unknown(string(long)).ordered("").fetched(jwks.Confirmed, keySet("a"), "", 3_600_000)
		s.at(330_000).unknown(string(long)).ordered("") // not remembered: held back by the cooldown alone
	})
	t.Run("during a failure's backoff", func(t *testing.T) {
		s := steady(t).at(3_600_000).ordered("").failed().orderedAt(3_630_000, "").failed()
		require.EqualValues(t, 3_690_000, s.r.Next()-start)
		s.at(3_640_000).unknown("b").orderedAt(3_660_000, "")
	})
}

func TestRefreshRestore(t *testing.T) {
	s := simulate(t, jwks.RefreshConfig{MaxStale: 1_000_000})
	s.at(50_000).r.Restore(jwks.Snapshot{Document: keySet("a"), ETag: `"1"`, ConfirmedAt: start + 10_000}, start+50_000)
	s.holds(keySet("a"), 10_000, jwks.Fresh).ordered(`"1"`)
	flight := s.id
	// Handed in while a fetch runs: what that fetch brings is older than this.
	s.r.Restore(jwks.Snapshot{Document: keySet("b"), ConfirmedAt: start + 99_000_000}, start+60_000)
	s.at(60_000).holds(keySet("b"), 60_000, jwks.Fresh) // never confirmed in the future
	assert.Equal(t, jwks.Ignored, s.r.Answer(jwks.Answer{ID: flight, Status: jwks.Fetched, Document: keySet("a")}, start+61_000))
	s.orderedAt(80_000, "").fetched(jwks.Updated, keySet("c"), "", -1)
}

func TestRefreshClockSetBack(t *testing.T) {
	s := simulate(t, jwks.RefreshConfig{MaxStale: 1_000_000})
	s.at(10_000_000).ordered("").fetched(jwks.Updated, keySet("a"), "", 60_000)
	s.at(10_010_000).unknown("b").idle()
	// An hour back: 20 of the 30 seconds of cooldown are left.
	s.at(6_410_000).idle().holds(keySet("a"), 6_410_000, jwks.Fresh)
	// Another hour back while a fetch runs: half of its 20 seconds are left, then comes the retry.
	s.orderedAt(6_430_000, "").at(6_440_000).idle().at(2_840_000).idle()
	require.EqualValues(t, 2_850_000, s.r.Next()-start)
	s.at(2_850_000).idle().orderedAt(2_880_000, "")
}

func TestOutcomeString(t *testing.T) {
	assert.Equal(t, []string{"ignored", "updated", "confirmed", "rejected", "failed"}, []string{
		jwks.Ignored.String(), jwks.Updated.String(), jwks.Confirmed.String(), jwks.Rejected.String(), jwks.Failed.String()})
}
