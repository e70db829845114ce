// Package sqlite is the embedded engine of the issuer's store: one file, WAL, and
// synchronous=FULL, so that what was committed survives a power cut.
package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	modernc "modernc.org/sqlite"

	"sessiongate/issuer/internal/durable"
	"sessiongate/issuer/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// DB is a store in one SQLite file. One connection writes; reads have their own
// and never wait for a write.
type DB struct {
	path  string
	write *sql.DB
	read  *sql.DB
}

var _ store.Store = (*DB)(nil)

// Create makes a new database file of mode 0600; one that is there is refused.
func Create(ctx context.Context, path string) (*DB, error) {
	// A log that another database left behind would be played into this one.
	for _, suffix := range []string{"-wal", "-shm"} {
		if _, err := os.Lstat(path + suffix); !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("database %s: %s%s is in the way: %w", path, path, suffix, fs.ErrExist)
		}
	}
	// SQLite takes an empty file for a new database; made here, it is never readable
	// by others, and never somebody else's.
	if err := durable.Create(path, nil); err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	db, err := open(ctx, path)
	if err != nil {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			os.Remove(path + suffix)
		}
		return nil, err
	}
	return db, nil
}

// Open opens a database that exists, checks that it is whole and brings its
// schema up to date. A schema newer than this program knows is refused. Every
// error names the path.
func Open(ctx context.Context, path string) (*DB, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("database %s does not exist", path)
	case err != nil:
		return nil, fmt.Errorf("database: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("database %s is not a regular file", path)
	case info.Size() == 0:
		return nil, fmt.Errorf("database %s is empty", path)
	}
	return open(ctx, path)
}

func open(ctx context.Context, path string) (_ *DB, err error) {
	db := &DB{path: path}
	defer func() {
		if err != nil {
			db.Close()
			err = fmt.Errorf("database %s: %w", path, explain(err, filepath.Dir(path)))
		}
	}()
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	db.write = handle(absolute, 1, "")
	db.read = handle(absolute, 4, "&_pragma=query_only(1)")
	if err := db.check(ctx); err != nil {
		return nil, err
	}
	if err := migrate(ctx, db.write); err != nil {
		return nil, err
	}
	return db, db.Ping(ctx)
}

// handle is a pool of connections to the file.
func handle(path string, size int, more string) *sql.DB {
	dsn := (&url.URL{Scheme: "file", OmitHost: true, Path: path}).String() + "?mode=rw" +
		"&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_txlock=immediate" + more
	db := sql.OpenDB(connector{dsn})
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db
}

// connector opens connections and asserts on each what durability rests on: a
// pragma that is misspelled or refused is no error in SQLite.
type connector struct{ dsn string }

func (c connector) Driver() driver.Driver { return &modernc.Driver{} }

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Driver().Open(c.dsn)
	if err != nil {
		return nil, err
	}
	for _, want := range []struct{ pragma, value string }{
		{"synchronous", "2"}, {"journal_mode", "wal"}, {"foreign_keys", "1"},
	} {
		got, err := pragma(ctx, conn, want.pragma)
		if err == nil && got != want.value {
			err = fmt.Errorf("%s is %s, not %s", want.pragma, got, want.value)
		}
		if err != nil {
			conn.Close()
			return nil, err
		}
	}
	return conn, nil
}

func pragma(ctx context.Context, conn driver.Conn, name string) (string, error) {
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx, "PRAGMA "+name, nil)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	row := make([]driver.Value, len(rows.Columns()))
	if err := rows.Next(row); err != nil {
		if errors.Is(err, io.EOF) {
			return "", fmt.Errorf("PRAGMA %s answers nothing", name)
		}
		return "", err
	}
	return fmt.Sprint(row[0]), nil
}

// check finds a damaged file now rather than in the middle of the work.
func (db *DB) check(ctx context.Context) error {
	var result string
	if err := db.write.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&result); err != nil {
		return err
	}
	if result != "ok" {
		return &damaged{result}
	}
	return nil
}

type damaged struct{ what string }

func (d *damaged) Error() string { return "is damaged: " + strings.Join(strings.Fields(d.what), " ") }

func migrate(ctx context.Context, db *sql.DB) error {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, dir)
	if err != nil {
		return err
	}
	current, target, err := provider.GetVersions(ctx)
	if err != nil {
		return err
	}
	if current > target {
		return fmt.Errorf("has schema version %d, and this program knows %d: it was used by a newer release", current, target)
	}
	_, err = provider.Up(ctx)
	return err
}

// SQLite result codes (their low byte).
const (
	codeReadOnly = 8
	codeCorrupt  = 11
	codeCantOpen = 14
	codeNotADB   = 26
)

// explain says in one sentence what an operator can do something about.
func explain(err error, dir string) error {
	var e *modernc.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case codeReadOnly, codeCantOpen:
		return fmt.Errorf("cannot be written: %s and the file must be writable: %w", dir, err)
	case codeCorrupt, codeNotADB:
		return fmt.Errorf("is damaged, or no database: %w", err)
	}
	return err
}

// Close ends all connections; the write-ahead log is folded into the file.
func (db *DB) Close() error {
	var errs []error
	for _, h := range []*sql.DB{db.read, db.write} { // the writer last: it checkpoints
		if h != nil {
			errs = append(errs, h.Close())
		}
	}
	return errors.Join(errs...)
}

// Ping writes, because a disk that is full or read-only still answers reads.
func (db *DB) Ping(ctx context.Context) error {
	return db.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO meta (name, value) VALUES ('ping', '') ON CONFLICT (name) DO UPDATE SET value = ''")
		return err
	})
}

// tx runs do in a transaction of the writer, which takes its lock at once
// (_txlock=immediate), so that nothing read in it can be stale.
func (db *DB) tx(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return db.fail(err)
	}
	if err := do(tx); err != nil {
		tx.Rollback()
		return db.fail(err)
	}
	return db.fail(tx.Commit())
}

// fail names the path in errors that are no answer to a question.
func (db *DB) fail(err error) error {
	if err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrConflict) {
		return err
	}
	var e *modernc.Error
	if !errors.As(err, &e) {
		return err
	}
	return fmt.Errorf("database %s: %w", db.path, explain(err, filepath.Dir(db.path)))
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
