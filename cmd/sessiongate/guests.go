package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"

	"github.com/alecthomas/kong"
)

//go:embed guests
var embedded embed.FS

// guests holds the guests that this command carries, in the directory guests.
var guests fs.FS = embedded

// guest returns the bytes of a guest by its file name, such as "core.wasm": from
// --module if that was given, else from inside the command.
func (a *App) guest(name string) ([]byte, error) {
	if a.module != "" {
		b, err := os.ReadFile(a.module)
		if err != nil {
			return nil, failed(err, "--module names the file of a guest, such as build/guests/core.wasm")
		}
		return b, nil
	}
	b, err := fs.ReadFile(guests, "guests/"+name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, failed(fmt.Errorf("this command was built without its guest %s", name),
			"make build builds the guests and then the command; --module FILE takes one from elsewhere")
	}
	return b, err
}

// versionFlag prints what the module was built from.
type versionFlag bool

// BeforeReset is kong's hook: it runs before anything else of the command line.
func (versionFlag) BeforeReset(k *kong.Kong) error {
	version, revision := "(devel)", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = " " + s.Value
			}
		}
	}
	fmt.Fprintf(k.Stdout, "sessiongate %s%s\n", version, revision)
	k.Exit(exitDone)
	return nil
}
