package conformance

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/store"
)

var transactionTests = []test{
	{"commit all", transactionsCommit},
	{"an error rolls all back", transactionsRollBack},
	{"a panic rolls all back", transactionsPanic},
	{"go on after a refusal", transactionsGoOn},
	{"see their own writes", transactionsSeeOwn},
	{"run as if alone", transactionsSerial},
	{"read one state", transactionsReadOneState},
	{"views see one state", viewsSeeOneState},
	{"a view's error is returned as it is", viewsFail},
}

var errRefused = errors.New("refused by the test")

// writesEverywhere is how many kinds of writes there are.
const writesEverywhere = 8

// writeEverywhere does one write of each kind.
func (f fixture) writeEverywhere(tx store.Tx) error {
	for _, write := range []func() error{
		func() error { return tx.CreateUser(f.ctx, store.User{ID: "u9", Name: "u9"}) },
		func() error { return tx.CreateCredential(f.ctx, store.Credential{ID: "c9", UserID: "u9"}) },
		func() error { return tx.CreateSignOn(f.ctx, store.SignOn{ID: "s9", UserID: "u9"}) },
		func() error { return tx.PutRecord(f.ctx, store.Record{Namespace: "n", Key: "k9", Expires: noon}) },
		func() error { return tx.PutAttempts(f.ctx, store.Attempts{Scope: "s", Key: "k9", Failures: 1}) },
		func() error { return tx.CreateBrowser(f.ctx, browser("b9", "u9", "h9")) },
		func() error { return tx.CreateDevice(f.ctx, store.Device{ID: "d9", UserID: "u9"}) },
		func() error { return tx.AppendEvent(f.ctx, store.Event{Name: "e9"}) },
	} {
		if err := write(); err != nil {
			return err
		}
	}
	return nil
}

// writtenEverywhere counts what writeEverywhere left: writesEverywhere, or 0.
func (f fixture) writtenEverywhere(t *testing.T, tx store.Tx) int {
	t.Helper()
	found := 0
	count := func(err error) {
		switch {
		case err == nil:
			found++
		case !errors.Is(err, store.ErrNotFound):
			t.Errorf("reading back: %v", err)
		}
	}
	_, err := tx.UserByID(f.ctx, "u9")
	count(err)
	_, err = tx.CredentialByID(f.ctx, "c9")
	count(err)
	_, err = tx.SignOnByID(f.ctx, "s9")
	count(err)
	_, err = tx.GetRecord(f.ctx, "n", "k9", noon.AddDate(-1, 0, 0))
	count(err)
	_, err = tx.BrowserByToken(f.ctx, "u9", "h9")
	count(err)
	_, err = tx.DeviceByID(f.ctx, "d9")
	count(err)
	found += get(tx.GetAttempts(f.ctx, "s", "k9"))(t).Failures
	return found + len(get(tx.ListEvents(f.ctx, store.EventFilter{Name: "e9"}))(t))
}

func transactionsCommit(t *testing.T, f fixture) {
	must(t, f.Atomically(f.ctx, f.writeEverywhere))
	wantEqual(t, "written", f.writtenEverywhere(t, f), writesEverywhere)
}

func transactionsRollBack(t *testing.T, f fixture) {
	kept := f.addUser(t, "u1")
	f.addSignOn(t, "u1", "s1")
	f.addRecord(t, "ticket", "k", "u1")
	err := f.Atomically(f.ctx, func(tx store.Tx) error {
		if err := f.writeEverywhere(tx); err != nil {
			return err
		}
		if _, err := tx.TakeRecord(f.ctx, "ticket", "k", noon); err != nil {
			return err
		}
		if _, err := tx.EndSignOnsOf(f.ctx, "u1", noon, "x"); err != nil {
			return err
		}
		if err := tx.UpdateUser(f.ctx, store.User{ID: "u1", Name: "changed", Version: 1}); err != nil {
			return err
		}
		return errRefused
	})
	if err != errRefused { // as it is, not wrapped
		t.Fatalf("got error %v, want %v itself", err, errRefused)
	}
	wantEqual(t, "written", f.writtenEverywhere(t, f), 0)
	wantEqual(t, "user", get(f.UserByID(f.ctx, "u1"))(t), kept)
	wantEqual(t, "live sign-ons", len(get(f.ListSignOns(f.ctx, "u1", noon, store.Page[store.SignOn]{}))(t)), 1)
	get(f.TakeRecord(f.ctx, "ticket", "k", noon))(t)
}

func transactionsPanic(t *testing.T, f fixture) {
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = f.Atomically(f.ctx, func(tx store.Tx) error {
			must(t, f.writeEverywhere(tx))
			panic("by the test")
		})
	}()
	wantEqual(t, "written", f.writtenEverywhere(t, f), 0)
	f.addUser(t, "u1") // nothing is left locked
}

