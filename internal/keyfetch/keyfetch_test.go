package keyfetch

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/jwks"
)

func TestCheckURL(t *testing.T) {
	for _, good := range []string{"https://issuer.example/keys", "https://10.0.0.1:8443/", "http://localhost/", "http://LOCALHOST:1/", "http://127.0.0.1/", "http://127.1.2.3:80/", "http://[::1]:80/", "http://[::ffff:127.0.0.1]/"} {
		assert.NoError(t, CheckURL(good), good)
	}
	for _, bad := range []string{"", "/keys", "http://issuer.example/", "http://10.0.0.1/", "http://localhost.example/", "http://127.0.0.1.example/", "http://0.0.0.0/", "http://[::]/",
		"ftp://localhost/", "file:///etc/passwd", "https://", "https://user:secret@issuer.example/", "http://2130706433/", "http://0x7f.1/", "::"} {
		assert.Error(t, CheckURL(bad), bad)
	}
}

func TestLifetime(t *testing.T) {
	for _, tt := range []struct {
		control []string
		age     string
		want    int64
	}{
		{nil, "", -1},
		{[]string{"public"}, "", -1},
		{[]string{"public, max-age=60"}, "", 60_000},
		{[]string{"public", "Max-Age=60"}, "", 60_000},
		{[]string{`max-age="60"`}, "", 60_000},
		{[]string{"max-age=60"}, "20", 40_000},
		{[]string{"max-age=60"}, "90", 0},
		{[]string{"max-age=60"}, "-90", 60_000},
		{[]string{"max-age=60"}, "x", 60_000},
		{[]string{"max-age=0"}, "", 0},
		{[]string{"no-store"}, "", 0},
		{[]string{"no-cache, max-age=60"}, "", 0},
		{[]string{"max-age=x"}, "", -1},
		{[]string{"max-age=-5"}, "", 0},
		{[]string{"max-age=99999999999"}, "", -1},
		{[]string{"s-maxage=60"}, "", -1},
	} {
		h := http.Header{"Cache-Control": tt.control}
		if tt.age != "" {
			h.Set("Age", tt.age)
		}
		assert.Equal(t, tt.want, lifetime(h), "%v, age %q", tt.control, tt.age)
	}
}

// localhost is a name like any other: it may resolve to somewhere else.
func TestTransportKeepsHTTPAtHome(t *testing.T) {
	client := &http.Client{Transport: NewTransport(), Timeout: 5 * time.Second}
	began := time.Now()
	_, err := client.Get("http://192.0.2.1:80/")
	require.ErrorContains(t, err, "not loopback")
	assert.Less(t, time.Since(began), 4*time.Second, "nothing was dialled")

	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	resp, err := client.Get(strings.Replace(s.URL, "127.0.0.1", "localhost", 1))
	require.NoError(t, err)
	resp.Body.Close()
}

func TestConditionalFetch(t *testing.T) {
	var asked string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header.Get("If-None-Match")
		w.Header().Set("ETag", `"2"`)
		w.Header().Set("Cache-Control", "max-age=7")
		if asked == `"2"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write([]byte("document"))
	}))
	defer s.Close()
	f := &uriFetcher{client: s.Client(), uri: s.URL}
	a, err := f.Fetch(t.Context(), jwks.Order{IfNoneMatch: `"1"`})
	require.NoError(t, err)
	assert.Equal(t, jwks.Answer{Status: jwks.Fetched, Document: []byte("document"), ETag: `"2"`, Lifetime: 7000}, a)
	assert.Equal(t, `"1"`, asked)
	a, err = f.Fetch(t.Context(), jwks.Order{IfNoneMatch: `"2"`})
	require.NoError(t, err)
	assert.Equal(t, jwks.Answer{Status: jwks.NotModified, Lifetime: 7000}, a)
}

// The tag of one place says nothing about another, and a failure makes the place be looked up again.
func TestDiscoveryMoves(t *testing.T) {
	mux := http.NewServeMux()
	s := httptest.NewServer(mux)
	defer s.Close()
	place, tag, down := "/a", "", false
	mux.HandleFunc("/meta", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"issuer":"me","jwks_uri":"` + s.URL + place + `"}`))
	})
	keys := func(w http.ResponseWriter, r *http.Request) {
		if tag = r.Header.Get("If-None-Match"); down && r.URL.Path == "/a" {
			w.WriteHeader(http.StatusGone)
			return
		}
		_, _ = w.Write([]byte(r.URL.Path))
	}
	mux.HandleFunc("/a", keys)
	mux.HandleFunc("/b", keys)
	f := &discoveryFetcher{client: s.Client(), metadata: s.URL + "/meta", issuer: "me"}
	a, err := f.Fetch(t.Context(), jwks.Order{IfNoneMatch: `"old"`})
	require.NoError(t, err)
	assert.Equal(t, "/a", string(a.Document))
	assert.Empty(t, tag)
	place = "/b"
	a, err = f.Fetch(t.Context(), jwks.Order{IfNoneMatch: `"1"`})
	require.NoError(t, err)
	assert.Equal(t, "/a", string(a.Document), "known for an hour")
	assert.Equal(t, `"1"`, tag)
	down = true
	_, err = f.Fetch(t.Context(), jwks.Order{IfNoneMatch: `"1"`})
	require.ErrorContains(t, err, "410")
	a, err = f.Fetch(t.Context(), jwks.Order{IfNoneMatch: `"1"`})
	require.NoError(t, err)
	assert.Equal(t, "/b", string(a.Document))
	assert.Empty(t, tag)
}

