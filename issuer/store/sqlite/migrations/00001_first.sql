-- +goose Up
CREATE TABLE meta (
  name  TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
  id              TEXT    NOT NULL PRIMARY KEY,
  traits          TEXT    NOT NULL,
  public_metadata TEXT    NOT NULL,
  credentials     TEXT    NOT NULL,
  organizations   TEXT    NOT NULL,
  roles           TEXT    NOT NULL,
  permissions     TEXT    NOT NULL,
  created_at      INTEGER NOT NULL, -- Unix milliseconds, here and below; 0 is "not yet"
  updated_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
  id               TEXT    NOT NULL PRIMARY KEY,
  user_id          TEXT    NOT NULL REFERENCES users (id),
  client_id        TEXT    NOT NULL,
  tenant_id        TEXT    NOT NULL,
  actor            TEXT    NOT NULL,
  type             TEXT    NOT NULL,
  methods          TEXT    NOT NULL,
  device           TEXT    NOT NULL,
  status           TEXT    NOT NULL,
  credential_hash  BLOB    NOT NULL UNIQUE,
  created_at       INTEGER NOT NULL,
  expires_at       INTEGER NOT NULL,
  last_active_at   INTEGER NOT NULL,
  authenticated_at INTEGER NOT NULL,
  ended_at         INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_by_user ON sessions (user_id, created_at DESC, id DESC);
CREATE INDEX sessions_by_time ON sessions (created_at DESC, id DESC);

CREATE TABLE signing_keys (
  seq          INTEGER PRIMARY KEY AUTOINCREMENT,
  id           TEXT    NOT NULL UNIQUE,
  algorithm    TEXT    NOT NULL,
  state        TEXT    NOT NULL,
  public       BLOB    NOT NULL,
  sealed       BLOB    NOT NULL,
  announced_at INTEGER NOT NULL,
  activated_at INTEGER NOT NULL,
  retired_at   INTEGER NOT NULL,
  withdrawn_at INTEGER NOT NULL,
  emergency    TEXT    NOT NULL
) STRICT;
-- Two active keys of one algorithm cannot be written, whatever the code does.
CREATE UNIQUE INDEX signing_keys_one_active ON signing_keys (algorithm) WHERE state = 'active';

CREATE TABLE api_keys (
  seq        INTEGER PRIMARY KEY AUTOINCREMENT,
  id         TEXT    NOT NULL UNIQUE,
  name       TEXT    NOT NULL,
  scopes     TEXT    NOT NULL,
  hash       BLOB    NOT NULL,
  created_at INTEGER NOT NULL,
  revoked_at INTEGER NOT NULL
) STRICT;

-- +goose Down
DROP TABLE api_keys;
DROP TABLE signing_keys;
DROP TABLE sessions;
DROP TABLE users;
DROP TABLE meta;
