package conformance

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/store"
)

var lifeTests = []test{
	{"has an incarnation", lifeIncarnation},
	{"renewed ends all that the old one began", lifeRenewed},
	{"is renewed once by many", lifeRenewRace},
	{"descends from those that were renewed", lifeDescends},
	{"position rises with what a copy would undo", lifePositionRises},
	{"position stays with the rest", lifePositionStays},
	{"position counts transactions", lifePositionCounts},
	{"position misses none of many", lifePositionRace},
}

func lifeIncarnation(t *testing.T, f fixture) {
	id := f.Incarnation()
	if len(id) < 16 {
		t.Fatalf("incarnation %q is too short to be unique", id)
	}
	f.addUser(t, "u1")
	wantEqual(t, "incarnation", f.Incarnation(), id)
}

func lifeRenewed(t *testing.T, f fixture) {
	f.populate(t)
	f.addSignOn(t, "u1", "s2")
	f.addRecord(t, "flow", "under way", "u1")
	f.addRecord(t, store.LossNamespace, "u1", "u1")
	must(t, f.EndSignOn(f.ctx, "s2", noon, "x"))
	user, old := get(f.UserByID(f.ctx, "u1"))(t), f.Incarnation()
	device := get(f.DeviceByID(f.ctx, "d1"))(t)
	before := f.position(t)
	l := f.follow(t)

	must(t, f.Renew(f.ctx, old))
	if renewed := f.Incarnation(); renewed == old || len(renewed) < 16 {
		t.Errorf("incarnation %q follows %q", renewed, old)
	}
	for _, id := range []string{"s1", "s2"} {
		_, err := f.SignOnByID(f.ctx, id)
		wantError(t, err, store.ErrNotFound)
	}
	_, err := f.GetRecord(f.ctx, "flow", "under way", noon)
	wantError(t, err, store.ErrNotFound)
	get(f.GetRecord(f.ctx, store.LossNamespace, "u1", noon))(t)
	wantEqual(t, "renewals told", l.renewals(), []string{f.Incarnation()})
	wantUntold(t, l, "s1", "s2", "") // however many there are
	b := get(f.BrowserByToken(f.ctx, "u1", "h"))(t)
	wantEqual(t, "remembered until", b.Remembered, time.Time{})
	wantEqual(t, "remembered for", b.RememberedFor, assurance.Factor(""))
	wantEqual(t, "user", get(f.UserByID(f.ctx, "u1"))(t), user)
	get(f.CredentialByID(f.ctx, "c1"))(t)
	wantEqual(t, "device", get(f.DeviceByID(f.ctx, "d1"))(t), device)
	if after := f.position(t); after <= before {
		t.Errorf("position %d follows %d", after, before)
	}
	f.addSignOn(t, "u1", "s3") // it goes on
}

// lifeRenewRace has many find that the store is an older copy: one renews it, and
// what was begun since stays.
func lifeRenewRace(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	from, l := f.Incarnation(), f.follow(t)
	wantOneWinner(t, race(20, func(i int) error { return f.either(i).Renew(f.ctx, from) }), store.ErrConflict)
	f.addSignOn(t, "u1", "s1")
	wantError(t, f.Renew(f.ctx, from), store.ErrConflict)
	wantError(t, f.other.Renew(f.ctx, from), store.ErrConflict)
	get(f.SignOnByID(f.ctx, "s1"))(t)
	if f.Incarnation() == from || f.Incarnation() != f.other.Incarnation() {
		t.Errorf("incarnations %q and %q follow %q", f.Incarnation(), f.other.Incarnation(), from)
	}
	eventually(t, "the renewal", func() bool { return slices.Equal(l.renewals(), []string{f.Incarnation()}) })
}

func lifeDescends(t *testing.T, f fixture) {
	var lives []string
	for range 3 {
		lives = append(lives, f.Incarnation())
		must(t, f.Renew(f.ctx, f.Incarnation()))
	}
	for _, life := range append(lives, f.Incarnation()) {
		wantEqual(t, "descends", get(f.Descends(f.ctx, life))(t), true)
	}
	for _, stranger := range []string{"", "another", lives[0] + " "} {
		wantEqual(t, "descends from a stranger", get(f.Descends(f.ctx, stranger))(t), false)
	}
}

func (f fixture) position(t *testing.T) int64 {
	t.Helper()
	return get(f.Position(f.ctx))(t)
}

func lifePositionRises(t *testing.T, f fixture) {
	f.populate(t)
	f.addSignOn(t, "u1", "s2")
	f.addSignOn(t, "u1", "s3")
	operations := f.operations()
	operations["EndUnseenSignOn"] = func(ctx context.Context) error { return f.EndUnseenSignOn(ctx, "s2", noon, noon, "x") }
	last := f.position(t)
	for _, name := range []string{
		"CreateUser", "UpdateUser", "CreateCredential", "UpdateCredential", "CreateSignOn", "UpdateSignOn",
		"EndSignOn", "EndUnseenSignOn", "EndSignOnsOf", "CreateDevice", "UpdateDevice", "RevokeDevice", "CreateAccessToken", "RevokeAccessToken", "Renew", "DeleteUser",
	} {
		must(t, operations[name](f.ctx))
		position := f.position(t)
		if position <= last {
			t.Errorf("after %s the position is %d, as before", name, position)
		}
		last = position
	}
	c := f.addUser(t, "u7")
	f.addCredential(t, c.ID, "c7")
	before := f.position(t)
	must(t, f.DeleteCredential(f.ctx, "c7", 1))
	wantEqual(t, "position after DeleteCredential", f.position(t), before+1)
}

