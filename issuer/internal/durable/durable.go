// Package durable creates files that are there whole, or not at all, whatever
// happens meanwhile.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Create writes a new file of mode 0600: to a temporary name, to the disk, and
// only then to its own name. A file that is there already is never touched
// (fs.ErrExist). When Create answers an error, path either does not exist or, if
// only the last sync failed, holds all of data.
func Create(path string, data []byte) error { return create(path, data, noFault) }

// fault is called before and after each step, so that tests can let it fail with
// and without its effect.
type fault func(step string) error

func noFault(string) error { return nil }

func create(path string, data []byte, f fault) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("create %s: %w", path, err)
		}
	}()
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	step := func(name string, do func() error) error {
		if err := f("before " + name); err != nil {
			return err
		}
		if err := do(); err != nil {
			return err
		}
		return f("after " + name)
	}
	dir := filepath.Dir(path)
	var tmp *os.File
	err = step("open", func() (err error) {
		tmp, err = os.CreateTemp(dir, "."+filepath.Base(path)+".*.tmp") // mode 0600
		return err
	})
	if tmp != nil {
		defer os.Remove(tmp.Name())
		defer tmp.Close()
	}
	if err != nil {
		return err
	}
	if err := step("write", func() error { _, err := tmp.Write(data); return err }); err != nil {
		return err
	}
	if err := step("sync", tmp.Sync); err != nil {
		return err
	}
	if err := step("close", tmp.Close); err != nil {
		return err
	}
	// A link, other than a rename, does not replace a file that has appeared since.
	if err := step("link", func() error { return link(tmp.Name(), path) }); err != nil {
		return err
	}
	return step("sync directory", func() error { return syncDir(dir) })
}

func link(from, to string) error {
	err := os.Link(from, to)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	// Some file systems have no links.
	if _, statErr := os.Lstat(to); statErr == nil {
		return fs.ErrExist
	}
	return os.Rename(from, to)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
