package verifier

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// The calendar of package time is the oracle of the one that guests bring along.
func TestDatesAgreeWithPackageTime(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	first, last := time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	check := func(at time.Time) {
		text := at.Format(time.RFC3339)
		got, ok := parseRFC3339([]byte(text))
		if !ok || got != at.Unix()*1000 {
			t.Fatalf("%s: %d %v", text, got, ok)
		}
		if at.Location() == time.UTC && FormatTime(got+r.Int64N(1000)) != text {
			t.Fatalf("%s: %s", text, FormatTime(got))
		}
	}
	for day := first; !day.After(last); day = day.AddDate(0, 0, 1) {
		check(day)
	}
	for range 50_000 {
		at := time.Unix(first.Unix()+r.Int64N(last.Unix()-first.Unix()), 0).UTC()
		check(at)
		zoned := at.In(time.FixedZone("", (r.IntN(2*1439+1)-1439)*60))
		if y := zoned.Year(); y >= 0 && y <= 9999 {
			check(zoned)
		}
	}
	assert.Equal(t, "253402300800000 ms", FormatTime(253402300800000))
	assert.Equal(t, "-62167219200001 ms", FormatTime(-62167219200001))
	assert.Equal(t, "0000-01-01T00:00:00Z", FormatTime(-62167219200000))
}

// What package time refuses, or reads as another instant, so do we; leap seconds,
// lower case are RFC 3339's and not Go's, a comma and 60 minutes of offset the
// other way round.
func TestRFC3339Edges(t *testing.T) {
	base := "2023-11-14T22:13:20.5+01:30"
	for i := range len(base) {
		for c := range 256 {
			text := []byte(base)
			text[i] = byte(c)
			got, ok := parseRFC3339(text)
			want, err := time.Parse(time.RFC3339, string(text))
			switch {
			case c == 't' && i == 10, string(text[17:19]) == "60", i == 19 && c == ',', string(text[25:27]) == "60":
				continue
			case (err == nil) != ok || ok && want.UnixMilli() != got:
				t.Errorf("%q: %d %v, not %v %v", text, got, ok, want, err)
			}
		}
		_, ok := parseRFC3339([]byte(base[:i]))
		assert.False(t, ok, base[:i])
	}
	for text, ok := range map[string]bool{
		"2016-12-31T23:59:60Z": true, "2016-12-31T23:59:61Z": false, "2023-11-14t22:13:20z": true, "2023-11-14T22:13:20,5Z": false,
		"2023-11-14T22:13:20+23:59": true, "2023-11-14T22:13:20+24:00": false, "2023-11-14T22:13:20.123456789123456789Z": true,
		"+2023-11-14T22:13:20Z": false, "02023-11-14T22:13:20Z": false, "2023-11-14T22:13:20ZZ": false, "2023-11-14T22:13:20": false,
		"2023-11-14T22:13:20.5": false, "2023-11-14T22:13:20.": false, "1900-02-29T00:00:00Z": false, "2000-02-29T00:00:00Z": true,
	} {
		_, got := parseRFC3339([]byte(text))
		assert.Equal(t, ok, got, text)
	}
}

func TestDuration(t *testing.T) {
	for ms, want := range map[int64]string{0: "0ms", 999: "999ms", 1000: "1s", 59_999: "59s", 60_000: "1m", 61_000: "1m 1s", 3_600_000: "1h", 3_660_000: "1h 1m",
		86_400_000: "1d", 90_000_000: "1d 1h", -61_000: "-1m 1s"} {
		assert.Equal(t, want, duration(ms), fmt.Sprint(ms))
	}
}
