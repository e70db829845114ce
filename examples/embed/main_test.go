package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"sessiongate/host"
	"sessiongate/host/hosttest"
	"sessiongate/verdict"
)

// A token is verified in the embedded guest, and a bad one is refused.
func TestEmbeddedGuest(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	h, err := host.New(t.Context(), host.Config{Module: core, Policy: issuer.Policy()})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()

	p, err := h.Verify(t.Context(), issuer.Mint(map[string]any{"sub": "alice"}))
	if err != nil || p.Subject != "alice" {
		t.Fatalf("Verify: %v, %v; want alice", p.Subject, err)
	}
	_, err = h.Verify(t.Context(), issuer.Mint(map[string]any{"exp": 1000, "iat": 500, "nbf": 500}))
	if !errors.Is(err, verdict.Expired) {
		t.Fatalf("Verify of an expired token: %v", err)
	}

	for _, tt := range []struct {
		authorization string
		status        int
		body          string
	}{
		{"Bearer " + issuer.Mint(map[string]any{"sub": "alice"}), 200, "hello, alice\n"},
		{"", 401, ""},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", tt.authorization)
		w := httptest.NewRecorder()
		h.Handler(http.HandlerFunc(hello)).ServeHTTP(w, r)
		if w.Code != tt.status || tt.body != "" && w.Body.String() != tt.body {
			t.Errorf("answer %d %q, want %d %q", w.Code, w.Body, tt.status, tt.body)
		}
	}
}
