package conformance

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

// What holds for one handle holds over two of them: these tests ask one for what
// the other did.
var handleTests = slices.Concat(apartTests, []test{
	{"tell each other", handlesTell},
	{"see a renewal", handlesRenew},
	{"one that was cut off hears of it", handlesCut},
})

// apartTests are those of them for which no handle has to hear of changes.
var apartTests = []test{
	{"see what the other committed", handlesSee},
	{"take a record once", handlesTake},
	{"count none twice", handlesCount},
	{"count one position", handlesPosition},
}

// either returns one of the handles for one of many who race.
func (f fixture) either(i int) store.Store {
	if i%2 == 0 {
		return f.Store
	}
	return f.other
}

// eventually fails unless what is promised soon becomes true.
func eventually(t *testing.T, what string, isTrue func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !isTrue(); {
		if time.Now().After(deadline) {
			t.Fatalf("never came: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func handlesTell(t *testing.T, f fixture) {
	f.people(t)
	first, second := new(listener), new(listener)
	defer f.Follow(first)()
	defer f.other.Follow(second)()
	must(t, f.other.EndSignOn(f.ctx, "u1-s1", noon, "x"))
	must(t, f.EndSignOn(f.ctx, "u1-s2", noon, "x"))
	for _, id := range []string{"u1-s1", "u1-s2"} {
		eventually(t, id+" told to the first", func() bool { return first.knows(ended(id)[0]) })
		eventually(t, id+" told to the second", func() bool { return second.knows(ended(id)[0]) })
	}
}

func handlesSee(t *testing.T, f fixture) {
	user := f.addUser(t, "u1")
	wantEqual(t, "user", get(f.other.UserByID(f.ctx, "u1"))(t), user)
	wantEqual(t, "incarnation", f.other.Incarnation(), f.Incarnation())
	must(t, f.other.DeleteUser(f.ctx, "u1"))
	_, err := f.UserByID(f.ctx, "u1")
	wantError(t, err, store.ErrNotFound)
}

func handlesTake(t *testing.T, f fixture) {
	for range 20 {
		f.addRecord(t, "ticket", "k", "")
		wantOneWinner(t, race(20, func(i int) error {
			return second(f.either(i).TakeRecord(f.ctx, "ticket", "k", noon))
		}), store.ErrNotFound)
	}
}

func handlesCount(t *testing.T, f fixture) {
	const all = 100
	must(t, errors.Join(race(all, func(i int) error { return f.countOne(f.either(i), "totp", "u1") })...))
	wantEqual(t, "failures", get(f.GetAttempts(f.ctx, "totp", "u1"))(t).Failures, all)
}

func handlesPosition(t *testing.T, f fixture) {
	const all = 50
	before := f.position(t)
	must(t, errors.Join(race(all, func(i int) error {
		return f.either(i).CreateUser(f.ctx, store.User{ID: numbered("u", i), Name: numbered("u", i)})
	})...))
	wantEqual(t, "position", f.position(t), before+all)
	wantEqual(t, "position by the other handle", get(f.other.Position(f.ctx))(t), before+all)
}

func handlesRenew(t *testing.T, f fixture) {
	l := new(listener)
	defer f.other.Follow(l)()
	old := f.Incarnation()
	must(t, f.Renew(f.ctx, old))
	eventually(t, "the renewal", func() bool { return len(l.renewals()) > 0 })
	wantEqual(t, "incarnation", f.other.Incarnation(), f.Incarnation())
	wantEqual(t, "incarnations told", l.renewals(), []string{f.Incarnation()})
	wantEqual(t, "descends", get(f.other.Descends(f.ctx, old))(t), true)
}

// handlesCut has a change come while one handle hears nothing: it is told of it
// afterwards, or that it may have missed some, and then that it is current again.
func handlesCut(t *testing.T, f fixture) {
	if f.cut == nil {
		t.Skip("one process has the store to itself, and hears of each change")
	}
	f.people(t)
	l := new(listener)
	defer f.other.Follow(l)()
	restore := f.cut()
	must(t, f.EndSignOn(f.ctx, "u1-s1", noon, "x"))
	restored := time.Now()
	restore()
	eventually(t, "the change, or that one may be missing", func() bool { return l.knows(ended("u1-s1")[0]) || l.hasLost() })
	eventually(t, "a heartbeat", func() bool {
		beats := l.beats()
		return len(beats) > 0 && beats[len(beats)-1].After(restored)
	})
}
