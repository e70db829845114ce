package matrix

import (
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"sessiongate/verdict"
)

// book collects rows.
type book struct {
	k     *keyring
	stage string
	rows  []Row
}

// rows are all rows. Tokens are made for half an hour.
func (r *Rig) rows() []Row {
	b := &book{k: r.keys, stage: Main}
	b.goodTokens()
	b.rules()
	b.sources()
	b.badTokens()
	b.badRequests()
	b.spoofing()
	b.sizes()
	b.paths()
	b.protocols()
	b.browsers()
	b.stage = Other
	b.other()
	b.stage = Broken
	b.broken()
	return b.rows
}

// add adds a row of one request.
func (b *book) add(name string, ask Ask, needs ...Need) { b.sequence(name, []Ask{ask}, needs...) }

// sequence adds a row of requests on one connection.
func (b *book) sequence(name string, asks []Ask, needs ...Need) {
	reasonless := false
	for i := range asks {
		ask := &asks[i]
		if ask.Request.H2 && (i == 0) {
			needs = append(needs, H2)
		}
		if ask.Request.Method == http.MethodHead || ask.Want.Status == http.StatusSeeOther {
			reasonless = true
		}
		if b.stage == Other && !ask.Want.Admitted {
			ask.Want.asOry(ask.Request.Method)
			reasonless = true // what Kratos calls a refusal is not the Reason
		}
	}
	for i := range b.rows {
		if b.rows[i].Name == name {
			panic("two rows are called " + name)
		}
	}
	b.rows = append(b.rows, Row{Name: name, Stage: b.stage, Needs: needs, Asks: asks, Reasonless: reasonless})
}

func request(method, path string, header ...string) Request {
	return Request{Method: method, Path: path, Host: "app.example", Header: header}
}

func get(path string, header ...string) Request { return request(http.MethodGet, path, header...) }

func (r Request) at(host string) Request { r.Host = host; return r }

func (r Request) with(body string, trailer ...string) Request {
	r.Body, r.Trailer = body, trailer
	return r
}

func (r Request) over2() Request { r.H2 = true; return r }

func (r Request) ws() Request { r.WS = true; return r }

// bearer is the header with a token of the issuer own.
func (b *book) bearer(pairs ...any) string {
	return "Authorization: Bearer " + b.k.mint(token{claims: members(pairs)})
}

func (b *book) bearerOf(t token) string { return "Authorization: Bearer " + b.k.mint(t) }

