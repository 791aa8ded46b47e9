package keys

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
)

// MarkKey is the name under which the mark is kept, in the key set's Storage.
const MarkKey = "portcullis/mark.json"

// Mark is how far a store had come, kept apart from the store: whoever brings
// an older copy of the store back leaves the mark where it is, and the start
// that follows notices. Without it, sessions that were ended after the copy was
// made would live again.
//
// A mark is as late as its last Keep. Callers keep it at the start, every few
// seconds while the position moves, and at the stop. So it does not notice
//   - a copy made in the seconds before a sudden end of the process, which is
//     not behind the last mark kept;
//   - a copy brought back together with the mark of its time, such as a
//     snapshot of the whole disk, or where the mark was removed;
//   - a store file put beside the write-ahead log of its successor, which
//     SQLite takes for its own.
//
// Where nodes share the storage, the highest mark wins in the end: each reads
// before it writes. Two that write in the same instant can leave the lower one
// until the next Keep, which is no later than a mark may be anyway.
//
// A Mark is for use by one goroutine at a time.
type Mark struct {
	storage     Storage
	found       position // at opening
	broken      error    // why what was found can't be read
	incarnation string   // of the mark as this process knows it
}

// ErrEmptied says that nothing has happened in a store of which the mark says
// otherwise: its file was made anew, or copied without its write-ahead log.
var ErrEmptied = errors.New("the store is empty, but wasn't before")

// errMarkDamaged says that what is stored is not a mark.
var errMarkDamaged = errors.New("the store's mark " + MarkKey + " is damaged")

// position is the mark as it is stored.
type position struct {
	Incarnation string `json:"incarnation"`
	Position    int64  `json:"position"`
}

// OpenMark reads the mark that earlier starts kept, if there is one. What it
// can't read, Doubt tells of.
func OpenMark(ctx context.Context, storage Storage) *Mark {
	m := &Mark{storage: storage}
	m.found, m.broken = m.load(ctx)
	m.incarnation = m.found.Incarnation
	return m
}

// Incarnation returns the incarnation in the mark that was found at opening; empty:
// there was no mark.
func (m *Mark) Incarnation() string { return m.found.Incarnation }

// Present describes a store that has just been opened.
type Present struct {
	Incarnation string
	Position    int64
	// Descends says that the store's life came from the mark's by renewals, which
	// ended everything that an older copy could bring back.
	Descends bool
}

// Found is what a mark says about the store, before anybody looks at the store.
type Found int

// What was found at the opening of a mark.
const (
	MarkMissing Found = iota
	// MarkAtStart is the mark of a store in which nothing has happened.
	MarkAtStart
	// MarkMoved is the mark of a store in which something has happened, or one
	// that can't be read.
	MarkMoved
)

// Found returns what was found at the opening.
func (m *Mark) Found() Found {
	switch {
	case m.broken != nil || m.found.Position > 0:
		return MarkMoved
	case m.found == position{}:
		return MarkMissing
	}
	return MarkAtStart
}

// Doubt returns why a store may be an older copy brought back, or nil. Callers
// that get an error renew the store's incarnation before they serve anything, and
// log it.
//
// There is no doubt if no mark has been kept yet. If the store is empty but the mark
// says that something had happened in it, Doubt returns ErrEmptied. Callers must then
// stop the start, since everybody in the store would be gone without a word. A store
// of another incarnation that doesn't descend from the mark's is in doubt whatever its
// position: sessions of its own life may still exist, for example if the copy had
// already been renewed by an earlier start. So is any store if the mark can't be read:
// ending all sessions is safe, going on as if nothing were known is not, and an
// unreadable mark is no reason to refuse service.
func (m *Mark) Doubt(s Present) error {
	switch {
	case s.Position == 0 && m.found.Position > 0:
		return fmt.Errorf("%w: its position was %d", ErrEmptied, m.found.Position)
	case m.broken != nil:
		return fmt.Errorf("can't tell whether the store is an older copy: %w", m.broken)
	case m.found == position{} || s.Position == 0:
		return nil
	case m.found.Incarnation != s.Incarnation && s.Descends:
		return nil
	case m.found.Incarnation != s.Incarnation:
		return fmt.Errorf("the store is a different one, or an older copy: its incarnation is %s, and was %s", s.Incarnation, m.found.Incarnation)
	case s.Position < m.found.Position:
		return fmt.Errorf("the store is an older copy: it is at position %d, and was at %d before", s.Position, m.found.Position)
	}
	return nil
}

// Keep moves the mark up to a position of an incarnation. It never moves it
// back within one. It replaces a mark of another incarnation where that is the
// one found at opening or kept before; one that came otherwise is of another
// node's renewal, which this node has missed, and that is an error.
func (m *Mark) Keep(ctx context.Context, incarnation string, at int64) error {
	kept, err := m.load(ctx)
	switch {
	case errors.Is(err, errMarkDamaged):
		// What it said is lost, and what is to be kept is known.
	case err != nil:
		return err
	case kept.Incarnation == "":
		// There is none, or none any more.
	case kept.Incarnation == incarnation:
		if kept.Position >= at {
			m.incarnation = incarnation
			return nil
		}
	case kept.Incarnation != m.incarnation:
		return fmt.Errorf("the store's mark is of another incarnation (%s) than the store as it was opened (%s): it was renewed or replaced since; start again",
			kept.Incarnation, incarnation)
	}
	if err := m.store(ctx, position{incarnation, at}); err != nil {
		return err
	}
	m.incarnation = incarnation
	return nil
}

// load reads the mark. The zero one stands for none.
func (m *Mark) load(ctx context.Context) (position, error) {
	content, err := m.storage.Load(ctx, MarkKey)
	if errors.Is(err, fs.ErrNotExist) {
		return position{}, nil
	}
	if err != nil {
		return position{}, fmt.Errorf("loading the store's mark: %w", err)
	}
	var kept position
	if err := json.Unmarshal(content, &kept); err != nil {
		return position{}, fmt.Errorf("%w: %w", errMarkDamaged, err)
	}
	if kept.Incarnation == "" || kept.Position < 0 {
		return position{}, fmt.Errorf("%w: it names no position", errMarkDamaged)
	}
	return kept, nil
}

func (m *Mark) store(ctx context.Context, to position) error {
	content, err := json.Marshal(to)
	if err != nil {
		return fmt.Errorf("writing the store's mark as JSON: %w", err)
	}
	if err := m.storage.Store(ctx, MarkKey, append(content, '\n')); err != nil {
		return fmt.Errorf("keeping the store's mark: %w", err)
	}
	return nil
}
