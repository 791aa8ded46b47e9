package conformance

import (
	"testing"

	"github.com/portcullis-mfa/portcullis/store"
)

var eventTests = []test{
	{"come back newest first", eventsComeBack},
	{"are narrowed", eventsNarrowed},
	{"are a hundred unless told", eventsLimited},
	{"ids never come back", eventsIDs},
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
	events[0].ID, events[1].ID = 2, 1
	wantEqual(t, "newer", events[0], store.Event{ID: 2, At: noon.AddDate(-1, 0, 0), Name: "clock.set.back"})
	wantEqual(t, "older", events[1], store.Event{
		ID: 1, At: noon, Name: "user.created", UserID: "u1", Fields: map[string]string{"by": awkward, "": ""},
	})
}

func eventsNarrowed(t *testing.T, f fixture) {
	for _, e := range []store.Event{
		{Name: "in", UserID: "u1"}, {Name: "out", UserID: "u1"}, {Name: "in", UserID: "u2"}, {Name: "in"}, {Name: "in", UserID: "u1"},
	} {
		must(t, f.AppendEvent(f.ctx, e))
	}
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
		{store.EventFilter{Before: 5}, 4},
		{store.EventFilter{UserID: "u1", Before: 5, Limit: 1}, 1},
		{store.EventFilter{Before: 1}, 0},
	}
	for _, test := range tests {
		wantEqual(t, "events", len(get(f.ListEvents(f.ctx, test.filter))(t)), test.want)
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