// transactionsGoOn has each operation refused in a transaction of its own: what
// comes before and after is committed, and nothing of what was refused.
func transactionsGoOn(t *testing.T, f fixture) {
	f.populate(t)
	f.addUser(t, "u2")
	must(t, f.CreateUser(f.ctx, store.User{ID: "mailed", Name: "mailed", Email: "taken@example.com"}))
	before := f.state(t)
	mailed := func(u store.User) store.User {
		u.Email = "taken@example.com"
		return u
	}
	old := noon.AddDate(-1, 0, 0)
	for name, refused := range map[string]func(tx store.Tx) error{
		"CreateUser, id":      func(tx store.Tx) error { return tx.CreateUser(f.ctx, store.User{ID: "u1", Name: "new"}) },
		"CreateUser, name":    func(tx store.Tx) error { return tx.CreateUser(f.ctx, store.User{ID: "new", Name: "name of u1"}) },
		"CreateUser, address": func(tx store.Tx) error { return tx.CreateUser(f.ctx, mailed(store.User{ID: "new", Name: "new"})) },
		"UpdateUser":          func(tx store.Tx) error { return tx.UpdateUser(f.ctx, store.User{ID: "u1", Name: "x", Version: 7}) },
		"UpdateUser, name": func(tx store.Tx) error {
			return tx.UpdateUser(f.ctx, store.User{ID: "u2", Name: "name of u1", Version: 1})
		},
		"UpdateUser, address": func(tx store.Tx) error {
			return tx.UpdateUser(f.ctx, mailed(store.User{ID: "u2", Name: "u2", Version: 1}))
		},
		"UpdateUser, unknown":    func(tx store.Tx) error { return tx.UpdateUser(f.ctx, store.User{ID: "new", Version: 1}) },
		"UserByID":               func(tx store.Tx) error { return second(tx.UserByID(f.ctx, "new")) },
		"DeleteUser":             func(tx store.Tx) error { return tx.DeleteUser(f.ctx, "new") },
		"CreateCredential":       func(tx store.Tx) error { return tx.CreateCredential(f.ctx, store.Credential{ID: "c1", UserID: "u1"}) },
		"CreateCredential, user": func(tx store.Tx) error { return tx.CreateCredential(f.ctx, store.Credential{ID: "new", UserID: "new"}) },
		"UpdateCredential":       func(tx store.Tx) error { return tx.UpdateCredential(f.ctx, store.Credential{ID: "c1", Version: 7}) },
		"DeleteCredential":       func(tx store.Tx) error { return tx.DeleteCredential(f.ctx, "c1", 7) },
		"CreateSignOn":           func(tx store.Tx) error { return tx.CreateSignOn(f.ctx, store.SignOn{ID: "s1", UserID: "u1"}) },
		"CreateSignOn, user":     func(tx store.Tx) error { return tx.CreateSignOn(f.ctx, store.SignOn{ID: "new", UserID: "new"}) },
		"UpdateSignOn":           func(tx store.Tx) error { return tx.UpdateSignOn(f.ctx, store.SignOn{ID: "s1", Version: 7}) },
		"EndSignOn":              func(tx store.Tx) error { return tx.EndSignOn(f.ctx, "new", noon, "x") },
		"EndUnseenSignOn":        func(tx store.Tx) error { return tx.EndUnseenSignOn(f.ctx, "s1", old, noon, "x") },
		"PutRecord":              func(tx store.Tx) error { return tx.PutRecord(f.ctx, store.Record{Namespace: "n", Key: "k"}) },
		"UpdateRecord": func(tx store.Tx) error {
			return tx.UpdateRecord(f.ctx, store.Record{Namespace: "n", Key: "k", Version: 7}, noon)
		},
		"TakeRecord":           func(tx store.Tx) error { return second(tx.TakeRecord(f.ctx, "n", "new", noon)) },
		"CreateBrowser":        func(tx store.Tx) error { return tx.CreateBrowser(f.ctx, browser("b1", "u1", "new")) },
		"CreateBrowser, token": func(tx store.Tx) error { return tx.CreateBrowser(f.ctx, browser("new", "u1", "h")) },
		"CreateBrowser, user":  func(tx store.Tx) error { return tx.CreateBrowser(f.ctx, browser("new", "new", "new")) },
		"RememberBrowser":      func(tx store.Tx) error { return tx.RememberBrowser(f.ctx, "u2", "b1", noon, assurance.TOTP) },
		"CreateDevice": func(tx store.Tx) error {
			return tx.CreateDevice(f.ctx, store.Device{ID: "d1", UserID: "u1", Certificate: "new"})
		},
		"CreateDevice, certificate": func(tx store.Tx) error {
			return tx.CreateDevice(f.ctx, store.Device{ID: "new", UserID: "u1", Certificate: certificateOf("d1")})
		},
		"CreateDevice, user": func(tx store.Tx) error {
			return tx.CreateDevice(f.ctx, store.Device{ID: "new", UserID: "new", Certificate: "new"})
		},
		"UpdateDevice": func(tx store.Tx) error { return tx.UpdateDevice(f.ctx, store.Device{ID: "d1", Version: 7}) },
		"RenewDevice, version": func(tx store.Tx) error {
			return tx.RenewDevice(f.ctx, store.Device{ID: "d1", Certificate: "new", Version: 7})
		},
		"RenewDevice, certificate": func(tx store.Tx) error {
			return tx.RenewDevice(f.ctx, store.Device{ID: "d1", Certificate: certificateOf("d1"), Version: 1})
		},
		"RevokeDevice":       func(tx store.Tx) error { return tx.RevokeDevice(f.ctx, "new", noon, "x") },
		"QueueMessage, user": func(tx store.Tx) error { return tx.QueueMessage(f.ctx, store.Message{ID: "new", UserID: "new"}) },
	} {
		t.Run(name, func(t *testing.T) {
			must(t, f.Atomically(f.ctx, func(tx store.Tx) error {
				must(t, tx.PutRecord(f.ctx, store.Record{Namespace: "before", Key: name, Expires: noon.Add(time.Hour)}))
				if err := refused(tx); !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
					t.Errorf("got error %v", err)
				}
				return tx.PutRecord(f.ctx, store.Record{Namespace: "after", Key: name, Expires: noon.Add(time.Hour)})
			}))
			wantEqual(t, "state", f.state(t), before)
			for _, namespace := range []string{"before", "after"} {
				get(f.GetRecord(f.ctx, namespace, name, noon))(t)
			}
		})
	}
}

