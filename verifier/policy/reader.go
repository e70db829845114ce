package policy

import (
	"strconv"
	"strings"

	"sessiongate/internal/strict"
)

// maxFaults bounds what is told of one document: a megabyte of faults is of no use
// to its author, and a guest has little memory.
const maxFaults = 1000

// reader collects faults, so that a document's author learns of all of them at once.
type reader struct{ faults Errors }

// spot is a value of the document and where it stands; an absent one stands where
// it would be.
type spot struct {
	strict.Value
	path string
}

func (s spot) present() bool { return s.Kind() != strict.Invalid }

func (s spot) member(name string) spot {
	return spot{s.Member(name), s.path + "/" + escapeToken(name)}
}

// has reports whether the object has a member of the name.
func (s spot) has(name string) bool { return s.Member(name).Kind() != strict.Invalid }

// escapeToken spells a member name as a reference token (RFC 6901 section 3).
func escapeToken(name string) string {
	if !strings.ContainsAny(name, "~/") {
		return name
	}
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}

// fault records what is wrong at a path; accepted says what would not be.
func (r *reader) fault(path, problem, accepted string) {
	if len(r.faults) > maxFaults {
		return
	}
	if len(r.faults) == maxFaults {
		path, problem, accepted = "", "has more faults than these", ""
	}
	if accepted != "" {
		problem += "; accepted: " + accepted
	}
	r.faults = append(r.faults, Fault{Path: path, Problem: problem})
}

var kindNames = [...]string{
	strict.Invalid: "is missing",
	strict.Null:    "is null",
	strict.False:   "is false",
	strict.True:    "is true",
	strict.Number:  "is a number",
	strict.String:  "is a string",
	strict.Array:   "is a list",
	strict.Object:  "is an object",
}

// wrong records that a value is of the wrong kind, or missing.
func (r *reader) wrong(s spot, accepted string) { r.fault(s.path, kindNames[s.Kind()], accepted) }

// object checks that a value is an object without members of other names.
func (r *reader) object(s spot, accepted string, names ...string) bool {
	if s.Kind() != strict.Object {
		r.wrong(s, accepted)
		return false
	}
	for m := s.First(); m.Kind() != strict.Invalid; m = m.Next() {
		if name := m.Key(); !contains(names, name) {
			r.fault(s.path+"/"+escapeToken(name), "is not a known member"+meant(name, names), strings.Join(names, ", "))
		}
	}
	return true
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

// list checks that a value is a list of 1 to limit elements.
func (r *reader) list(s spot, limit int, accepted string) []spot {
	accepted = "a list of 1 to " + strconv.Itoa(limit) + " " + accepted
	switch {
	case s.Kind() != strict.Array:
		r.wrong(s, accepted)
		return nil
	case s.Len() == 0:
		r.fault(s.path, "is empty", accepted)
		return nil
	case s.Len() > limit:
		r.fault(s.path, "has "+strconv.Itoa(s.Len())+" elements", accepted)
		return nil
	}
	all := make([]spot, 0, s.Len())
	for v := s.First(); v.Kind() != strict.Invalid; v = v.Next() {
		all = append(all, spot{v, s.path + "/" + strconv.Itoa(len(all))})
	}
	return all
}

// check says what is wrong with a string, "" if nothing is.
type check func(string) string

// text reads a string that is not empty and passes the check; "" after a fault.
func (r *reader) text(s spot, accepted string, ok check) string {
	text, is := s.Text()
	switch {
	case !is:
		r.wrong(s, accepted)
		return ""
	case text == "":
		r.fault(s.path, "is empty", accepted)
		return ""
	}
	if ok != nil {
		if problem := ok(text); problem != "" {
			r.fault(s.path, problem, accepted)
			return ""
		}
	}
	return text
}

// texts reads a list of different strings, nil if the member is absent. Elements
// with a fault are left out.
func (r *reader) texts(s spot, limit int, plural, accepted string, ok check) []string {
	if !s.present() {
		return nil
	}
	var all []string
	for _, e := range r.list(s, limit, plural) {
		if text := r.text(e, accepted, ok); text != "" {
			all = r.unique(all, text, e)
		}
	}
	return all
}

// unique adds a text to a list, or records that it is there already.
func (r *reader) unique(all []string, text string, s spot) []string {
	if contains(all, text) {
		r.fault(s.path, "is there already", "each element once")
		return all
	}
	return append(all, text)
}

// word reads one of a few words and returns its index; 0 for an absent member,
// for which the first word is the default.
func (r *reader) word(s spot, words ...string) int {
	if !s.present() {
		return 0
	}
	for i, w := range words {
		if s.Is(w) {
			return i
		}
	}
	r.notOneOf(s, words)
	return 0
}

// notOneOf records that a value is none of some words.
func (r *reader) notOneOf(s spot, words []string) {
	accepted := quoteAll(words)
	if text, ok := s.Text(); ok {
		r.fault(s.path, "is another word"+meant(text, words), accepted)
	} else {
		r.wrong(s, accepted)
	}
}

func quoteAll(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quote(w)
	}
	return strings.Join(quoted, ", ")
}

// seconds reads a whole number of seconds as milliseconds; absent, it is the
// default, which is in seconds too.
func (r *reader) seconds(s spot, absent, low, high int64, or string) int64 {
	if !s.present() {
		return absent * 1000
	}
	accepted := "whole seconds from " + strconv.FormatInt(low, 10) + " to " + strconv.FormatInt(high, 10) + or
	n, whole := s.Int()
	switch {
	case s.Kind() != strict.Number:
		r.wrong(s, accepted)
	case !whole:
		r.fault(s.path, "is not a whole number, written without fraction and exponent", accepted)
	case n < low || n > high:
		r.fault(s.path, "is out of range", accepted)
	default:
		return n * 1000
	}
	return absent * 1000
}

// meant suggests the name that a writer probably had in mind, if one is near.
func meant(text string, names []string) string {
	best, least := "", 3
	if len(text) < 5 {
		least = 2
	}
	if len(text) <= 32 {
		for _, name := range names {
			if d := distance(strings.ToLower(text), strings.ToLower(name)); d < least && d < len(name) {
				best, least = name, d
			}
		}
	}
	if best == "" {
		return ""
	}
	return " (did you mean " + quote(best) + "?)"
}

// distance is the number of characters to insert, delete or replace between two
// short texts (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			next := diagonal
			if a[i] != b[j] {
				next = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}

// quote is for this package's own words, which need no escaping.
func quote(word string) string { return `"` + word + `"` }
