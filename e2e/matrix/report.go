package matrix

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Least rows, and most n/a cells in a hundred, for a matrix to count.
const (
	leastRows = 80
	mostNA    = 15
)

// Report is the matrix.
type Report struct {
	Hosts   []string `json:"hosts"`
	Rows    int      `json:"rows"`
	Cells   int      `json:"cells"`
	Equal   int      `json:"equal"`
	NA      int      `json:"not_applicable"`
	Differ  int      `json:"differ"`
	Results []Result `json:"results"`
	rows    []Row
}

// NewReport sums results up.
func NewReport(hosts []Host, rows []Row, results []Result) *Report {
	p := &Report{Rows: len(rows), Cells: len(results), Results: results, rows: rows}
	for _, h := range hosts {
		p.Hosts = append(p.Hosts, h.Name)
	}
	for i := range results {
		switch {
		case len(results[i].Differs) > 0:
			p.Differ++
		case results[i].NotOn != "":
			p.NA++
		default:
			p.Equal++
		}
	}
	return p
}

// Fault is why the matrix does not pass, "" if it does. whole says that no row was
// left out on purpose.
func (p *Report) Fault(whole bool) string {
	switch {
	case p.Cells == 0:
		return "no cell at all"
	case p.Differ > 0:
		return fmt.Sprintf("%d cells differ", p.Differ)
	case whole && p.Rows < leastRows:
		return fmt.Sprintf("%d rows, fewer than %d", p.Rows, leastRows)
	case whole && 100*p.NA >= mostNA*p.Cells:
		return fmt.Sprintf("%d of %d cells are n/a, which is %d %% or more", p.NA, p.Cells, mostNA)
	}
	return ""
}

// Summary is one line.
func (p *Report) Summary() string {
	return fmt.Sprintf("%d rows × %d hosts: %d cells equal, %d n/a (%.1f %%), %d differ", p.Rows, len(p.Hosts), p.Equal, p.NA,
		100*float64(p.NA)/float64(max(p.Cells, 1)), p.Differ)
}

// Write writes matrix.md and matrix.json.
func (p *Report) Write(dir string) error {
	text, err := json.MarshalIndent(p, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "matrix.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "matrix.md"), []byte(p.Markdown()), 0o644)
}

// Markdown is the matrix as a table.
func (p *Report) Markdown() string {
	cells := map[[2]string]*Result{}
	for i := range p.Results {
		cells[[2]string{p.Results[i].Host, p.Results[i].Row}] = &p.Results[i]
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# The same requests on every host\n\n%s.\n\nA cell is equal if the host admitted or refused the request as wanted, gave the wanted Reason, "+
		"status and body (save for what docs/hosts.md says of it), and the upstream saw the wanted path and headers.\n\n", p.Summary())
	fmt.Fprintf(&b, "| | row | wanted | %s |\n|---|---|---|%s\n", strings.Join(p.Hosts, " | "), strings.Repeat(":-:|", len(p.Hosts)))
	var notes []string
	for i := range p.rows {
		row := &p.rows[i]
		fmt.Fprintf(&b, "| %d | %s | %s |", i+1, escape(row.Name), escape(row.wanted()))
		for _, h := range p.Hosts {
			switch cell := cells[[2]string{h, row.Name}]; {
			case cell == nil:
				b.WriteString(" |")
			case len(cell.Differs) > 0:
				b.WriteString(" **differs** |")
			case cell.NotOn != "":
				note := h + ": " + cell.NotOn
				n := slices.Index(notes, note)
				if n < 0 {
					n = len(notes)
					notes = append(notes, note)
				}
				fmt.Fprintf(&b, " n/a %d |", n+1)
			default:
				b.WriteString(" = |")
			}
		}
		b.WriteString("\n")
	}
	if len(notes) > 0 {
		b.WriteString("\n## n/a\n\n")
		for i, note := range notes {
			fmt.Fprintf(&b, "%d. %s\n", i+1, escape(note))
		}
	}
	if p.Differ > 0 {
		b.WriteString("\n## What differs\n\n")
		for i := range p.Results {
			for _, d := range p.Results[i].Differs {
				fmt.Fprintf(&b, "- %s, %s: %s\n", p.Results[i].Host, escape(p.Results[i].Row), escape(d))
			}
		}
	}
	return b.String()
}

func escape(s string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ", "<", "&lt;", "*", "\\*", "_", "\\_").Replace(s)
}

// wanted is what comes of a row, in a few words.
func (r *Row) wanted() string {
	var words []string
	for i := range r.Asks {
		c := &r.Asks[i].Want
		word := "passes"
		if c.Admitted {
			if who := c.Upstream["x-user-id"]; who != "" {
				word += " as " + who
			}
		} else if word = fmt.Sprint(c.Status); c.Reason != "" {
			word += " " + c.Reason
		}
		if len(words) == 0 || words[len(words)-1] != word {
			words = append(words, word)
		}
	}
	return strings.Join(words, ", then ")
}
