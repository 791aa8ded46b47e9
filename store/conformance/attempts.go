package conformance

import (
	"errors"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

var attemptTests = []test{
	{"start at zero", attemptsZero},
	{"are put and replaced", attemptsPut},
	{"none is lost or counted twice", attemptsRace},
	{"are held by one at a time", attemptsHeld},
	{"are held by name", attemptsHeldByName},
	{"stay as they were after an error", attemptsHeldInVain},
	{"are forgotten by literal prefix", attemptsDeleted},
}

func attemptsZero(t *testing.T, f fixture) {
	a := get(f.GetAttempts(f.ctx, "password", "u1"))(t)
	wantEqual(t, "failures", a.Failures, 0)
	wantEqual(t, "first", a.First, time.Time{})
	wantEqual(t, "last", a.Last, time.Time{})
}

func attemptsPut(t *testing.T, f fixture) {
	a := store.Attempts{Scope: "password", Key: awkward, Failures: 3, First: noon, Last: noon.Add(time.Minute)}
	must(t, f.PutAttempts(f.ctx, a))
	wantEqual(t, "put", get(f.GetAttempts(f.ctx, a.Scope, a.Key))(t), a)
	a.Failures, a.First, a.Last = 1, noon.Add(time.Hour), noon.Add(time.Hour)
	must(t, f.PutAttempts(f.ctx, a))
	wantEqual(t, "replaced", get(f.GetAttempts(f.ctx, a.Scope, a.Key))(t), a)
	wantEqual(t, "of another scope", get(f.GetAttempts(f.ctx, "totp", a.Key))(t).Failures, 0)
}

// countOne counts a failure in a transaction.
func (f fixture) countOne(s store.Store, scope, key string) error {
	return s.Atomically(f.ctx, func(tx store.Tx) error {
		a, err := tx.GetAttempts(f.ctx, scope, key)
		if err != nil {
			return err
		}
		a.Scope, a.Key = scope, key
		a.Failures++
		return tx.PutAttempts(f.ctx, a)
	})
}

func attemptsRace(t *testing.T, f fixture) {
	const all = 1000
	for _, err := range race(all, func(int) error { return f.countOne(f.Store, "totp", "u1") }) {
		must(t, err)
	}
	wantEqual(t, "failures", get(f.GetAttempts(f.ctx, "totp", "u1"))(t).Failures, all)
}

func attemptsDeleted(t *testing.T, f fixture) {
	keys := []string{
		"u1", "u1/a", "u1/b", "U1/a", "u1%", "u1%/a", "u1_", "u1_/a", "u1x/a", "u2", "u\\1", "u*", "ü", "üx", "\U0010ffff", "\U0010ffffx",
	}
	tests := []struct {
		prefix string
		gone   []string
	}{
		{"u1/", []string{"u1/a", "u1/b"}},
		{"u1%", []string{"u1%", "u1%/a"}},
		{"u1_", []string{"u1_", "u1_/a"}},
		{"u\\", []string{"u\\1"}},
		{"u*", []string{"u*"}},
		{"ü", []string{"ü", "üx"}},
		{"\U0010ffff", []string{"\U0010ffff", "\U0010ffffx"}},
		{"nothing", nil},
		{"u1", []string{"u1", "u1/a", "u1/b", "u1%", "u1%/a", "u1_", "u1_/a", "u1x/a"}},
		{"", keys},
	}
	for _, test := range tests {
		t.Run(test.prefix, func(t *testing.T) {
			for _, key := range keys {
				for _, scope := range []string{"totp", "tot%", "password"} {
					must(t, f.PutAttempts(f.ctx, store.Attempts{Scope: scope, Key: key, Failures: 1}))
				}
			}
			must(t, f.DeleteAttempts(f.ctx, "totp", test.prefix))
			want := make(map[string]int)
			for _, key := range keys {
				want[key] = 1
			}
			for _, key := range test.gone {
				want[key] = 0
			}
			for key, failures := range want {
				wantEqual(t, key, get(f.GetAttempts(f.ctx, "totp", key))(t).Failures, failures)
				wantEqual(t, key+" of another scope", get(f.GetAttempts(f.ctx, "password", key))(t).Failures, 1)
				wantEqual(t, key+" of a scope alike", get(f.GetAttempts(f.ctx, "tot%", key))(t).Failures, 1)
			}
		})
	}
}

// countHeld counts a failure under each of the keys, which it holds.
func (f fixture) countHeld(s store.Store, keys ...store.AttemptKey) error {
	return s.CountAttempts(f.ctx, keys, func(counts store.AttemptCounts) error {
		for _, key := range keys {
			a, err := counts.GetAttempts(f.ctx, key.Scope, key.Key)
			if err != nil {
				return err
			}
			a.Scope, a.Key = key.Scope, key.Key
			a.Failures++
			if err := counts.PutAttempts(f.ctx, a); err != nil {
				return err
			}
		}
		return nil
	})
}

// attemptsHeld has many count the same keys in another order, some of which nobody
// has counted before.
func attemptsHeld(t *testing.T, f fixture) {
	const all = 200
	a, b := store.AttemptKey{Scope: "totp", Key: "u1"}, store.AttemptKey{Scope: "address", Key: "192.0.2.1"}
	must(t, errors.Join(race(all, func(i int) error {
		if i%3 == 0 {
			return f.countHeld(f.either(i), a, b)
		}
		return f.countHeld(f.either(i), b, a)
	})...))
	for _, key := range []store.AttemptKey{a, b} {
		wantEqual(t, "failures", get(f.GetAttempts(f.ctx, key.Scope, key.Key))(t).Failures, all)
	}
}

func attemptsHeldByName(t *testing.T, f fixture) {
	held := store.AttemptKey{Scope: "totp", Key: "u1"}
	must(t, f.countHeld(f, held))
	for _, other := range []store.AttemptKey{{Scope: "totp", Key: "u"}, {Scope: "totp", Key: "u1/x"}, {Scope: "password", Key: "u1"}, {}} {
		must(t, f.CountAttempts(f.ctx, []store.AttemptKey{held}, func(counts store.AttemptCounts) error {
			_, err := counts.GetAttempts(f.ctx, other.Scope, other.Key)
			for what, err := range map[string]error{
				"read": err, "put": counts.PutAttempts(f.ctx, store.Attempts{Scope: other.Scope, Key: other.Key, Failures: 1}),
				"deleted": counts.DeleteAttempts(f.ctx, other.Scope, other.Key),
			} {
				if err == nil {
					t.Errorf("%v was %s while %v was held", other, what, held)
				}
			}
			return nil
		}))
	}
	wantEqual(t, "failures", get(f.GetAttempts(f.ctx, "totp", "u1"))(t).Failures, 1)
	must(t, f.CountAttempts(f.ctx, []store.AttemptKey{held}, func(counts store.AttemptCounts) error {
		return counts.DeleteAttempts(f.ctx, held.Scope, held.Key)
	}))
	wantEqual(t, "failures", get(f.GetAttempts(f.ctx, "totp", "u1"))(t).Failures, 0)
}

func attemptsHeldInVain(t *testing.T, f fixture) {
	held := store.AttemptKey{Scope: "totp", Key: "u1"}
	must(t, f.countHeld(f, held))
	err := f.CountAttempts(f.ctx, []store.AttemptKey{held}, func(counts store.AttemptCounts) error {
		must(t, counts.PutAttempts(f.ctx, store.Attempts{Scope: "totp", Key: "u1", Failures: 9}))
		return errRefused
	})
	if err != errRefused {
		t.Fatalf("got error %v, want %v itself", err, errRefused)
	}
	wantEqual(t, "failures", get(f.GetAttempts(f.ctx, "totp", "u1"))(t).Failures, 1)
}
