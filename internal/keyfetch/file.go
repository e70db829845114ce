package keyfetch

import (
	"context"
	"io"
	"os"
	"strconv"

	"sessiongate/jwks"
)

// File reads a key file (see jwks.ParseFile). It gives every version that it reads
// a tag of its own, so that a version that was read and rejected is never taken for
// the one before.
func File(path string) Fetcher { return &fileFetcher{path: path} }

type fileFetcher struct {
	path        string
	read        os.FileInfo // of the file before it was read last
	confirmedAt int64       // what that file said
	version     int
}

func (f *fileFetcher) Fetch(_ context.Context, o jwks.Order) (jwks.Answer, error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return jwks.Answer{}, err
	}
	if o.IfNoneMatch == strconv.Itoa(f.version) && SameVersion(f.read, info) {
		return jwks.Answer{Status: jwks.NotModified, Lifetime: FileInterval, ConfirmedAt: f.confirmedAt}, nil
	}
	file, err := os.Open(f.path)
	if err != nil {
		return jwks.Answer{}, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, jwks.MaxFileBytes+1))
	if err != nil {
		return jwks.Answer{}, err
	}
	document, confirmedAt, err := jwks.ParseFile(content)
	if err != nil {
		return jwks.Answer{}, err
	}
	f.read, f.confirmedAt = info, confirmedAt // as it was before it was read: a write in between shows next time
	f.version++
	return jwks.Answer{Status: jwks.Fetched, Document: document, ETag: strconv.Itoa(f.version), Lifetime: FileInterval, ConfirmedAt: confirmedAt}, nil
}

// SameVersion is false if a file was written or replaced, as far as a look at its
// directory entry can tell.
func SameVersion(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}
