package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

// places are the store's files as they were when it was opened, by path.
type places map[string]fs.FileInfo

// findPlaces looks up the files that stay the same while the store is open.
func findPlaces(path string) (places, error) {
	found := make(places)
	for _, name := range []string{path, path + "-wal", path + ".lock"} {
		info, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("finding the store's files: %w", err)
		}
		found[name] = info
	}
	return found, nil
}

// check returns what has become of a file that isn't where it was.
func (p places) check() (gone string, err error) {
	for name, opened := range p {
		info, err := os.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return name + " was removed", nil
		case err != nil:
			return "", fmt.Errorf("looking for the store's files: %w", err)
		case !os.SameFile(opened, info):
			return name + " was replaced", nil
		}
	}
	return "", nil
}

// Check returns an error once one of the store's files is gone from its place,
// or another one is there: whatever is written from then on would be lost with
// the process. So the store is closed then, for good, and its followers count as
// cut off since ever. What it held is put beside it as PATH.rescued, where that
// can be done. While the disk is full, Check returns an error too.
func (db *DB) Check(ctx context.Context) error {
	db.checking.Lock()
	defer db.checking.Unlock()
	if lost := db.lost.Load(); lost != nil {
		return *lost
	}
	gone, err := db.places.check()
	if err == nil && gone == "" && !db.reserve.refill() {
		err = errFull
	}
	if err != nil || gone == "" {
		return err
	}
	lost := fmt.Errorf("%w: %s while the server was running, so nothing more can be recorded and nobody is let in", store.ErrLost, gone)
	rescued, err := db.rescue(ctx)
	if err == nil {
		lost = fmt.Errorf("%w; stop the server, move %s to %s, which is what the store held until now, and start again", lost, rescued, db.path)
	} else {
		lost = fmt.Errorf("%w; stop the server, restore the store from a backup and start again (its content until now can't be saved: %w)", lost, err)
	}
	db.lost.Store(&lost)
	db.followers.cutOff()
	closing := errors.Join(db.reading.Close(), db.writing.Close())
	if err == nil && closing == nil {
		closing = db.removeRemains()
	}
	return errors.Join(lost, closing)
}

// rescue writes what the store holds beside it.
func (db *DB) rescue(ctx context.Context) (string, error) {
	name, err := freeName(db.path + ".rescued")
	if err != nil {
		return "", err
	}
	return name, copyTo(ctx, db.writing, name, db.path+".rescuing")
}

// removeRemains removes the log of a store that is lost and rescued: SQLite
// would take it for that of the file which is put in the store's place.
func (db *DB) removeRemains() error {
	log := db.path + "-wal"
	info, err := os.Stat(log)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !os.SameFile(info, db.places[log]) {
		return nil // another's
	}
	return errors.Join(os.Remove(log), removeIfThere(db.path+"-shm"))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// cutOff has the followers trust nothing that they know.
func (f *followers) cutOff() {
	f.each(func(follower store.Follower) {
		follower.Lost()
		follower.Heartbeat(time.Unix(0, 0))
	})
}