func transactionsSeeOwn(t *testing.T, f fixture) {
	must(t, f.Atomically(f.ctx, func(tx store.Tx) error {
		if err := f.writeEverywhere(tx); err != nil {
			return err
		}
		wantEqual(t, "seen within", f.writtenEverywhere(t, tx), writesEverywhere)
		return nil
	}))
	var seen int
	var other sync.WaitGroup
	other.Go(func() { seen = f.writtenEverywhere(t, f) })
	other.Wait()
	wantEqual(t, "seen by another", seen, writesEverywhere)
}

// transactionsSerial lets each transaction write only if it saw nothing: rows
// that it could not have locked, because they weren't there.
func transactionsSerial(t *testing.T, f fixture) {
	wantOneWinner(t, race(50, func(i int) error {
		return f.Atomically(f.ctx, func(tx store.Tx) error {
			count, err := tx.CountUsers(f.ctx)
			if err != nil {
				return err
			}
			if count > 0 {
				return errRefused
			}
			return tx.CreateUser(f.ctx, store.User{ID: numbered("u", i), Name: numbered("u", i)})
		})
	}), errRefused)
	wantEqual(t, "users", get(f.CountUsers(f.ctx))(t), 1)
}

// transactionsReadOneState changes two counters together, while readers look
// at one after the other.
func transactionsReadOneState(t *testing.T, f fixture) {
	failures := race(40, func(i int) error {
		return f.Atomically(f.ctx, func(tx store.Tx) error {
			left, err := tx.GetAttempts(f.ctx, "s", "left")
			if err != nil {
				return err
			}
			right, err := tx.GetAttempts(f.ctx, "s", "right")
			if err != nil {
				return err
			}
			if left.Failures != right.Failures {
				return errRefused
			}
			if i%2 == 0 {
				return nil
			}
			left = store.Attempts{Scope: "s", Key: "left", Failures: left.Failures + 1}
			if err := tx.PutAttempts(f.ctx, left); err != nil {
				return err
			}
			left.Key = "right"
			return tx.PutAttempts(f.ctx, left)
		})
	})
	for _, err := range failures {
		must(t, err)
	}
}

// viewsSeeOneState writes amid a view, which neither waits nor shows it.
func viewsSeeOneState(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	must(t, f.View(f.ctx, func(r store.Reader) error {
		before := get(store.All(f.ctx, r.ListUsers))(t)
		f.addUser(t, "u2")
		must(t, f.EndSignOn(f.ctx, f.addSignOn(t, "u1", "s1").ID, noon, "x"))
		wantEqual(t, "users", get(store.All(f.ctx, r.ListUsers))(t), before)
		wantEqual(t, "count", get(r.CountUsers(f.ctx))(t), 1)
		_, err := r.SignOnByID(f.ctx, "s1")
		wantError(t, err, store.ErrNotFound)
		return nil
	}))
	wantEqual(t, "users afterwards", get(f.CountUsers(f.ctx))(t), 2)
	// A view that begins amid a transaction doesn't wait for it either.
	must(t, f.Atomically(f.ctx, func(tx store.Tx) error {
		must(t, tx.CreateUser(f.ctx, store.User{ID: "u3", Name: "u3"}))
		var seen int
		err := make(chan error)
		go func() {
			err <- f.View(f.ctx, func(r store.Reader) (err error) {
				seen, err = r.CountUsers(f.ctx)
				return err
			})
		}()
		must(t, <-err)
		wantEqual(t, "seen by another", seen, 2)
		return nil
	}))
}

func viewsFail(t *testing.T, f fixture) {
	if err := f.View(f.ctx, func(store.Reader) error { return errRefused }); err != errRefused {
		t.Fatalf("got error %v, want %v itself", err, errRefused)
	}
	for range 20 { // more than there are connections, should one be kept
		wantError(t, f.View(f.ctx, func(r store.Reader) error {
			_, err := r.UserByID(f.ctx, "nobody")
			return err
		}), store.ErrNotFound)
	}
}
