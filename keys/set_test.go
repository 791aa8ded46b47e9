package keys

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"
)

// memory is a Storage whose nodes share one value.
type memory struct {
	mu     sync.Mutex
	value  []byte
	stored int
	lock   chan struct{} // holds a token while locked

	loadErr, storeErr error
	onStore           func()
}

func newMemory() *memory { return &memory{lock: make(chan struct{}, 1)} }

func (m *memory) Load(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.loadErr != nil {
		return nil, m.loadErr
	}
	if m.value == nil || key != StorageKey {
		return nil, fs.ErrNotExist
	}
	return bytes.Clone(m.value), nil
}

func (m *memory) Store(_ context.Context, _ string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.storeErr != nil {
		return m.storeErr
	}
	m.value, m.stored = bytes.Clone(value), m.stored+1
	if m.onStore != nil {
		m.onStore()
	}
	return nil
}

func (m *memory) Lock(ctx context.Context, _ string) error {
	select {
	case m.lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *memory) Unlock(ctx context.Context, _ string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	<-m.lock
	return nil
}

func clock() time.Time { return time.Date(2025, 6, 19, 11, 52, 45, 0, time.UTC) }

func open(t testing.TB, storage Storage) *Set {
	t.Helper()
	set, err := Open(t.Context(), storage, rand.Reader, clock, true)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// mustShare fails unless each set reads what the other wrote.
func mustShare(t *testing.T, a, b *Set) {
	t.Helper()
	encoded, err := a.Codec("name").Encode([]byte("value"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.Codec("name").Decode(encoded); err != nil || string(got) != "value" {
		t.Errorf("cookie of the other set: %q, %v", got, err)
	}
	sealed, err := a.Seal([]byte("secret"), []byte("row"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.Open(sealed, []byte("row")); err != nil || string(got) != "secret" {
		t.Errorf("sealed by the other set: %q, %v", got, err)
	}
	id, key := a.CurrentPepper()
	if got, err := b.Pepper(id); err != nil || !bytes.Equal(got, key) {
		t.Errorf("pepper of the other set: %v", err)
	}
}

func storages(t *testing.T) map[string]func() Storage {
	shared := newMemory()
	path := filepath.Join(t.TempDir(), "keys.json")
	return map[string]func() Storage{
		"shared storage": func() Storage { return shared },
		"file":           func() Storage { return FileStorage(path) },
	}
}

func TestReopeningGivesTheSameKeys(t *testing.T) {
	for name, storage := range storages(t) {
		t.Run(name, func(t *testing.T) {
			first := open(t, storage())
			again, err := Open(t.Context(), storage(), iotest.ErrReader(errors.New("no randomness needed")), clock, false)
			if err != nil {
				t.Fatal(err)
			}
			mustShare(t, first, again)
			mustShare(t, again, first)
		})
	}
}

func TestConcurrentStartsCreateOneSet(t *testing.T) {
	for name, storage := range storages(t) {
		t.Run(name, func(t *testing.T) {
			const nodes = 16
			sets := make([]*Set, nodes)
			var wait sync.WaitGroup
			for i := range sets {
				wait.Go(func() {
					set, err := Open(t.Context(), storage(), rand.Reader, clock, true)
					if err != nil {
						t.Errorf("node %d: %v", i, err)
					}
					sets[i] = set
				})
			}
			wait.Wait()
			if t.Failed() {
				return
			}
			for _, set := range sets[1:] {
				mustShare(t, sets[0], set)
			}
			if m, ok := storage().(*memory); ok && m.stored != 1 {
				t.Errorf("stored %d times", m.stored)
			}
		})
	}
}

func TestMissingSetIsNotCreatedUnasked(t *testing.T) {
	storage := newMemory()
	_, err := Open(t.Context(), storage, rand.Reader, clock, false)
	if !errors.Is(err, ErrMissing) {
		t.Errorf("got %v", err)
	}
	if storage.stored != 0 {
		t.Error("something was stored")
	}
	for _, advice := range []string{"backup", "store", StorageKey} {
		if !strings.Contains(err.Error(), advice) {
			t.Errorf("%q does not mention %q", err, advice)
		}
	}
}

// edited returns a good key set with one thing changed.
func edited(t *testing.T, edit func(map[string]any)) []byte {
	t.Helper()
	var doc document
	if _, err := doc.complete(rand.Reader, clock()); err != nil {
		t.Fatal(err)
	}
	content, err := doc.marshal()
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(content, &fields); err != nil {
		t.Fatal(err)
	}
	edit(fields)
	content, err = json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func first(list any) map[string]any { return list.([]any)[0].(map[string]any) }

func TestUnreadableSetStaysAsItIs(t *testing.T) {
	whole := edited(t, func(map[string]any) {})
	tests := []struct {
		name    string
		content []byte
		says    string
	}{
		{"empty", []byte{}, "JSON"},
		{"garbage", []byte("\x00\x01 not a key set"), "JSON"},
		{"null", []byte("null"), "version 0"},
		{"other JSON", []byte(`{"a":1}`), "version 0"},
		{"half", whole[:len(whole)/2], "JSON"},
		{"trailing", append(bytes.Clone(whole), '{'), "JSON"},
		{"newer", edited(t, func(d map[string]any) { d["version"] = 2 }), "version 2, this program reads version 1"},
		{"unknown part", edited(t, func(d map[string]any) { d["other_key"] = "x" }), "other_key"},
		{"short push key", edited(t, func(d map[string]any) { d["push_key"] = "AAAA" }), "P-256"},
		{"no cookie keys", edited(t, func(d map[string]any) { d["cookie_keys"] = []any{} }), "absent"},
		{"no peppers", edited(t, func(d map[string]any) { delete(d, "peppers") }), "absent"},
		{"no sealing keys", edited(t, func(d map[string]any) { delete(d, "sealing_keyset") }), "absent"},
		{"sealing keyset without keys", edited(t, func(d map[string]any) { d["sealing_keyset"] = map[string]any{} }), "sealing"},
		{"short hash key", edited(t, func(d map[string]any) { first(d["cookie_keys"])["hash_key"] = "AAAA" }), "wrong size"},
		{"short block key", edited(t, func(d map[string]any) { first(d["cookie_keys"])["block_key"] = "AAAA" }), "wrong size"},
		{"short pepper", edited(t, func(d map[string]any) { first(d["peppers"])["key"] = "" }), "wrong size"},
		{"key id with a dot", edited(t, func(d map[string]any) { first(d["cookie_keys"])["id"] = "a.b" }), "no id"},
		{"pepper without id", edited(t, func(d map[string]any) { first(d["peppers"])["id"] = "" }), "no id"},
		{"short assertion key", edited(t, func(d map[string]any) { first(d["assertion_keys"])["private_key"] = "AAAA" }), "wrong size"},
		{"assertion key beyond the order", edited(t, func(d map[string]any) {
			first(d["assertion_keys"])["private_key"] = bytes.Repeat([]byte{0xff}, 32)
		}), "P-256"},
		{"sealing key without a date", edited(t, func(d map[string]any) { first(d["sealing_keys"])["id"] = "00000000" }), "no date"},
		{"date without a sealing key", edited(t, func(d map[string]any) {
			d["sealing_keys"] = append(d["sealing_keys"].([]any), map[string]any{"id": "00000000", "created": clock()})
		}), "no sealing key"},
		{"one id twice", edited(t, func(d map[string]any) {
			d["cookie_keys"] = []any{first(d["cookie_keys"]), first(d["cookie_keys"])}
		}), "no id"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			storage := newMemory()
			storage.value = bytes.Clone(test.content)
			for _, mayCreate := range []bool{false, true} {
				set, err := Open(t.Context(), storage, rand.Reader, clock, mayCreate)
				if !errors.Is(err, ErrUnreadable) || set != nil {
					t.Fatalf("got %v, %v", set, err)
				}
				if !strings.Contains(err.Error(), test.says) {
					t.Errorf("%q does not say %q", err, test.says)
				}
			}
			if storage.stored != 0 || !bytes.Equal(storage.value, test.content) {
				t.Error("the stored value was touched")
			}
		})
	}
}

func TestFailuresCreateNothing(t *testing.T) {
	failure := errors.New("broken")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	locked := newMemory()
	locked.lock <- struct{}{}

	tests := []struct {
		name    string
		ctx     context.Context
		storage *memory
		random  io.Reader
		want    error
	}{
		{"storage cannot be read", t.Context(), &memory{loadErr: failure}, rand.Reader, failure},
		{"storage cannot be written", t.Context(), &memory{storeErr: failure, lock: make(chan struct{}, 1)}, rand.Reader, failure},
		{"randomness fails", t.Context(), newMemory(), iotest.ErrReader(failure), failure},
		{"randomness ends early", t.Context(), newMemory(), io.LimitReader(rand.Reader, 110), io.ErrUnexpectedEOF},
		{"lock is held by another", cancelled, locked, rand.Reader, context.Canceled},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			set, err := Open(test.ctx, test.storage, test.random, clock, true)
			if set != nil || !errors.Is(err, test.want) {
				t.Errorf("got %v, %v", set, err)
			}
			if test.storage.stored != 0 {
				t.Error("something was stored")
			}
			if test.storage != locked && len(test.storage.lock) != 0 {
				t.Error("the lock was left behind")
			}
		})
	}
}

func TestCancelledStartGivesTheLockBack(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	storage := newMemory()
	storage.onStore = cancel
	if _, err := Open(ctx, storage, rand.Reader, clock, true); err != nil {
		t.Error(err)
	}
	if len(storage.lock) != 0 {
		t.Error("the lock was left behind")
	}
}

func TestSealedValuesOpenOnlyWhereTheyBelong(t *testing.T) {
	set, other := open(t, newMemory()), open(t, newMemory())
	sealed, err := set.Seal([]byte("secret"), []byte("credentials/1"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("secret")) {
		t.Error("the plaintext shows")
	}
	refuse := func(what string, s *Set, sealed []byte, associated string) {
		t.Helper()
		if got, err := s.Open(sealed, []byte(associated)); !errors.Is(err, ErrNotOpened) || got != nil {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
	refuse("another row", set, sealed, "credentials/2")
	refuse("no row", set, sealed, "")
	refuse("another key set", other, sealed, "credentials/1")
	for length := range sealed {
		refuse("cut short", set, sealed[:length], "credentials/1")
	}
	for bit := range len(sealed) * 8 {
		altered := bytes.Clone(sealed)
		altered[bit/8] ^= 1 << (bit % 8)
		refuse("altered", set, altered, "credentials/1")
	}
	if got, err := set.Open(sealed, []byte("credentials/1")); err != nil || string(got) != "secret" {
		t.Errorf("untouched: %q, %v", got, err)
	}
}

func TestPeppers(t *testing.T) {
	set := open(t, newMemory())
	id, key := set.CurrentPepper()
	if len(key) != 32 || id == "" {
		t.Errorf("pepper %q has %d bytes", id, len(key))
	}
	clear(key)
	if _, again := set.CurrentPepper(); bytes.Equal(key, again) {
		t.Error("a caller can change the set's pepper")
	}
	if _, err := set.Pepper("00000000"); !errors.Is(err, ErrNoPepper) {
		t.Errorf("unknown pepper: %v", err)
	}
}

func TestFileIsPrivateAndWhole(t *testing.T) {
	directory := t.TempDir()
	path := filepath.Join(directory, "keys.json")
	open(t, FileStorage(path))
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	entries, err := os.ReadDir(directory)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if name := entry.Name(); name != "keys.json" && name != "keys.json.lock" {
			t.Errorf("left behind: %s", name)
		}
	}
}

func TestFileRefusals(t *testing.T) {
	directory := t.TempDir()
	storage := FileStorage(filepath.Join(directory, "keys.json"))
	if err := storage.Store(t.Context(), "something else", nil); err == nil {
		t.Error("another value was stored in the key file")
	}
	if err := storage.Unlock(t.Context(), StorageKey); err == nil {
		t.Error("a lock that is not held was given back")
	}
	absent := filepath.Join(directory, "absent", "keys.json")
	if _, err := Open(t.Context(), FileStorage(absent), rand.Reader, clock, true); err == nil || !strings.Contains(err.Error(), absent) {
		t.Errorf("directory that does not exist: %v", err)
	}
}

func TestFileLockExcludes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	holder, waiter := FileStorage(path), FileStorage(path)
	if err := holder.Lock(t.Context(), StorageKey); err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := waiter.Lock(cancelled, StorageKey); !errors.Is(err, context.Canceled) {
		t.Errorf("a held lock was given twice: %v", err)
	}
	if err := holder.Unlock(t.Context(), StorageKey); err != nil {
		t.Fatal(err)
	}
	if err := waiter.Lock(t.Context(), StorageKey); err != nil {
		t.Errorf("a free lock: %v", err)
	}
}
