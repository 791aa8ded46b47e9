package session

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
)

// numbered returns rows whose values say how many reads came before.
func numbered(size int) *rows[int] {
	reads := 0
	read := func(context.Context, string) (int, error) {
		reads++
		return reads, nil
	}
	return newRows(size, read, func() bool { return true }, func(error) bool { return false })
}

// Whoever holds on to a row gets another one as soon as it is kept no more,
// whatever the reason.
func TestS04RowsThatAreHeldCountWhileTheyAreKept(t *testing.T) {
	const size = 100
	for name, change := range map[string]func(t *testing.T, r *rows[int]){
		"dropped":     func(_ *testing.T, r *rows[int]) { r.drop("row") },
		"all dropped": func(_ *testing.T, r *rows[int]) { r.dropAll() },
		"read again": func(t *testing.T, r *rows[int]) {
			if _, err := r.again(t.Context(), "row"); err != nil {
				t.Error(err)
			}
		},
		"replaced": func(_ *testing.T, r *rows[int]) {
			r.kept.Set("row", &row[int]{value: 2, epoch: r.epoch.Load()})
		},
		"no room for it": func(t *testing.T, r *rows[int]) {
			for i := range 100 * size {
				if _, err := r.find(t.Context(), fmt.Sprint(i)); err != nil {
					t.Error(err)
				}
			}
			r.kept.CleanUp()
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := numbered(size)
			var last atomic.Pointer[row[int]]
			for range 3 {
				if known, err := r.get(t.Context(), "row", &last); err != nil || known.value != 1 {
					t.Fatalf("%+v, %v", known, err)
				}
			}
			change(t, r)
			if known, err := r.get(t.Context(), "row", &last); err != nil || known.value == 1 {
				t.Errorf("it still counts: %+v, %v", known, err)
			}
		})
	}
}

// numberedOnShelf is numbered with a shelf for what isn't kept ready for use.
func numberedOnShelf(size int) *rows[int] {
	return numbered(size).shelve(shelved[int]{
		size:   1 << 20,
		encode: func(value int) ([]byte, error) { return []byte{byte(value)}, nil },
		decode: func(_ string, encoded []byte) (int, bool) { return int(encoded[0]), true },
	})
}

// What isn't kept ready for use any more is found on the shelf, unless it was
// dropped.
func TestS04RowsOnTheShelf(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(t *testing.T, r *rows[int])
		want   int // how many times the row was read
	}{
		"nothing":         {func(*testing.T, *rows[int]) {}, 1},
		"dropped":         {func(_ *testing.T, r *rows[int]) { r.drop("row") }, 2},
		"all dropped":     {func(_ *testing.T, r *rows[int]) { r.dropAll() }, 2},
		"another dropped": {func(_ *testing.T, r *rows[int]) { r.drop("other") }, 1},
		"read again": {func(t *testing.T, r *rows[int]) {
			if _, err := r.again(t.Context(), "row"); err != nil {
				t.Error(err)
			}
		}, 2},
		"in the middle of dropping all": {func(_ *testing.T, r *rows[int]) { r.epoch.Store(new(epoch)) }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := numberedOnShelf(10)
			if _, err := r.find(t.Context(), "row"); err != nil {
				t.Fatal(err)
			}
			r.kept.InvalidateAll()
			tt.change(t, r)
			r.kept.InvalidateAll()
			for range 2 {
				known, err := r.find(t.Context(), "row")
				if err != nil || known.value != tt.want || !r.isCurrent(known) {
					t.Errorf("%+v, %v", known, err)
				}
			}
		})
	}
}

// A row that one Keeper found is nothing to another.
func TestRowsOfOthersDontCount(t *testing.T) {
	ours, others := numbered(10), numbered(10)
	var last atomic.Pointer[row[int]]
	if _, err := others.get(t.Context(), "row", &last); err != nil {
		t.Fatal(err)
	}
	if ours.isCurrent(last.Load()) {
		t.Error("it counts")
	}
	if others.isCurrent(&row[int]{}) {
		t.Error("what was never kept counts")
	}
}

// Where a row can't be read, the one that was held on to doesn't stand in.
func TestNoOldRowWhereNoneCanBeRead(t *testing.T) {
	var fail error
	r := newRows(10, func(context.Context, string) (int, error) { return 1, fail }, func() bool { return true }, func(error) bool { return false })
	var last atomic.Pointer[row[int]]
	if _, err := r.get(t.Context(), "row", &last); err != nil {
		t.Fatal(err)
	}
	fail = errors.New("the disk is on fire")
	r.drop("row")
	for range 2 {
		if known, err := r.get(t.Context(), "row", &last); !errors.Is(err, fail) || known != nil {
			t.Errorf("%+v, %v", known, err)
		}
	}
}
