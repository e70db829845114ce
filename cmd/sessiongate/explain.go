package main

import (
	"sessiongate/host"
	"sessiongate/verdict"
)

// ExplainCmd tells every check of one token.
type ExplainCmd struct {
	tokenFlags
}

// Help is printed under the command's own help.
func (ExplainCmd) Help() string {
	return `Each line is one check: ok, FAILED with the Reason, or skipped where an earlier fault left
nothing to check. "<- refused here" marks the Reason that verify answers. Details may
show claims of the token. The status is that of verify.`
}

type explained struct {
	Accepted bool           `json:"accepted"`
	Reason   string         `json:"reason,omitempty"` // the first refusal
	Checks   []explainCheck `json:"checks"`
}

type explainCheck struct {
	Name   string `json:"name"`
	Result string `json:"result"` // ok, failed or skipped
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// Run explains the token through the guest.
func (c *ExplainCmd) Run(app *App) error {
	h, err := c.open(app)
	if err != nil {
		return err
	}
	defer h.Close()
	token, err := c.readToken(app)
	if err != nil {
		return err
	}
	checks, err := h.Explain(app.Context, token)
	if err != nil {
		return failed(err, "")
	}
	reason := firstRefusal(checks)
	if app.JSON {
		err = app.printJSON(explanation(checks, reason))
	} else {
		err = table(app.Stdout, "", explainRows(checks))
	}
	if err != nil {
		return err
	}
	if reason != verdict.None {
		return verdictError(reason, reason)
	}
	return nil
}

func firstRefusal(checks []host.Check) verdict.Reason {
	for _, c := range checks {
		if c.Reason != verdict.None {
			return c.Reason
		}
	}
	return verdict.None
}

func explanation(checks []host.Check, reason verdict.Reason) explained {
	e := explained{Accepted: reason == verdict.None, Checks: make([]explainCheck, len(checks))}
	if reason != verdict.None {
		e.Reason = reason.String()
	}
	for i, c := range checks {
		e.Checks[i] = explainCheck{Name: c.Name, Result: result(c), Detail: c.Detail}
		if c.Reason != verdict.None {
			e.Checks[i].Reason = c.Reason.String()
		}
	}
	return e
}

func explainRows(checks []host.Check) [][]string {
	rows := make([][]string, len(checks))
	marked := false
	for i, c := range checks {
		detail := plain(c.Detail)
		state := result(c)
		if c.Reason != verdict.None {
			state = "FAILED " + c.Reason.String()
			if !marked {
				marked = true
				if detail != "" {
					detail += "  "
				}
				detail += "<- refused here"
			}
		}
		rows[i] = []string{c.Name, state, detail}
	}
	return rows
}

func result(c host.Check) string {
	switch {
	case c.Skipped:
		return "skipped"
	case c.Reason != verdict.None:
		return "failed"
	}
	return "ok"
}
