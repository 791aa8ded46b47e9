package conformance

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

var recordTests = []test{
	{"come back as put", recordsComeBack},
	{"keys are unique in a namespace", recordsUnique},
	{"one of many puts wins", recordsPutRace},
	{"expire at the instant", recordsExpire},
	{"an expired one takes its key", recordsExpiredKey},
	{"update is a compare-and-set", recordsUpdate},
	{"one of many updates wins", recordsUpdateRace},
	{"are taken once", recordsTaken},
	{"are taken by exactly one", recordsTakeRace},
	{"are taken by exactly one transaction", recordsTakeAtomically},
	{"of a user are deleted", recordsOfUser},
	{"of a user are listed", recordsListed},
}

func recordsComeBack(t *testing.T, f fixture) {
	tests := map[string]store.Record{
		"full":        {Namespace: "flow", Key: awkward, Owner: "u1", Value: anyBytes(), Expires: noon.Add(time.Minute)},
		"bare":        {Namespace: "flow", Key: "k2", Expires: noon.Add(time.Minute)},
		"large":       {Namespace: "flow", Key: "k3", Value: make([]byte, 1<<20), Expires: noon.Add(time.Minute)},
		"NUL alone":   {Namespace: "flow", Key: "k4", Value: []byte{0}, Expires: noon.Add(time.Minute)},
		"never known": {Namespace: "flow", Key: "k5", Owner: "nobody", Expires: noon.Add(time.Minute)},
	}
	for name, r := range tests {
		t.Run(name, func(t *testing.T) {
			must(t, f.PutRecord(f.ctx, r))
			r.Version = 1
			wantEqual(t, "got", get(f.GetRecord(f.ctx, r.Namespace, r.Key, noon))(t), r)
			wantEqual(t, "got again", get(f.GetRecord(f.ctx, r.Namespace, r.Key, noon))(t), r)
			wantEqual(t, "taken", get(f.TakeRecord(f.ctx, r.Namespace, r.Key, noon))(t), r)
		})
	}
}

func recordsUnique(t *testing.T, f fixture) {
	kept := f.addRecord(t, "flow", "k", "")
	wantError(t, f.PutRecord(f.ctx, store.Record{
		Namespace: "flow", Key: "k", Value: []byte("other"), Expires: noon.Add(time.Hour),
	}), store.ErrConflict)
	wantEqual(t, "record", get(f.GetRecord(f.ctx, "flow", "k", noon))(t), kept)
	f.addRecord(t, "ticket", "k", "")
	f.addRecord(t, "flo", "wk", "")
	for _, absent := range [][2]string{{"flow", "K"}, {"Flow", "k"}, {"", "k"}, {"flow", ""}, {"fl%", "k"}, {"flow", "_"}} {
		_, err := f.GetRecord(f.ctx, absent[0], absent[1], noon)
		wantError(t, err, store.ErrNotFound)
	}
}

func recordsPutRace(t *testing.T, f fixture) {
	r := store.Record{Namespace: "flow", Key: "k", Expires: noon.Add(time.Minute)}
	wantOneWinner(t, race(50, func(int) error { return f.PutRecord(f.ctx, r) }), store.ErrConflict)
}

func recordsExpire(t *testing.T, f fixture) {
	r := f.addRecord(t, "flow", "k", "")
	last, at, after := r.Expires.Add(-time.Microsecond), r.Expires, r.Expires.Add(time.Hour)
	for _, now := range []time.Time{at, at.Add(time.Nanosecond), after} {
		_, err := f.GetRecord(f.ctx, "flow", "k", now)
		wantError(t, err, store.ErrNotFound)
		_, err = f.TakeRecord(f.ctx, "flow", "k", now)
		wantError(t, err, store.ErrNotFound)
		wantError(t, f.UpdateRecord(f.ctx, r, now), store.ErrNotFound)
		stale := r
		stale.Version = 7
		wantError(t, f.UpdateRecord(f.ctx, stale, now), store.ErrNotFound)
	}
	wantEqual(t, "in time", get(f.GetRecord(f.ctx, "flow", "k", last))(t), r)
	wantEqual(t, "taken in time", get(f.TakeRecord(f.ctx, "flow", "k", last))(t), r)
}

func recordsExpiredKey(t *testing.T, f fixture) {
	r := f.addRecord(t, "flow", "k", "")
	renewed := r
	renewed.Expires = r.Expires.Add(time.Hour)
	wantError(t, f.PutRecord(f.ctx, renewed), store.ErrConflict)
	must(t, f.Sweep(f.ctx, r.Expires.Add(time.Microsecond), store.SweepLimits{}))
	must(t, f.PutRecord(f.ctx, renewed))
}

