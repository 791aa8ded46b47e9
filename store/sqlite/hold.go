package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	codes "modernc.org/sqlite/lib"
)

// hold keeps everybody else from opening the store: other processes, and this
// one a second time.
type hold struct {
	db         *sql.DB
	connection *sql.Conn
}

// takeHold locks the store at path for as long as it is open, and waits a
// little for a predecessor that is stopping. The lock is an exclusive
// transaction on an empty file beside the store, so that it works wherever
// SQLite's own locks do, ends with the process however that ends, and leaves
// the store itself to those who only read it. The file stays when the lock is
// gone: were it removed, one process could lock the old file and another a new
// one.
func takeHold(ctx context.Context, path string) (*hold, error) {
	path += ".lock"
	db, err := openConnections(path, holdConnection, 1)
	if err != nil {
		return nil, err
	}
	connection, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", path, explainHold(ctx, err)), db.Close())
	}
	held := &hold{db, connection}
	// Not sql.Tx, which would let go of the lock as soon as ctx ends.
	_, err = connection.ExecContext(ctx, `BEGIN EXCLUSIVE`)
	if err == nil {
		// SQLite made the file, not os.OpenFile: closing that again could drop
		// the lock of another goroutine.
		err = restrict(path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", path, explainHold(ctx, err)), held.release())
	}
	return held, nil
}

// release lets go of the store. To do so again does nothing.
func (h *hold) release() error {
	err := h.connection.Close()
	if errors.Is(err, sql.ErrConnDone) {
		err = nil
	}
	return errors.Join(err, h.db.Close())
}

// explainHold is explain for a lock that can only be another store's.
func explainHold(ctx context.Context, err error) error {
	if ctx.Err() == nil && extendedCode(err)&0xff == codes.SQLITE_BUSY {
		return fmt.Errorf("another process has this store open, or this one has already; stop it, or use a store for several processes: %w", err)
	}
	return explain(ctx, err)
}
