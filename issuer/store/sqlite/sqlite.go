package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	modernc "modernc.org/sqlite"

	"sessiongate/issuer/store"
)

// Extended result codes of constraints.
const (
	constraintForeignKey = 787
	constraintPrimaryKey = 1555
	constraintUnique     = 2067
)

func constraint(err error) error {
	var e *modernc.Error
	if errors.As(err, &e) {
		switch e.Code() {
		case constraintForeignKey:
			return store.ErrNotFound
		case constraintPrimaryKey, constraintUnique:
			return store.ErrExists
		}
	}
	return err
}

func noRow(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return store.ErrNotFound
	}
	return err
}

// toJSON is a column's text; what goes in are plain data, so it cannot fail.
func toJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func fromJSON(pairs ...any) error {
	for i := 0; i < len(pairs); i += 2 {
		if err := json.Unmarshal([]byte(*pairs[i].(*string)), pairs[i+1]); err != nil {
			return fmt.Errorf("a column of the database is not JSON: %w", err)
		}
	}
	return nil
}

func object(raw json.RawMessage) string {
	if len(raw) == 0 {
		return "{}"
	}
	return string(raw)
}

func (db *DB) meta(ctx context.Context, q querier, name string) (value string, err error) {
	err = q.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = ?", name).Scan(&value)
	return value, noRow(err)
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

type scanner interface{ Scan(...any) error }

// Issuer implements store.Store.
func (db *DB) Issuer(ctx context.Context) (string, error) {
	name, err := db.meta(ctx, db.read, "issuer")
	return name, db.fail(err)
}

// SetIssuer implements store.Store.
func (db *DB) SetIssuer(ctx context.Context, name string) error {
	return db.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO meta (name, value) VALUES ('issuer', ?)", name)
		return constraint(err)
	})
}

// PutUser implements store.Store.
func (db *DB) PutUser(ctx context.Context, u store.User) (created bool, err error) {
	err = db.tx(ctx, func(tx *sql.Tx) error {
		var n int
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM users WHERE id = ?", u.ID).Scan(&n); err != nil {
			return err
		}
		created = n == 0
		_, err := tx.ExecContext(ctx, `INSERT INTO users
			(id, traits, public_metadata, credentials, organizations, roles, permissions, created_at, updated_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET traits = excluded.traits, public_metadata = excluded.public_metadata,
			credentials = excluded.credentials, organizations = excluded.organizations, roles = excluded.roles,
			permissions = excluded.permissions, updated_at = excluded.updated_at`,
			u.ID, object(u.Traits), object(u.PublicMetadata), toJSON(u.Credentials), toJSON(u.Organizations),
			toJSON(u.Roles), toJSON(u.Permissions), millis(u.CreatedAt), millis(u.UpdatedAt))
		return err
	})
	return created && err == nil, err
}

// User implements store.Store.
func (db *DB) User(ctx context.Context, id string) (store.User, error) {
	u := store.User{ID: id}
	var traits, metadata, credentials, organizations, roles, permissions string
	var created, updated int64
	err := db.read.QueryRowContext(ctx, `SELECT traits, public_metadata, credentials, organizations, roles, permissions,
		created_at, updated_at FROM users WHERE id = ?`, id).
		Scan(&traits, &metadata, &credentials, &organizations, &roles, &permissions, &created, &updated)
	if err == nil {
		err = fromJSON(&credentials, &u.Credentials, &organizations, &u.Organizations, &roles, &u.Roles, &permissions, &u.Permissions)
	}
	if err != nil {
		return store.User{}, db.fail(noRow(err))
	}
	u.Traits, u.PublicMetadata = json.RawMessage(traits), json.RawMessage(metadata)
	u.CreatedAt, u.UpdatedAt = fromMillis(created), fromMillis(updated)
	return u, nil
}

const sessionColumns = `id, user_id, client_id, tenant_id, actor, type, methods, device, status, credential_hash,
	created_at, expires_at, last_active_at, authenticated_at, ended_at`