func TestFileFetcher(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	f := &fileFetcher{path: path}
	_, err := f.Fetch(t.Context(), jwks.Order{})
	require.Error(t, err)
	require.NoError(t, os.WriteFile(path, []byte("1"), 0o600))
	a, err := f.Fetch(t.Context(), jwks.Order{})
	require.NoError(t, err)
	assert.Equal(t, "1", string(a.Document))
	same, err := f.Fetch(t.Context(), jwks.Order{IfNoneMatch: a.ETag})
	require.NoError(t, err)
	assert.Equal(t, jwks.NotModified, same.Status)
	// What was read next was rejected, so that the tag is still the older one's: that
	// the file has not changed since confirms nothing.
	require.NoError(t, os.WriteFile(path, []byte("bad"), 0o600))
	for range 3 {
		bad, err := f.Fetch(t.Context(), jwks.Order{IfNoneMatch: a.ETag})
		require.NoError(t, err)
		assert.Equal(t, jwks.Fetched, bad.Status)
	}
	// Another file of the same size and time.
	a, err = f.Fetch(t.Context(), jwks.Order{})
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path+".new", []byte("new"), 0o600))
	require.NoError(t, os.Chtimes(path+".new", info.ModTime(), info.ModTime()))
	require.NoError(t, os.Rename(path+".new", path))
	a, err = f.Fetch(t.Context(), jwks.Order{IfNoneMatch: a.ETag})
	require.NoError(t, err)
	assert.Equal(t, "new", string(a.Document))
}

// A file that says when its keys were confirmed says so each time, and is one document however often.
func TestConfirmedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	write := func(text string) {
		require.NoError(t, os.WriteFile(path+".new", []byte(text), 0o600))
		require.NoError(t, os.Rename(path+".new", path))
	}
	f := File(path)
	write(`{"confirmed_at":1800000000,"keys":[]}`)
	a, err := f.Fetch(t.Context(), jwks.Order{})
	require.NoError(t, err)
	assert.Equal(t, jwks.Answer{Status: jwks.Fetched, Document: []byte(`{"keys":[]}`), ETag: "1", Lifetime: 1000, ConfirmedAt: 1_800_000_000_000}, a)
	a, err = f.Fetch(t.Context(), jwks.Order{IfNoneMatch: "1"})
	require.NoError(t, err)
	assert.Equal(t, jwks.Answer{Status: jwks.NotModified, Lifetime: 1000, ConfirmedAt: 1_800_000_000_000}, a)
	write(`{"confirmed_at":1800000060,"keys":[]}`)
	a, err = f.Fetch(t.Context(), jwks.Order{IfNoneMatch: "1"})
	require.NoError(t, err)
	assert.Equal(t, jwks.Answer{Status: jwks.Fetched, Document: []byte(`{"keys":[]}`), ETag: "2", Lifetime: 1000, ConfirmedAt: 1_800_000_060_000}, a)
	write(`{"confirmed_at":"soon","keys":[]}`)
	for range 2 {
		_, err = f.Fetch(t.Context(), jwks.Order{IfNoneMatch: "2"})
		require.ErrorIs(t, err, jwks.ErrConfirmedAt)
	}
}

func TestHugeFileIsNotReadWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "huge")
	require.NoError(t, os.WriteFile(path, make([]byte, 3<<20), 0o600))
	a, err := (&fileFetcher{path: path}).Fetch(t.Context(), jwks.Order{})
	require.NoError(t, err)
	assert.Len(t, a.Document, jwks.MaxFileBytes+1, "enough to be refused")
}
