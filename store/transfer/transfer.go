// Package transfer copies a store into another one, which may be of another kind. People
// stay signed in: the copy lives the same life, under the same incarnation.
//
// It must not know how an implementation keeps its rows.
package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
)

// Kind says what a column holds, and as which type its values travel.
type Kind int

// The kinds of columns.
const (
	Text     Kind = iota // string
	NullText             // string; NULL is the empty one
	Bytes                // []byte
	Number               // int64
	Boolean              // bool
)

// Column is a column of a table.
type Column struct {
	Name string
	Kind Kind
}

// Table is a table that all kinds of stores have.
type Table struct {
	Name string
	// Key are the names of the columns by which rows are sorted, byte by byte.
	Key     []string
	Columns []Column
}

// Row has a value for each column of a table.
type Row []any

// Totals are what isn't in any table.
type Totals struct {
	Incarnation string
	Position    int64
	// LastEvent is the highest id that an event had; ids never come back.
	LastEvent int64
}

// Source is a store that can be copied.
type Source interface {
	// Export calls each with the rows of every table of Tables, by their keys, all as
	// of one moment.
	Export(ctx context.Context, each func(Table, Row) error) (Totals, error)
}

// Target is a store that a copy can be put into.
type Target interface {
	Source
	// Import has fill put rows into the store, all of them or none, and then takes over
	// the totals that fill returns. A store that has users is ErrNotEmpty.
	Import(ctx context.Context, fill func(put func(Table, Row) error) (Totals, error)) error
}

// ErrNotEmpty says that the target is in use already.
var ErrNotEmpty = errors.New("the store to copy to has users already: name an empty one")

// Count says how many rows of a table were copied.
type Count struct {
	Table string
	Rows  int64
}

// progressEvery is after how many rows of a table progress is told.
const progressEvery = 100_000

// Copy copies a store, reads the copy and compares it. progress is told how many rows
// of a table have been copied, from time to time and when it is complete.
func Copy(ctx context.Context, from Source, to Target, progress func(Count)) ([]Count, error) {
	var sent *digest
	var totals Totals
	err := to.Import(ctx, func(put func(Table, Row) error) (Totals, error) {
		sent = newDigest()
		var err error
		totals, err = from.Export(ctx, func(t Table, row Row) error {
			sent.add(t, row)
			if n := sent.of(t.Name).rows; n%progressEvery == 0 {
				progress(Count{t.Name, n})
			}
			return put(t, row)
		})
		return totals, err
	})
	if err != nil {
		return nil, err
	}
	arrived := newDigest()
	has, err := to.Export(ctx, func(t Table, row Row) error {
		arrived.add(t, row)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the copy: %w", err)
	}
	if has != totals {
		return nil, fmt.Errorf("the copy differs: it has %+v instead of %+v", has, totals)
	}
	return compare(sent, arrived)
}

func compare(sent, arrived *digest) (counts []Count, err error) {
	for _, t := range Tables {
		s, a := sent.of(t.Name), arrived.of(t.Name)
		if s.rows != a.rows || string(s.hash.Sum(nil)) != string(a.hash.Sum(nil)) {
			err = errors.Join(err, fmt.Errorf("the copy differs in %s: %d rows were sent and %d are there, or their contents differ", t.Name, s.rows, a.rows))
		}
		counts = append(counts, Count{t.Name, s.rows})
	}
	return counts, err
}

// digest tells two sets of rows apart.
type digest struct{ tables map[string]*tableDigest }

type tableDigest struct {
	rows int64
	hash hash.Hash
}

func newDigest() *digest { return &digest{make(map[string]*tableDigest)} }

func (d *digest) of(table string) *tableDigest {
	if d.tables[table] == nil {
		d.tables[table] = &tableDigest{hash: sha256.New()}
	}
	return d.tables[table]
}

func (d *digest) add(t Table, row Row) {
	into := d.of(t.Name)
	into.rows++
	for _, value := range row {
		var text []byte
		switch v := value.(type) {
		case string:
			text = []byte(v)
		case []byte:
			text = v
		default:
			text = fmt.Append(nil, v)
		}
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(text)))
		into.hash.Write(length[:]) // a hash never fails
		into.hash.Write(text)
	}
}
