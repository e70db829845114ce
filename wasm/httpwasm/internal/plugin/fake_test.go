package plugin

import (
	"errors"
	"slices"
	"strings"

	"sessiongate/verdict"
)

// fake is a proxy with one request in it.
type fake struct {
	config   string
	noConfig bool
	time     int64 // Unix milliseconds
	lines    []string

	method, uri string
	huge        bool // an answer is over all bounds
	maps        map[Map][]verdict.Field
	listed      string // in place of the names, if not ""

	status int
	body   string
	sent   int // answers

	files map[string]string
	edits uint64 // of the files
	stats int
	reads int
}

func (f *fake) Log(_ Level, message string) { f.lines = append(f.lines, message) }
func (f *fake) Time() int64                 { return f.time * 1_000_000 }
func (f *fake) Trailers() bool              { return true }
func (f *fake) Forget()                     {}

func (f *fake) Configuration() (string, bool) { return f.config, !f.noConfig }
func (f *fake) Method() (string, bool)        { return f.method, true }
func (f *fake) URI() (string, bool)           { return f.uri, !f.huge }
func (f *fake) SetURI(uri string)             { f.uri = uri }

func (f *fake) Names(m Map) (string, int, bool) {
	if f.listed != "" {
		return f.listed, strings.Count(f.listed, "\x00"), true
	}
	var names []string
	for _, h := range f.maps[m] {
		if name := strings.ToLower(h.Name); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return list(names), len(names), true
}

func (f *fake) Values(m Map, name string) (string, int, bool) {
	var values []string
	for _, h := range f.maps[m] {
		if strings.EqualFold(h.Name, name) {
			values = append(values, h.Value)
		}
	}
	return list(values), len(values), true
}

func list(items []string) string {
	var b strings.Builder
	for _, s := range items {
		b.WriteString(s + "\x00")
	}
	return b.String()
}

func (f *fake) Remove(m Map, name string) {
	f.maps[m] = slices.DeleteFunc(f.maps[m], func(h verdict.Field) bool { return strings.EqualFold(h.Name, name) })
}

func (f *fake) Set(m Map, name, value string) {
	f.Remove(m, name)
	f.Add(m, name, value)
}

func (f *fake) Add(m Map, name, value string) {
	if m == ResponseHeaders && f.sent > 0 {
		panic("headers after the answer")
	}
	f.maps[m] = append(f.maps[m], verdict.Field{Name: name, Value: value})
}

func (f *fake) Respond(status int, body []byte) {
	f.status, f.body, f.sent = status, string(body), f.sent+1
}

func (f *fake) Stat(path string) (Version, error) {
	f.stats++
	text, ok := f.files[path]
	if !ok {
		return Version{}, errors.New("no such file")
	}
	return Version{Size: uint64(len(text)), Inode: f.edits}, nil
}

func (f *fake) ReadFile(path string, most int) ([]byte, error) {
	f.reads++
	text := f.files[path]
	return []byte(text[:min(len(text), most)]), nil
}

func (f *fake) write(path, text string) {
	if f.files == nil {
		f.files = map[string]string{}
	}
	f.files[path] = text
	f.edits++
}

// values are a header's, in whatever case.
func (f *fake) values(m Map, name string) (values []string) {
	for _, h := range f.maps[m] {
		if strings.EqualFold(h.Name, name) {
			values = append(values, h.Value)
		}
	}
	return values
}

func (f *fake) logged() string { return strings.Join(f.lines, "\n") }
