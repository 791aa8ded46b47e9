package conformance

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/store"
)

var signOnTests = []test{
	{"come back as created", signOnsComeBack},
	{"times come back in UTC and whole microseconds", signOnTimes},
	{"are not found", signOnsNotFound},
	{"need a user", signOnsNeedUser},
	{"ids are unique", signOnsUnique},
	{"update is a compare-and-set", signOnsUpdate},
	{"one of many updates wins", signOnsUpdateRace},
	{"touch only raises", signOnsTouch},
	{"touch takes many at once", signOnsTouchMany},
	{"ended stays ended", signOnsEndedStay},
	{"an unseen one ends while it is unseen", signOnsEndUnseen},
	{"one that was seen is not ended as unseen", signOnsEndUnseenRace},
	{"the first reason stays", signOnsFirstReason},
	{"an end needs a time", signOnsEndTime},
	{"an end beats updates", signOnsEndRace},
	{"all of a user end", signOnsEndAll},
	{"each is ended once", signOnsEndAllRace},
	{"those over their limit end", signOnsEndExpired},
	{"those in the future are pulled back", signOnsPulledBack},
	{"are listed while they live", signOnsListed},
}

func signOnsComeBack(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	tests := map[string]store.SignOn{
		"full": {
			ID: "s1", UserID: "u1", Started: noon, Expires: noon.Add(12 * time.Hour), Idle: 90 * time.Minute,
			LastSeen: noon.Add(time.Second), Ended: noon.Add(time.Hour), EndReason: awkward,
			Proofs: []assurance.Proof{
				{Factor: assurance.Password, At: noon},
				{Factor: assurance.FIDO, At: noon.Add(time.Second), UserVerified: true, HeldToMulti: true},
			},
			PortalSession: "hash", Address: "2001:db8::1", UserAgent: awkward, Shared: true,
		},
		"bare": {ID: "s2", UserID: "u1"},
	}
	for name, s := range tests {
		t.Run(name, func(t *testing.T) {
			must(t, f.CreateSignOn(f.ctx, s))
			s.Version = 1
			wantEqual(t, "sign-on", get(f.SignOnByID(f.ctx, s.ID))(t), s)
		})
	}
}

func signOnTimes(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	east := time.FixedZone("east", 5*60*60+30*60)
	precise := noon.Add(789 * time.Nanosecond).In(east)
	ancient := time.Date(1901, 2, 3, 4, 5, 6, 7000, time.UTC)
	must(t, f.CreateSignOn(f.ctx, store.SignOn{
		ID: "s1", UserID: "u1", Started: precise, Expires: time.Now(), LastSeen: ancient.In(east),
		Idle:   time.Second + 999*time.Nanosecond,
		Proofs: []assurance.Proof{{Factor: assurance.TOTP, At: precise}},
	}))
	s := get(f.SignOnByID(f.ctx, "s1"))(t)
	wantEqual(t, "started", s.Started, noon)
	wantEqual(t, "a proof", s.Proofs[0].At, noon)
	wantEqual(t, "before 1970", s.LastSeen, ancient)
	wantEqual(t, "never", s.Ended, time.Time{})
	wantEqual(t, "a duration", s.Idle, time.Second)
	wantEqual(t, "the clock's present", s.Expires, s.Expires.UTC().Truncate(time.Microsecond))
}

func signOnsNotFound(t *testing.T, f fixture) {
	_, err := f.SignOnByID(f.ctx, "s1")
	wantError(t, err, store.ErrNotFound)
	wantError(t, f.UpdateSignOn(f.ctx, store.SignOn{ID: "s1", Version: 1}), store.ErrNotFound)
	wantError(t, f.EndSignOn(f.ctx, "s1", noon, "x"), store.ErrNotFound)
	must(t, f.touch("s1", noon))
	wantEqual(t, "ended", len(get(f.EndSignOnsOf(f.ctx, "u1", noon, "x"))(t)), 0)
}

func signOnsNeedUser(t *testing.T, f fixture) {
	wantError(t, f.CreateSignOn(f.ctx, store.SignOn{ID: "s1", UserID: "nobody"}), store.ErrNotFound)
	_, err := f.SignOnByID(f.ctx, "s1")
	wantError(t, err, store.ErrNotFound)
}

