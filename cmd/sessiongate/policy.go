package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"sessiongate/jwks"
	"sessiongate/verifier/policy"
)

// PolicyCmd holds what is done with policy documents.
type PolicyCmd struct {
	Check  PolicyCheckCmd  `cmd:"" help:"Check policies: status 0 accepts them, 1 rejects one, 3 could not read one."`
	Schema PolicySchemaCmd `cmd:"" help:"Print the JSON Schema (2020-12) of the policy document."`
}

// PolicyCheckCmd checks documents without running them.
type PolicyCheckCmd struct {
	For   string   `help:"Kind of host that the policy is for: go (gateway, authz, verify), envoy, traefik or js. Without it every member of host is checked." enum:"go,envoy,traefik,js," default:"" placeholder:"KIND" env:"SESSIONGATE_POLICY_KIND"`
	Files []string `arg:"" name:"file" help:"Policy documents; - is standard input."`
}

// Help is printed under the command's own help.
func (PolicyCheckCmd) Help() string {
	return `Every fault is told at once, one on a line: the JSON Pointer of the member, what is wrong
with it and what is accepted instead. With several files each line begins with the file's name.`
}

type checkedFile struct {
	File   string        `json:"file"`
	OK     bool          `json:"ok"`
	Errors []policyFault `json:"errors,omitempty"`
	Keys   []skippedKey  `json:"skipped_keys,omitempty"`

	unreadable error
	issuers    int
	rules      int
}

type policyFault struct {
	Path    string `json:"path"`
	Problem string `json:"problem"`
}

type skippedKey struct {
	Issuer string `json:"issuer"`
	Index  int    `json:"index"`
	KeyID  string `json:"kid,omitempty"`
	Why    string `json:"why"`
}

// Run checks each file and tells what it found.
func (c *PolicyCheckCmd) Run(app *App) error {
	files := make([]checkedFile, 0, len(c.Files))
	for _, name := range c.Files {
		files = append(files, c.check(app, name))
	}
	if app.JSON {
		read := files[:0:0]
		for _, f := range files {
			if f.unreadable == nil {
				read = append(read, f)
			}
		}
		if err := app.printJSON(struct {
			Files []checkedFile `json:"files"`
		}{read}); err != nil {
			return err
		}
	} else if err := c.tell(app, files); err != nil {
		return err
	}
	var unreadable []error
	var rejected []string
	for _, f := range files {
		switch {
		case f.unreadable != nil:
			unreadable = append(unreadable, f.unreadable)
		case !f.OK:
			rejected = append(rejected, f.File)
		}
	}
	switch {
	case unreadable != nil:
		return failed(errors.Join(unreadable...), "")
	case rejected != nil:
		return refused(fmt.Errorf("policy is rejected: %s", strings.Join(rejected, ", ")),
			"docs/policy.md explains every member; sessiongate policy schema prints a schema for editors")
	}
	return nil
}

func (c *PolicyCheckCmd) check(app *App, name string) checkedFile {
	f := checkedFile{File: name}
	doc, err := app.readPolicy(name)
	if err != nil {
		f.unreadable = err
		return f
	}
	p, err := policy.Parse(doc, c.For)
	if err != nil {
		f.Errors = faultsOf(err)
		return f
	}
	f.OK, f.issuers, f.rules = true, len(p.Issuers), len(p.Rules)
	for i, k := range p.Keys {
		if k.Kind != policy.Inline {
			continue
		}
		if set, err := jwks.Parse(k.Inline); err == nil {
			for _, s := range set.Skipped() {
				f.Keys = append(f.Keys, skippedKey{p.Issuers[i].Name, s.Index, s.KeyID, s.Why})
			}
		}
	}
	return f
}

func (c *PolicyCheckCmd) tell(app *App, files []checkedFile) error {
	for _, f := range files {
		prefix := ""
		if len(files) > 1 {
			prefix = plain(f.File) + ": "
		}
		for _, e := range f.Errors {
			if err := app.print("%s%s\n", prefix, policy.Fault(e)); err != nil {
				return err
			}
		}
		for _, k := range f.Keys {
			app.warn("%s: key %d of issuer %s is skipped: %s", plain(f.File), k.Index, plain(k.Issuer), plain(k.Why))
		}
		if f.OK {
			if err := app.print("%s: ok, %s, %s\n", plain(f.File), count(f.issuers, "issuer"), count(f.rules, "rule")); err != nil {
				return err
			}
		}
	}
	return nil
}

// PolicySchemaCmd prints the schema.
type PolicySchemaCmd struct{}

// Run prints the schema as it is: it is JSON in any case.
func (PolicySchemaCmd) Run(app *App) error {
	return app.print("%s\n", strings.TrimRight(string(policy.Schema()), "\n"))
}

// readPolicy reads a policy document from a file, or from standard input for "-".
// It reads one byte more than a policy may have, so that the parser says so.
func (a *App) readPolicy(name string) ([]byte, error) {
	if name == "-" {
		b, err := io.ReadAll(io.LimitReader(a.Stdin, policy.MaxBytes+1))
		if err != nil {
			return nil, failed(fmt.Errorf("policy: standard input: %w", err), "")
		}
		return b, nil
	}
	b, err := readFile(name, "policy", 64<<20)
	if err == nil && len(b) > policy.MaxBytes {
		b = b[:policy.MaxBytes+1]
	}
	return b, err
}

// faultsOf lists what is wrong with a policy, wherever the error comes from.
func faultsOf(err error) []policyFault {
	var faults []policyFault
	if list := (policy.Errors)(nil); errors.As(err, &list) {
		for _, e := range list {
			faults = append(faults, policyFault{e.Path, e.Problem})
		}
		return faults
	}
	return []policyFault{{"", err.Error()}}
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
