package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"sessiongate/issuer/api"
	"sessiongate/verdict"
)

// What the upstream should see of the demo's user.
var adaIdentity = map[string]string{"x-user-id": "user_ada", "x-user-roles": "owner,editor", "x-user-tenant": "org_engines"}

// sawIdentity picks identity headers out of a request's, in any spelling.
func sawIdentity(h http.Header) map[string]string {
	saw := map[string]string{}
	for name, values := range h {
		plain := strings.ReplaceAll(strings.ToLower(name), "_", "-")
		if demoIdentity[plain] == nil {
			continue
		}
		value := strings.Join(values, " and ")
		if other, ok := saw[plain]; ok {
			value = other + " and " + value
		}
		saw[plain] = value
	}
	return saw
}

// requests shows what passes and what does not.
func (d *demo) requests(ctx context.Context, token string) error {
	d.heading("Requests through the gateway, and the identity headers that the upstream saw (→)")
	// Its second runs out, leeway included, while the others are shown.
	second := int64(1)
	expired, err := d.admin.mint(ctx, api.TokenBody{TTL: &second})
	if err != nil {
		return err
	}
	runsOut := time.Now().Add(time.Duration(second+demoSkew)*time.Second + 100*time.Millisecond)
	elsewhere, err := d.admin.mint(ctx, api.TokenBody{Audience: []string{"another-service"}})
	if err != nil {
		return err
	}
	tampered, err := withSubject(token, "user_root")
	if err != nil {
		return err
	}
	spoofed := []string{"X-User-Id", "user_root", "x_user_id", "user_root", "X-USER-ROLES", "god"}
	for _, r := range []struct {
		name, path, token string
		headers           []string
		want              wanted
	}{
		{"the session's token", "/orders", token, nil, wanted{200, verdict.None, adaIdentity}},
		{"no token", "/orders", "", nil, wanted{401, verdict.MissingToken, nil}},
		{"tampered: sub is user_root", "/orders", tampered, nil, wanted{401, verdict.BadSignature, nil}},
		{"for another audience", "/orders", elsewhere, nil, wanted{401, verdict.WrongAudience, nil}},
		{"alg: none, no signature", "/orders", withoutSignature(token), nil, wanted{401, verdict.AlgorithmNotAllowed, nil}},
		{"token + X-User-Id: user_root", "/orders", token, spoofed, wanted{200, verdict.None, adaIdentity}},
		{"X-User-Id alone, public path", "/public", "", spoofed, wanted{200, verdict.None, map[string]string{}}},
		{"expired", "/orders", expired, nil, wanted{401, verdict.Expired, nil}},
	} {
		if r.name == "expired" {
			if d.live {
				d.progress("waiting for a token of one second to run out")
			}
			if err := d.pause(ctx, time.Until(runsOut)); err != nil {
				return err
			}
			d.progressDone()
		}
		if err := d.show(ctx, r.name, r.path, r.token, r.headers, r.want); err != nil {
			return err
		}
	}
	return nil
}

// show makes one request and holds it against what was wanted.
func (d *demo) show(ctx context.Context, name, path, token string, headers []string, want wanted) error {
	got, err := d.ask(ctx, path, token, headers)
	if err != nil {
		return err
	}
	r := demoRequest{Name: name, Status: got.status, Reason: got.reason, Upstream: got.identity}
	reason := ""
	if want.reason != verdict.None {
		reason = want.reason.String()
	}
	r.OK = d.expect(got.status == want.status && got.reason == reason, "%s: got %d %s, want %d %s", name, got.status, got.reason, want.status, reason)
	if want.identity != nil {
		r.OK = d.expect(maps.Equal(got.identity, want.identity), "%s: the upstream saw %v, want %v", name, got.identity, want.identity) && r.OK
	}
	d.report.Requests = append(d.report.Requests, r)
	verdict := got.reason
	if got.status == http.StatusOK {
		verdict = "passed"
	}
	mark := ""
	if !r.OK {
		mark = "   NOT AS IT SHOULD BE"
	}
	d.say("  %-30s  %d  %s%s\n", name, got.status, verdict, mark)
	if got.identity != nil {
		d.say("    → %s\n", identityText(got.identity))
	}
	return nil
}

func identityText(identity map[string]string) string {
	if len(identity) == 0 {
		return "none"
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(identity)) {
		parts = append(parts, name+": "+identity[name])
	}
	return strings.Join(parts, "  ")
}

// answer is what came back: from the upstream, or the gateway's refusal.
type answer struct {
	status   int
	reason   string
	identity map[string]string
}

func (d *demo) ask(ctx context.Context, path, token string, headers []string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.gateway+path, nil)
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header[headers[i]] = []string{headers[i+1]} // in just this spelling
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return answer{}, err
	}
	a := answer{status: resp.StatusCode}
	if resp.StatusCode == http.StatusOK {
		a.identity = map[string]string{}
		return a, json.Unmarshal(body, &a.identity)
	}
	var refusal struct {
		Code string `json:"code"`
	}
	_ = json.Unmarshal(body, &refusal) // what is no refusal of ours has no Reason
	a.reason = refusal.Code
	return a, nil
}

// withSubject changes a claim of a token and leaves its signature.
func withSubject(token, subject string) (string, error) {
	parts := strings.Split(token, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	claims["sub"] = subject
	if payload, err = json.Marshal(claims); err != nil {
		return "", err
	}
	parts[1] = base64.RawURLEncoding.EncodeToString(payload)
	return strings.Join(parts, "."), nil
}

// withoutSignature makes an unsecured JWS of a token (RFC 7515 appendix A.5).
func withoutSignature(token string) string {
	parts := strings.Split(token, ".")
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt"}`)) + "." + parts[1] + "."
}

// keyOf is the kid in a token's header.
func keyOf(token string) string {
	var header struct {
		KeyID string `json:"kid"`
	}
	if b, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0]); err == nil {
		_ = json.Unmarshal(b, &header) // shown, and no more
	}
	return header.KeyID
}
