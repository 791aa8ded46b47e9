package conformance

import (
	"errors"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

var sweepTests = []test{
	{"expired records go", sweepRecords},
	{"many go in one sweep", sweepMany},
	{"zero limits forget nothing", sweepNothing},
	{"the newest attempts are kept", sweepKeepsNewest},
	{"old attempts go", sweepOldAttempts},
	{"ended and expired sign-ons go", sweepSignOns},
	{"browsers not seen go", sweepBrowsers},
	{"expired devices go", sweepDevices},
	{"certificates that others have replaced, and pending devices, go", sweepCertificates},
	{"old events go", sweepEvents},
}

// long before any expiry in these tests, so that records that are still there
// can be seen.
var longBefore = noon.AddDate(-1, 0, 0)

func sweepRecords(t *testing.T, f fixture) {
	for key, expires := range map[string]time.Time{
		"gone": noon.Add(-time.Microsecond), "stays": noon.Add(time.Microsecond),
	} {
		must(t, f.PutRecord(f.ctx, store.Record{Namespace: "n", Key: key, Expires: expires}))
	}
	must(t, f.Sweep(f.ctx, noon, store.SweepLimits{}))
	_, err := f.GetRecord(f.ctx, "n", "gone", longBefore)
	wantError(t, err, store.ErrNotFound)
	get(f.GetRecord(f.ctx, "n", "stays", longBefore))(t)
}

func sweepMany(t *testing.T, f fixture) {
	const all, kept = 1200, 7
	must(t, f.Atomically(f.ctx, func(tx store.Tx) error {
		for i := range all {
			err := errors.Join(
				tx.PutRecord(f.ctx, store.Record{Namespace: "n", Key: numbered("k", i), Expires: noon.Add(-time.Hour)}),
				tx.PutAttempts(f.ctx, store.Attempts{Scope: "s", Key: numbered("k", i), Failures: 1, Last: noon}),
			)
			if err != nil {
				return err
			}
		}
		return nil
	}))
	must(t, f.Sweep(f.ctx, noon, store.SweepLimits{KeepAttempts: map[string]int{"s": kept}}))
	left := 0
	for i := range all {
		_, err := f.GetRecord(f.ctx, "n", numbered("k", i), longBefore)
		wantError(t, err, store.ErrNotFound)
		left += get(f.GetAttempts(f.ctx, "s", numbered("k", i)))(t).Failures
	}
	wantEqual(t, "attempts left", left, kept)
}

func sweepNothing(t *testing.T, f fixture) {
	f.populate(t)
	before := f.state(t)
	must(t, f.Sweep(f.ctx, noon, store.SweepLimits{}))
	wantEqual(t, "state", f.state(t), before)
}

func sweepKeepsNewest(t *testing.T, f fixture) {
	for _, scope := range []string{"bounded", "emptied", "unbounded"} {
		for key, minutes := range map[string]int{"oldest": 0, "newest": 4, "old": 1, "new": 3, "middle": 2} {
			must(t, f.PutAttempts(f.ctx, store.Attempts{
				Scope: scope, Key: key, Failures: 1,
				First: noon.Add(time.Duration(-minutes) * time.Hour), // the first failure decides nothing
				Last:  noon.Add(time.Duration(minutes) * time.Minute),
			}))
		}
	}
	must(t, f.Sweep(f.ctx, noon, store.SweepLimits{KeepAttempts: map[string]int{"bounded": 3, "emptied": 0, "absent": 1}}))
	kept := map[string]map[string]int{
		"bounded":   {"newest": 1, "new": 1, "middle": 1},
		"emptied":   {},
		"unbounded": {"oldest": 1, "old": 1, "middle": 1, "new": 1, "newest": 1},
	}
	for scope, want := range kept {
		for _, key := range []string{"oldest", "old", "middle", "new", "newest"} {
			wantEqual(t, scope+" "+key, get(f.GetAttempts(f.ctx, scope, key))(t).Failures, want[key])
		}
	}
}

func sweepOldAttempts(t *testing.T, f fixture) {
	for key, last := range map[string]time.Time{"gone": noon.Add(-time.Microsecond), "stays": noon} {
		must(t, f.PutAttempts(f.ctx, store.Attempts{Scope: "s", Key: key, Failures: 1, First: longBefore, Last: last}))
	}
	must(t, f.Sweep(f.ctx, noon, store.SweepLimits{AttemptsBefore: noon}))
	wantEqual(t, "gone", get(f.GetAttempts(f.ctx, "s", "gone"))(t).Failures, 0)
	wantEqual(t, "stays", get(f.GetAttempts(f.ctx, "s", "stays"))(t).Failures, 1)
}

func sweepSignOns(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	before, after := noon.Add(-time.Microsecond), noon.Add(time.Microsecond)
	tests := []struct {
		id             string
		ended, expires time.Time
		stays          bool
	}{
		{"ended long ago", before, after, false},
		{"expired long ago", time.Time{}, before, false},
		{"both", before, before, false},
		{"ended lately", after, after, true},
		{"expired lately", time.Time{}, after, true},
		{"ended at the limit", noon, after, true},
		{"expired at the limit", time.Time{}, noon, true},
	}
	for _, test := range tests {
		must(t, f.CreateSignOn(f.ctx, store.SignOn{
			ID: test.id, UserID: "u1", Started: longBefore, LastSeen: longBefore, Ended: test.ended, Expires: test.expires,
		}))
	}
	must(t, f.Sweep(f.ctx, after.Add(time.Hour), store.SweepLimits{SignOnsBefore: noon}))
	for _, test := range tests {
		_, err := f.SignOnByID(f.ctx, test.id)
		if stays := err == nil; stays != test.stays {
			t.Errorf("%s: got %v, want it to stay: %v", test.id, err, test.stays)
		}
	}
}

func sweepBrowsers(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	for hash, seen := range map[string]time.Time{"gone": noon.Add(-time.Microsecond), "stays": noon} {
		b := browser(hash, "u1", hash)
		b.LastSeen = seen
		must(t, f.CreateBrowser(f.ctx, b))
	}
	must(t, f.Sweep(f.ctx, noon, store.SweepLimits{BrowsersBefore: noon}))
	_, err := f.BrowserByToken(f.ctx, "u1", "gone")
	wantError(t, err, store.ErrNotFound)
	get(f.BrowserByToken(f.ctx, "u1", "stays"))(t)
}

func sweepDevices(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	for id, expires := range map[string]time.Time{"expired": noon.Add(-time.Microsecond), "expires": noon, "later": noon.AddDate(1, 0, 0)} {
		must(t, f.CreateDevice(f.ctx, store.Device{
			ID: id, UserID: "u1", Certificate: certificateOf(id), Expires: expires, Revoked: noon.AddDate(-1, 0, 0),
		}))
	}
	must(t, f.Sweep(f.ctx, noon.AddDate(2, 0, 0), store.SweepLimits{DevicesBefore: noon}))
	_, err := f.DeviceByID(f.ctx, "expired")
	wantError(t, err, store.ErrNotFound)
	wantEqual(t, "devices left", len(get(f.ListDevices(f.ctx, store.Page[store.Device]{}))(t)), 2)
}

func sweepEvents(t *testing.T, f fixture) {
	for name, at := range map[string]time.Time{"gone": noon.Add(-time.Microsecond), "stays": noon} {
		must(t, f.AppendEvent(f.ctx, store.Event{Name: name, At: at}))
	}
	must(t, f.Sweep(f.ctx, noon, store.SweepLimits{EventsBefore: noon}))
	events := get(f.ListEvents(f.ctx, store.EventFilter{}))(t)
	if len(events) != 1 || events[0].Name != "stays" {
		t.Fatalf("got %+v, want the newer event alone", events)
	}
}
