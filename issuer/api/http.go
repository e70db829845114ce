package api

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sort"
	"strings"

	"sessiongate/issuer"
	"sessiongate/issuer/internal/strictjson"
)

// maxBody bounds request bodies.
const maxBody = 128 << 10

// problem is an answer that a handler gives by returning it as an error.
type problem struct{ Problem }

func (p *problem) Error() string { return p.Code + ": " + p.Detail }

func refused(status int, code, detail string) error {
	return &problem{Problem{Status: status, Code: code, Detail: detail}}
}

var statuses = map[issuer.Code]int{
	issuer.NotFound: http.StatusNotFound, issuer.BadAPIKey: http.StatusUnauthorized, issuer.BadSession: http.StatusUnauthorized,
	issuer.TooManyScope: http.StatusForbidden, issuer.NoVerifier: http.StatusServiceUnavailable, issuer.NotDurable: http.StatusInternalServerError,
}

// problemOf turns an error into its answer. What is not meant for the caller is
// "internal" there and goes to the log.
func problemOf(err error, log *slog.Logger, r *http.Request) Problem {
	var p *problem
	var faults issuer.Faults
	var refusal *issuer.Error
	var tooLarge *http.MaxBytesError
	out := Problem{}
	switch {
	case errors.As(err, &p):
		out = p.Problem
	case errors.As(err, &faults):
		out = Problem{Status: http.StatusBadRequest, Code: "invalid_request", Detail: faults[0].Error()}
		for _, f := range faults {
			out.Errors = append(out.Errors, FieldError{f.Field, f.Problem})
		}
	case errors.As(err, &tooLarge):
		out = Problem{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Detail: "the body is over its bound"}
	case errors.As(err, &refusal):
		out = Problem{Status: http.StatusConflict, Code: string(refusal.Code), Detail: refusal.Detail}
		if s, ok := statuses[refusal.Code]; ok {
			out.Status = s
		}
		if !refusal.SafeAt.IsZero() {
			at := refusal.SafeAt.UTC()
			out.SafeAt = &at
		}
	case r.Context().Err() != nil:
		out = Problem{Status: http.StatusServiceUnavailable, Code: "unavailable", Detail: "the request was given up"}
	default:
		log.Error("request failed", "method", r.Method, "route", r.Pattern, "error", err)
		out = Problem{Status: http.StatusInternalServerError, Code: "internal", Detail: "internal error; the issuer's log says more"}
	}
	out.Title = http.StatusText(out.Status)
	return out
}

func writeProblem(w http.ResponseWriter, p Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	write(w, p.Status, p)
}

func write(w http.ResponseWriter, status int, body any) {
	h := w.Header()
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json")
	}
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store") // answers hold credentials, or speak of them
	}
	h.Set("X-Content-Type-Options", "nosniff")
	doc, err := json.Marshal(body)
	if err != nil {
		http.Error(w, "", http.StatusInternalServerError)
		return
	}
	w.WriteHeader(status)
	w.Write(append(doc, '\n'))
}

// read reads a JSON body strictly, whatever its Content-Type says: curl and several
// client libraries say something else. A page of another site gains nothing by it,
// since every call wants a credential that browsers do not send by themselves. An
// empty body counts as {}.
func read(w http.ResponseWriter, r *http.Request, into any) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return err
		}
		return refused(http.StatusBadRequest, "invalid_request", "the body could not be read")
	}
	if len(body) == 0 {
		body = []byte("{}")
	}
	return strictjson.Decode(body, into)
}

// handler answers a request, or returns an error that becomes a problem.
type handler func(w http.ResponseWriter, r *http.Request) error

// methods are the handlers of one path.
type methods map[string]handler

func (m methods) allow() string {
	var names []string
	for name := range m {
		names = append(names, name)
		if name == http.MethodGet {
			names = append(names, http.MethodHead)
		}
	}
	sort.Strings(names)
	return strings.Join(names, ", ")
}

// serve picks the handler of the request's method.
func (m methods) serve(w http.ResponseWriter, r *http.Request) error {
	h, ok := m[r.Method]
	if !ok && r.Method == http.MethodHead {
		h, ok = m[http.MethodGet]
	}
	if !ok {
		w.Header().Set("Allow", m.allow())
		return refused(http.StatusMethodNotAllowed, "method_not_allowed", "allowed here: "+m.allow())
	}
	return h(w, r)
}

func bearer(r *http.Request) string {
	all := r.Header.Values("Authorization")
	if len(all) != 1 {
		return ""
	}
	scheme, token, ok := strings.Cut(all[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