func signOnsUnique(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	f.addUser(t, "u2")
	kept := f.addSignOn(t, "u1", "s1")
	wantError(t, f.CreateSignOn(f.ctx, store.SignOn{ID: "s1", UserID: "u2"}), store.ErrConflict)
	wantEqual(t, "sign-on", get(f.SignOnByID(f.ctx, "s1"))(t), kept)
}

func signOnsUpdate(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	f.addUser(t, "u2")
	old := f.addSignOn(t, "u1", "s1")
	must(t, f.touch("s1", noon.Add(time.Minute))) // the version stays
	changed := store.SignOn{
		ID: "s1", UserID: "u2", Started: noon.Add(time.Hour), Expires: noon.Add(time.Hour), Idle: time.Minute,
		LastSeen: noon.AddDate(-1, 0, 0), Ended: noon, EndReason: "by update",
		Proofs:        []assurance.Proof{{Factor: assurance.TOTP, At: noon}},
		PortalSession: "new", Address: "192.0.2.1", UserAgent: "browser", Shared: true, Version: 1,
	}
	must(t, f.UpdateSignOn(f.ctx, changed))
	wantError(t, f.UpdateSignOn(f.ctx, old), store.ErrConflict)
	changed.UserID, changed.Started, changed.LastSeen = old.UserID, old.Started, noon.Add(time.Minute)
	changed.Ended, changed.EndReason, changed.Shared, changed.Version = time.Time{}, "", false, 2
	wantEqual(t, "sign-on", get(f.SignOnByID(f.ctx, "s1"))(t), changed)
}

func signOnsUpdateRace(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	s := f.addSignOn(t, "u1", "s1")
	wantOneWinner(t, race(50, func(int) error { return f.UpdateSignOn(f.ctx, s) }), store.ErrConflict)
}

func signOnsTouch(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	f.addSignOn(t, "u1", "s1")
	steps := []struct{ touch, want time.Duration }{
		{time.Minute, time.Minute},
		{-time.Hour, time.Minute},
		{time.Minute - time.Microsecond, time.Minute},
		{time.Minute + time.Microsecond, time.Minute + time.Microsecond},
	}
	for _, step := range steps {
		must(t, f.touch("s1", noon.Add(step.touch)))
		s := get(f.SignOnByID(f.ctx, "s1"))(t)
		wantEqual(t, "last seen", s.LastSeen, noon.Add(step.want))
		wantEqual(t, "version", s.Version, int64(1))
	}
	race(100, func(i int) error { return f.touch("s1", noon.Add(time.Duration(i)*time.Hour)) })
	wantEqual(t, "the latest of many", get(f.SignOnByID(f.ctx, "s1"))(t).LastSeen, noon.Add(99*time.Hour))
}

// touch notes that one sign-on was seen.
func (f fixture) touch(id string, seen time.Time) error {
	return f.TouchSignOns(f.ctx, []store.Activity{{SignOn: id, Seen: seen}})
}

// signOnsTouchMany mixes those that rise with ones that must not, some of them
// twice, in more than any transaction should hold.
func signOnsTouchMany(t *testing.T, f fixture) {
	const all = 2500
	f.addUser(t, "u1")
	must(t, f.Atomically(f.ctx, func(tx store.Tx) error {
		for i := range all {
			if err := tx.CreateSignOn(f.ctx, store.SignOn{
				ID: numbered("s", i), UserID: "u1", LastSeen: noon, Expires: noon.Add(time.Hour),
			}); err != nil {
				return err
			}
		}
		return nil
	}))
	f.addSignOn(t, "u1", "ended")
	must(t, f.EndSignOn(f.ctx, "ended", noon, "x"))
	ended := get(f.SignOnByID(f.ctx, "ended"))(t)

	later := noon.Add(time.Minute)
	seen := []store.Activity{{SignOn: "ended", Seen: later}, {SignOn: "unknown", Seen: later}, {Seen: later}}
	for i := range all {
		id := numbered("s", i)
		switch i % 3 {
		case 0:
			seen = append(seen, store.Activity{SignOn: id, Seen: later})
		case 1:
			seen = append(seen, store.Activity{SignOn: id, Seen: later}, store.Activity{SignOn: id, Seen: noon})
		default:
			seen = append(seen, store.Activity{SignOn: id, Seen: noon.Add(-time.Minute)}, store.Activity{SignOn: id})
		}
	}
	must(t, f.TouchSignOns(f.ctx, seen))
	must(t, f.TouchSignOns(f.ctx, nil))
	want := map[bool]time.Time{true: later, false: noon}
	for i := range all {
		s := get(f.SignOnByID(f.ctx, numbered("s", i)))(t)
		wantEqual(t, s.ID+" last seen", s.LastSeen, want[i%3 != 2])
		wantEqual(t, s.ID+" version", s.Version, int64(1))
	}
	wantEqual(t, "the ended one", get(f.SignOnByID(f.ctx, "ended"))(t), ended)
}

