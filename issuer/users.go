package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"sessiongate/issuer/store"
)

// The assurance levels a credential or method can give, least first.
var levels = []string{"aal0", "aal1", "aal2", "aal3"}

// maxDocument bounds traits and public metadata of a user.
const maxDocument = 32 << 10

// PutUser writes a user and reports whether it is new. CreatedAt and UpdatedAt
// are set here. Wrong fields are Faults, named as in the API.
func (i *Issuer) PutUser(ctx context.Context, u store.User) (store.User, bool, error) {
	var f Faults
	checkID(&f, "id", u.ID)
	checkObject(&f, "traits", u.Traits)
	checkObject(&f, "public_metadata", u.PublicMetadata)
	if len(u.Credentials) > maxList {
		f.Add("credentials", "must have at most %d entries", maxList)
	}
	for n, c := range u.Credentials {
		checkText(&f, fmt.Sprintf("credentials[%d].type", n), c.Type, true)
		checkLevel(&f, fmt.Sprintf("credentials[%d].aal", n), c.AAL)
	}
	if len(u.Organizations) > maxList {
		f.Add("organizations", "must have at most %d entries", maxList)
	}
	for n, o := range u.Organizations {
		field := fmt.Sprintf("organizations[%d].", n)
		checkID(&f, field+"id", o.ID)
		checkText(&f, field+"slug", o.Slug, false)
		checkText(&f, field+"name", o.Name, false)
		checkTexts(&f, field+"roles", o.Roles)
		checkTexts(&f, field+"permissions", o.Permissions)
		for _, before := range u.Organizations[:n] {
			if before.ID == o.ID {
				f.Add(field+"id", "is there twice")
				break
			}
		}
	}
	checkTexts(&f, "roles", u.Roles)
	checkTexts(&f, "permissions", u.Permissions)
	if err := f.Err(); err != nil {
		return store.User{}, false, err
	}
	u.CreatedAt = i.time()
	u.UpdatedAt = u.CreatedAt
	created, err := i.store.PutUser(ctx, u)
	if err != nil {
		return store.User{}, false, err
	}
	stored, err := i.store.User(ctx, u.ID)
	return stored, created, err
}

// User returns a user.
func (i *Issuer) User(ctx context.Context, id string) (store.User, error) {
	u, err := i.store.User(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return store.User{}, refuse(NotFound, "no user %q", id)
	}
	return u, err
}

func checkID(f *Faults, field, id string) {
	checkText(f, field, id, true)
}

func checkLevel(f *Faults, field, aal string) {
	if levelOf(aal) < 1 {
		f.Add(field, "must be aal1, aal2 or aal3")
	}
}

func levelOf(aal string) int {
	for n, name := range levels {
		if n > 0 && name == aal {
			return n
		}
	}
	return 0
}

func checkObject(f *Faults, field string, raw json.RawMessage) {
	switch {
	case len(raw) > maxDocument:
		f.Add(field, "must have at most %d bytes", maxDocument)
	case len(raw) > 0 && raw[0] != '{':
		f.Add(field, "must be an object")
	}
}
