//go:build conformance

package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"sessiongate/jwks"
)

// engine is a core to judge with.
type engine interface {
	// jwt judges a whole token under one issuer's configuration.
	jwt(c config, token string, now int64) error
	// jws judges header and signature alone.
	jws(c config, token string) error
	// raw checks a signature under the first key of the set.
	raw(c config, message, signature []byte) error
	// jwks counts the usable keys of a set.
	jwks(c config) (int, error)
	close()
}

// config is what one case allows.
type config struct {
	set      string   // the key set's text, "" where secret is set
	secret   []byte   // of a symmetric algorithm
	algs     []string // allowed algorithms
	iss, aud string   // checked unless empty
	leeway   int      // seconds
}

// policy is the configuration as the document that any host reads.
func (c config) policy() []byte {
	issuer := map[string]any{"issuer": "unchecked", "dialect": "jwt", "algorithms": c.algs, "audience": any("unchecked"),
		"types": "unchecked", "expiry": "optional", "leeway": c.leeway, "max_lifetime": "unchecked"}
	if c.iss != "" {
		issuer["issuer"] = c.iss
	}
	if c.aud != "" {
		issuer["audience"] = []string{c.aud}
	}
	document := map[string]any{"version": 1, "policy": map[string]any{"issuers": []any{issuer},
		"rules": []any{map[string]any{"path_prefix": "/"}}}}
	if c.secret != nil {
		document["host"] = map[string]any{"go": map[string]any{"secrets": map[string]any{
			issuer["issuer"].(string): base64.RawURLEncoding.EncodeToString(c.secret)}}}
	} else {
		issuer["jwks_uri"] = "https://issuer.invalid/jwks.json"
	}
	b, err := json.Marshal(document)
	if err != nil {
		panic(err) // strings and numbers alone
	}
	return b
}

var errUnsupported = errors.New("not an algorithm of this verifier")

// run answers each request on in with one line on out.
func run(e engine, in io.Reader, out io.Writer) error {
	r := bufio.NewReaderSize(in, 1<<20)
	w := bufio.NewWriter(out)
	for {
		line, err := r.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			return nil
		}
		if err != nil && err != io.EOF {
			return err
		}
		var q request
		if err := json.Unmarshal(line, &q); err != nil {
			return fmt.Errorf("not a request: %w", err)
		}
		b, err := json.Marshal(judge(e, q))
		if err != nil {
			return err
		}
		if _, err := w.Write(append(b, '\n')); err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
}

func judge(e engine, q request) answer {
	var err error
	switch q.Mode {
	case "jwks":
		var n int
		if n, err = e.jwks(config{set: q.JWKS, algs: asymmetric()}); err == nil {
			return answer{OK: n > 0, Keys: &n}
		}
	case "raw":
		err = judgeRaw(e, q)
	case "jwt", "jws":
		var c config
		if c, err = configure(q); err != nil {
			break
		}
		if q.Mode == "jws" {
			err = e.jws(c, q.Token)
		} else {
			err = e.jwt(c, q.Token, q.Now*1000)
		}
	default:
		err = fmt.Errorf("unknown mode %q", q.Mode)
	}
	if err != nil {
		return answer{Error: err.Error(), Skip: errors.Is(err, errUnsupported)}
	}
	return answer{OK: true}
}

func judgeRaw(e engine, q request) error {
	if _, ok := jwks.ParseAlgorithm(q.Alg); !ok {
		return errUnsupported
	}
	message, err := base64.RawURLEncoding.DecodeString(q.Msg)
	if err != nil {
		return err
	}
	signature, err := base64.RawURLEncoding.DecodeString(q.Sig)
	if err != nil {
		return err
	}
	return e.raw(config{set: q.JWKS, algs: []string{q.Alg}}, message, signature)
}

// asymmetric names every algorithm that a key set can serve.
func asymmetric() []string {
	var names []string
	for _, a := range jwks.Algorithms() {
		if !a.Symmetric() {
			names = append(names, a.String())
		}
	}
	return names
}

// configure turns a case into a configuration. Without an algorithm every
// asymmetric one is allowed. A symmetric one takes its secret out of the set: the
// core itself never takes a secret from there.
func configure(q request) (config, error) {
	c := config{set: q.JWKS, iss: q.Iss, aud: q.Aud, leeway: int(q.Leeway)}
	if float64(c.leeway) != q.Leeway {
		return c, fmt.Errorf("leeway %v is not a whole number of seconds", q.Leeway)
	}
	if q.Alg == "" {
		c.algs = asymmetric()
		return c, nil
	}
	c.algs = []string{q.Alg}
	a, ok := jwks.ParseAlgorithm(q.Alg)
	if !ok {
		return c, errUnsupported
	}
	if a.Symmetric() {
		var err error
		c.set, c.secret = "", nil
		c.secret, err = secretOf(q)
		return c, err
	}
	return c, nil
}

// secretOf plays the operator who reads the oct key of the token's kid out of the
// document, or the only one if the token names none, and configures it.
func secretOf(q request) ([]byte, error) {
	var header struct {
		Kid *string `json:"kid"`
	}
	segment, _, _ := strings.Cut(q.Token, ".")
	if b, err := base64.RawURLEncoding.DecodeString(segment); err == nil {
		_ = json.Unmarshal(b, &header) // a header that is no JSON is the core's to refuse
	}
	var set struct {
		Keys []struct {
			Kty, Alg, Use, K string
			Kid              *string
			KeyOps           []string `json:"key_ops"`
		}
	}
	if err := json.Unmarshal([]byte(q.JWKS), &set); err != nil {
		return nil, fmt.Errorf("jwks: %w", err)
	}
	var found [][]byte
	for _, k := range set.Keys {
		if k.Kty != "oct" {
			return nil, errors.New("the set mixes secrets with public keys")
		}
		if k.Use != "" && k.Use != "sig" || k.Alg != "" && k.Alg != q.Alg ||
			k.KeyOps != nil && !slices.Contains(k.KeyOps, "verify") ||
			header.Kid != nil && (k.Kid == nil || *k.Kid != *header.Kid) {
			continue
		}
		secret, err := base64.RawURLEncoding.DecodeString(k.K)
		if err != nil {
			return nil, fmt.Errorf("jwks: k: %w", err)
		}
		if a, _ := jwks.ParseAlgorithm(k.Alg); len(secret) < a.SecretSize() {
			return nil, errors.New("a secret is too short for its alg")
		}
		found = append(found, secret)
	}
	switch len(found) {
	case 0:
		return nil, errors.New("no secret for this token")
	case 1:
		return found[0], nil
	}
	return nil, errors.New("several secrets for this token")
}