func signOnsEndedStay(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	s := f.addSignOn(t, "u1", "s1")
	must(t, f.EndSignOn(f.ctx, "s1", noon.Add(time.Minute), "signed out"))
	ended := get(f.SignOnByID(f.ctx, "s1"))(t)
	wantEqual(t, "ended", ended.Ended, noon.Add(time.Minute))
	wantEqual(t, "version", ended.Version, int64(2))
	for _, version := range []int64{s.Version, ended.Version} {
		revived := s
		revived.Version = version
		wantError(t, f.UpdateSignOn(f.ctx, revived), store.ErrConflict)
	}
	must(t, f.touch("s1", noon.Add(time.Hour)))
	wantEqual(t, "sign-on", get(f.SignOnByID(f.ctx, "s1"))(t), ended)
}

func signOnsEndUnseen(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	s := f.addSignOn(t, "u1", "s1")
	wantError(t, f.EndUnseenSignOn(f.ctx, "s2", noon, noon, "x"), store.ErrNotFound)
	must(t, f.touch("s1", noon.Add(time.Minute)))
	for _, lastSeen := range []time.Time{noon, noon.Add(time.Minute + time.Microsecond), {}} {
		wantError(t, f.EndUnseenSignOn(f.ctx, "s1", lastSeen, noon.Add(time.Hour), "idle"), store.ErrConflict)
	}
	s.LastSeen = noon.Add(time.Minute)
	wantEqual(t, "after refusals", get(f.SignOnByID(f.ctx, "s1"))(t), s)

	must(t, f.UpdateSignOn(f.ctx, s)) // its version decides nothing
	must(t, f.EndUnseenSignOn(f.ctx, "s1", s.LastSeen, noon.Add(time.Hour), "idle"))
	s.Ended, s.EndReason, s.Version = noon.Add(time.Hour), "idle", 3
	wantEqual(t, "ended", get(f.SignOnByID(f.ctx, "s1"))(t), s)
	wantError(t, f.EndUnseenSignOn(f.ctx, "s1", s.LastSeen, noon.Add(2*time.Hour), "again"), store.ErrConflict)
	must(t, f.touch("s1", noon.Add(2*time.Hour)))
	wantEqual(t, "still ended", get(f.SignOnByID(f.ctx, "s1"))(t), s)
}

// signOnsEndUnseenRace touches and ends 100 sign-ons at once: of each either
// counts, never both.
func signOnsEndUnseenRace(t *testing.T, f fixture) {
	const all = 100
	f.addUser(t, "u1")
	for i := range all {
		f.addSignOn(t, "u1", numbered("s", i))
	}
	later := noon.Add(time.Minute)
	failures := race(2*all, func(i int) error {
		if i%2 == 0 {
			return f.touch(numbered("s", i/2), later)
		}
		return f.EndUnseenSignOn(f.ctx, numbered("s", i/2), noon, later, "idle")
	})
	for i := range all {
		touch, end := failures[2*i], failures[2*i+1]
		must(t, touch)
		s := get(f.SignOnByID(f.ctx, numbered("s", i)))(t)
		if end == nil {
			wantEqual(t, "last seen of one that ended", s.LastSeen, noon)
			wantEqual(t, "its end", s.Ended, later)
			continue
		}
		wantError(t, end, store.ErrConflict)
		wantEqual(t, "last seen of one that lives", s.LastSeen, later)
		wantEqual(t, "its end", s.Ended, time.Time{})
	}
}

