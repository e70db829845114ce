package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The demo, whole: it is what a newcomer sees first, and the only place where
// issuer, gateway and guest meet while a key rotates.
func TestDemo(t *testing.T) {
	needGuest(t)
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), []string{"--json", "demo"}, strings.NewReader(""), &stdout, &stderr)
	require.Equal(t, exitDone, status, "%s\n%s", &stdout, &stderr)
	var r demoReport
	require.NoError(t, json.Unmarshal(stdout.Bytes(), &r))
	assert.True(t, r.OK)
	assert.Empty(t, r.Failures)
	reasons := map[string]bool{}
	for _, q := range r.Requests {
		assert.True(t, q.OK, q.Name)
		reasons[q.Reason] = true
		if q.Status == 200 && q.Name != "X-User-Id alone, public path" {
			assert.Equal(t, adaIdentity, q.Upstream)
		}
	}
	for _, reason := range []string{"", "missing_token", "bad_signature", "wrong_audience", "algorithm_not_allowed", "expired"} {
		assert.True(t, reasons[reason], reason)
	}
	assert.Zero(t, r.Rotation.ValidRefused)
	assert.Zero(t, r.Rotation.WithdrawnAccepted)
	assert.Positive(t, r.Rotation.WithdrawnTried)
	assert.Greater(t, r.Rotation.Requests, int64(100))
	assert.NotEqual(t, r.Rotation.OldKey, r.Rotation.NewKey)
	assert.NotRegexp(t, regexp.MustCompile(`eyJ[A-Za-z0-9_-]{20,}`), stdout.String()+stderr.String(), "no token is shown in full")
	assert.Contains(t, stderr.String(), "Everything was as it should be")
}

// Anything that is not as it should be is status 1, and is told.
func TestDemoFails(t *testing.T) {
	var stdout, stderr bytes.Buffer
	d := &demo{app: &App{Stdout: &stdout, Stderr: &stderr}, out: &stdout, log: new(tail), began: time.Now()}
	d.expect(true, "fine")
	d.expect(false, "the sky is %s", "green")
	assert.Equal(t, exitRefused, report(&stderr, d.conclude()))
	assert.Contains(t, stdout.String(), "the sky is green")
	assert.Contains(t, stderr.String(), "1 expectation failed")
}

func TestDemoInterrupted(t *testing.T) {
	needGuest(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(500*time.Millisecond, cancel)
	var stderr bytes.Buffer
	assert.Equal(t, exitFailed, run(ctx, []string{"demo"}, strings.NewReader(""), io.Discard, &stderr))
	assert.Contains(t, stderr.String(), "interrupted")
}
