package policy

import (
	"bytes"
	"strconv"
	"strings"

	"sessiongate/internal/strict"
	"sessiongate/verdict"
)

// document is a policy document while it is read.
type document struct {
	reader
	kind    string
	policy  Policy
	entries []entry // by the index of the issuer
}

// Parse reads a whole document: {"version": 1, "policy": {…}, "host": {…}}. kind
// names the member of "host" that applies: "go", "envoy", "traefik" or "js". With
// "" the document is checked for every host it has a member for; the result then
// lacks what only a host member knows, secrets and the names of files.
//
// The error is an Errors with every fault, and then the Policy is nil.
func Parse(doc []byte, kind string) (*Policy, error) {
	d := document{kind: kind}
	var parsed strict.Doc
	switch reason := parsed.Parse(doc, strict.Limits{Bytes: MaxBytes, Depth: maxDepth, Members: maxMembers}); {
	case reason == verdict.TooLarge && len(doc) > MaxBytes:
		d.fault("", "is larger than 1 MiB", "")
	case reason == verdict.TooLarge:
		d.fault("", "is over a bound: "+position(doc, parsed.ErrorOffset()), parsed.ErrorText()+
			" (32 levels and 1,024 members of one object at most)")
	case reason != verdict.None:
		d.fault("", "is not strict JSON (RFC 8259): "+position(doc, parsed.ErrorOffset()), parsed.ErrorText())
	default:
		d.root(spot{parsed.Root(), ""})
	}
	if len(d.faults) > 0 {
		return nil, d.faults
	}
	return &d.policy, nil
}

// position says where an offset is, as editors count.
func position(doc []byte, offset int) string {
	before := doc[:min(offset, len(doc))]
	line := bytes.Count(before, []byte{'\n'}) + 1
	column := len(before) - (bytes.LastIndexByte(before, '\n') + 1) + 1
	return "line " + strconv.Itoa(line) + ", byte " + strconv.Itoa(column)
}

var policyMembers = []string{"issuers", "sources", "on_multiple", "allowed_origins", "rules", "paths", "preflight",
	"identity_headers", "token", "sign_in", "public_origin", "response", "realm", "log"}

func (d *document) root(s spot) {
	if !d.object(s, `an object: {"version": 1, "policy": {…}, "host": {…}}`, "version", "policy", "host") {
		return
	}
	version := s.member("version")
	if n, ok := version.Int(); version.Kind() != strict.Number {
		d.wrong(version, "1")
	} else if !ok || n != 1 {
		// Other versions have other members: their faults would only confuse.
		d.fault(version.path, "is a version that this build does not know", "1")
		return
	}
	if p := s.member("policy"); d.object(p, "the policy: an object", policyMembers...) {
		d.issuers(p.member("issuers"))
		d.sources(p.member("sources"))
		d.rules(p.member("rules"))
		d.identity(p.member("identity_headers"))
		d.answers(p)
	}
	d.hosts(s.member("host"))
}

// answers reads the members that are a value of their own.
func (d *document) answers(p spot) {
	d.policy.FirstToken = d.word(p.member("on_multiple"), "refuse", "first") == 1
	d.policy.NormalizePaths = d.word(p.member("paths"), "refuse", "normalize") == 1
	d.policy.CheckPreflight = d.word(p.member("preflight"), "pass", "check") == 1
	d.policy.StripToken = d.word(p.member("token"), "forward", "strip") == 1
	d.policy.Ory = d.word(p.member("response"), "problem", "ory") == 1
	d.policy.Origins = d.texts(p.member("allowed_origins"), 256, "origins", acceptedOrigin, checkOrigin)

	d.policy.Realm = "sessiongate"
	if realm := p.member("realm"); realm.present() {
		d.policy.Realm = d.text(realm, "up to 128 characters of printable ASCII without quote and backslash", checkQuotable)
	}
	if log := p.member("log"); log.present() {
		var seen []string
		for _, e := range d.list(log, 64, "claims") {
			c, ok := d.claim(e)
			if !ok {
				continue
			}
			before := len(seen)
			if seen = d.unique(seen, c.String(), e); len(seen) > before {
				d.policy.Log = append(d.policy.Log, c)
			}
		}
	}
	origin := p.member("public_origin")
	if origin.present() {
		d.policy.PublicOrigin = d.text(origin, acceptedOrigin, checkOrigin)
	}
	signIn := p.member("sign_in")
	if !signIn.present() || !d.object(signIn, `an object: {"url": …, "return_to": …}`, "url", "return_to") {
		return
	}
	if !origin.present() {
		d.fault(origin.path, "is missing, and sign_in needs it: it is where the browser comes back to", acceptedOrigin)
	}
	target := &SignIn{URL: d.text(signIn.member("url"), acceptedURL, checkURL), ReturnTo: "return_to"}
	if back := signIn.member("return_to"); back.present() {
		target.ReturnTo = d.text(back, `the name of a query parameter, of letters, digits and "-._~"`, checkUnreserved)
	}
	if hasParameter(target.URL, target.ReturnTo) {
		d.fault(signIn.member("url").path, "has the query parameter already that return_to names", "a URL without it")
	}
	d.policy.SignIn = target
}

