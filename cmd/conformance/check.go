//go:build conformance

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
)

// result is one line of the runner's -json file.
type result struct {
	ID, Level, Verdict, Detail string
}

// wrong are the runner's words for an answer that is not the expected one.
var wrong = map[string]bool{"false-accept": true, "false-reject": true, "wrong-keys": true, "crash": true, "hang": true, "skip": true}

// check reads the results of both engines and reports on w what must not be: a
// wrong answer that is no listed refusal of level compat, a listed one that no
// longer happens, and any case on which the engines differ.
func check(w io.Writer, listed, nativeFile, wasmFile string) (ok bool, err error) {
	reasons, err := readListed(listed)
	if err != nil {
		return false, err
	}
	native, err := readResults(nativeFile)
	if err != nil {
		return false, err
	}
	wasm, err := readResults(wasmFile)
	if err != nil {
		return false, err
	}
	var faults []string
	counts := map[string]int{}
	for id, n := range native {
		counts[n.Level]++
		g, there := wasm[id]
		if !there || g.Verdict != n.Verdict || g.Detail != n.Detail {
			faults = append(faults, fmt.Sprintf("%s: the engines differ: native %s (%s), wasm %s (%s)", id, n.Verdict, n.Detail, g.Verdict, g.Detail))
		}
		_, expected := reasons[id]
		switch {
		case wrong[n.Verdict] && !(expected && n.Level == "compat" && n.Verdict != "false-accept"):
			faults = append(faults, fmt.Sprintf("%s: %s at level %s (%s)", id, n.Verdict, n.Level, n.Detail))
		case !wrong[n.Verdict] && expected:
			faults = append(faults, id+": is listed as a refusal and is none")
		}
	}
	if len(wasm) != len(native) {
		faults = append(faults, fmt.Sprintf("native ran %d cases, wasm %d", len(native), len(wasm)))
	}
	sort.Strings(faults)
	for _, f := range faults {
		fmt.Fprintln(w, f)
	}
	fmt.Fprintf(w, "conformance: %d cases on each engine (must %d, strict %d, compat %d, info %d); listed refusals %d; faults %d\n",
		len(native), counts["must"], counts["strict"], counts["compat"], counts["info"], len(reasons), len(faults))
	return len(faults) == 0 && len(native) > 0, nil
}

// readListed reads lines of a case's id, a tab and why it is refused.
func readListed(file string) (map[string]string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	list := map[string]string{}
	for i, line := range strings.Split(string(b), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		id, why, found := strings.Cut(line, "\t")
		if !found || why == "" {
			return nil, fmt.Errorf("%s:%d: wants an id, a tab and a reason", file, i+1)
		}
		list[id] = why
	}
	return list, nil
}

func readResults(file string) (map[string]result, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list := map[string]result{}
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var r result
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		list[r.ID] = r
	}
	return list, s.Err()
}
