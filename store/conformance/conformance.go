// Package conformance tests that an implementation of store.Store keeps every
// promise of the contract. Each implementation runs it from its own tests.
//
// The suite must not know how an implementation works: it uses the contract
// only, holds no SQL, and waits for nothing but answers.
package conformance

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/store"
)

// Handles are two ways to one store, as two processes have them.
type Handles struct {
	// First and Second are the same where one process has a store to itself.
	First, Second store.Store
	// Cut keeps Second from hearing what changes, until restore is called; nil: nothing can.
	Cut func() (restore func())
}

// Run runs the suite. open returns a new and empty store, and closes it when
// the test that it is given ends.
func Run(t *testing.T, open func(t *testing.T) Handles) {
	run(t, open, []group{
		{"Users", userTests},
		{"Credentials", credentialTests},
		{"SignOns", signOnTests},
		{"Records", recordTests},
		{"Attempts", attemptTests},
		{"Browsers", browserTests},
		{"Devices", deviceTests},
		{"Issuers", issuerTests},
		{"FormerNames", nameTests},
		{"Messages", messageTests},
		{"AccessTokens", accessTokenTests},
		{"Events", eventTests},
		{"Pages", pageTests},
		{"Transactions", transactionTests},
		{"Feed", feedTests},
		{"Handles", handleTests},
		{"Leases", leaseTests},
		{"Life", lifeTests},
		{"Cancellation", cancellationTests},
		{"Sweep", sweepTests},
	})
}

// RunApart runs what holds of two handles, even if neither hears what the other
// changes. Run holds the same and more of a store for several processes.
func RunApart(t *testing.T, open func(t *testing.T) Handles) {
	run(t, open, []group{{"Handles", apartTests}, {"Leases", leaseTests}})
}

type group struct {
	name  string
	tests []test
}

func run(t *testing.T, open func(t *testing.T) Handles, groups []group) {
	for _, group := range groups {
		t.Run(group.name, func(t *testing.T) {
			for _, test := range group.tests {
				t.Run(test.name, func(t *testing.T) {
					opened := open(t)
					test.run(t, fixture{Store: opened.First, other: opened.Second, cut: opened.Cut, ctx: t.Context()})
				})
			}
		})
	}
}

type test struct {
	name string
	run  func(t *testing.T, f fixture)
}

// fixture is a store under test with what the tests put into it.
type fixture struct {
	store.Store
	other store.Store // the same store by another handle
	cut   func() (restore func())
	ctx   context.Context
}

// noon is the present of the tests: whole microseconds, in UTC.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 123456000, time.UTC)

// awkward holds text that is apt to be mangled: quotes, SQL, patterns,
// templates, several scripts, combining and astral characters, line ends.
const awkward = "O'Brien \"; DROP TABLE users; -- % _ \\ {{.}} <b> %s Zoë e\u0301 \u05e9\u05dc\u05d5\u05dd 日本 🔑\r\n\t"

func (f fixture) addUser(t *testing.T, id string) store.User {
	t.Helper()
	u := store.User{ID: id, Name: "name of " + id, Status: store.UserActive, Created: noon}
	must(t, f.CreateUser(f.ctx, u))
	u.Version = 1
	return u
}

func (f fixture) addCredential(t *testing.T, userID, id string) store.Credential {
	t.Helper()
	c := store.Credential{
		ID: id, UserID: userID, Kind: assurance.TOTP, Secret: []byte("secret"),
		State: store.CredentialActive, Created: noon,
	}
	must(t, f.CreateCredential(f.ctx, c))
	c.Version = 1
	return c
}

func (f fixture) addSignOn(t *testing.T, userID, id string) store.SignOn {
	t.Helper()
	s := store.SignOn{
		ID: id, UserID: userID, Started: noon, Expires: noon.Add(12 * time.Hour), Idle: time.Hour, LastSeen: noon,
		Proofs: []assurance.Proof{{Factor: assurance.Password, At: noon}},
	}
	must(t, f.CreateSignOn(f.ctx, s))
	s.Version = 1
	return s
}

func (f fixture) addDevice(t *testing.T, userID, id string) store.Device {
	t.Helper()
	d := store.Device{
		ID: id, UserID: userID, Name: "name of " + id, State: store.DeviceActive, Certificate: certificateOf(id), Key: "key of " + id,
		Issued: noon, Expires: noon.AddDate(0, 3, 0),
	}
	must(t, f.CreateDevice(f.ctx, d))
	d.Version = 1
	return d
}

// certificateOf is what the tests have for the certificate of a device.
func certificateOf(id string) string { return "certificate of " + id }

func (f fixture) addRecord(t *testing.T, namespace, key, owner string) store.Record {
	t.Helper()
	r := store.Record{
		Namespace: namespace, Key: key, Owner: owner, Value: []byte("value"), Expires: noon.Add(time.Minute),
	}
	must(t, f.PutRecord(f.ctx, r))
	r.Version = 1
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

// get unwraps a result that comes with an error.
func get[T any](value T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		must(t, err)
		return value
	}
}

// second is the error of an operation whose result doesn't matter.
func second(_ any, err error) error { return err }

func wantError(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("got error %v, want %v", got, want)
	}
}

func wantEqual(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

// race calls do n times at once and returns the errors.
func race(n int, do func(i int) error) []error {
	failures := make([]error, n)
	start := make(chan struct{})
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() {
			<-start
			failures[i] = do(i)
		})
	}
	close(start)
	running.Wait()
	return failures
}

// wantOneWinner fails unless exactly one call succeeded and every other one
// returned loss.
func wantOneWinner(t *testing.T, failures []error, loss error) {
	t.Helper()
	winners := 0
	for _, err := range failures {
		switch {
		case err == nil:
			winners++
		case !errors.Is(err, loss):
			t.Fatalf("a loser got %v, want %v", err, loss)
		}
	}
	if winners != 1 {
		t.Fatalf("%d of %d won, want 1", winners, len(failures))
	}
}

func numbered(name string, i int) string { return fmt.Sprintf("%s-%04d", name, i) }