func lifePositionStays(t *testing.T, f fixture) {
	f.populate(t)
	f.addSignOn(t, "u1", "ended")
	must(t, f.EndSignOn(f.ctx, "ended", noon, "x"))
	f.addDevice(t, "u1", "revoked")
	must(t, f.RevokeDevice(f.ctx, "revoked", noon, "x"))
	must(t, f.CreateAccessToken(f.ctx, accessToken("revoked")))
	must(t, f.RevokeAccessToken(f.ctx, "revoked", noon))
	operations := f.operations()
	for name, refused := range map[string]func(context.Context) error{
		"UpdateUser": func(ctx context.Context) error { return f.UpdateUser(ctx, store.User{ID: "u1", Version: 7}) },
		"UpdateCredential": func(ctx context.Context) error {
			return f.UpdateCredential(ctx, store.Credential{ID: "c1", Version: 7})
		},
		"DeleteCredential": func(ctx context.Context) error { return f.DeleteCredential(ctx, "c1", 7) },
		"UpdateSignOn":     func(ctx context.Context) error { return f.UpdateSignOn(ctx, store.SignOn{ID: "s1", Version: 7}) },
		"EndSignOn":        func(ctx context.Context) error { return f.EndSignOn(ctx, "ended", noon, "again") },
		"EndUnseenSignOn":  func(ctx context.Context) error { return f.EndUnseenSignOn(ctx, "s1", longBefore, noon, "x") },
		"DeleteUser":       func(ctx context.Context) error { return f.DeleteUser(ctx, "nobody") },
		"EndExpiredSignOns": func(ctx context.Context) error {
			_, err := f.EndExpiredSignOns(ctx, longBefore, "x", 10)
			return err
		},
		"PullBackSignOns": func(ctx context.Context) error {
			_, err := f.PullBackSignOns(ctx, noon.AddDate(1000, 0, 0), noon.AddDate(1000, 0, 0))
			return err
		},
		"EndSignOnsOf": func(ctx context.Context) error {
			_, err := f.EndSignOnsOf(ctx, "nobody", noon, "x")
			return err
		},
		"CreateUser":       func(ctx context.Context) error { return f.CreateUser(ctx, store.User{ID: "u1"}) },
		"CreateCredential": func(ctx context.Context) error { return f.CreateCredential(ctx, store.Credential{ID: "c9"}) },
		"CreateSignOn":     func(ctx context.Context) error { return f.CreateSignOn(ctx, store.SignOn{ID: "s9"}) },
		"CreateDevice":     func(ctx context.Context) error { return f.CreateDevice(ctx, store.Device{ID: "d9", UserID: "nobody"}) },
		"UpdateDevice":     func(ctx context.Context) error { return f.UpdateDevice(ctx, store.Device{ID: "d1", Version: 7}) },
		"RenewDevice": func(ctx context.Context) error {
			return f.RenewDevice(ctx, store.Device{ID: "d1", Certificate: "new", Version: 7})
		},
		"RevokeDevice":      func(ctx context.Context) error { return f.RevokeDevice(ctx, "revoked", noon, "again") },
		"CreateAccessToken": func(ctx context.Context) error { return f.CreateAccessToken(ctx, accessToken("t1")) },
		"RevokeAccessToken": func(ctx context.Context) error { return f.RevokeAccessToken(ctx, "revoked", noon) },
		"UpdateAccessToken": func(ctx context.Context) error { return f.UpdateAccessToken(ctx, accessToken("x")) },
		"Renew": func(ctx context.Context) error {
			return f.Atomically(ctx, func(tx store.Tx) error { return errors.Join(tx.DeleteUser(ctx, "u1"), errRefused) })
		},
		"Sweep": func(ctx context.Context) error {
			return f.Sweep(ctx, noon, store.SweepLimits{SignOnsBefore: noon.AddDate(1, 0, 0)})
		},
	} {
		operations[name] = refused
	}
	before := f.position(t)
	for name, operation := range operations {
		err := operation(f.ctx)
		if err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, errRefused) {
			t.Errorf("%s: %v", name, err)
		}
		wantEqual(t, "position after "+name, f.position(t), before)
	}
}

func lifePositionCounts(t *testing.T, f fixture) {
	before := f.position(t)
	must(t, f.Atomically(f.ctx, f.writeEverywhere))
	wantEqual(t, "position", f.position(t), before+1)
	must(t, f.DeleteUser(f.ctx, "u9"))
	wantEqual(t, "position", f.position(t), before+2)
}

func lifePositionRace(t *testing.T, f fixture) {
	const all = 50
	before := f.position(t)
	for _, err := range race(all, func(i int) error {
		return f.CreateUser(f.ctx, store.User{ID: numbered("u", i), Name: numbered("u", i)})
	}) {
		must(t, err)
	}
	wantEqual(t, "position", f.position(t), before+all)
}