func signOnsFirstReason(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	f.addSignOn(t, "u1", "s1")
	must(t, f.EndSignOn(f.ctx, "s1", noon, "first"))
	must(t, f.EndSignOn(f.ctx, "s1", noon.Add(time.Minute), "second"))
	wantEqual(t, "ended again", len(get(f.EndSignOnsOf(f.ctx, "u1", noon.Add(time.Hour), "third"))(t)), 0)
	s := get(f.SignOnByID(f.ctx, "s1"))(t)
	wantEqual(t, "reason", s.EndReason, "first")
	wantEqual(t, "time", s.Ended, noon)
}

func signOnsEndTime(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	f.addSignOn(t, "u1", "s1")
	if err := f.EndSignOn(f.ctx, "s1", time.Time{}, "x"); err == nil {
		t.Error("an end without a time was accepted")
	}
	if err := f.EndUnseenSignOn(f.ctx, "s1", noon, time.Time{}, "x"); err == nil {
		t.Error("an end of an unseen one without a time was accepted")
	}
	if _, err := f.EndSignOnsOf(f.ctx, "u1", time.Time{}, "x"); err == nil {
		t.Error("an end of all without a time was accepted")
	}
}

func signOnsEndRace(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	f.addSignOn(t, "u1", "s1")
	failures := race(60, func(i int) error {
		switch i % 3 {
		case 0:
			return f.EndSignOn(f.ctx, "s1", noon, "ended")
		case 1:
			return f.touch("s1", noon.Add(time.Hour))
		}
		s, err := f.SignOnByID(f.ctx, "s1")
		if err == nil {
			err = f.UpdateSignOn(f.ctx, s)
		}
		if errors.Is(err, store.ErrConflict) {
			return nil
		}
		return err
	})
	for _, err := range failures {
		must(t, err)
	}
	wantEqual(t, "ended", get(f.SignOnByID(f.ctx, "s1"))(t).Ended, noon)
}

func signOnsEndAll(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	f.addUser(t, "u2")
	for _, id := range []string{"s1", "s2", "s3"} {
		f.addSignOn(t, "u1", id)
	}
	other := f.addSignOn(t, "u2", "other")
	must(t, f.EndSignOn(f.ctx, "s2", noon, "before"))
	ended := get(f.EndSignOnsOf(f.ctx, "u1", noon.Add(time.Minute), "all"))(t)
	slices.Sort(ended)
	wantEqual(t, "ended", ended, []string{"s1", "s3"})
	s := get(f.SignOnByID(f.ctx, "s3"))(t)
	wantEqual(t, "reason", s.EndReason, "all")
	wantEqual(t, "time", s.Ended, noon.Add(time.Minute))
	wantEqual(t, "version", s.Version, int64(2))
	wantEqual(t, "another's", get(f.SignOnByID(f.ctx, "other"))(t), other)
}

func signOnsEndAllRace(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	for i := range 20 {
		f.addSignOn(t, "u1", numbered("s", i))
	}
	var mutex sync.Mutex
	var ended []string
	for _, err := range race(10, func(int) error {
		mine, err := f.EndSignOnsOf(f.ctx, "u1", noon, "x")
		mutex.Lock()
		defer mutex.Unlock()
		ended = append(ended, mine...)
		return err
	}) {
		must(t, err)
	}
	slices.Sort(ended)
	wantEqual(t, "reported", len(ended), 20)
	wantEqual(t, "different", len(slices.Compact(ended)), 20)
}

func signOnsListed(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	f.addUser(t, "u2")
	add := func(id, userID string, started, expires time.Duration) {
		must(t, f.CreateSignOn(f.ctx, store.SignOn{
			ID: id, UserID: userID, Started: noon.Add(started), Expires: noon.Add(expires),
		}))
	}
	add("old", "u1", -2*time.Hour, time.Microsecond)
	add("new", "u1", -time.Hour, time.Hour)
	add("expired", "u1", -3*time.Hour, 0) // at this very instant
	add("ended", "u1", 0, time.Hour)
	add("another's", "u2", -90*time.Minute, time.Hour)
	must(t, f.EndSignOn(f.ctx, "ended", noon, "x"))
	ids := func(userID string) (ids []string) {
		for _, s := range get(f.ListSignOns(f.ctx, userID, noon, store.Page[store.SignOn]{}))(t) {
			ids = append(ids, s.ID)
		}
		return ids
	}
	wantEqual(t, "of one", ids("u1"), []string{"new", "old"})
	wantEqual(t, "of all", ids(""), []string{"new", "another's", "old"})
	wantEqual(t, "of nobody", len(ids("nobody")), 0)
}

