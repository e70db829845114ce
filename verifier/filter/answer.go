package filter

import (
	"strconv"
	"strings"

	"sessiongate/internal/strict"
	"sessiongate/verdict"
	"sessiongate/verifier/policy"
)

// answer is a local answer. They are all made once: a refusal costs no memory.
type answer struct {
	status int
	fields []verdict.Field
	body   []byte
	signIn string // where a browser's navigation goes instead, up to the way back; "" if nowhere
}

// retryAfter, in seconds, goes with every 503: what is missing then arrives beside
// the requests and is asked for within seconds.
const retryAfter = "5"

// maxReturn bounds the URL to come back to; a longer one is replaced by the
// origin's root, since servers limit the length of a Location.
const maxReturn = 2048

// refuse answers a request that does not go on.
func (f *Filter) refuse(req *Request, reason verdict.Reason) {
	d := &f.decision
	d.Reason = reason
	if name := req.grpcType(); name != "" {
		d.Status, d.Headers = 200, f.grpc[reason]
		if name != grpcName {
			f.set = append(f.set[:0], d.Headers...)
			f.set[0].Value = name
			d.Headers = f.set
		}
		return
	}
	a := &f.answers[reason]
	if f.rule >= 0 && reason == verdict.Assurance {
		a = &f.stepUps[2*f.rule]
	} else if f.rule >= 0 && reason == verdict.AuthenticationAge {
		a = &f.stepUps[2*f.rule+1]
	}
	if a.status == 401 && a.signIn != "" && req.navigation() && !f.atSignIn() {
		f.redirect(a.signIn)
		return
	}
	d.Status, d.Headers = a.status, a.fields
	if req.Method != "HEAD" {
		d.Body = a.body
	}
}

// atSignIn reports whether the request is for the sign-in page itself, behind this
// very filter: sending the browser there would never end.
func (f *Filter) atSignIn() bool { return f.signInPath != "" && f.signInPath == f.target.judged }

// pathUnder is a URL's path, in its one spelling, if the URL is of the origin, else
// "". A URL without a path is that of the root.
func pathUnder(origin, target string) string {
	target, _, _ = strings.Cut(target, "?")
	n := len(origin)
	if n == 0 || len(target) < n || !equalFold(target[:n], origin) {
		return ""
	}
	if target = target[n:]; target == "" {
		return "/"
	}
	path, ok := policy.NormalPath(nil, target) // false too for what continues the host's name or its port
	if !ok {
		return ""
	}
	return string(path)
}

// redirect sends a browser to the sign-in page with the way back, which is made of
// the public origin: what the request says about its host is anyone's invention.
func (f *Filter) redirect(signIn string) {
	query := f.queryWithoutToken()
	f.buf = append(append(append(f.buf[:0], f.policy.PublicOrigin...), f.target.path...), query...)
	if len(f.buf) > maxReturn {
		f.buf = append(append(f.buf[:0], f.policy.PublicOrigin...), '/')
	}
	f.other = appendParameter(append(f.other[:0], signIn...), f.buf)
	f.set = append(f.set[:0], verdict.Field{Name: "location", Value: string(f.other)}, noStore)
	f.decision.Status, f.decision.Headers = 303, f.set
}