func recordsUpdate(t *testing.T, f fixture) {
	old := f.addRecord(t, "flow", "k", "u1")
	changed := store.Record{
		Namespace: "flow", Key: "k", Owner: "u2", Value: anyBytes(), Expires: noon.Add(time.Hour), Version: 1,
	}
	must(t, f.UpdateRecord(f.ctx, changed, noon))
	wantError(t, f.UpdateRecord(f.ctx, old, noon), store.ErrConflict)
	changed.Owner, changed.Version = "u1", 2
	wantEqual(t, "record", get(f.GetRecord(f.ctx, "flow", "k", noon))(t), changed)
	wantError(t, f.UpdateRecord(f.ctx, store.Record{Namespace: "flow", Key: "x", Version: 1}, noon), store.ErrNotFound)
}

func recordsUpdateRace(t *testing.T, f fixture) {
	r := f.addRecord(t, "flow", "k", "")
	wantOneWinner(t, race(100, func(int) error { return f.UpdateRecord(f.ctx, r, noon) }), store.ErrConflict)
}

func recordsTaken(t *testing.T, f fixture) {
	r := f.addRecord(t, "ticket", "k", "u1")
	wantEqual(t, "taken", get(f.TakeRecord(f.ctx, "ticket", "k", noon))(t), r)
	_, err := f.TakeRecord(f.ctx, "ticket", "k", noon)
	wantError(t, err, store.ErrNotFound)
	_, err = f.GetRecord(f.ctx, "ticket", "k", noon)
	wantError(t, err, store.ErrNotFound)
	wantError(t, f.UpdateRecord(f.ctx, r, noon), store.ErrNotFound)
	f.addRecord(t, "ticket", "k", "") // the key is free again
}

func recordsTakeRace(t *testing.T, f fixture) {
	f.addRecord(t, "ticket", "k", "")
	wantOneWinner(t, race(1000, func(int) error {
		_, err := f.TakeRecord(f.ctx, "ticket", "k", noon)
		return err
	}), store.ErrNotFound)
}

func recordsTakeAtomically(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	f.addRecord(t, "ticket", "k", "u1")
	var signedOn atomic.Int32
	wantOneWinner(t, race(100, func(i int) error {
		err := f.Atomically(f.ctx, func(tx store.Tx) error {
			r, err := tx.TakeRecord(f.ctx, "ticket", "k", noon)
			if err != nil {
				return err
			}
			return tx.CreateSignOn(f.ctx, store.SignOn{ID: numbered("s", i), UserID: r.Owner, Expires: noon.Add(time.Hour)})
		})
		if err == nil {
			signedOn.Add(1)
		}
		return err
	}), store.ErrNotFound)
	wantEqual(t, "sign-ons", len(get(f.ListSignOns(f.ctx, "", noon, store.Page[store.SignOn]{}))(t)), int(signedOn.Load()))
}

func recordsListed(t *testing.T, f fixture) {
	second, first := f.addRecord(t, "flow", "k2", "u1"), f.addRecord(t, "flow", "k1", "u1")
	f.addRecord(t, "flow", "k3", "u2")
	f.addRecord(t, "flow", "k4", "")
	f.addRecord(t, "invitation", "k5", "u1")
	wantEqual(t, "of u1", get(f.RecordsOf(f.ctx, "flow", "u1", noon))(t), []store.Record{first, second})
	wantEqual(t, "at their expiry", len(get(f.RecordsOf(f.ctx, "flow", "u1", first.Expires))(t)), 0)
	wantEqual(t, "of nobody", len(get(f.RecordsOf(f.ctx, "flow", "", noon))(t)), 0)
}

func recordsOfUser(t *testing.T, f fixture) {
	f.addRecord(t, "flow", "k1", "u1")
	f.addRecord(t, "flow", "k2", "u1")
	f.addRecord(t, "flow", "k3", "u2")
	f.addRecord(t, "flow", "k4", "")
	f.addRecord(t, "invitation", "k5", "u1")
	f.addRecord(t, "flow", "k6", "u1")
	must(t, f.DeleteRecordsOf(f.ctx, "flow", "u1", "k6"))
	must(t, f.DeleteRecordsOf(f.ctx, "flow", "", "")) // owns none
	must(t, f.DeleteRecordsOf(f.ctx, "flow", "%", ""))
	for key, namespace := range map[string]string{"k3": "flow", "k4": "flow", "k5": "invitation", "k6": "flow"} {
		get(f.GetRecord(f.ctx, namespace, key, noon))(t)
	}
	must(t, f.DeleteRecordsOf(f.ctx, "flow", "u1", ""))
	for _, key := range []string{"k1", "k2", "k6"} {
		_, err := f.GetRecord(f.ctx, "flow", key, noon)
		wantError(t, err, store.ErrNotFound)
	}
}
