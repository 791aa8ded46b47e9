package conformance

import (
	"errors"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

var nameTests = []test{
	{"come back as given up", namesComeBack},
	{"are given up in a transaction or not at all", namesInTransactions},
	{"outlive their users", namesOutliveUsers},
	{"are forgotten after a while", namesSwept},
}

// namesComeBack has two users give up one name, one of them three times: the
// latest time stays.
func namesComeBack(t *testing.T, f fixture) {
	wantEqual(t, "at first", get(f.ListFormerNames(f.ctx, "alice"))(t), []store.FormerName(nil))
	for _, n := range []store.FormerName{
		{Name: "alice", UserID: "u2", GivenUp: noon},
		{Name: "alice", UserID: "u1", GivenUp: noon},
		{Name: "alice", UserID: "u1", GivenUp: noon.Add(time.Hour)},
		{Name: "alice", UserID: "u1", GivenUp: noon.Add(-time.Hour)},
		{Name: "alice@example.com", UserID: "u3", GivenUp: noon},
	} {
		must(t, f.GiveUpName(f.ctx, n))
	}
	must(t, f.Renew(f.ctx, f.Incarnation()))
	wantEqual(t, "the name", get(f.ListFormerNames(f.ctx, "alice"))(t), []store.FormerName{
		{Name: "alice", UserID: "u1", GivenUp: noon.Add(time.Hour)}, {Name: "alice", UserID: "u2", GivenUp: noon},
	})
	wantEqual(t, "another case", get(f.ListFormerNames(f.ctx, "Alice"))(t), []store.FormerName(nil))
}

func namesInTransactions(t *testing.T, f fixture) {
	one := store.FormerName{Name: "alice", UserID: "u1", GivenUp: noon}
	wantError(t, f.Atomically(f.ctx, func(tx store.Tx) error {
		return errors.Join(tx.GiveUpName(f.ctx, one), errRefused)
	}), errRefused)
	wantEqual(t, "after a transaction that failed", get(f.ListFormerNames(f.ctx, "alice"))(t), []store.FormerName(nil))
	must(t, f.Atomically(f.ctx, func(tx store.Tx) error {
		if err := tx.GiveUpName(f.ctx, one); err != nil {
			return err
		}
		wantEqual(t, "in the transaction", get(tx.ListFormerNames(f.ctx, "alice"))(t), []store.FormerName{one})
		return nil
	}))
	wantEqual(t, "afterwards", get(f.ListFormerNames(f.ctx, "alice"))(t), []store.FormerName{one})
}

func namesOutliveUsers(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	one := store.FormerName{Name: "u1", UserID: "u1", GivenUp: noon}
	must(t, f.Atomically(f.ctx, func(tx store.Tx) error {
		return errors.Join(tx.GiveUpName(f.ctx, one), tx.DeleteUser(f.ctx, "u1"))
	}))
	wantEqual(t, "without the user", get(f.ListFormerNames(f.ctx, "u1"))(t), []store.FormerName{one})
}

func namesSwept(t *testing.T, f fixture) {
	one := store.FormerName{Name: "alice", UserID: "u1", GivenUp: noon}
	must(t, f.GiveUpName(f.ctx, one))
	must(t, f.Sweep(f.ctx, noon.AddDate(20, 0, 0), store.SweepLimits{FormerNamesBefore: noon}))
	wantEqual(t, "at the limit", get(f.ListFormerNames(f.ctx, "alice"))(t), []store.FormerName{one})
	must(t, f.Sweep(f.ctx, noon.AddDate(20, 0, 0), store.SweepLimits{FormerNamesBefore: noon.Add(time.Microsecond)}))
	wantEqual(t, "after it", get(f.ListFormerNames(f.ctx, "alice"))(t), []store.FormerName(nil))
}