// appendParameter appends a query parameter's value.
func appendParameter[T string | []byte](dst []byte, value T) []byte {
	for i := 0; i < len(value); i++ {
		c := value[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

var noStore = verdict.Field{Name: "cache-control", Value: "no-store"}

const grpcName = "application/grpc"

// prepareAnswers makes the answers that Decide gives.
func (f *Filter) prepareAnswers() {
	reasons := verdict.Reasons()
	f.answers = make([]answer, len(reasons)+1)
	f.grpc = make([][]verdict.Field, len(reasons)+1)
	for _, r := range reasons {
		f.answers[r] = f.answer(r, nil)
		f.grpc[r] = grpcAnswer(r, f.status(r))
	}
	f.stepUps = make([]answer, 0, 2*len(f.policy.Rules))
	for i := range f.policy.Rules {
		rule := &f.policy.Rules[i]
		f.stepUps = append(f.stepUps, f.answer(verdict.Assurance, rule), f.answer(verdict.AuthenticationAge, rule))
	}
	if s := f.policy.SignIn; s != nil {
		f.signInPath = pathUnder(f.policy.PublicOrigin, s.URL)
	}
}

// signIn is the sign-in URL up to the value of return_to. For a step-up it also
// says what the rule asks for, in the words of an authentication request: a page
// that finds the browser signed in would otherwise send it straight back.
func (f *Filter) signIn(rule *policy.Rule) string {
	s := f.policy.SignIn
	if s == nil {
		return ""
	}
	url := []byte(s.URL + joint(s.URL))
	if rule != nil && rule.Assurance != "" {
		url = append(appendParameter(append(url, "acr_values="...), rule.Assurance), '&')
	}
	if rule != nil && rule.AuthenticationAge != 0 {
		url = append(strconv.AppendInt(append(url, "max_age="...), rule.AuthenticationAge/1000, 10), '&')
	}
	return string(url) + s.ReturnTo + "="
}

// joint is what stands between a URL and one more parameter.
func joint(url string) string {
	switch {
	case strings.IndexByte(url, '?') < 0:
		return "?"
	case strings.HasSuffix(url, "?"), strings.HasSuffix(url, "&"):
		return ""
	}
	return "&"
}

// status is the HTTP status for a Reason under the policy's response profile.
func (f *Filter) status(r verdict.Reason) int {
	if f.policy.Ory && (r == verdict.Assurance || r == verdict.AuthenticationAge) {
		return 403
	}
	return r.Status()
}

// answer makes the answer for a Reason; the rule says what a step-up asks for.
func (f *Filter) answer(r verdict.Reason, rule *policy.Rule) answer {
	a := answer{status: f.status(r), signIn: f.signIn(rule)}
	kind := "application/problem+json"
	if f.policy.Ory {
		kind = "application/json"
	}
	a.fields = append(a.fields, verdict.Field{Name: "content-type", Value: kind}, noStore)
	if c := f.challenge(r, rule); c != "" {
		a.fields = append(a.fields, verdict.Field{Name: "www-authenticate", Value: c})
	}
	if a.status == 503 {
		a.fields = append(a.fields, verdict.Field{Name: "retry-after", Value: retryAfter})
	}
	if f.policy.Ory {
		var id string
		a.body, id = f.oryBody(r, a.status, rule)
		a.fields = append(a.fields, verdict.Field{Name: "ory-error-id", Value: id})
	} else {
		a.body = problemBody(r, a.status)
	}
	return a
}

// challenge is the value of WWW-Authenticate (RFC 6750 section 3, RFC 9470 section
// 3), "" if the answer has none.
func (f *Filter) challenge(r verdict.Reason, rule *policy.Rule) string {
	code := ""
	switch r {
	case verdict.MissingToken:
	case verdict.Permission, verdict.Tenant, verdict.SessionType:
		code = "insufficient_scope"
	case verdict.NoRule, verdict.CrossSite:
		return ""
	case verdict.Assurance, verdict.AuthenticationAge:
		code = "insufficient_user_authentication"
	default:
		switch r.Status() {
		case 400:
			code = "invalid_request"
		case 401:
			code = "invalid_token"
		default:
			return ""
		}
	}
	b := appendQuoted([]byte("Bearer realm="), f.policy.Realm)
	if code != "" {
		b = appendQuoted(append(b, ", error="...), code)
	}
	// Both of the rule's wishes, whichever was not met: one sign-in then meets both.
	if rule != nil && rule.Assurance != "" {
		b = appendQuoted(append(b, ", acr_values="...), rule.Assurance)
	}
	if rule != nil && rule.AuthenticationAge != 0 {
		b = appendQuoted(append(b, ", max_age="...), strconv.FormatInt(rule.AuthenticationAge/1000, 10))
	}
	return string(b)
}

// appendQuoted appends a quoted-string (RFC 9110 section 5.6.4).
func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

var titles = map[int]string{400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 503: "Service Unavailable"}

// problemBody is a problem details object (RFC 9457) with the Reason as code.
func problemBody(r verdict.Reason, status int) []byte {
	b := strict.AppendQuote([]byte(`{"type":"about:blank","title":`), titles[status])
	b = strconv.AppendInt(append(b, `,"status":`...), int64(status), 10)
	b = strict.AppendQuote(append(b, `,"detail":`...), r.Text())
	b = strict.AppendQuote(append(b, `,"code":`...), r.String())
	return append(b, "}\n"...)
}

// oryBody is an error as Ory Kratos writes it, and its id: that of Kratos where
// Kratos has one for the case, else the Reason's name.
func (f *Filter) oryBody(r verdict.Reason, status int, rule *policy.Rule) (body []byte, id string) {
	id, message, why, target := r.String(), titles[status], r.Text(), ""
	switch {
	case r == verdict.Assurance:
		id = "session_aal2_required"
		message = "Session does not fulfill the requested Authenticator Assurance Level"
		why = "An active session was found but it does not fulfill the requested Authenticator Assurance Level. " +
			"Please verify yourself with a second factor to resolve this issue."
		if rule != nil {
			target = f.loginURL("aal", rule.Assurance)
		}
	case r == verdict.AuthenticationAge:
		id = "session_refresh_required"
		message = "The login session is too old"
		why = "The last authentication is too long ago. Please sign in again."
		target = f.loginURL("refresh", "true")
	case status == 401:
		id = "session_inactive"
		message = "The request could not be authorized"
		why = "No active session was found in this request."
	}
	b := strict.AppendQuote([]byte(`{"error":{"id":`), id)
	b = strconv.AppendInt(append(b, `,"code":`...), int64(status), 10)
	b = strict.AppendQuote(append(b, `,"status":`...), titles[status])
	b = strict.AppendQuote(append(b, `,"reason":`...), why)
	if target != "" {
		b = strict.AppendQuote(append(b, `,"details":{"redirect_browser_to":`...), target)
		b = append(b, '}')
	}
	b = strict.AppendQuote(append(b, `,"message":`...), message)
	b = append(b, '}')
	if target != "" {
		b = strict.AppendQuote(append(b, `,"redirect_browser_to":`...), target)
	}
	return append(b, "}\n"...), id
}

// loginURL is where a session is stepped up: the policy's sign-in page, or the one
// that Kratos has under the public origin; "" without either.
func (f *Filter) loginURL(name, value string) string {
	url := f.policy.PublicOrigin
	if url != "" {
		url += "/self-service/login/browser"
	}
	if f.policy.SignIn != nil {
		url = f.policy.SignIn.URL
	}
	if url == "" {
		return ""
	}
	return string(appendParameter([]byte(url+joint(url)+name+"="), value))
}

// grpcAnswer is a trailers-only answer (gRPC over HTTP/2, "Responses").
func grpcAnswer(r verdict.Reason, status int) []verdict.Field {
	code := map[int]string{400: "3", 401: "16", 403: "7", 503: "14"}[status]
	return []verdict.Field{
		{Name: "content-type", Value: grpcName}, // first: see refuse
		{Name: "grpc-status", Value: code},
		{Name: "grpc-message", Value: r.Error()}, // printable ASCII without "%": needs no encoding
		noStore,
	}
}
