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
	{"ended stays ended", signOnsEndedStay},
	{"the first reason stays", signOnsFirstReason},
	{"an end needs a time", signOnsEndTime},
	{"an end beats updates", signOnsEndRace},
	{"all of a user end", signOnsEndAll},
	{"each is ended once", signOnsEndAllRace},
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
			PortalSession: "hash", Address: "2001:db8::1", UserAgent: awkward,
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
	must(t, f.TouchSignOn(f.ctx, "s1", noon))
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
	must(t, f.TouchSignOn(f.ctx, "s1", noon.Add(time.Minute))) // the version stays
	changed := store.SignOn{
		ID: "s1", UserID: "u2", Started: noon.Add(time.Hour), Expires: noon.Add(time.Hour), Idle: time.Minute,
		LastSeen: noon.AddDate(-1, 0, 0), Ended: noon, EndReason: "by update",
		Proofs:        []assurance.Proof{{Factor: assurance.TOTP, At: noon}},
		PortalSession: "new", Address: "192.0.2.1", UserAgent: "browser", Version: 1,
	}
	must(t, f.UpdateSignOn(f.ctx, changed))
	wantError(t, f.UpdateSignOn(f.ctx, old), store.ErrConflict)
	changed.UserID, changed.Started, changed.LastSeen = old.UserID, old.Started, noon.Add(time.Minute)
	changed.Ended, changed.EndReason, changed.Version = time.Time{}, "", 2
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
		must(t, f.TouchSignOn(f.ctx, "s1", noon.Add(step.touch)))
		s := get(f.SignOnByID(f.ctx, "s1"))(t)
		wantEqual(t, "last seen", s.LastSeen, noon.Add(step.want))
		wantEqual(t, "version", s.Version, int64(1))
	}
	race(100, func(i int) error { return f.TouchSignOn(f.ctx, "s1", noon.Add(time.Duration(i)*time.Hour)) })
	wantEqual(t, "the latest of many", get(f.SignOnByID(f.ctx, "s1"))(t).LastSeen, noon.Add(99*time.Hour))
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
	must(t, f.TouchSignOn(f.ctx, "s1", noon.Add(time.Hour)))
	wantEqual(t, "sign-on", get(f.SignOnByID(f.ctx, "s1"))(t), ended)
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
			return f.TouchSignOn(f.ctx, "s1", noon.Add(time.Hour))
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
		for _, s := range get(f.ListSignOns(f.ctx, userID, noon))(t) {
			ids = append(ids, s.ID)
		}
		return ids
	}
	wantEqual(t, "of one", ids("u1"), []string{"new", "old"})
	wantEqual(t, "of all", ids(""), []string{"new", "another's", "old"})
	wantEqual(t, "of nobody", len(ids("nobody")), 0)
}
