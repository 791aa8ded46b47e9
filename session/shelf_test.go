package session

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

// A shelf gives back what was put there last, or nothing.
func TestShelf(t *testing.T) {
	const size = 1 << 12
	s := newShelf(size, size)
	put := make(map[string]string)
	for i := range 5_000 {
		id := fmt.Sprint("row-", i%300)
		value := strings.Repeat("v", i%64) + fmt.Sprint(i)
		switch {
		case i%7 == 0:
			s.drop(uint64(i % 300))
			delete(put, id)
		default:
			s.put(uint64(i%300), id, []byte(value))
			put[id] = value
		}
		if got, ok := s.get(uint64(i%300), id); ok != (put[id] != "") || string(got) != put[id] {
			t.Fatalf("%s: %q, want %q", id, got, put[id])
		}
		asked := (i * 31) % 300
		if got, ok := s.get(uint64(asked), fmt.Sprint("row-", asked)); ok && string(got) != put[fmt.Sprint("row-", asked)] {
			t.Fatalf("row-%d: %q", asked, got)
		}
	}
	if used := cap(s.newer.entries) + cap(s.older.entries); used != size {
		t.Errorf("it takes %d bytes", used)
	}
	if found := len(s.newer.at) + len(s.older.at); found == 0 || found > size/(entryHead+len("row-1")) {
		t.Errorf("%d rows are found", found)
	}
}

// Ids whose hashes are the same are told apart, and what is too large is left out,
// together with what was there before.
func TestShelfRefuses(t *testing.T) {
	s := newShelf(1<<12, 1<<12)
	s.put(1, "one", []byte("1"))
	if _, ok := s.get(1, "another"); ok {
		t.Error("another id is found")
	}
	s.put(1, "one", bytes.Repeat([]byte("x"), 1<<11))
	if _, ok := s.get(1, "one"); ok {
		t.Error("the value from before is found")
	}
}

// What is in use stays when room is made.
func TestShelfKeepsWhatIsInUse(t *testing.T) {
	s := newShelf(1<<12, 1<<12)
	s.put(1, "in use", []byte("1"))
	s.put(2, "forgotten", []byte("2"))
	for i := range 1_000 {
		s.put(uint64(10+i), fmt.Sprint(i), []byte("another"))
		if _, ok := s.get(1, "in use"); !ok {
			t.Fatalf("after %d others it isn't found", i)
		}
	}
	if _, ok := s.get(2, "forgotten"); ok {
		t.Error("what nobody asked for is there")
	}
}

// A shelf takes more memory only as it is needed, and never more than it may.
func TestShelfGrows(t *testing.T) {
	const size, most = 1 << 10, 1 << 14
	s := newShelf(size, most)
	taken := func() int { return cap(s.newer.entries) + cap(s.older.entries) }
	before := taken()
	for i := range 10_000 {
		s.put(uint64(i), fmt.Sprint(i), []byte("a row"))
		if taken() > most {
			t.Fatalf("it takes %d bytes after %d rows", taken(), i)
		}
		if i < 10 && taken() != before {
			t.Fatalf("it takes %d bytes for %d rows", taken(), i)
		}
	}
	if taken() != most {
		t.Errorf("it takes %d bytes", taken())
	}
	found := 0
	for i := range 10_000 {
		if _, ok := s.get(uint64(i), fmt.Sprint(i)); ok {
			found++
		}
	}
	if entry := entryHead + len("9999") + len("a row"); found < most/2/entry {
		t.Errorf("%d rows are found", found)
	}
}

func TestShelfMost(t *testing.T) {
	for limit, want := range map[int64]int{
		math.MaxInt64: shelfSize, 0: shelfSize, 256 << 20: shelfSize, 2 << 30: 64 << 20, 1 << 40: largestShelf,
	} {
		if got := shelfMost(limit); got != want {
			t.Errorf("%d of %d bytes", got, limit)
		}
	}
}

// A user comes back from the shelf with all that they have. Whoever gives users a
// field more has to give the shelf one, too.
func TestProfilesOnTheShelfAreWhole(t *testing.T) {
	want := Profile{User: store.User{
		ID: "id", Name: "ada", DisplayName: "Ada Ünlü", Email: "ada@example.com", Groups: []string{"admins", "on-call"},
		Status: store.UserActive, Language: "de", Zone: "Europe/Zurich", NewPassword: true, Created: time.Unix(1_700_000_000, 123_000).UTC(), Version: 7,
	}, GroupList: "admins,on-call"}
	for i := range reflect.TypeFor[store.User]().NumField() {
		if reflect.ValueOf(want.User).Field(i).IsZero() {
			t.Errorf("%s isn't tried", reflect.TypeFor[store.User]().Field(i).Name)
		}
	}
	encoded, err := encodeProfile(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := decodeProfile("id", encoded); !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	for length := range encoded {
		if got, ok := decodeProfile("id", encoded[:length]); ok && reflect.DeepEqual(got, want) {
			t.Errorf("%d bytes of %d are enough", length, len(encoded))
		}
	}
	if encoded, err := encodeProfile(Profile{User: store.User{Name: strings.Repeat("a", 1<<16)}}); err == nil {
		t.Errorf("a name that doesn't fit is written in %d bytes", len(encoded))
	}
}