// hasParameter reports whether a URL's query has a parameter of the name.
func hasParameter(url, name string) bool {
	_, query, _ := strings.Cut(url, "?")
	for _, pair := range strings.Split(query, "&") {
		if key, _, _ := strings.Cut(pair, "="); key == name && name != "" {
			return true
		}
	}
	return false
}

// hostKind is what one kind of host is told, and what it can do.
type hostKind struct {
	name    string
	members []string
	files   bool // it reads files
	fetches bool // it fetches keys by itself
	named   bool // it fetches from named clusters
}

var hostKinds = [...]hostKind{
	{name: "go", members: []string{"jwks_files", "secrets", "secret_files"}, files: true, fetches: true},
	{name: "envoy", members: []string{"clusters", "secrets"}, fetches: true, named: true},
	{name: "traefik", members: []string{"jwks_files", "secrets"}, files: true},
	{name: "js", members: []string{"secrets"}, fetches: true},
}

func (d *document) hosts(s spot) {
	var names []string
	for _, k := range hostKinds {
		names = append(names, k.name)
	}
	if s.present() && !d.object(s, "an object with a member for each kind of host: go, envoy, traefik, js", names...) {
		return
	}
	if d.kind != "" && !contains(names, d.kind) {
		d.fault("/host", "was asked for a kind of host that is not known"+meant(d.kind, names), quoteAll(names))
	}
	for i := range hostKinds {
		k := &hostKinds[i]
		h := s.member(k.name)
		if h.present() && !d.object(h, "an object", k.members...) {
			continue
		}
		if h.present() || k.name == d.kind {
			d.host(h, k)
		}
	}
	if d.kind == "" && s.Len() == 0 {
		d.nowhere()
	}
}

// nowhere records what a document leaves to hosts that it does not have.
func (d *document) nowhere() {
	for i, en := range d.entries {
		switch {
		case en.source == "jwks_file":
			d.fault(en.path+"/jwks_file", "has its path in no host member", "host.go.jwks_files or host.traefik.jwks_files")
		case en.symmetric && d.policy.Keys[i].Kind == Secret:
			d.fault(en.path+"/algorithms", "has its secret in no host member", "secrets of host.go, envoy, traefik or js")
		}
	}
}

