package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"sessiongate/issuer/api"
	"sessiongate/issuer/client"
)

// KeysCmd manages the signing keys of a running issuer through its admin API.
type KeysCmd struct {
	Admin      string `help:"URL of the issuer's admin listener." default:"http://127.0.0.1:8081" placeholder:"URL" env:"SESSIONGATE_ADMIN"`
	APIKeyFile string `name:"api-key-file" help:"File that holds the API key; \"-\" is standard input. Without it, SESSIONGATE_API_KEY holds the key itself." placeholder:"FILE" env:"SESSIONGATE_API_KEY_FILE"`

	List     KeysListCmd     `cmd:"" help:"List the signing keys and where they stand."`
	Rotate   KeysRotateCmd   `cmd:"" help:"Replace a key: announce its successor, which takes over as soon as that is safe."`
	Withdraw KeysWithdrawCmd `cmd:"" help:"Take a key out of the key set."`
}

// client is a client with the API key. The key never stands on the command line,
// where every user of the machine could read it.
func (c *KeysCmd) client(app *App) (*client.Client, error) {
	key := os.Getenv("SESSIONGATE_API_KEY")
	if c.APIKeyFile != "" {
		in := app.Stdin
		if c.APIKeyFile != "-" {
			f, err := os.Open(c.APIKeyFile)
			if err != nil {
				return nil, failed(fmt.Errorf("--api-key-file: %w", err), "")
			}
			defer f.Close()
			in = f
		}
		text, err := io.ReadAll(io.LimitReader(in, 4096))
		if err != nil {
			return nil, failed(fmt.Errorf("--api-key-file: %w", err), "")
		}
		key = string(text)
	}
	key = strings.TrimSpace(key)
	if key == "" {
		return nil, usage(errors.New("no API key: set SESSIONGATE_API_KEY or --api-key-file"))
	}
	cl, err := client.New(c.Admin, key)
	if err != nil {
		return nil, usage(fmt.Errorf("--admin: %w", err))
	}
	return cl, nil
}

// keysError gives an error of the admin API its status and hint.
func (c *KeysCmd) keysError(err error) error {
	var refusal *client.Error
	if !errors.As(err, &refusal) {
		return failed(err, "is the issuer running, and "+c.Admin+" its admin listener?")
	}
	switch {
	case refusal.Code == "rotation_unsafe" && refusal.SafeAt != nil:
		return refused(err, fmt.Sprintf("safe from %s on, which is in %s", utc(*refusal.SafeAt), time.Until(*refusal.SafeAt).Round(time.Second)))
	case refusal.Code == "wrong_state":
		return refused(err, "sessiongate keys list shows where each key stands")
	case refusal.Status == http.StatusUnauthorized:
		return failed(err, "issuer init prints the first API key, once; more are made at /admin/v1/api-keys")
	case refusal.Status == http.StatusBadRequest:
		return usage(err)
	}
	return failed(err, "")
}

// utc writes a time as RFC 3339, rounded up: what is safe then is safe at that second.
func utc(t time.Time) string {
	return t.Add(time.Second - 1).Truncate(time.Second).UTC().Format(time.RFC3339)
}

// KeysListCmd lists keys.
type KeysListCmd struct {
	All bool `help:"Withdrawn keys too."`
}

// Run lists the keys.
func (l *KeysListCmd) Run(app *App, c *KeysCmd) error {
	cl, err := c.client(app)
	if err != nil {
		return err
	}
	keys, err := cl.Keys(app.Context)
	if err != nil {
		return c.keysError(err)
	}
	shown := api.Keys{Keys: []api.Key{}}
	for _, k := range keys.Keys {
		if l.All || k.State != "withdrawn" {
			shown.Keys = append(shown.Keys, k)
		}
	}
	if app.JSON {
		return app.printJSON(shown)
	}
	rows := [][]string{{"KID", "ALGORITHM", "STATE", ""}}
	for _, k := range shown.Keys {
		rows = append(rows, []string{plain(k.KeyID), plain(k.Algorithm), plain(k.State), plain(standing(k))})
	}
	return table(app.Stdout, "", rows)
}

