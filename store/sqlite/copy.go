package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/portcullis-mfa/portcullis/store"
)

// Copy is a copy of a whole store, as of one moment. Close deletes it.
type Copy struct {
	file *os.File
	size int64
}

// Copy makes a copy of the store while it is in use. Readers and writers aren't
// interrupted. The copy needs as much room next to the store as the store itself takes.
// While another copy is being made, Copy returns store.ErrBusy.
func (db *DB) Copy(ctx context.Context) (_ *Copy, err error) {
	if lost := db.lost.Load(); lost != nil {
		return nil, *lost
	}
	if !db.copying.TryLock() {
		return nil, store.ErrBusy
	}
	defer db.copying.Unlock()
	path := db.path + ".copy"
	reading, err := openConnections(db.path, upkeepConnection, 1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, reading.Close()) }()
	if err := copyTo(ctx, reading, path, path+"ing"); err != nil {
		return nil, fmt.Errorf("copying the store: %w", explain(ctx, err))
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close(), os.Remove(path))
	}
	// Where files that are open can be deleted, nothing is left behind even if the
	// process is killed. Elsewhere, Close deletes it.
	_ = os.Remove(path)
	return &Copy{file, info.Size()}, nil
}

// Size returns how many bytes the copy has.
func (c *Copy) Size() int64 { return c.size }

// Read reads the copy from its beginning.
func (c *Copy) Read(p []byte) (int, error) { return c.file.Read(p) }

// Close deletes the copy.
func (c *Copy) Close() error {
	err := c.file.Close()
	if gone := os.Remove(c.file.Name()); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}
