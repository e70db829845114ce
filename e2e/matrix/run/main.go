// Command run runs the matrix over the hosts that are linked into it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"sessiongate/e2e/matrix"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "matrix:", err)
		os.Exit(1)
	}
}

func run() error {
	names := flag.String("hosts", "", "hosts to run, separated by commas; default: all")
	parts := flag.String("rows", "", "only rows whose name has one of these parts, separated by commas")
	top := flag.String("top", "..", "the repository")
	out := flag.String("out", "", "where matrix.md, matrix.json and scratch go; default: build/e2e of the repository")
	keep := flag.Bool("keep", false, "keep the scratch directory, with the configurations that were run")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root, err := filepath.Abs(*top)
	if err != nil {
		return err
	}
	if *out == "" {
		*out = filepath.Join(root, "build", "e2e")
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp(*out, "matrix-")
	if err != nil {
		return err
	}
	if err := os.Chmod(scratch, 0o755); err != nil { // nginx, when root starts it, works as nobody
		return err
	}
	defer func() {
		if !*keep {
			_ = os.RemoveAll(scratch)
		}
	}()
	hosts, err := matrix.Hosts(split(*names))
	if err != nil {
		return err
	}
	rig, err := matrix.NewRig(root, scratch)
	if err != nil {
		return err
	}
	defer rig.Close()
	rows, results := rig.Run(ctx, hosts, matrix.Options{Rows: split(*parts), Log: os.Stdout})
	report := matrix.NewReport(hosts, rows, results)
	if err := report.Write(*out); err != nil {
		return err
	}
	fmt.Printf("%s\n%s\n", report.Summary(), filepath.Join(*out, "matrix.md"))
	if fault := report.Fault(*parts == ""); fault != "" {
		return fmt.Errorf("%s", fault)
	}
	return nil
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}
