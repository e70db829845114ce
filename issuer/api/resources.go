package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"sessiongate/issuer"
	"sessiongate/issuer/keyring"
	"sessiongate/issuer/store"
)

func (a *admin) putUser(w http.ResponseWriter, r *http.Request) error {
	var b UserBody
	if err := read(w, r, &b); err != nil {
		return err
	}
	u, created, err := a.iss.PutUser(r.Context(), store.User{
		ID: r.PathValue("id"), Traits: b.Traits, PublicMetadata: b.PublicMetadata, Credentials: b.Credentials,
		Organizations: b.Organizations, Roles: b.Roles, Permissions: b.Permissions,
	})
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	write(w, status, user(u))
	return nil
}

func (a *admin) getUser(w http.ResponseWriter, r *http.Request) error {
	u, err := a.iss.User(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	write(w, http.StatusOK, user(u))
	return nil
}

func user(u store.User) User {
	return User{ID: u.ID, Traits: u.Traits, PublicMetadata: u.PublicMetadata, Credentials: list(u.Credentials), Organizations: list(u.Organizations),
		Roles: list(u.Roles), Permissions: list(u.Permissions), CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt}
}

// list is an array in JSON, even without entries.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func (a *admin) createSession(w http.ResponseWriter, r *http.Request) error {
	var b SessionBody
	if err := read(w, r, &b); err != nil {
		return err
	}
	ttl, err := lifetime(b.TTL)
	if err != nil {
		return err
	}
	n := issuer.NewSession{UserID: b.UserID, ClientID: b.ClientID, TenantID: b.TenantID, Type: b.Type, Methods: methodsOf(b.Methods), Device: b.Device, TTL: ttl}
	if b.Actor != nil {
		if b.Actor.Sub == "" {
			return issuer.Faults{{Field: "actor.sub", Problem: "must not be empty"}}
		}
		n.Actor = b.Actor.Sub
	}
	s, credential, err := a.iss.CreateSession(r.Context(), n)
	if err != nil {
		return err
	}
	write(w, http.StatusCreated, NewSession{Session: a.session(s), SessionToken: credential, SetCookie: a.iss.Cookie(s, credential)})
	return nil
}

func methodsOf(bodies []MethodBody) []store.Method {
	var out []store.Method
	for _, b := range bodies {
		m := store.Method{Method: b.Method, AAL: b.AAL}
		if b.CompletedAt != nil {
			m.CompletedAt = *b.CompletedAt
		}
		out = append(out, m)
	}
	return out
}

func (a *admin) session(s store.Session) Session {
	out := Session{
		ID: s.ID, UserID: s.UserID, ClientID: s.ClientID, TenantID: s.TenantID, Type: s.Type, Status: a.iss.StatusAt(s),
		Assurance: issuer.Assurance(s.Methods), Methods: list(s.Methods), Device: s.Device, CreatedAt: s.CreatedAt, ExpiresAt: s.ExpiresAt,
		LastActiveAt: s.LastActiveAt, AuthenticatedAt: optional(s.AuthenticatedAt), EndedAt: optional(s.EndedAt),
	}
	if s.Actor != "" {
		out.Actor = &Actor{s.Actor}
	}
	return out
}

// listSessions takes user_id, limit (1 to 500, default 100) and offset.
func (a *admin) listSessions(w http.ResponseWriter, r *http.Request) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return issuer.Faults{{Problem: "the query is malformed"}}
	}
	f := store.SessionFilter{Limit: 100}
	var faults issuer.Faults
	number := func(name, text string, least, most int) int {
		n, err := strconv.Atoi(text)
		if err != nil || n < least || n > most {
			faults.Add(name, "must be a whole number, %d to %d", least, most)
		}
		return n
	}
	for name, values := range query {
		switch {
		case len(values) != 1:
			faults.Add(name, "is there twice")
		case name == "user_id":
			f.UserID = values[0]
		case name == "limit":
			f.Limit = number(name, values[0], 1, 500)
		case name == "offset":
			f.Offset = number(name, values[0], 0, 1<<31-1)
		default:
			faults.Add(name, "unknown; known are user_id, limit, offset")
		}
	}
	if err := faults.Err(); err != nil {
		return err
	}
	found, err := a.iss.Sessions(r.Context(), f)
	if err != nil {
		return err
	}
	out := Sessions{Sessions: []Session{}}
	for _, s := range found {
		out.Sessions = append(out.Sessions, a.session(s))
	}
	write(w, http.StatusOK, out)
	return nil
}

func (a *admin) getSession(w http.ResponseWriter, r *http.Request) error {
	return a.showSession(w)(a.iss.Session(r.Context(), r.PathValue("id")))
}

func (a *admin) showSession(w http.ResponseWriter) func(store.Session, error) error {
	return func(s store.Session, err error) error {
		if err == nil {
			write(w, http.StatusOK, a.session(s))
		}
		return err
	}
}

func (a *admin) addMethods(w http.ResponseWriter, r *http.Request) error {
	var b MethodsBody
	if err := read(w, r, &b); err != nil {
		return err
	}
	return a.showSession(w)(a.iss.AddMethods(r.Context(), r.PathValue("id"), methodsOf(b.Methods)))
}

