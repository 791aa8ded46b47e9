package conformance

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

var leaseTests = []test{
	{"are one holder's", leasesExclusive},
	{"are given up", leasesGivenUp},
	{"end by themselves", leasesEnd},
	{"one of many gets it", leasesRace},
}

// lease asks for work, for an hour.
func (f fixture) lease(t *testing.T, s store.Store, work, holder string) bool {
	t.Helper()
	return get(s.Lease(f.ctx, work, holder, time.Hour))(t)
}

func leasesExclusive(t *testing.T, f fixture) {
	for range 2 {
		wantEqual(t, "the first", f.lease(t, f.Store, "sweep", "a"), true)
		wantEqual(t, "another", f.lease(t, f.other, "sweep", "b"), false)
	}
	wantEqual(t, "other work", f.lease(t, f.other, awkward, "b"), true)
	wantEqual(t, "that work", f.lease(t, f.Store, awkward, "a"), false)
}

func leasesGivenUp(t *testing.T, f fixture) {
	f.lease(t, f.Store, "sweep", "a")
	wantEqual(t, "given up by another", get(f.other.Lease(f.ctx, "sweep", "b", 0))(t), false)
	wantEqual(t, "the other afterwards", f.lease(t, f.other, "sweep", "b"), false)
	wantEqual(t, "given up", get(f.Lease(f.ctx, "sweep", "a", 0))(t), false)
	wantEqual(t, "the other", f.lease(t, f.other, "sweep", "b"), true)
	wantEqual(t, "the former holder", f.lease(t, f.Store, "sweep", "a"), false)
}

func leasesEnd(t *testing.T, f fixture) {
	const short = 200 * time.Millisecond
	began := time.Now()
	wantEqual(t, "the first", get(f.Lease(f.ctx, "sweep", "a", short))(t), true)
	for !get(f.other.Lease(f.ctx, "sweep", "b", short))(t) {
		if time.Since(began) > patience {
			t.Fatal("it never ends")
		}
	}
	if lasted := time.Since(began); lasted < short/2 {
		t.Errorf("another had it after %s", lasted)
	}
}

func leasesRace(t *testing.T, f fixture) {
	var winners atomic.Int64
	for _, err := range race(40, func(i int) error {
		s := f.Store
		if i%2 == 0 {
			s = f.other
		}
		held, err := s.Lease(f.ctx, "sweep", numbered("node", i), time.Hour)
		if held {
			winners.Add(1)
		}
		return err
	}) {
		must(t, err)
	}
	wantEqual(t, "winners", winners.Load(), int64(1))
}
