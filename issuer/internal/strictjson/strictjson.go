// Package strictjson reads JSON into Go values to the letter: names match exactly,
// unknown and repeated members are refused, and every fault names its field.
// (encoding/json matches names in any case and takes the last of two.)
package strictjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"sessiongate/internal/strict"
	"sessiongate/verdict"
)

// Fault is one thing that is wrong with a document.
type Fault struct {
	Field   string // "methods[0].aal"; "" for the document itself
	Problem string // what is wrong and what would be accepted
}

// Error is "field: problem".
func (f Fault) Error() string {
	if f.Field == "" {
		return f.Problem
	}
	return f.Field + ": " + f.Problem
}

// Faults is everything that is wrong with a document.
type Faults []Fault

// Error has one fault a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Add notes a fault.
func (f *Faults) Add(field, format string, args ...any) {
	*f = append(*f, Fault{field, fmt.Sprintf(format, args...)})
}

// Err is f as an error: nil if there is no fault.
func (f Faults) Err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

const (
	maxDepth   = 32
	maxMembers = 1000
)

// Decode reads src, one JSON object, into the struct that into points to: strings,
// booleans, integers, times (RFC 3339), slices, structs, pointers and
// json.RawMessage, by their json tags. A member that is null counts as absent
// where the field is a pointer, a slice or raw. The error is a Faults.
func Decode(src []byte, into any) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return errors.New("strictjson: into must point to a struct")
	}
	var d strict.Doc
	switch d.Parse(src, strict.Limits{Depth: maxDepth, Members: maxMembers}) {
	case verdict.None:
	case verdict.TooLarge:
		return Faults{{"", fmt.Sprintf("is over the bounds of %d levels and %d members", maxDepth, maxMembers)}}
	default:
		return Faults{{"", fmt.Sprintf("is not strict JSON at byte %d: %s", d.ErrorOffset(), d.ErrorText())}}
	}
	if d.Root().Kind() != strict.Object {
		return Faults{{"", "must be a JSON object, is " + d.Root().Kind().String()}}
	}
	var f Faults
	decode(d.Root(), v.Elem(), "", &f)
	return f.Err()
}

var (
	rawType  = reflect.TypeFor[json.RawMessage]()
	timeType = reflect.TypeFor[time.Time]()
)

func decode(v strict.Value, to reflect.Value, field string, f *Faults) {
	wrong := func(want string) { f.Add(field, "must be %s, is %s", want, v.Kind()) }
	null := v.Kind() == strict.Null
	switch t := to.Type(); {
	case t == rawType:
		if !null {
			to.SetBytes(append([]byte(nil), v.Raw()...))
		}
	case t == timeType:
		s, ok := v.Text()
		if !ok {
			wrong("a time such as \"2030-01-02T15:04:05Z\"")
			return
		}
		at, err := time.Parse(time.RFC3339, s)
		if err != nil {
			f.Add(field, "must be a time such as \"2030-01-02T15:04:05Z\"")
			return
		}
		to.Set(reflect.ValueOf(at.UTC()))
	case t.Kind() == reflect.Pointer:
		if !null {
			to.Set(reflect.New(t.Elem()))
			decode(v, to.Elem(), field, f)
		}
	case t.Kind() == reflect.Struct:
		decodeStruct(v, to, field, f, wrong)
	case t.Kind() == reflect.Slice:
		if null {
			return
		}
		if v.Kind() != strict.Array {
			wrong("an array")
			return
		}
		s := reflect.MakeSlice(t, v.Len(), v.Len())
		i := 0
		for c := v.First(); c.Kind() != strict.Invalid; c = c.Next() {
			decode(c, s.Index(i), fmt.Sprintf("%s[%d]", field, i), f)
			i++
		}
		to.Set(s)
	case t.Kind() == reflect.String:
		s, ok := v.Text()
		if !ok {
			wrong("a string")
			return
		}
		to.SetString(s)
	case t.Kind() == reflect.Bool:
		if v.Kind() != strict.True && v.Kind() != strict.False {
			wrong("true or false")
			return
		}
		to.SetBool(v.Kind() == strict.True)
	case t.Kind() == reflect.Int64 || t.Kind() == reflect.Int:
		n, ok := v.Int()
		if !ok {
			if v.Kind() == strict.Number {
				f.Add(field, "must be a whole number")
				return
			}
			wrong("a whole number")
			return
		}
		to.SetInt(n)
	default:
		f.Add(field, "strictjson: cannot decode into %s", t)
	}
}

func decodeStruct(v strict.Value, to reflect.Value, field string, f *Faults, wrong func(string)) {
	if v.Kind() != strict.Object {
		wrong("an object")
		return
	}
	for c := v.First(); c.Kind() != strict.Invalid; c = c.Next() {
		name := c.Key()
		path := name
		if field != "" {
			path = field + "." + name
		}
		i, names := fieldOf(to.Type(), name)
		if i < 0 {
			f.Add(path, "unknown member; known are %s", strings.Join(names, ", "))
			continue
		}
		decode(c, to.Field(i), path, f)
	}
}

func fieldOf(t reflect.Type, name string) (int, []string) {
	var names []string
	for i := range t.NumField() {
		tag, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if tag == name && tag != "-" && tag != "" {
			return i, nil
		}
		if tag != "" && tag != "-" {
			names = append(names, tag)
		}
	}
	return -1, names
}