func scanSession(row scanner) (store.Session, error) {
	var s store.Session
	var methods, device string
	var created, expires, active, authenticated, ended int64
	err := row.Scan(&s.ID, &s.UserID, &s.ClientID, &s.TenantID, &s.Actor, &s.Type, &methods, &device, &s.Status,
		&s.CredentialHash, &created, &expires, &active, &authenticated, &ended)
	if err == nil {
		err = fromJSON(&methods, &s.Methods, &device, &s.Device)
	}
	if err != nil {
		return store.Session{}, noRow(err)
	}
	s.CreatedAt, s.ExpiresAt, s.LastActiveAt = fromMillis(created), fromMillis(expires), fromMillis(active)
	s.AuthenticatedAt, s.EndedAt = fromMillis(authenticated), fromMillis(ended)
	return s, nil
}

// CreateSession implements store.Store.
func (db *DB) CreateSession(ctx context.Context, s store.Session) error {
	return db.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO sessions ("+sessionColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			s.ID, s.UserID, s.ClientID, s.TenantID, s.Actor, s.Type, toJSON(s.Methods), toJSON(s.Device), s.Status,
			s.CredentialHash, millis(s.CreatedAt), millis(s.ExpiresAt), millis(s.LastActiveAt), millis(s.AuthenticatedAt), millis(s.EndedAt))
		return constraint(err)
	})
}

// Session implements store.Store.
func (db *DB) Session(ctx context.Context, id string) (store.Session, error) {
	s, err := scanSession(db.read.QueryRowContext(ctx, "SELECT "+sessionColumns+" FROM sessions WHERE id = ?", id))
	return s, db.fail(err)
}

// SessionByCredential implements store.Store.
func (db *DB) SessionByCredential(ctx context.Context, hash []byte) (store.Session, error) {
	s, err := scanSession(db.read.QueryRowContext(ctx, "SELECT "+sessionColumns+" FROM sessions WHERE credential_hash = ?", hash))
	return s, db.fail(err)
}

// Sessions implements store.Store.
func (db *DB) Sessions(ctx context.Context, f store.SessionFilter) ([]store.Session, error) {
	query, args := "SELECT "+sessionColumns+" FROM sessions", []any{}
	if f.UserID != "" {
		query, args = query+" WHERE user_id = ?", append(args, f.UserID)
	}
	if f.Limit == 0 {
		f.Limit = 100
	}
	rows, err := db.read.QueryContext(ctx, query+" ORDER BY created_at DESC, id DESC LIMIT ? OFFSET ?", append(args, f.Limit, f.Offset)...)
	if err != nil {
		return nil, db.fail(err)
	}
	return collect(db, rows, scanSession)
}

func collect[T any](db *DB, rows *sql.Rows, scan func(scanner) (T, error)) ([]T, error) {
	defer rows.Close()
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, db.fail(err)
		}
		all = append(all, one)
	}
	if err := rows.Err(); err != nil {
		return nil, db.fail(err)
	}
	return all, nil
}