func signOnsEndExpired(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	for id, expires := range map[string]time.Time{
		"long ago": noon.AddDate(0, 0, -1), "just now": noon, "soon": noon.Add(time.Microsecond),
	} {
		must(t, f.CreateSignOn(f.ctx, store.SignOn{ID: id, UserID: "u1", Started: noon.AddDate(0, 0, -2), Expires: expires}))
	}
	must(t, f.CreateSignOn(f.ctx, store.SignOn{
		ID: "ended", UserID: "u1", Started: noon.AddDate(0, 0, -2), Expires: noon, Ended: noon.AddDate(0, 0, -1), EndReason: "first",
	}))
	l, before := f.follow(t), f.position(t)
	wantEqual(t, "ended at first", len(get(f.EndExpiredSignOns(f.ctx, noon, "expired", 1))(t)), 1)
	wantEqual(t, "ended then", len(get(f.EndExpiredSignOns(f.ctx, noon, "expired", 10))(t)), 1)
	wantEqual(t, "ended at last", get(f.EndExpiredSignOns(f.ctx, noon, "expired", 10))(t), []string(nil))
	wantTold(t, l, ended("long ago", "just now")...)
	wantEqual(t, "position", f.position(t), before+2)
	for id, reason := range map[string]string{"long ago": "expired", "just now": "expired", "soon": "", "ended": "first"} {
		s := get(f.SignOnByID(f.ctx, id))(t)
		wantEqual(t, id, s.EndReason, reason)
		wantEqual(t, id+" is ended", !s.Ended.IsZero(), reason != "")
	}
	_, err := f.EndExpiredSignOns(f.ctx, time.Time{}, "expired", 1)
	if err == nil {
		t.Error("an end without a time was taken")
	}
}

func signOnsPulledBack(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	latest := noon.Add(time.Hour)
	for id, s := range map[string]store.SignOn{
		"right":       {Expires: latest, LastSeen: noon},
		"expires far": {Expires: latest.Add(time.Microsecond), LastSeen: noon.Add(-time.Minute)},
		"seen ahead":  {Expires: noon.Add(time.Minute), LastSeen: noon.Add(time.Microsecond)},
		"both":        {Expires: noon.AddDate(1, 0, 0), LastSeen: noon.AddDate(1, 0, 0)},
		"ended":       {Expires: noon.AddDate(1, 0, 0), LastSeen: noon.AddDate(1, 0, 0), Ended: noon, EndReason: "first"},
	} {
		s.ID, s.UserID, s.Started = id, "u1", noon
		must(t, f.CreateSignOn(f.ctx, s))
	}
	l, before := f.follow(t), f.position(t)
	wantEqual(t, "changed", get(f.PullBackSignOns(f.ctx, noon, latest))(t), 3)
	wantEqual(t, "changed again", get(f.PullBackSignOns(f.ctx, noon, latest))(t), 0)
	var told []store.Change
	for _, id := range []string{"both", "expires far", "seen ahead"} {
		told = append(told, store.Change{Kind: store.SignOnChanged, ID: id})
	}
	wantTold(t, l, told...)
	wantEqual(t, "position", f.position(t), before+1)
	for id, want := range map[string]store.SignOn{
		"right":       {Expires: latest, LastSeen: noon, Version: 1},
		"expires far": {Expires: latest, LastSeen: noon.Add(-time.Minute), Version: 2},
		"seen ahead":  {Expires: noon.Add(time.Minute), LastSeen: noon, Version: 2},
		"both":        {Expires: latest, LastSeen: noon, Version: 2},
		"ended":       {Expires: noon.AddDate(1, 0, 0), LastSeen: noon.AddDate(1, 0, 0), Version: 1},
	} {
		s := get(f.SignOnByID(f.ctx, id))(t)
		wantEqual(t, id+" expires", s.Expires, want.Expires)
		wantEqual(t, id+" was seen", s.LastSeen, want.LastSeen)
		wantEqual(t, id+"'s version", s.Version, want.Version)
	}
}
