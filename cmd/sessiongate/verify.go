package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"sessiongate/verdict"
)

// VerifyCmd judges one token.
type VerifyCmd struct {
	tokenFlags
}

// Help is printed under the command's own help.
func (VerifyCmd) Help() string {
	return `An accepted token: who it speaks for is on standard output, status 0.
A refused one: the Reason is there, status 1; status 3 if the Reason is of this side,
such as keys_unavailable. sessiongate explain tells every check.`
}

// Run verifies the token through the guest.
func (c *VerifyCmd) Run(app *App) error {
	h, err := c.open(app)
	if err != nil {
		return err
	}
	defer h.Close()
	token, err := c.readToken(app)
	if err != nil {
		return err
	}
	p, err := h.Verify(app.Context, token)
	if reason := reasonOf(err); reason != verdict.None {
		if err := c.tellReason(app, reason); err != nil {
			return err
		}
		return verdictError(reason, err)
	}
	if app.JSON {
		return app.printJSON(principalJSON(p))
	}
	return table(app.Stdout, "", principalRows(p))
}

func (c *VerifyCmd) tellReason(app *App, reason verdict.Reason) error {
	if app.JSON {
		return app.printJSON(struct {
			Reason string `json:"reason"`
		}{reason.String()})
	}
	return app.print("%s\n", reason.String())
}

// reasonOf is the Reason that an error stands for.
func reasonOf(err error) verdict.Reason {
	if err == nil {
		return verdict.None
	}
	reason := verdict.Internal
	errors.As(err, &reason)
	return reason
}

// verdictError turns a Reason into the error of a command: 1 when the token is at
// fault, 3 when this side could not judge.
func verdictError(reason verdict.Reason, err error) error {
	text := errors.New(reason.Text())
	if reason.Status() != http.StatusServiceUnavailable {
		return refused(text, "sessiongate explain tells every check of the token")
	}
	hint := ""
	switch reason {
	case verdict.KeysUnavailable, verdict.KeysStale:
		hint = "the policy's key source could not be reached or read; --jwks FILE brings the keys by hand"
	case verdict.ClockUnusable:
		hint = "set this machine's clock, or say --now TIME"
	case verdict.Internal:
		text = fmt.Errorf("%s: %w", reason.Text(), err)
	}
	return failed(text, hint)
}

// principal is a verdict.Principal as data: what the token does not say is left out.
type principal struct {
	Issuer          string   `json:"issuer,omitempty"`
	Subject         string   `json:"subject,omitempty"`
	Session         string   `json:"session,omitempty"`
	Type            string   `json:"type,omitempty"`
	Tenant          string   `json:"tenant,omitempty"`
	Roles           []string `json:"roles,omitempty"`
	Permissions     []string `json:"permissions,omitempty"`
	Actor           string   `json:"actor,omitempty"`
	Assurance       string   `json:"assurance,omitempty"`
	Party           string   `json:"party,omitempty"`
	TokenID         string   `json:"token_id,omitempty"`
	AuthenticatedAt string   `json:"authenticated_at,omitempty"`
	IssuedAt        string   `json:"issued_at,omitempty"`
	ExpiresAt       string   `json:"expires_at,omitempty"`
}

func principalJSON(p verdict.Principal) principal {
	return principal{
		Issuer: p.Issuer, Subject: p.Subject, Session: p.Session, Type: p.Type, Tenant: p.Tenant,
		Roles: p.Roles, Permissions: p.Permissions, Actor: p.Actor, Assurance: p.Assurance, Party: p.Party,
		TokenID: p.TokenID, AuthenticatedAt: moment(p.AuthenticatedAt), IssuedAt: moment(p.IssuedAt), ExpiresAt: moment(p.ExpiresAt),
	}
}

// principalRows is a Principal for a person, under the names that policies use.
func principalRows(p verdict.Principal) [][]string {
	var rows [][]string
	for _, row := range [][]string{
		{"subject", p.Subject}, {"session", p.Session}, {"type", p.Type}, {"tenant", p.Tenant},
		{"roles", list(p.Roles)}, {"permissions", list(p.Permissions)}, {"actor", p.Actor},
		{"assurance", p.Assurance}, {"issuer", p.Issuer}, {"party", p.Party}, {"token_id", p.TokenID},
		{"authenticated_at", moment(p.AuthenticatedAt)}, {"issued_at", moment(p.IssuedAt)}, {"expires_at", moment(p.ExpiresAt)},
	} {
		if row[1] != "" {
			rows = append(rows, []string{row[0], plain(row[1])})
		}
	}
	return rows
}

func list(items []string) string { return strings.Join(items, ", ") }

// moment writes Unix milliseconds as RFC 3339, "" for none.
func moment(ms int64) string {
	if ms == 0 {
		return ""
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.999Z07:00")
}
