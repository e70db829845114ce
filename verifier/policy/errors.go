package policy

import "sessiongate/internal/strict"

// Fault is one thing that is wrong with a policy document. Of the document's values
// it repeats none but the names of issuers: any other may be a secret, some in the
// wrong place.
type Fault struct {
	Path    string // JSON Pointer (RFC 6901) to the member; "" is the whole document
	Problem string // what is wrong and what is accepted instead
}

// String is the fault on one line: "/policy/issuers/0/leeway: is a string; accepted: …".
func (f Fault) String() string {
	path := f.Path
	if path == "" {
		path = "document"
	}
	// A member name may hold anything; in a log it must stay on its line.
	quoted := strict.AppendQuote(nil, path)
	return string(quoted[1:len(quoted)-1]) + ": " + f.Problem
}

// Errors is every fault of a document, in the order in which they were found. It
// is what Parse returns as its error, and then it is not empty.
type Errors []Fault

// Error lists the faults, one a line.
func (e Errors) Error() string {
	var text []byte
	for i, f := range e {
		if i > 0 {
			text = append(text, '\n')
		}
		text = append(text, f.String()...)
	}
	return string(text)
}
