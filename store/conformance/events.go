package conformance

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

var eventTests = []test{
	{"come back newest first", eventsComeBack},
	{"are narrowed", eventsNarrowed},
	{"are a hundred unless told", eventsLimited},
	{"ids never come back", eventsIDs},
	{"are read in their order", eventsInOrder},
	{"none is missed by who follows them", eventsFollowed},
}

func eventsComeBack(t *testing.T, f fixture) {
	must(t, f.AppendEvent(f.ctx, store.Event{
		ID: 99, At: noon, Name: "user.created", UserID: "u1", Fields: map[string]string{"by": awkward, "": ""},
	}))
	must(t, f.AppendEvent(f.ctx, store.Event{At: noon.AddDate(-1, 0, 0), Name: "clock.set.back"}))
	events := get(f.ListEvents(f.ctx, store.EventFilter{}))(t)
	if len(events) != 2 || events[0].ID <= events[1].ID {
		t.Fatalf("got %+v, want two with descending ids", events)
	}
	events[0].ID, events[1].ID = 0, 0
	wantEqual(t, "newer", events[0], store.Event{At: noon.AddDate(-1, 0, 0), Name: "clock.set.back"})
	wantEqual(t, "older", events[1], store.Event{
		At: noon, Name: "user.created", UserID: "u1", Fields: map[string]string{"by": awkward, "": ""},
	})
}

func eventsNarrowed(t *testing.T, f fixture) {
	for i, e := range []store.Event{
		{Name: "in", UserID: "u1"}, {Name: "out", UserID: "u1"}, {Name: "in", UserID: "u2"}, {Name: "in"}, {Name: "in", UserID: "u1"},
	} {
		e.At = noon.Add(time.Duration(i) * time.Hour)
		must(t, f.AppendEvent(f.ctx, e))
	}
	ids := get(f.ListEvents(f.ctx, store.EventFilter{}))(t)
	newest, oldest := ids[0].ID, ids[len(ids)-1].ID
	tests := []struct {
		filter store.EventFilter
		want   int
	}{
		{store.EventFilter{}, 5},
		{store.EventFilter{UserID: "u1"}, 3},
		{store.EventFilter{Name: "in"}, 4},
		{store.EventFilter{UserID: "u1", Name: "in"}, 2},
		{store.EventFilter{UserID: "u1", Name: "in", Limit: 1}, 1},
		{store.EventFilter{UserID: "u%"}, 0},
		{store.EventFilter{Before: newest}, 4},
		{store.EventFilter{UserID: "u1", Before: newest, Limit: 1}, 1},
		{store.EventFilter{Before: oldest}, 0},
		{store.EventFilter{Since: noon.Add(time.Hour)}, 4},
		{store.EventFilter{Since: noon.Add(time.Hour + time.Microsecond)}, 3},
		{store.EventFilter{Until: noon.Add(time.Hour)}, 1},
		{store.EventFilter{Since: noon.Add(time.Hour), Until: noon.Add(4 * time.Hour), Name: "in"}, 2},
		{store.EventFilter{Since: noon.Add(5 * time.Hour)}, 0},
	}
	for _, test := range tests {
		wantEqual(t, "events", len(get(f.ListEvents(f.ctx, test.filter))(t)), test.want)
		if after := get(f.EventsAfter(f.ctx, oldest-1, test.filter))(t); len(after) != test.want {
			t.Errorf("got %d events after the oldest for %+v, want %d", len(after), test.filter, test.want)
		}
	}
}

func eventsLimited(t *testing.T, f fixture) {
	must(t, f.Atomically(f.ctx, func(tx store.Tx) error {
		for i := range 103 {
			if err := tx.AppendEvent(f.ctx, store.Event{Name: numbered("e", i)}); err != nil {
				return err
			}
		}
		return nil
	}))
	for limit, want := range map[int]int{0: 100, 3: 3, 1000: 103} {
		events := get(f.ListEvents(f.ctx, store.EventFilter{Limit: limit}))(t)
		wantEqual(t, "events", len(events), want)
		wantEqual(t, "the newest", events[0].Name, numbered("e", 102))
		wantEqual(t, "the oldest", events[want-1].Name, numbered("e", 103-want))
	}
}

func eventsIDs(t *testing.T, f fixture) {
	last := func() store.Event { return get(f.ListEvents(f.ctx, store.EventFilter{Limit: 1}))(t)[0] }
	must(t, f.AppendEvent(f.ctx, store.Event{At: noon, Name: "swept"}))
	swept := last()
	must(t, f.Sweep(f.ctx, noon, store.SweepLimits{EventsBefore: noon.AddDate(1, 0, 0)}))
	wantEqual(t, "events", len(get(f.ListEvents(f.ctx, store.EventFilter{}))(t)), 0)
	must(t, f.AppendEvent(f.ctx, store.Event{At: noon, Name: "next"}))
	if next := last(); next.ID <= swept.ID {
		t.Fatalf("got id %d after %d was swept", next.ID, swept.ID)
	}
}

func eventsInOrder(t *testing.T, f fixture) {
	var names []string
	for i := range 5 {
		names = append(names, numbered("e", i))
		must(t, f.AppendEvent(f.ctx, store.Event{Name: names[i]}))
	}
	first := get(f.EventsAfter(f.ctx, 0, store.EventFilter{Limit: 2}))(t)
	rest := get(f.EventsAfter(f.ctx, first[1].ID, store.EventFilter{Limit: 10}))(t)
	wantEqual(t, "names", eventNames(append(first, rest...)), names)
	last := rest[len(rest)-1].ID
	wantEqual(t, "after the last", len(get(f.EventsAfter(f.ctx, last, store.EventFilter{Limit: 10}))(t)), 0)
}

func eventNames(events []store.Event) (names []string) {
	for _, e := range events {
		names = append(names, e.Name)
	}
	return names
}

// eventsFollowed reads what is new for as long as others write. Some of them are
// rolled back, and all of them commit in any order.
func eventsFollowed(t *testing.T, f fixture) {
	const all = 200
	writing := make(chan []error)
	go func() {
		writing <- race(all, func(i int) error {
			err := f.Atomically(f.ctx, func(tx store.Tx) error {
				if err := tx.AppendEvent(f.ctx, store.Event{Name: numbered("e", i)}); err != nil {
					return err
				}
				if i%4 == 0 {
					return errRefused
				}
				return nil
			})
			if errors.Is(err, errRefused) {
				return nil
			}
			return err
		})
	}()
	var (
		seen    []string
		last    int64
		written bool
	)
	for deadline := time.Now().Add(patience); len(seen) < all*3/4 && time.Now().Before(deadline); {
		select {
		case failures := <-writing:
			must(t, errors.Join(failures...))
			written = true
		default:
		}
		for _, e := range get(f.EventsAfter(f.ctx, last, store.EventFilter{Limit: 10}))(t) {
			if e.ID <= last {
				t.Fatalf("id %d follows %d", e.ID, last)
			}
			seen, last = append(seen, e.Name), e.ID
		}
	}
	if !written {
		must(t, errors.Join(<-writing...))
	}
	slices.Sort(seen)
	wantEqual(t, "different events", len(slices.Compact(seen)), all*3/4)
}
