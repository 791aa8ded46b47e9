package templates

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func mustShare(t *testing.T, shared *Shared, options Options) *Set {
	t.Helper()
	set, err := shared.Set(options)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// Configurations share what is equal, and nothing else.
func TestSharedSet(t *testing.T) {
	directory := overriding(t, map[string]string{"assets/style.css": "/* theirs */"})
	var shared Shared
	var others []*Set
	for _, options := range []Options{
		{}, {Accent: "#1c5dbf"}, {Overrides: directory}, {Overrides: directory, Accent: "#1c5dbf"},
		{Logo: []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`)},
	} {
		set := mustShare(t, &shared, options)
		if mustShare(t, &shared, options) != set {
			t.Errorf("%+v is parsed twice", options)
		}
		for _, other := range others {
			if set == other {
				t.Errorf("%+v gets the pages of other options", options)
			}
		}
		others = append(others, set)
	}

	former := mustShare(t, &shared, Options{Overrides: directory})
	file := filepath.Join(directory, "assets", "style.css")
	if err := os.WriteFile(file, []byte("/* new */"), 0o644); err != nil {
		t.Fatal(err)
	}
	changed := mustShare(t, &shared, Options{Overrides: directory})
	if changed == former || serve(changed, "GET", "style.css", nil).Body.String() != "/* new */" {
		t.Error("a file that changed goes on as it was")
	}
	if got := serve(former, "GET", "style.css", nil).Body.String(); got != "/* theirs */" {
		t.Errorf("the former style sheet became %q", got)
	}
	if _, err := shared.Set(Options{Accent: "blue"}); err == nil {
		t.Error("a wrong option passes")
	}
	runtime.KeepAlive(others)
}

// What nobody uses any more is let go.
func TestSharedSetIsLetGo(t *testing.T) {
	var shared Shared
	mustShare(t, &shared, Options{})
	for range 3 {
		runtime.GC()
	}
	mustShare(t, &shared, Options{Accent: "#1c5dbf"})
	if len(shared.sets) != 1 {
		t.Errorf("%d sets are kept", len(shared.sets))
	}
}

// mostPerPage is how much memory a page may take, in all languages, with its share of
// texts and files.
const mostPerPage = 140 << 10

// A set is in the heap of every server, at rest too.
func TestSetIsSmall(t *testing.T) {
	heap := func() int64 {
		for range 3 {
			runtime.GC()
		}
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		return int64(now.HeapAlloc)
	}
	newSet(t) // what is made once only
	before := heap()
	set, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	held := heap() - before
	runtime.KeepAlive(set)
	perPage := held / int64(len(set.pages[English]))
	t.Logf("%d bytes, %d a page", held, perPage)
	if perPage > mostPerPage {
		t.Errorf("a set takes %d bytes of memory a page, more than %d", perPage, mostPerPage)
	}
}