// host reads one kind of host's member, whose values stand by issuer, and holds it
// against the issuers. What it says counts when that kind was asked for.
func (d *document) host(h spot, k *hostKind) {
	files := d.byIssuer(h.member("jwks_files"), "the path of a file", false, func(s spot, i int) {
		if en := &d.entries[i]; en.symmetric || en.source == "jwks" {
			d.fault(s.path, "is for an issuer that reads no file", "issuers with jwks_file, jwks_uri or discovery")
		}
	})
	clusters := d.byIssuer(h.member("clusters"), "the name of a cluster", false, func(s spot, i int) {
		if en := &d.entries[i]; en.symmetric || en.source == "jwks" || en.source == "jwks_file" {
			d.fault(s.path, "is for an issuer that fetches no keys", "issuers with jwks_uri or discovery")
		}
	})
	symmetric := func(s spot, i int) {
		if en := &d.entries[i]; !en.symmetric && en.source != "" {
			d.fault(s.path, "is for an issuer without a symmetric algorithm", "issuers with HS256, HS384 or HS512")
		}
	}
	secretFiles := d.byIssuer(h.member("secret_files"), "the path of a file with the secret in base64url", true, symmetric)
	secrets := d.byIssuer(h.member("secrets"), "the secret in base64url", true, func(s spot, i int) {
		symmetric(s, i)
		text, _ := s.Text()
		secret, problem := ParseSecret(text, d.policy.Issuers[i].Algorithms)
		if problem != "" {
			d.fault(s.path, problem, "base64url of at least as many bytes as the hash has")
		} else if secretFiles[i] != "" {
			d.fault(s.path, "stands beside a file of the same issuer in secret_files", "one of them")
		} else if k.name == d.kind {
			d.policy.Issuers[i].Secret = secret
		}
	})

	for i := range d.entries {
		en, key := &d.entries[i], &d.policy.Keys[i]
		if en.name == "" {
			continue
		}
		member := "host." + k.name + "."
		fetched := en.source == "jwks_uri" || en.source == "discovery"
		switch {
		case en.symmetric && secrets[i] == "" && secretFiles[i] == "":
			d.fault(en.path+"/algorithms", "has no secret in "+member+"secrets", "base64url under the issuer's name there")
		case en.source == "jwks_file" && !k.files:
			d.fault(en.path+"/jwks_file", "cannot be used with host."+k.name+": that host reads no files", "jwks or jwks_uri")
		case en.source == "jwks_file" && files[i] == "":
			d.fault(en.path+"/jwks_file", "has no path in "+member+"jwks_files", "the path under the issuer's name there")
		case fetched && !k.fetches && files[i] == "":
			d.fault(en.path+"/"+en.source, "cannot be fetched by host."+k.name+": that host fetches nothing",
				"beside it, the path in "+member+"jwks_files of the file that something else keeps up to date")
		case fetched && k.named && clusters[i] == "":
			d.fault(en.path+"/"+en.source, "has no cluster in "+member+"clusters", "the cluster's name under the issuer's name there")
		}
		if k.name != d.kind {
			continue
		}
		if path := files[i]; path != "" {
			key.Kind, key.Location = File, path
		}
		if en.symmetric {
			key.Location = secretFiles[i]
		}
		key.Cluster = clusters[i]
	}
}

// byIssuer reads an object whose members are named by issuers, and returns its
// values by the issuer's index. Where secrets are near, a name that is no issuer's
// stays out of the fault: it might be a secret on the wrong side of the colon.
func (d *document) byIssuer(s spot, accepted string, secret bool, each func(spot, int)) map[int]string {
	values := make(map[int]string)
	if !s.present() {
		return values
	}
	if s.Kind() != strict.Object {
		d.wrong(s, "an object: "+accepted+" for each issuer")
		return values
	}
	index := 0
	for m := s.First(); m.Kind() != strict.Invalid; m = m.Next() {
		index++
		at := spot{m, s.path + "/" + escapeToken(m.Key())}
		i := d.entry(m.Key())
		switch {
		case i >= 0 && m.Key() != "":
			if values[i] = d.text(at, accepted, nil); values[i] != "" {
				each(at, i)
			}
		case d.entry("") >= 0 || len(d.entries) == 0:
			// It may be the name of the issuer that has a fault of its own.
		case secret:
			d.fault(s.path, "has a member, number "+strconv.Itoa(index)+", that is not named by an issuer of the policy", d.issuerNames())
		default:
			d.fault(at.path, "is not an issuer of the policy", d.issuerNames())
		}
	}
	return values
}

// entry is the index of the issuer of that name, -1 if there is none. A fault in
// its name makes it "".
func (d *document) entry(name string) int {
	for i := range d.entries {
		if d.entries[i].name == name {
			return i
		}
	}
	return -1
}

func (d *document) issuerNames() string {
	names := ""
	for i := range d.entries {
		switch {
		case i == 10:
			return names + ", and more"
		case i > 0:
			names += ", "
		}
		names += d.entries[i].name
	}
	return names
}
