package keys

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// markStorage is a Storage that holds a mark alone.
type markStorage struct {
	Storage
	content           []byte // nil: none
	stored            int
	loadErr, storeErr error
}

func (s *markStorage) Load(ctx context.Context, key string) ([]byte, error) {
	switch {
	case key != MarkKey:
		return nil, errors.New("not the mark: " + key)
	case s.loadErr != nil:
		return nil, s.loadErr
	case s.content == nil:
		return nil, os.ErrNotExist
	}
	return s.content, ctx.Err()
}

func (s *markStorage) Store(_ context.Context, key string, value []byte) error {
	if key != MarkKey {
		return errors.New("not the mark: " + key)
	}
	if s.storeErr != nil {
		return s.storeErr
	}
	s.content, s.stored = value, s.stored+1
	return nil
}

func (s *markStorage) mark(t *testing.T) (kept position) {
	t.Helper()
	if err := json.Unmarshal(s.content, &kept); err != nil {
		t.Fatal(err)
	}
	return kept
}

func keep(t *testing.T, m *Mark, incarnation string, at int64) {
	t.Helper()
	if err := m.Keep(t.Context(), incarnation, at); err != nil {
		t.Fatal(err)
	}
}

// TestDoubt is attack S07: an old store beside live keys.
func TestDoubt(t *testing.T) {
	failure := errors.New("broken")
	tests := []struct {
		name    string
		storage markStorage
		doubted bool
	}{
		{"no mark", markStorage{}, false},
		{"at the mark", markStorage{content: []byte(`{"incarnation":"life","position":7}`)}, false},
		{"ahead of it", markStorage{content: []byte(`{"incarnation":"life","position":6}`)}, false},
		{"behind it", markStorage{content: []byte(`{"incarnation":"life","position":8}`)}, true},
		{"far behind it", markStorage{content: []byte(`{"incarnation":"life","position":9223372036854775807}`)}, true},
		{"replaced", markStorage{content: []byte(`{"incarnation":"other","position":8}`)}, true},
		{"replaced, and further", markStorage{content: []byte(`{"incarnation":"other","position":1}`)}, true},
		{"renewed since", markStorage{content: []byte(`{"incarnation":"former","position":8}`)}, false},
		{"empty mark", markStorage{content: []byte{}}, true},
		{"half a mark", markStorage{content: []byte(`{"incarnation":"life","posi`)}, true},
		{"null", markStorage{content: []byte(`null`)}, true},
		{"no incarnation", markStorage{content: []byte(`{"position":3}`)}, true},
		{"negative", markStorage{content: []byte(`{"incarnation":"life","position":-1}`)}, true},
		{"too large", markStorage{content: []byte(`{"incarnation":"life","position":1e40}`)}, true},
		{"storage fails", markStorage{loadErr: failure}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			mark := OpenMark(t.Context(), &test.storage)
			if doubt := mark.Doubt(Present{"life", 7, mark.Incarnation() == "former"}); (doubt != nil) != test.doubted {
				t.Errorf("got %v, want a doubt: %v", doubt, test.doubted)
			}
			if test.storage.stored != 0 {
				t.Error("a decision changed the mark")
			}
		})
	}
}

func TestMarkIsKept(t *testing.T) {
	type step struct {
		incarnation string
		at          int64
	}
	tests := []struct {
		name   string
		steps  []step
		want   position
		stored int
	}{
		{"first", []step{{"a", 0}}, position{"a", 0}, 1},
		{"rises", []step{{"a", 3}, {"a", 5}}, position{"a", 5}, 2},
		{"never back", []step{{"a", 5}, {"a", 3}, {"a", 5}, {"a", 0}}, position{"a", 5}, 1},
		{"after a renewal", []step{{"a", 5}, {"b", 2}, {"b", 3}}, position{"b", 3}, 3},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			storage := new(markStorage)
			mark := OpenMark(t.Context(), storage)
			for _, step := range test.steps {
				keep(t, mark, step.incarnation, step.at)
			}
			if kept := storage.mark(t); kept != test.want || storage.stored != test.stored {
				t.Errorf("kept %+v in %d steps, want %+v in %d", kept, storage.stored, test.want, test.stored)
			}
			if doubt := OpenMark(t.Context(), storage).Doubt(Present{Incarnation: test.want.Incarnation, Position: test.want.Position - 1}); doubt == nil {
				t.Error("the next start has no doubt about an older copy")
			}
		})
	}
}

// TestEmptiedStore is fault X04: a store whose file was made anew, or copied
// without its log, beside a mark of before.
func TestEmptiedStore(t *testing.T) {
	for content, want := range map[string]error{
		`{"incarnation":"life","position":0}`:  nil,
		`{"incarnation":"other","position":0}`: nil,
		`{"incarnation":"life","position":8}`:  ErrEmptied,
		`{"incarnation":"other","position":8}`: ErrEmptied,
	} {
		mark := OpenMark(t.Context(), &markStorage{content: []byte(content)})
		if doubt := mark.Doubt(Present{Incarnation: "life", Position: 0}); !errors.Is(doubt, want) {
			t.Errorf("mark %s: %v, want %v", content, doubt, want)
		}
	}
}

