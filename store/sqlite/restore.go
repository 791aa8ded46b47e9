package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/portcullis-mfa/portcullis/store"
)

// ErrExists says that there is a store already where one is to be restored.
var ErrExists = errors.New("there is a store already")

// Restored is a store that was made from a copy and is ready to be put in place.
type Restored struct {
	path, unfinished string
	held             *hold
	incarnation      string
	position         int64
}

// Restore makes a store from a copy, beside the place at path, where there must not be
// one: that is ErrExists. It checks the copy, brings its schema up to date, and has it
// begin another life, so that no session of the copy lives on. revise may then change
// what the store holds. Callers call Place or Discard.
func Restore(ctx context.Context, path string, copied io.Reader, revise func(context.Context, store.Store) error) (*Restored, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("finding the store %s: %w", path, err)
	}
	r := &Restored{path: absolute, unfinished: absolute + ".restoring"}
	if err := os.MkdirAll(filepath.Dir(absolute), directoryMode); err != nil {
		return nil, fmt.Errorf("making the directory: %w", err)
	}
	if r.held, err = takeHold(ctx, absolute); err != nil {
		return nil, err
	}
	if err := r.fill(ctx, copied, revise); err != nil {
		return nil, errors.Join(fmt.Errorf("restoring the store %s: %w", absolute, err), r.Discard())
	}
	return r, nil
}

func (r *Restored) fill(ctx context.Context, copied io.Reader, revise func(context.Context, store.Store) error) error {
	exists, err := find(r.path)
	if exists {
		return ErrExists
	}
	if err != nil {
		return err
	}
	if err := r.removeUnfinished(); err != nil {
		return err
	}
	if err := writeNew(r.unfinished, copied); err != nil {
		return fmt.Errorf("writing the copy: %w", err)
	}
	db, err := openAlone(ctx, r.unfinished, embeddedMigrations(), false)
	if err != nil {
		return err
	}
	if err := db.beginAnew(ctx, revise); err != nil {
		return errors.Join(err, db.Close())
	}
	r.incarnation = db.Incarnation()
	if r.position, err = db.Position(ctx); err != nil {
		return errors.Join(err, db.Close())
	}
	return db.Close()
}

func (db *DB) beginAnew(ctx context.Context, revise func(context.Context, store.Store) error) error {
	if err := db.Renew(ctx, db.Incarnation()); err != nil {
		return err
	}
	return revise(ctx, db)
}

func writeNew(path string, content io.Reader) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Sync(), file.Close())
}

// Incarnation returns the incarnation of the store, which is a new one.
func (r *Restored) Incarnation() string { return r.incarnation }

// Position returns the position of the store.
func (r *Restored) Position() int64 { return r.position }

// Place puts the store in its place.
func (r *Restored) Place() error {
	if err := putInPlace(r.unfinished, r.path); err != nil {
		return errors.Join(fmt.Errorf("putting the store in its place: %w", err), r.Discard())
	}
	return r.Discard()
}

// Discard deletes what isn't in place, and lets go of the place.
func (r *Restored) Discard() error {
	return errors.Join(r.removeUnfinished(), r.held.release())
}

// removeUnfinished deletes the store that isn't in place, with all that opening it has
// made beside it.
func (r *Restored) removeUnfinished() error {
	directory, name := filepath.Split(r.unfinished)
	entries, err := os.ReadDir(directory)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), name) {
			continue
		}
		if err := os.Remove(filepath.Join(directory, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}