func standing(k api.Key) string {
	switch {
	case k.State == "announced" && k.ActiveAt != nil:
		return "signs from " + utc(*k.ActiveAt)
	case k.State == "active" && k.ActiveAt != nil:
		return "signs since " + utc(*k.ActiveAt)
	case k.State == "retiring" && k.GoneAt != nil:
		return "published until " + utc(*k.GoneAt)
	case k.State == "withdrawn" && k.GoneAt != nil && k.Emergency != "":
		return "EMERGENCY at " + utc(*k.GoneAt) + ": " + k.Emergency
	case k.State == "withdrawn" && k.GoneAt != nil:
		return "since " + utc(*k.GoneAt)
	}
	return ""
}

// KeysRotateCmd rotates a key.
type KeysRotateCmd struct {
	KeyID     string `arg:"" optional:"" name:"kid" help:"Key to replace; default: the active one."`
	Algorithm string `help:"Algorithm whose active key to replace, where the issuer has several." placeholder:"ALG"`
	Now       bool   `help:"The successor that is announced takes over now; refused unless that is safe."`
}

// Run rotates the key.
func (r *KeysRotateCmd) Run(app *App, c *KeysCmd) error {
	cl, err := c.client(app)
	if err != nil {
		return err
	}
	if r.KeyID != "" && r.Algorithm != "" {
		return usage(errors.New("kid, --algorithm: one of them says which key it is"))
	}
	if r.KeyID == "" {
		keys, err := cl.Keys(app.Context)
		if err != nil {
			return c.keysError(err)
		}
		var active []string
		for _, k := range keys.Keys {
			if k.State == "active" && (r.Algorithm == "" || r.Algorithm == k.Algorithm) {
				active = append(active, k.KeyID)
			}
		}
		switch {
		case len(active) == 0:
			return failed(errors.New("no such active key"), "sessiongate keys list shows where each key stands")
		case len(active) > 1:
			return usage(errors.New("the issuer has several active keys: name one, or --algorithm"))
		}
		r.KeyID = active[0]
	}
	k, err := cl.Rotate(app.Context, r.KeyID, api.RotateBody{Immediately: r.Now})
	if err != nil {
		return c.keysError(err)
	}
	if app.JSON {
		return app.printJSON(k)
	}
	return app.print("%s is %s and %s\n", plain(k.KeyID), plain(k.State), plain(standing(k)))
}

// KeysWithdrawCmd withdraws a key.
type KeysWithdrawCmd struct {
	KeyID     string `arg:"" name:"kid" help:"Key to withdraw."`
	Emergency bool   `help:"Withdraw it now, whatever that breaks: its tokens are refused before they have run out. For a key in other hands."`
	Reason    string `help:"Why, with --emergency; it is logged and kept with the key." placeholder:"TEXT"`
}

// Run withdraws the key.
func (w *KeysWithdrawCmd) Run(app *App, c *KeysCmd) error {
	cl, err := c.client(app)
	if err != nil {
		return err
	}
	if w.Emergency != (w.Reason != "") {
		return usage(errors.New("--emergency, --reason: they go together"))
	}
	out, err := cl.Withdraw(app.Context, w.KeyID, api.WithdrawBody{Emergency: w.Emergency, Reason: w.Reason})
	if err != nil {
		return c.keysError(err)
	}
	if w.Emergency {
		if out.Forgotten != nil {
			app.warn("tokens of %s are refused from now on; verifiers with an older key set accept them until %s", w.KeyID, utc(*out.Forgotten))
		}
		if out.Active != nil && out.Known != nil {
			app.warn("%s signs now; verifiers that do not look for unknown keys may refuse its tokens until %s", plain(out.Active.KeyID), utc(*out.Known))
		}
	}
	if app.JSON {
		return app.printJSON(out)
	}
	return app.print("%s is withdrawn\n", plain(out.Key.KeyID))
}