func (a *admin) endSession(w http.ResponseWriter, r *http.Request) error {
	if err := read(w, r, &struct{}{}); err != nil {
		return err
	}
	return a.showSession(w)(a.iss.EndSession(r.Context(), r.PathValue("id"), store.Ended))
}

// revokeSession keeps the session, revoked: what was revoked has to be known as
// long as its tokens live.
func (a *admin) revokeSession(w http.ResponseWriter, r *http.Request) error {
	if _, err := a.iss.EndSession(r.Context(), r.PathValue("id"), store.Revoked); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *admin) mint(w http.ResponseWriter, r *http.Request) error {
	var b TokenBody
	if err := read(w, r, &b); err != nil {
		return err
	}
	req, err := b.request()
	if err != nil {
		return err
	}
	t, err := a.iss.Mint(r.Context(), r.PathValue("id"), req)
	if err != nil {
		return err
	}
	write(w, http.StatusOK, tokenOf(t))
	return nil
}

func (a *admin) introspect(w http.ResponseWriter, r *http.Request) error {
	var b IntrospectBody
	if err := read(w, r, &b); err != nil {
		return err
	}
	if b.Token == "" {
		return issuer.Faults{{Field: "token", Problem: "must not be empty"}}
	}
	v, err := a.iss.Introspect(r.Context(), b.Token)
	if err != nil {
		return err
	}
	if v.Reason.Status() == http.StatusServiceUnavailable {
		return refused(http.StatusServiceUnavailable, v.Reason.String(), v.Reason.Text())
	}
	if v.Reason != 0 {
		write(w, http.StatusOK, Introspection{Reason: v.Reason.String()})
		return nil
	}
	p := v.Principal
	write(w, http.StatusOK, Introspection{Active: true, Issuer: p.Issuer, Subject: p.Subject, Session: p.Session, Type: p.Type, Tenant: p.Tenant,
		Roles: p.Roles, Permissions: p.Permissions, Actor: p.Actor, Assurance: p.Assurance, Party: p.Party, TokenID: p.TokenID,
		AuthenticatedAt: millis(p.AuthenticatedAt), IssuedAt: millis(p.IssuedAt), ExpiresAt: millis(p.ExpiresAt)})
	return nil
}

func millis(ms int64) *time.Time {
	if ms == 0 {
		return nil
	}
	return optional(time.UnixMilli(ms))
}

func (a *admin) listKeys(w http.ResponseWriter, r *http.Request) error {
	out := Keys{Keys: []Key{}}
	for _, k := range a.iss.Keys() {
		out.Keys = append(out.Keys, key(k))
	}
	write(w, http.StatusOK, out)
	return nil
}

func key(k issuer.KeyInfo) Key {
	out := Key{KeyID: k.ID, Algorithm: k.Algorithm, State: k.State.String(), AnnouncedAt: k.AnnouncedAt.UTC(), ActiveAt: optional(k.ActivatedAt),
		RetiredAt: optional(k.RetiredAt), GoneAt: optional(k.WithdrawnAt), Emergency: k.Emergency, JWK: k.Public}
	switch k.State {
	case keyring.Announced:
		out.ActiveAt = optional(k.ActiveAt)
	case keyring.Retiring:
		out.GoneAt = optional(k.GoneAt)
	}
	return out
}

func (a *admin) announce(w http.ResponseWriter, r *http.Request) error {
	var b KeyBody
	if err := read(w, r, &b); err != nil {
		return err
	}
	k, err := a.iss.Announce(r.Context(), b.Algorithm)
	if err != nil {
		return err
	}
	write(w, http.StatusCreated, key(k))
	return nil
}

// rotate answers 202 with the announced successor and the time from which it
// signs, or 200 with the one that signs now.
func (a *admin) rotate(w http.ResponseWriter, r *http.Request) error {
	var b RotateBody
	if err := read(w, r, &b); err != nil {
		return err
	}
	k, err := a.iss.Rotate(r.Context(), r.PathValue("kid"), b.Immediately)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if k.State == keyring.Announced {
		status = http.StatusAccepted
	}
	write(w, status, key(k))
	return nil
}

func (a *admin) withdraw(w http.ResponseWriter, r *http.Request) error {
	var b WithdrawBody
	if err := read(w, r, &b); err != nil {
		return err
	}
	if !b.Emergency {
		if b.Reason != "" {
			return issuer.Faults{{Field: "reason", Problem: fmt.Sprintf("is for an emergency only: set %q too", "emergency")}}
		}
		k, err := a.iss.Withdraw(r.Context(), r.PathValue("kid"))
		if err != nil {
			return err
		}
		write(w, http.StatusOK, Withdrawal{Key: key(k)})
		return nil
	}
	e, err := a.iss.WithdrawNow(r.Context(), r.PathValue("kid"), b.Reason)
	if err != nil {
		return err
	}
	out := Withdrawal{Key: key(e.Withdrawn), Forgotten: optional(e.Forgotten), Known: optional(e.Known)}
	if e.Active.ID != "" {
		active := key(e.Active)
		out.Active = &active
	}
	write(w, http.StatusOK, out)
	return nil
}
