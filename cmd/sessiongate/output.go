package main

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"
)

// printJSON writes data as one JSON object on one line.
func (a *App) printJSON(v any) error {
	e := json.NewEncoder(a.Stdout)
	e.SetEscapeHTML(false)
	return written(e.Encode(v))
}

// print writes data as text.
func (a *App) print(format string, args ...any) error {
	_, err := fmt.Fprintf(a.Stdout, format, args...)
	return written(err)
}

func written(err error) error {
	if err != nil {
		return failed(fmt.Errorf("standard output: %w", err), "")
	}
	return nil
}

// note tells a person something that is neither data nor an error.
func (a *App) note(format string, args ...any) {
	if !a.Quiet {
		fmt.Fprintf(a.Stderr, "sessiongate: "+format+"\n", args...)
	}
}

// warn is note for what somebody should change.
func (a *App) warn(format string, args ...any) {
	fmt.Fprintf(a.Stderr, "sessiongate: warning: "+format+"\n", args...)
}

// plain makes text that came from elsewhere fit for a terminal and for one line.
func plain(s string) string {
	for _, r := range s {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			q := strconv.Quote(s)
			return q[1 : len(q)-1]
		}
	}
	return s
}

// table writes rows with their columns aligned. The last column is not padded.
func table(w io.Writer, indent string, rows [][]string) error {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		line.WriteString(indent)
		for i, cell := range row {
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return written(err)
}

// readFile reads a file of at most limit bytes that a flag or an argument names.
func readFile(path, what string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, failed(fmt.Errorf("%s: %w", what, err), "")
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, failed(fmt.Errorf("%s: %w", what, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("is a directory")}), "")
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, failed(fmt.Errorf("%s: %w", what, err), "")
	}
	if int64(len(b)) > limit {
		return nil, failed(fmt.Errorf("%s: %s is larger than %s", what, path, size(limit)), "")
	}
	return b, nil
}

// size writes a number of bytes for a person.
func size(n int64) string {
	switch {
	case n >= 10<<20:
		return strconv.FormatInt(n>>20, 10) + " MiB"
	case n >= 1<<20 && n%(1<<20) != 0:
		return strconv.FormatFloat(float64(n)/(1<<20), 'f', 1, 64) + " MiB"
	case n >= 1<<20:
		return strconv.FormatInt(n>>20, 10) + " MiB"
	case n >= 10<<10:
		return strconv.FormatInt(n>>10, 10) + " KiB"
	}
	return strconv.FormatInt(n, 10) + " bytes"
}

// isTerminal reports whether a stream is one that a person looks at.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
