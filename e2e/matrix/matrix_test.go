package matrix

import (
	"context"
	"io"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/verdict"
)

func rig(t *testing.T) *Rig {
	t.Helper()
	r, err := NewRig("../..", t.TempDir())
	require.NoError(t, err)
	t.Cleanup(r.Close)
	return r
}

// open is a host without any verifier: it admits everything, as it came.
func open(t *testing.T) Host {
	return Host{Name: "open", Start: func(_ context.Context, s *Stage) (*Running, error) {
		to, err := url.Parse(s.Upstream)
		if err != nil {
			return nil, err
		}
		server := httptest.NewServer(httputil.NewSingleHostReverseProxy(to))
		t.Cleanup(server.Close)
		return &Running{URL: server.URL, Stop: func() error { return nil }}, nil
	}, Lacks: map[Need]string{StaleKeys: "no keys", H2: "not here"}}
}

// A matrix that an open door passes would prove nothing.
func TestOpenDoorDiffers(t *testing.T) {
	r := rig(t)
	host := open(t)
	rows, results := r.Run(context.Background(), []Host{host}, Options{Log: io.Discard})
	require.GreaterOrEqual(t, len(rows), leastRows)
	wanted := map[string]*Row{}
	for i := range rows {
		wanted[rows[i].Name] = &rows[i]
	}
	for _, result := range results {
		row := wanted[result.Row]
		if result.NotOn != "" {
			continue
		}
		harmless := true // requests that pass, of whose sender the upstream is told nothing
		for _, ask := range row.Asks {
			harmless = harmless && ask.Want.Admitted && ask.Want.Upstream["x-user-id"] == ""
		}
		// That proxy drops what Connection names, as it should.
		if !harmless || strings.Contains(row.Name, "spoofed") && !strings.Contains(row.Name, "Connection") {
			assert.NotEmpty(t, result.Differs, row.Name)
		}
	}
	report := NewReport([]Host{host}, rows, results)
	assert.Contains(t, report.Fault(true), "cells differ")
	assert.Contains(t, report.Markdown(), "**differs**")
}

func TestEveryReasonHasARow(t *testing.T) {
	rows := rig(t).rows()
	for _, reason := range verdict.Reasons() {
		switch reason {
		case verdict.Revoked, verdict.StatusUnknown, verdict.StatusStale: // nothing can cause them yet
			continue
		}
		found := false
		for _, row := range rows {
			for _, ask := range row.Asks {
				found = found || ask.Want.Reason == reason.String()
			}
		}
		assert.True(t, found, reason.String())
	}
}

func TestCompare(t *testing.T) {
	passed := Cell{Admitted: true, Status: 200, Body: "x", Method: "GET", Path: "/a", Upstream: map[string]string{"x-user-id": "user_1"}}
	refused := Cell{Reason: "expired", Status: 401, Body: "y", Header: map[string]string{"content-type": "z"}}
	for name, test := range map[string]struct {
		want       Cell
		change     func(*Cell)
		reasonless bool
		differs    string
	}{
		"equal":             {want: passed},
		"refused equally":   {want: refused},
		"let through":       {want: refused, change: func(c *Cell) { c.Admitted = true }, differs: "admitted"},
		"another Reason":    {want: refused, change: func(c *Cell) { c.Reason = "malformed" }, differs: "Reason"},
		"no Reason":         {want: refused, change: func(c *Cell) { c.Reason = "" }, differs: "Reason"},
		"no Reason told":    {want: refused, change: func(c *Cell) { c.Reason = "" }, reasonless: true},
		"a wrong one told":  {want: refused, change: func(c *Cell) { c.Reason = "malformed" }, reasonless: true, differs: "Reason"},
		"another status":    {want: refused, change: func(c *Cell) { c.Status = 403 }, differs: "status"},
		"another body":      {want: refused, change: func(c *Cell) { c.Body = "" }, differs: "body"},
		"another challenge": {want: refused, change: func(c *Cell) { c.Header = map[string]string{"content-type": "z", "www-authenticate": "Bearer"} }, differs: "www-authenticate"},
		"another path":      {want: passed, change: func(c *Cell) { c.Path = "/b" }, differs: "path"},
		"a header more":     {want: passed, change: func(c *Cell) { c.Upstream = map[string]string{"x-user-id": "user_1", "x_user_id": "root"} }, differs: "x_user_id"},
		"a header less":     {want: passed, change: func(c *Cell) { c.Upstream = nil }, differs: "x-user-id"},
	} {
		t.Run(name, func(t *testing.T) {
			got := test.want
			if test.change != nil {
				test.change(&got)
			}
			diffs := compare(&test.want, &got, test.reasonless)
			if test.differs == "" {
				assert.Empty(t, diffs)
				return
			}
			require.Len(t, diffs, 1)
			assert.Contains(t, diffs[0], test.differs)
		})
	}
}

func TestReport(t *testing.T) {
	results := func(equal, na, differ int) []Result {
		var all []Result
		for range equal {
			all = append(all, Result{})
		}
		for range na {
			all = append(all, Result{NotOn: "why"})
		}
		for range differ {
			all = append(all, Result{Differs: []string{"x"}})
		}
		return all
	}
	rows := make([]Row, leastRows)
	for _, test := range []struct {
		rows              int
		equal, na, differ int
		fault             string
	}{
		{leastRows, 86, 14, 0, ""}, {leastRows, 85, 15, 0, "n/a"}, {leastRows, 99, 0, 1, "1 cells differ"}, {leastRows - 1, 99, 0, 0, "fewer than"}, {leastRows, 0, 0, 0, "no cell"},
	} {
		fault := NewReport(nil, rows[:test.rows], results(test.equal, test.na, test.differ)).Fault(true)
		if test.fault == "" {
			assert.Empty(t, fault)
		} else {
			assert.Contains(t, fault, test.fault)
		}
	}
}
