package sqlite

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"sessiongate/issuer/store"
)

const apiKeyColumns = "id, name, scopes, hash, created_at, revoked_at"

func scanAPIKey(row scanner) (store.APIKey, error) {
	var k store.APIKey
	var scopes string
	var created, revoked int64
	err := row.Scan(&k.ID, &k.Name, &scopes, &k.Hash, &created, &revoked)
	if err == nil {
		err = fromJSON(&scopes, &k.Scopes)
	}
	if err != nil {
		return store.APIKey{}, noRow(err)
	}
	k.CreatedAt, k.RevokedAt = fromMillis(created), fromMillis(revoked)
	return k, nil
}

// CreateAPIKey implements store.Store.
func (db *DB) CreateAPIKey(ctx context.Context, k store.APIKey) error {
	return db.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO api_keys ("+apiKeyColumns+") VALUES (?, ?, ?, ?, ?, ?)",
			k.ID, k.Name, toJSON(k.Scopes), k.Hash, millis(k.CreatedAt), millis(k.RevokedAt))
		return constraint(err)
	})
}

// APIKey implements store.Store.
func (db *DB) APIKey(ctx context.Context, id string) (store.APIKey, error) {
	k, err := scanAPIKey(db.read.QueryRowContext(ctx, "SELECT "+apiKeyColumns+" FROM api_keys WHERE id = ?", id))
	return k, db.fail(err)
}

// APIKeys implements store.Store.
func (db *DB) APIKeys(ctx context.Context) ([]store.APIKey, error) {
	return db.apiKeys(ctx, db.read)
}

func (db *DB) apiKeys(ctx context.Context, q querier) ([]store.APIKey, error) {
	rows, err := q.QueryContext(ctx, "SELECT "+apiKeyColumns+" FROM api_keys ORDER BY seq")
	if err != nil {
		return nil, db.fail(err)
	}
	return collect(db, rows, scanAPIKey)
}

// RevokeAPIKey implements store.Store.
func (db *DB) RevokeAPIKey(ctx context.Context, id string, at time.Time, keep string) error {
	return db.tx(ctx, func(tx *sql.Tx) error {
		keys, err := db.apiKeys(ctx, tx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(keys, func(k store.APIKey) bool { return k.ID == id })
		if i < 0 {
			return store.ErrNotFound
		}
		if !keys[i].RevokedAt.IsZero() {
			return nil
		}
		holder := func(k store.APIKey) bool { return k.RevokedAt.IsZero() && slices.Contains(k.Scopes, keep) }
		if holder(keys[i]) && !slices.ContainsFunc(keys, func(k store.APIKey) bool { return k.ID != id && holder(k) }) {
			return store.ErrConflict
		}
		_, err = tx.ExecContext(ctx, "UPDATE api_keys SET revoked_at = ? WHERE id = ?", millis(at), id)
		return err
	})
}
