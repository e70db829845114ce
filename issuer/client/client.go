// Package client calls the issuer's admin API.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sessiongate/issuer/api"
)

// Client calls one admin listener with one API key. It is safe for concurrent use.
type Client struct {
	base string
	key  string
	http *http.Client
}

// New returns a client of the admin listener at base, such as
// "http://127.0.0.1:8081".
func New(base, apiKey string) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("admin URL %q must be such as http://127.0.0.1:8081", base)
	}
	if apiKey == "" {
		return nil, errors.New("an API key is required")
	}
	return &Client{strings.TrimSuffix(base, "/"), apiKey, &http.Client{
		Timeout: 15 * time.Second,
		// The key goes to the address that was given, and to no other.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Error is a refusal by the issuer.
type Error struct{ api.Problem }

// Error says what was refused and why, one field a line.
func (e *Error) Error() string {
	if len(e.Errors) > 1 {
		lines := make([]string, len(e.Errors))
		for i, f := range e.Errors {
			lines[i] = f.Field + ": " + f.Detail
		}
		return strings.Join(lines, "\n")
	}
	if e.Detail == "" {
		return fmt.Sprintf("the issuer answered %d %s", e.Status, e.Title)
	}
	return e.Detail
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 8 << 20

func (c *Client) do(ctx context.Context, method, path string, body, into any) error {
	var reader io.Reader
	if body != nil {
		doc, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(doc)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+"/admin/v1"+path, reader)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	doc, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		e := &Error{}
		if json.Unmarshal(doc, &e.Problem) != nil || e.Code == "" {
			e.Problem = api.Problem{Title: http.StatusText(resp.StatusCode)}
		}
		e.Status = resp.StatusCode
		return e
	}
	if into == nil || resp.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.Unmarshal(doc, into); err != nil {
		return fmt.Errorf("%s answered no JSON that is understood: %w", c.base, err)
	}
	return nil
}

func call[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	var out T
	err := c.do(ctx, method, path, body, &out)
	return out, err
}

// PutUser writes a user.
func (c *Client) PutUser(ctx context.Context, id string, b api.UserBody) (api.User, error) {
	return call[api.User](ctx, c, "PUT", "/users/"+url.PathEscape(id), b)
}

// CreateSession starts a session.
func (c *Client) CreateSession(ctx context.Context, b api.SessionBody) (api.NewSession, error) {
	return call[api.NewSession](ctx, c, "POST", "/sessions", b)
}

// Session returns a session.
func (c *Client) Session(ctx context.Context, id string) (api.Session, error) {
	return call[api.Session](ctx, c, "GET", "/sessions/"+url.PathEscape(id), nil)
}

// Sessions lists a user's sessions, or all if userID is empty.
func (c *Client) Sessions(ctx context.Context, userID string, limit, offset int) (api.Sessions, error) {
	q := url.Values{"limit": {strconv.Itoa(limit)}, "offset": {strconv.Itoa(offset)}}
	if userID != "" {
		q.Set("user_id", userID)
	}
	return call[api.Sessions](ctx, c, "GET", "/sessions?"+q.Encode(), nil)
}

// AddMethods steps a session up.
func (c *Client) AddMethods(ctx context.Context, id string, b api.MethodsBody) (api.Session, error) {
	return call[api.Session](ctx, c, "POST", "/sessions/"+url.PathEscape(id)+"/methods", b)
}

// EndSession ends a session.
func (c *Client) EndSession(ctx context.Context, id string) (api.Session, error) {
	return call[api.Session](ctx, c, "POST", "/sessions/"+url.PathEscape(id)+"/end", nil)
}

// RevokeSession revokes a session.
func (c *Client) RevokeSession(ctx context.Context, id string) error {
	return c.do(ctx, "DELETE", "/sessions/"+url.PathEscape(id), nil, nil)
}

// Mint signs a token for a session.
func (c *Client) Mint(ctx context.Context, sessionID string, b api.TokenBody) (api.Token, error) {
	return call[api.Token](ctx, c, "POST", "/sessions/"+url.PathEscape(sessionID)+"/tokens", b)
}

// Introspect asks what the issuer says of a token.
func (c *Client) Introspect(ctx context.Context, token string) (api.Introspection, error) {
	return call[api.Introspection](ctx, c, "POST", "/introspect", api.IntrospectBody{Token: token})
}

// Keys lists the signing keys.
func (c *Client) Keys(ctx context.Context) (api.Keys, error) {
	return call[api.Keys](ctx, c, "GET", "/keys", nil)
}

// Announce publishes a successor.
func (c *Client) Announce(ctx context.Context, b api.KeyBody) (api.Key, error) {
	return call[api.Key](ctx, c, "POST", "/keys", b)
}

// Rotate replaces a key; it answers the successor.
func (c *Client) Rotate(ctx context.Context, kid string, b api.RotateBody) (api.Key, error) {
	return call[api.Key](ctx, c, "POST", "/keys/"+url.PathEscape(kid)+"/rotate", b)
}

// Withdraw takes a key out of the key set.
func (c *Client) Withdraw(ctx context.Context, kid string, b api.WithdrawBody) (api.Withdrawal, error) {
	return call[api.Withdrawal](ctx, c, "POST", "/keys/"+url.PathEscape(kid)+"/withdraw", b)
}

// CreateAPIKey makes an API key.
func (c *Client) CreateAPIKey(ctx context.Context, b api.APIKeyBody) (api.NewAPIKey, error) {
	return call[api.NewAPIKey](ctx, c, "POST", "/api-keys", b)
}

// APIKeys lists the API keys.
func (c *Client) APIKeys(ctx context.Context) (api.APIKeys, error) {
	return call[api.APIKeys](ctx, c, "GET", "/api-keys", nil)
}

// RevokeAPIKey revokes an API key.
func (c *Client) RevokeAPIKey(ctx context.Context, id string) error {
	return c.do(ctx, "DELETE", "/api-keys/"+url.PathEscape(id), nil, nil)
}
