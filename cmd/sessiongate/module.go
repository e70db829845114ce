package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ModuleCmd hands out the guests, for proxies that load them themselves.
type ModuleCmd struct {
	Out   string   `help:"Directory to write them to; it is made if it is not there. Without it they are listed." placeholder:"DIR" type:"path" env:"SESSIONGATE_MODULE_OUT"`
	Names []string `arg:"" optional:"" name:"name" help:"Guests, such as core.wasm; without any: all of them."`
}

// Help is printed under the command's own help.
func (ModuleCmd) Help() string {
	return `Guests:
  core.wasm   for any host that speaks the ABI of docs/abi.md`
}

type writtenModule struct {
	Name   string `json:"name"`
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"`
	File   string `json:"file,omitempty"`

	content []byte
}

// Run lists the guests or writes them.
func (c *ModuleCmd) Run(app *App) error {
	modules, err := c.choose()
	if err != nil {
		return err
	}
	if c.Out != "" {
		if err := os.MkdirAll(c.Out, 0o755); err != nil {
			return failed(fmt.Errorf("--out: %w", err), "--out names a directory that can be written to")
		}
		for i := range modules {
			m := &modules[i]
			m.File = filepath.Join(c.Out, m.Name)
			if err := replaceFile(m.File, m.content); err != nil {
				return failed(fmt.Errorf("--out: %w", err), "--out names a directory that can be written to")
			}
		}
	}
	if app.JSON {
		return app.printJSON(struct {
			Modules []writtenModule `json:"modules"`
		}{modules})
	}
	rows := make([][]string, len(modules))
	for i, m := range modules {
		name := m.Name
		if m.File != "" {
			name = plain(m.File)
		}
		rows[i] = []string{name, strconv.Itoa(m.Bytes) + " bytes", "sha256 " + m.SHA256}
	}
	return table(app.Stdout, "", rows)
}

// choose reads the guests that were asked for.
func (c *ModuleCmd) choose() ([]writtenModule, error) {
	have, err := carried()
	if err != nil {
		return nil, err
	}
	if len(have) == 0 {
		return nil, failed(errors.New("this command was built without guests"), "make build builds the guests and then the command")
	}
	names := c.Names
	if len(names) == 0 {
		names = have
	}
	modules := make([]writtenModule, 0, len(names))
	for _, name := range names {
		if !strings.HasSuffix(name, ".wasm") {
			name += ".wasm"
		}
		b, err := fs.ReadFile(guests, "guests/"+name)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
			return nil, usage(fmt.Errorf("name: %q is no guest; there is %s", name, strings.Join(have, ", ")))
		}
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(b)
		modules = append(modules, writtenModule{Name: name, Bytes: len(b), SHA256: hex.EncodeToString(sum[:]), content: b})
	}
	return modules, nil
}

// carried lists the guests that this command was built with.
func carried() ([]string, error) {
	entries, err := fs.ReadDir(guests, "guests")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".wasm") {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// replaceFile writes a file so that whoever reads it sees the old or the new one,
// whole: a proxy may be loading it.
func replaceFile(path string, content []byte) error {
	return replaceFileWith(path, content, func(string) error { return nil })
}

// replaceFileWith calls fault before each step, so that tests can let it fail.
func replaceFileWith(path string, content []byte, fault func(step string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"write", func() error { _, err := f.Write(content); return err }},
		{"chmod", func() error { return f.Chmod(0o644) }},
		{"sync", f.Sync},
		{"close", f.Close},
		{"rename", func() error { return os.Rename(f.Name(), path) }},
		{"sync directory", func() error { return syncDir(filepath.Dir(path)) }},
	} {
		if err := fault(step.name); err != nil {
			return err
		}
		if err := step.do(); err != nil {
			return err
		}
	}
	return nil
}

// syncDir makes a rename last through a loss of power.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
