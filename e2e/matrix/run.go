package matrix

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Result is a row on a host.
type Result struct {
	Host string `json:"host"`
	Row  string `json:"row"`
	// NotOn is why the cell is n/a. Differs is what was not as wanted, line by line.
	NotOn   string   `json:"not_on,omitempty"`
	Differs []string `json:"differs,omitempty"`
}

// Options of Run.
type Options struct {
	Rows []string  // parts of names; none: all rows
	Log  io.Writer // progress, and the logs of hosts where cells differ
}

// Run asks hosts everything, one after the other. The error is about a host that does
// not start; its cells then differ.
func (r *Rig) Run(ctx context.Context, hosts []Host, o Options) (rows []Row, results []Result) {
	rows = r.rows()
	if len(o.Rows) > 0 {
		rows = slices.DeleteFunc(rows, func(row Row) bool {
			return !slices.ContainsFunc(o.Rows, func(part string) bool { return strings.Contains(row.Name, part) })
		})
	}
	for i := range hosts {
		for name := range hosts[i].NotOn { // what is excused has to be there
			if len(o.Rows) == 0 && !slices.ContainsFunc(rows, func(row Row) bool { return row.Name == name }) {
				results = append(results, Result{Host: hosts[i].Name, Row: name, Differs: []string{"is n/a, and no row"}})
			}
		}
		for _, stage := range []string{Main, Other, Broken} {
			var here []*Row
			for j := range rows {
				if rows[j].Stage == stage {
					here = append(here, &rows[j])
				}
			}
			if len(here) > 0 {
				results = append(results, r.runStage(ctx, &hosts[i], stage, here, o.Log)...)
			}
		}
	}
	return rows, results
}

func (r *Rig) runStage(ctx context.Context, h *Host, name string, rows []*Row, log io.Writer) (results []Result) {
	began := time.Now()
	asked := slices.ContainsFunc(rows, func(row *Row) bool { return h.notOn(row, nil) == "" })
	if !asked {
		for _, row := range rows {
			results = append(results, Result{Host: h.Name, Row: row.Name, NotOn: h.notOn(row, nil)})
		}
		return results
	}
	running, err := r.start(ctx, h, name, rows)
	if err = errors.Join(err, ctx.Err()); err != nil {
		if running != nil {
			err = errors.Join(err, running.Stop())
		}
		fmt.Fprintf(log, "%s, stage %s: %v\n", h.Name, name, err)
		for _, row := range rows {
			results = append(results, Result{Host: h.Name, Row: row.Name, Differs: []string{"host did not start: " + firstLine(err)}})
		}
		return results
	}
	bad, skipped := 0, 0
	for i, row := range rows {
		result := Result{Host: h.Name, Row: row.Name, NotOn: h.notOn(row, running)}
		switch {
		case result.NotOn != "":
			skipped++
		case ctx.Err() != nil:
			result.Differs = []string{"interrupted"}
		default:
			result.Differs = r.runRow(ctx, h, running, row, fmt.Sprintf("%s-%s-%d", h.Name, name, i))
		}
		if len(result.Differs) > 0 {
			bad++
			fmt.Fprintf(log, "%s: %s: %s\n", h.Name, row.Name, strings.Join(result.Differs, "\n    "))
		}
		results = append(results, result)
	}
	if bad > 0 && running.Log != nil {
		fmt.Fprintf(log, "%s, stage %s, its log:\n%s\n", h.Name, name, tail(running.Log()))
	}
	if err := running.Stop(); err != nil {
		fmt.Fprintf(log, "%s: stop: %v\n", h.Name, err)
	}
	fmt.Fprintf(log, "%-16s %-7s %3d rows, %d n/a, %d differ, %s\n", h.Name, name, len(rows), skipped, bad, time.Since(began).Round(time.Millisecond))
	return results
}

// runRow makes a row's requests on one connection.
func (r *Rig) runRow(ctx context.Context, h *Host, running *Running, row *Row, mark string) (diffs []string) {
	c := &client{running: running}
	defer c.close()
	for i := range row.Asks {
		ask := &row.Asks[i]
		mark := fmt.Sprintf("%s-%d", mark, i)
		a := c.ask(ctx, &ask.Request, mark)
		saw := r.upstream.take(mark)
		prefix := ""
		if len(row.Asks) > 1 {
			prefix = fmt.Sprintf("request %d: ", i+1)
		}
		if a.Err != nil {
			return append(diffs, prefix+"no answer: "+a.Err.Error())
		}
		if len(saw) > 1 {
			diffs = append(diffs, fmt.Sprintf("%sthe upstream saw it %d times", prefix, len(saw)))
		}
		got, want := observe(a, running.Reason, saw), ask.Want
		want.Header = maps.Clone(want.Header)
		if h.Adjust != nil {
			h.Adjust(row, &want)
		}
		for _, d := range compare(&want, &got, row.Reasonless) {
			diffs = append(diffs, prefix+d)
		}
	}
	return diffs
}

// start brings a host up, waits for its keys, and lets those grow old that are to.
func (r *Rig) start(ctx context.Context, h *Host, name string, rows []*Row) (*Running, error) {
	s, err := r.stage(h.Name, name)
	if err != nil {
		return nil, err
	}
	running, err := h.Start(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := r.ready(ctx, h, running, name, rows); err != nil {
		if running.Log != nil {
			err = fmt.Errorf("%w\n%s", err, tail(running.Log()))
		}
		return nil, errors.Join(err, running.Stop())
	}
	return running, nil
}

func (r *Rig) ready(ctx context.Context, h *Host, running *Running, name string, rows []*Row) error {
	get := func(t token) Request {
		return Request{Method: "GET", Path: "/app/ready", Host: "app.example", Header: []string{"Authorization: Bearer " + r.keys.mint(t)}}
	}
	await := func(what string, request Request, done func(*Answer) bool) error {
		limit, in := time.Now().Add(time.Minute), 0
		for { // each connection may meet another worker
			c := &client{running: running}
			a := c.ask(ctx, &request, "ready")
			c.close()
			r.upstream.take("ready")
			if in++; a.Err != nil || !done(a) {
				in = 0
			}
			if in == 12 {
				return nil
			}
			if time.Now().After(limit) || ctx.Err() != nil {
				return fmt.Errorf("waited in vain for %s; last answer: %d %s (%v)", what, a.Status, a.Body, errors.Join(a.Err, ctx.Err()))
			}
			if in == 0 {
				time.Sleep(50 * time.Millisecond)
			}
		}
	}
	admitted := func(a *Answer) bool { return a.Status == 200 }
	if name == Broken {
		return await("an answer", get(token{}), func(*Answer) bool { return true })
	}
	for _, issuer := range []string{own, login} {
		if err := await("keys of "+issuer, get(token{issuer: issuer}), admitted); err != nil {
			return err
		}
	}
	old := slices.IndexFunc(rows, func(row *Row) bool { return slices.Contains(row.Needs, StaleKeys) && h.notOn(row, nil) == "" })
	if name != Main || old < 0 {
		return nil
	}
	if err := await("keys of "+aging, get(token{issuer: aging}), admitted); err != nil {
		return err
	}
	r.agingOff.Store(true)
	if running.Age != nil {
		if err := running.Age(); err != nil {
			return err
		}
	}
	reason := running.Reason
	if reason == nil {
		reason = ReasonOf
	}
	return await("keys to be old", get(token{issuer: aging}), func(a *Answer) bool { return reason(a) == "keys_stale" })
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
