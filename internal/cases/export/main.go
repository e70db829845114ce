// Command export writes the table of cases as JSON, for tests in other languages:
//
//	go run ./internal/cases/export > build/cases.json
//
// Each case is {name, policy, keys, token, now, reason, principal}: the policy is of
// kind "go"; keys are the sets that arrive as updates, each {issuer, document,
// confirmed_at}; the token is base64, since some are no UTF-8.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"sessiongate/internal/cases"
	"sessiongate/verdict"
)

type key struct {
	Issuer      int    `json:"issuer"`
	Document    string `json:"document"`
	ConfirmedAt int64  `json:"confirmed_at"`
}

type principal struct {
	Issuer          string   `json:"issuer"`
	Subject         string   `json:"subject"`
	Session         string   `json:"session"`
	Type            string   `json:"type"`
	Tenant          string   `json:"tenant"`
	Roles           []string `json:"roles"`
	Permissions     []string `json:"permissions"`
	Actor           string   `json:"actor"`
	Assurance       string   `json:"assurance"`
	Party           string   `json:"party"`
	TokenID         string   `json:"tokenId"`
	AuthenticatedAt int64    `json:"authenticatedAt"`
	IssuedAt        int64    `json:"issuedAt"`
	ExpiresAt       int64    `json:"expiresAt"`
}

type row struct {
	Name      string     `json:"name"`
	Policy    string     `json:"policy"`
	Keys      []key      `json:"keys"`
	Token     []byte     `json:"token"`
	Now       int64      `json:"now"`
	Reason    string     `json:"reason"`
	Principal *principal `json:"principal"`
}

func main() {
	rows := []row{}
	for _, c := range cases.All() {
		r := row{Name: c.Name, Policy: string(c.Policy("")), Keys: []key{}, Token: []byte(c.Token), Now: c.Now, Reason: c.Reason.String()}
		for i, k := range c.Keys {
			if k.Document != "" && !k.Inline {
				r.Keys = append(r.Keys, key{i, k.Document, k.ConfirmedAt})
			}
		}
		if c.Reason == verdict.None {
			p := principal(c.Principal)
			p.Roles, p.Permissions = append([]string{}, p.Roles...), append([]string{}, p.Permissions...)
			r.Principal = &p
		}
		rows = append(rows, r)
	}
	if err := json.NewEncoder(os.Stdout).Encode(rows); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