func members(pairs []any) object {
	m := object{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	return m
}

// user1 is what the upstream is told of an ordinary token.
var user1 = map[string]string{"x-user-id": "user_1", "x-session-id": "ses_1"}

// plus is user1 and more, or less where a value is empty.
func plus(pairs ...string) map[string]string {
	m := maps.Clone(user1)
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

// passes wants the request to reach the upstream as it was sent, with who for identity
// headers and none of the client's.
func (r Request) passes(who map[string]string) Ask {
	c := Cell{Admitted: true, Status: http.StatusOK, Body: upstreamBody, Method: r.Method, Path: r.Path, Sent: told(r.Body), Upstream: map[string]string{}}
	for prefix, lines := range map[string][]string{"": r.Header, "trailer ": r.Trailer} {
		for _, line := range lines {
			name, value, _ := strings.Cut(line, ":")
			name = strings.ToLower(name)
			if ignored(name) || identity[strings.ReplaceAll(name, "_", "-")] != nil {
				continue
			}
			value = strings.TrimSpace(value)
			if old := c.Upstream[prefix+name]; old != "" {
				value = join(name, []string{old, value})
			}
			c.Upstream[prefix+name] = value
		}
	}
	for name, value := range who {
		if value != "" {
			c.Upstream[name] = value
		}
	}
	switch {
	case r.Method == http.MethodHead:
		c.Body = ""
	case r.WS:
		c.Status, c.Body = http.StatusSwitchingProtocols, wsMessage
	}
	return Ask{r, c}
}

// sees wants the upstream to see another path, or other headers, given in pairs.
func (a Ask) sees(path string, pairs ...string) Ask {
	a.Want.Path, a.Want.Upstream = path, maps.Clone(a.Want.Upstream)
	for i := 0; i+1 < len(pairs); i += 2 {
		a.Want.Upstream[pairs[i]] = pairs[i+1]
		if pairs[i+1] == "" {
			delete(a.Want.Upstream, pairs[i])
		}
	}
	return a
}

// refused wants an answer without the upstream. more goes behind the challenge.
func (r Request) refused(reason verdict.Reason, more ...string) Ask {
	status := reason.Status()
	c := Cell{Reason: reason.String(), Status: status, Header: map[string]string{"content-type": "application/problem+json"}}
	if challenge := challenge(reason); challenge != "" {
		c.Header["www-authenticate"] = challenge + strings.Join(more, "")
	}
	if status == http.StatusServiceUnavailable {
		c.Header["retry-after"] = "5"
	}
	if r.Method != http.MethodHead {
		c.Body = fmt.Sprintf(`{"type":"about:blank","title":"%s","status":%d,"detail":"%s","code":"%s"}`+"\n", http.StatusText(status), status, reason.Text(), reason.String())
	}
	for _, line := range r.Header {
		name, value, _ := strings.Cut(line, ": ")
		if strings.EqualFold(name, "content-type") && strings.HasPrefix(value, "application/grpc") {
			kind, _, _ := strings.Cut(value, "+")
			code := map[int]int{400: 3, 401: 16, 403: 7, 503: 14}[status]
			c.Status, c.Body, c.Header = http.StatusOK, "", map[string]string{"content-type": kind, "grpc-status": strconv.Itoa(code)}
		}
	}
	return Ask{r, c}
}

// challenge is the value of WWW-Authenticate for a Reason.
func challenge(reason verdict.Reason) string {
	code := map[int]string{400: "invalid_request", 401: "invalid_token"}[reason.Status()]
	switch reason {
	case verdict.MissingToken:
		return `Bearer realm="sessiongate"`
	case verdict.Permission, verdict.Tenant, verdict.SessionType:
		code = "insufficient_scope"
	case verdict.Assurance, verdict.AuthenticationAge:
		code = "insufficient_user_authentication"
	}
	if code == "" {
		return ""
	}
	return fmt.Sprintf(`Bearer realm="sessiongate", error="%s"`, code)
}

// asOry turns the cell of a refusal into what the stage "other" answers: as Kratos
// does, with another realm.
func (c *Cell) asOry(method string) {
	if c.Header["content-type"] != "application/problem+json" {
		return // a redirect
	}
	c.Header["content-type"] = "application/json"
	if w := c.Header["www-authenticate"]; w != "" {
		c.Header["www-authenticate"] = strings.Replace(w, `"sessiongate"`, `"other"`, 1)
	}
	detail := ""
	for _, r := range verdict.Reasons() {
		if r.String() == c.Reason {
			detail = r.Text()
		}
	}
	const signIn = "https://app.example/sign-in"
	id, message, more, outer := c.Reason, http.StatusText(c.Status), "", ""
	switch {
	case c.Reason == verdict.Assurance.String():
		id, c.Status = "session_aal2_required", http.StatusForbidden
		message = "Session does not fulfill the requested Authenticator Assurance Level"
		detail = "An active session was found but it does not fulfill the requested Authenticator Assurance Level. Please verify yourself with a second factor to resolve this issue."
		outer = fmt.Sprintf(`"redirect_browser_to":"%s?aal=aal2"`, signIn)
	case c.Reason == verdict.AuthenticationAge.String():
		id, c.Status = "session_refresh_required", http.StatusForbidden
		message, detail = "The login session is too old", "The last authentication is too long ago. Please sign in again."
		outer = fmt.Sprintf(`"redirect_browser_to":"%s?refresh=true"`, signIn)
	case c.Status == http.StatusUnauthorized:
		id, message, detail = "session_inactive", "The request could not be authorized", "No active session was found in this request."
	}
	if outer != "" {
		more, outer = `,"details":{`+outer+`}`, ","+outer
	}
	if method != http.MethodHead {
		c.Body = fmt.Sprintf(`{"error":{"id":"%s","code":%d,"status":"%s","reason":"%s"%s,"message":"%s"}%s}`+"\n",
			id, c.Status, http.StatusText(c.Status), detail, more, message, outer)
	}
}
