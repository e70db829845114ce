//go:build !wasm

// A guest has no use for the schema, and package embed would bring io/fs and time
// into it.

package policy

import _ "embed"

//go:embed schema.json
var schema string

// Schema returns the JSON Schema (2020-12) of the document, for editors and for
// checks before a host sees the document. It refuses what is wrong with a
// document's shape; Parse refuses that too, and what one member means for another
// and for the keys besides. The result is a copy.
func Schema() []byte { return []byte(schema) }