func TestMarkFound(t *testing.T) {
	for content, want := range map[string]Found{
		``: MarkMissing, `{"incarnation":"life","position":0}`: MarkAtStart,
		`{"incarnation":"life","position":1}`: MarkMoved, `no mark`: MarkMoved,
	} {
		storage := &markStorage{content: []byte(content)}
		if content == "" {
			storage.content = nil
		}
		if found := OpenMark(t.Context(), storage).Found(); found != want {
			t.Errorf("mark %q: %v, want %v", content, found, want)
		}
	}
}

// TestRenewalIsNoticedOnce goes through the starts after a copy was brought
// back: the first renews the store, the second finds all in order.
func TestRenewalIsNoticedOnce(t *testing.T) {
	storage := &markStorage{content: []byte(`{"incarnation":"old","position":100}`)}
	mark := OpenMark(t.Context(), storage)
	if mark.Doubt(Present{Incarnation: "old", Position: 50}) == nil {
		t.Fatal("no doubt about a copy")
	}
	keep(t, mark, "new", 51) // the store was renewed
	if doubt := OpenMark(t.Context(), storage).Doubt(Present{Incarnation: "new", Position: 51}); doubt != nil {
		t.Errorf("the next start: %v", doubt)
	}
	if OpenMark(t.Context(), storage).Doubt(Present{Incarnation: "old", Position: 50}) == nil {
		t.Error("no doubt about the same copy, brought back again: its sessions are of its life")
	}
	if OpenMark(t.Context(), storage).Doubt(Present{Incarnation: "new", Position: 50}) == nil {
		t.Error("no doubt about an older copy of the new life")
	}
}

func TestDamagedMarkIsReplaced(t *testing.T) {
	storage := &markStorage{content: []byte(`{"incarnation":`)}
	mark := OpenMark(t.Context(), storage)
	keep(t, mark, "life", 7)
	if kept := storage.mark(t); kept != (position{"life", 7}) {
		t.Errorf("kept %+v", kept)
	}
	storage.content = nil // removed while the process runs
	keep(t, mark, "life", 8)
	if kept := storage.mark(t); kept != (position{"life", 8}) {
		t.Errorf("kept %+v", kept)
	}
}

func TestMarkOfNodes(t *testing.T) {
	storage := new(markStorage)
	one, other := OpenMark(t.Context(), storage), OpenMark(t.Context(), storage)
	keep(t, one, "a", 5)
	keep(t, other, "a", 9)
	keep(t, one, "a", 7)
	if kept := storage.mark(t); kept != (position{"a", 9}) {
		t.Errorf("kept %+v, want the highest", kept)
	}
	keep(t, other, "b", 2) // it renewed the store
	if err := one.Keep(t.Context(), "a", 20); err == nil || !strings.Contains(err.Error(), "renewed or replaced") {
		t.Errorf("a node that missed a renewal: %v", err)
	}
	if kept := storage.mark(t); kept != (position{"b", 2}) {
		t.Errorf("kept %+v, want the mark of the renewed store", kept)
	}
}

func TestMarkIsNotKeptInTheDark(t *testing.T) {
	failure := errors.New("broken")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	good := []byte(`{"incarnation":"a","position":1}`)
	tests := []struct {
		name    string
		ctx     context.Context
		storage markStorage
		want    error
	}{
		{"storage cannot be read", t.Context(), markStorage{loadErr: failure}, failure},
		{"storage cannot be written", t.Context(), markStorage{storeErr: failure}, failure},
		{"context ended", cancelled, markStorage{content: good}, context.Canceled},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			mark := OpenMark(t.Context(), &test.storage)
			if err := mark.Keep(test.ctx, "a", 7); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if test.storage.stored != 0 {
				t.Error("something was stored")
			}
		})
	}
}

func TestMarkBesideTheKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	set := open(t, FileStorage(path))
	keep(t, OpenMark(t.Context(), FileStorage(path)), "life", 7)
	if doubt := OpenMark(t.Context(), FileStorage(path)).Doubt(Present{Incarnation: "life", Position: 6}); doubt == nil {
		t.Error("no doubt about an older copy")
	}
	mustShare(t, set, open(t, FileStorage(path))) // the keys are untouched
	info, err := os.Stat(path + ".mark")
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if err := FileStorage(path).Lock(t.Context(), MarkKey); err == nil {
		t.Error("the mark was locked under the key set's lock")
	}
}

// TestMarkAmidKeeps reads a file that is replaced all the time: it is whole
// whenever it is read.
func TestMarkAmidKeeps(t *testing.T) {
	storage := FileStorage(filepath.Join(t.TempDir(), "keys.json"))
	var nodes sync.WaitGroup
	for node := range 4 {
		nodes.Go(func() {
			mark := OpenMark(t.Context(), storage)
			for at := range int64(25) {
				if err := mark.Keep(t.Context(), "life", at*4+int64(node)); err != nil {
					t.Error(err)
				}
				if opened := OpenMark(t.Context(), storage); opened.broken != nil {
					t.Error(opened.broken)
				}
			}
		})
	}
	nodes.Wait()
}
