package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"

	codes "modernc.org/sqlite/lib"
)

const (
	// reserveSize is the room that is kept. A sign-out takes some 20 KB of it,
	// and the log is used over again before it is used up.
	reserveSize  = 1 << 20
	reserveChunk = 64 << 10
)

// errFull says that only what takes rights away is recorded.
var errFull = errors.New("the disk is full: the remaining space is reserved for signing people out, disabling them and revoking devices; free some space")

// reserve is room on the disk that is kept for transactions which take rights
// away: on a full disk, somebody has to be signed out all the same. It is a file
// that gives its room up to the first of them. From then on, nobody else may
// write until the file has all of its room again.
type reserve struct {
	path string

	mu       sync.Mutex // held while the file changes
	complete atomic.Bool
}

// refill takes as much room as is missing, and reports whether none is any more.
func (r *reserve) refill() bool {
	if r.complete.Load() {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	file, err := os.OpenFile(r.path, os.O_WRONLY|os.O_CREATE, fileMode)
	if err != nil {
		return false
	}
	has, err := file.Seek(0, io.SeekEnd)
	// No zeros, which some file systems keep without any room.
	chunk := make([]byte, reserveChunk)
	rand.Read(chunk) // never fails
	for err == nil && has < reserveSize {
		var written int
		written, err = file.Write(chunk[:min(reserveChunk, reserveSize-has)])
		has += int64(written)
	}
	err = errors.Join(err, file.Close())
	r.complete.Store(err == nil)
	return err == nil
}

// release gives the room up.
func (r *reserve) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.complete.Store(false)
	// Where that fails, there is no room, and the transaction says so.
	_ = os.Truncate(r.path, 0)
}

// ranOutOfRoom reports whether a write failed because the disk is full, or may
// have: quotas come as other errors.
func ranOutOfRoom(err error) bool {
	code := extendedCode(err)
	return code&0xff == codes.SQLITE_FULL || code == codes.SQLITE_IOERR_WRITE || errors.Is(err, errFull)
}

// makeRoom has a transaction that takes rights away find room on a full disk:
// what is kept in reserve, and the log, which is written from its beginning
// again once all in it is in the file.
func (db *DB) makeRoom(ctx context.Context) {
	db.reserve.release()
	// Where that fails, the transaction says so.
	_ = checkpoint(ctx, db.writing)
}

func checkpoint(ctx context.Context, db *sql.DB) error {
	_, err := db.ExecContext(ctx, `PRAGMA wal_checkpoint(RESTART)`)
	return err
}
