package jwks

import (
	"errors"
	"strconv"

	"sessiongate/internal/strict"
	"sessiongate/verdict"
)

// A key file is a JWK Set that one program writes and others read. With a member
// beside "keys" it says when its issuer was last known to publish just this set:
//
//	{"confirmed_at":1764063087,"keys":[…]}
//
// in whole seconds since 1970. Whoever reads it counts the set's age from there, and
// so notices that the program that should write it is gone. A file without the
// member was put there by somebody who answers for it, and does not age. RFC 7517
// section 5 lets readers that know nothing of this pass over the member.

const confirmedMember = "confirmed_at"

// MaxFileBytes is the length of the longest key file: the longest document, and the
// member that says when it was confirmed.
const MaxFileBytes = MaxBytes + 64

// ErrConfirmedAt says that a key file's time cannot be read. To pass over it would
// let the file live for ever.
var ErrConfirmedAt = errors.New(`"confirmed_at" is not one number of whole seconds since 1970`)

var fileLimits = strict.Limits{Bytes: MaxFileBytes, Depth: 32, Members: 256, KeepDuplicates: true}

// ParseFile takes a key file apart: the JWK Set, which is the same bytes for the
// same keys whenever they were confirmed, and the time of that in Unix
// milliseconds, 0 if the file does not say. A file that is no JWK Set is returned
// as it is, for Parse to refuse. The error is ErrConfirmedAt.
func ParseFile(file []byte) (document []byte, confirmedAt int64, err error) {
	var doc strict.Doc
	if doc.Parse(file, fileLimits) != verdict.None || doc.Root().Kind() != strict.Object {
		return file, 0, nil
	}
	members, keys := 0, 0
	for m := doc.Root().First(); m.Kind() != strict.Invalid; m = m.Next() {
		if m.KeyIs("keys") {
			keys++
		}
		if !m.KeyIs(confirmedMember) {
			continue
		}
		seconds, ok := m.Int()
		if members++; !ok || members > 1 || seconds <= 0 || seconds > latestSecond {
			return nil, 0, ErrConfirmedAt
		}
		confirmedAt = seconds * 1000
	}
	if members == 0 || keys > 1 {
		return file, confirmedAt, nil
	}
	return appendKeys([]byte{'{'}, doc.Root()), confirmedAt, nil
}

const latestSecond = 253402300799 // the end of the year 9999

// AppendFile appends a key file with a document that Parse accepts. confirmedAt is
// in Unix milliseconds, and written in the second before. The error is Parse's.
func AppendFile(dst, document []byte, confirmedAt int64) ([]byte, error) {
	if _, err := Parse(document); err != nil {
		return nil, err
	}
	if confirmedAt < 1000 || confirmedAt/1000 > latestSecond {
		return nil, ErrConfirmedAt
	}
	var doc strict.Doc
	if doc.Parse(document, fileLimits) != verdict.None {
		return nil, ErrNotJSON
	}
	dst = append(dst, `{"`+confirmedMember+`":`...)
	dst = append(strconv.AppendInt(dst, confirmedAt/1000, 10), ',')
	return appendKeys(dst, doc.Root()), nil
}

// appendKeys appends a set's "keys", and the end of the object around them.
func appendKeys(dst []byte, set strict.Value) []byte {
	dst = append(dst, `"keys":`...)
	if keys := set.Member("keys"); keys.Kind() != strict.Invalid {
		return append(append(dst, keys.Raw()...), '}')
	}
	return append(dst, "null}"...)
}