// UpdateSession implements store.Store.
func (db *DB) UpdateSession(ctx context.Context, id string, change func(*store.Session) error) (store.Session, error) {
	var s store.Session
	err := db.tx(ctx, func(tx *sql.Tx) (err error) {
		s, err = scanSession(tx.QueryRowContext(ctx, "SELECT "+sessionColumns+" FROM sessions WHERE id = ?", id))
		if err != nil {
			return err
		}
		if err := change(&s); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE sessions SET client_id = ?, tenant_id = ?, actor = ?, type = ?, methods = ?, device = ?,
			status = ?, expires_at = ?, last_active_at = ?, authenticated_at = ?, ended_at = ? WHERE id = ?`,
			s.ClientID, s.TenantID, s.Actor, s.Type, toJSON(s.Methods), toJSON(s.Device), s.Status, millis(s.ExpiresAt),
			millis(s.LastActiveAt), millis(s.AuthenticatedAt), millis(s.EndedAt), id)
		return err
	})
	if err != nil {
		return store.Session{}, err
	}
	return s, nil
}

// TouchSessions implements store.Store.
func (db *DB) TouchSessions(ctx context.Context, at map[string]time.Time) error {
	if len(at) == 0 {
		return nil
	}
	return db.tx(ctx, func(tx *sql.Tx) error {
		stmt, err := tx.PrepareContext(ctx, "UPDATE sessions SET last_active_at = max(last_active_at, ?) WHERE id = ?")
		if err != nil {
			return err
		}
		defer stmt.Close()
		for id, t := range at {
			if _, err := stmt.ExecContext(ctx, millis(t), id); err != nil {
				return err
			}
		}
		return nil
	})
}

// KeyRevision implements store.Store.
func (db *DB) KeyRevision(ctx context.Context) (int64, error) {
	n, err := db.revision(ctx, db.read)
	return n, db.fail(err)
}

func (db *DB) revision(ctx context.Context, q querier) (int64, error) {
	text, err := db.meta(ctx, q, "key_revision")
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("database %s: key revision: %w", db.path, err)
	}
	return n, nil
}

func scanKey(row scanner) (store.Key, error) {
	var k store.Key
	var announced, activated, retired, withdrawn int64
	err := row.Scan(&k.ID, &k.Algorithm, &k.State, &k.Public, &k.Sealed, &announced, &activated, &retired, &withdrawn, &k.Emergency)
	k.AnnouncedAt, k.ActivatedAt = fromMillis(announced), fromMillis(activated)
	k.RetiredAt, k.WithdrawnAt = fromMillis(retired), fromMillis(withdrawn)
	return k, err
}

// Keys implements store.Store.
func (db *DB) Keys(ctx context.Context) (int64, []store.Key, error) {
	// Both reads are in one transaction: the revision belongs to these keys.
	tx, err := db.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return 0, nil, db.fail(err)
	}
	defer tx.Rollback()
	revision, err := db.revision(ctx, tx)
	if err != nil {
		return 0, nil, db.fail(err)
	}
	rows, err := tx.QueryContext(ctx, `SELECT id, algorithm, state, public, sealed, announced_at, activated_at, retired_at,
		withdrawn_at, emergency FROM signing_keys ORDER BY seq`)
	if err != nil {
		return 0, nil, db.fail(err)
	}
	keys, err := collect(db, rows, scanKey)
	return revision, keys, err
}

// SaveKeys implements store.Store.
func (db *DB) SaveKeys(ctx context.Context, revision int64, keys []store.Key) (int64, error) {
	err := db.tx(ctx, func(tx *sql.Tx) error {
		current, err := db.revision(ctx, tx)
		if err != nil {
			return err
		}
		if current != revision {
			return store.ErrConflict
		}
		for _, k := range keys {
			// A key that stops being active does so first: there is one at a time.
			if k.State != "active" {
				if _, err := tx.ExecContext(ctx, "UPDATE signing_keys SET state = ? WHERE id = ?", k.State, k.ID); err != nil {
					return err
				}
			}
		}
		for _, k := range keys {
			sealed := k.Sealed
			if sealed == nil {
				sealed = []byte{}
			}
			_, err := tx.ExecContext(ctx, `INSERT INTO signing_keys (id, algorithm, state, public, sealed, announced_at, activated_at,
				retired_at, withdrawn_at, emergency) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
				ON CONFLICT (id) DO UPDATE SET state = excluded.state, sealed = excluded.sealed, announced_at = excluded.announced_at,
				activated_at = excluded.activated_at, retired_at = excluded.retired_at, withdrawn_at = excluded.withdrawn_at,
				emergency = excluded.emergency`,
				k.ID, k.Algorithm, k.State, k.Public, sealed, millis(k.AnnouncedAt), millis(k.ActivatedAt), millis(k.RetiredAt),
				millis(k.WithdrawnAt), k.Emergency)
			if err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO meta (name, value) VALUES ('key_revision', ?)
			ON CONFLICT (name) DO UPDATE SET value = excluded.value`, strconv.FormatInt(revision+1, 10))
		return err
	})
	if err != nil {
		return 0, err
	}
	return revision + 1, nil
}
