package portal_test

import (
	"context"
	"errors"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/store"
)

// mostOperations is how often one request may ask something of the store.
const mostOperations = 150

var errDisk = errors.New("the disk is on fire")

// tripwire makes a store fail, or lose a race, once.
type tripwire struct {
	fails      int // operations until one fails; 0: none does
	races      int // compare-and-sets until one comes too late; 0: none does
	failed     bool
	operations int

	until     int    // operations outside of transactions until something else happens
	meanwhile func() // that
	within    int    // transactions that are open
}

// before has something happen before an operation of the next request: nothing
// else can happen within a transaction.
func (w *tripwire) before(operation int, happens func()) { w.until, w.meanwhile = operation, happens }

func (w *tripwire) read() error {
	if w.until > 0 && w.within == 0 {
		if w.until--; w.until == 0 {
			w.meanwhile()
		}
	}
	if w.operations++; w.operations > mostOperations {
		panic("the store is asked for ever")
	}
	if w.fails > 0 {
		if w.fails--; w.fails == 0 {
			w.failed = true
			return errDisk
		}
	}
	return nil
}

func (w *tripwire) set() error {
	if err := w.read(); err != nil {
		return err
	}
	if w.races > 0 {
		if w.races--; w.races == 0 {
			return store.ErrConflict
		}
	}
	return nil
}

// wiredStore is a store behind a tripwire.
type wiredStore struct {
	wiredTx
	db store.Store
}

// enter begins a transaction, and returns what ends it.
func (w *tripwire) enter() func() {
	w.within++
	return func() { w.within-- }
}

func (s wiredStore) Atomically(ctx context.Context, fn func(store.Tx) error) error {
	if err := s.read(); err != nil {
		return err
	}
	defer s.enter()()
	return s.db.Atomically(ctx, func(tx store.Tx) error { return fn(wiredTx{tx, s.tripwire}) })
}

func (s wiredStore) View(ctx context.Context, fn func(store.Reader) error) error {
	if err := s.read(); err != nil {
		return err
	}
	defer s.enter()()
	return s.db.View(ctx, func(r store.Reader) error { return fn(r) })
}

func (s wiredStore) CountAttempts(ctx context.Context, keys []store.AttemptKey, fn func(store.AttemptCounts) error) error {
	if err := s.read(); err != nil {
		return err
	}
	defer s.enter()()
	return s.db.CountAttempts(ctx, keys, func(counts store.AttemptCounts) error { return fn(wiredCounts{counts, s.tripwire}) })
}

// wiredCounts are counters behind the tripwire.
type wiredCounts struct {
	store.AttemptCounts
	*tripwire
}

func (c wiredCounts) GetAttempts(ctx context.Context, scope, key string) (store.Attempts, error) {
	return found(c.tripwire, func() (store.Attempts, error) { return c.AttemptCounts.GetAttempts(ctx, scope, key) })
}

func (c wiredCounts) PutAttempts(ctx context.Context, a store.Attempts) error {
	return written(c.read, func() error { return c.AttemptCounts.PutAttempts(ctx, a) })
}

// wiredTx has those operations behind the tripwire that people's requests need.
type wiredTx struct {
	store.Tx
	*tripwire
}

// found returns what was read, unless the tripwire says otherwise.
func found[T any](wire *tripwire, read func() (T, error)) (T, error) {
	if err := wire.read(); err != nil {
		var none T
		return none, err
	}
	return read()
}

// written writes, unless the tripwire says otherwise.
func written(wire func() error, write func() error) error {
	if err := wire(); err != nil {
		return err
	}
	return write()
}

func (s wiredTx) UserByID(ctx context.Context, id string) (store.User, error) {
	return found(s.tripwire, func() (store.User, error) { return s.Tx.UserByID(ctx, id) })
}

func (s wiredTx) UserByName(ctx context.Context, name string) (store.User, error) {
	return found(s.tripwire, func() (store.User, error) { return s.Tx.UserByName(ctx, name) })
}

func (s wiredTx) CredentialsOf(ctx context.Context, userID string) ([]store.Credential, error) {
	return found(s.tripwire, func() ([]store.Credential, error) { return s.Tx.CredentialsOf(ctx, userID) })
}

func (s wiredTx) SignOnByID(ctx context.Context, id string) (store.SignOn, error) {
	return found(s.tripwire, func() (store.SignOn, error) { return s.Tx.SignOnByID(ctx, id) })
}

func (s wiredTx) ListSignOns(ctx context.Context, userID string, now time.Time, page store.Page[store.SignOn]) ([]store.SignOn, error) {
	return found(s.tripwire, func() ([]store.SignOn, error) { return s.Tx.ListSignOns(ctx, userID, now, page) })
}

func (s wiredTx) GetRecord(ctx context.Context, namespace, key string, now time.Time) (store.Record, error) {
	return found(s.tripwire, func() (store.Record, error) { return s.Tx.GetRecord(ctx, namespace, key, now) })
}

func (s wiredTx) TakeRecord(ctx context.Context, namespace, key string, now time.Time) (store.Record, error) {
	return found(s.tripwire, func() (store.Record, error) { return s.Tx.TakeRecord(ctx, namespace, key, now) })
}

func (s wiredTx) GetAttempts(ctx context.Context, scope, key string) (store.Attempts, error) {
	return found(s.tripwire, func() (store.Attempts, error) { return s.Tx.GetAttempts(ctx, scope, key) })
}

func (s wiredTx) BrowserByToken(ctx context.Context, userID, hash string) (store.Browser, error) {
	return found(s.tripwire, func() (store.Browser, error) { return s.Tx.BrowserByToken(ctx, userID, hash) })
}

func (s wiredTx) BrowsersOf(ctx context.Context, userID string) ([]store.Browser, error) {
	return found(s.tripwire, func() ([]store.Browser, error) { return s.Tx.BrowsersOf(ctx, userID) })
}

func (s wiredTx) ListEvents(ctx context.Context, f store.EventFilter) ([]store.Event, error) {
	return found(s.tripwire, func() ([]store.Event, error) { return s.Tx.ListEvents(ctx, f) })
}

func (s wiredTx) EndSignOnsOf(ctx context.Context, userID string, at time.Time, reason string) ([]string, error) {
	return found(s.tripwire, func() ([]string, error) { return s.Tx.EndSignOnsOf(ctx, userID, at, reason) })
}

func (s wiredTx) PutRecord(ctx context.Context, r store.Record) error {
	return written(s.read, func() error { return s.Tx.PutRecord(ctx, r) })
}

func (s wiredTx) PutAttempts(ctx context.Context, a store.Attempts) error {
	return written(s.read, func() error { return s.Tx.PutAttempts(ctx, a) })
}

func (s wiredTx) AppendEvent(ctx context.Context, e store.Event) error {
	return written(s.read, func() error { return s.Tx.AppendEvent(ctx, e) })
}

func (s wiredTx) CreateCredential(ctx context.Context, c store.Credential) error {
	return written(s.read, func() error { return s.Tx.CreateCredential(ctx, c) })
}

func (s wiredTx) CreateSignOn(ctx context.Context, on store.SignOn) error {
	return written(s.read, func() error { return s.Tx.CreateSignOn(ctx, on) })
}

func (s wiredTx) EndSignOn(ctx context.Context, id string, at time.Time, reason string) error {
	return written(s.read, func() error { return s.Tx.EndSignOn(ctx, id, at, reason) })
}

func (s wiredTx) RememberBrowser(ctx context.Context, userID, id string, until time.Time, by assurance.Factor) error {
	return written(s.read, func() error { return s.Tx.RememberBrowser(ctx, userID, id, until, by) })
}

func (s wiredTx) UpdateRecord(ctx context.Context, r store.Record, now time.Time) error {
	return written(s.set, func() error { return s.Tx.UpdateRecord(ctx, r, now) })
}

func (s wiredTx) UpdateSignOn(ctx context.Context, on store.SignOn) error {
	return written(s.set, func() error { return s.Tx.UpdateSignOn(ctx, on) })
}

func (s wiredTx) UpdateCredential(ctx context.Context, c store.Credential) error {
	return written(s.set, func() error { return s.Tx.UpdateCredential(ctx, c) })
}

func (s wiredTx) UpdateUser(ctx context.Context, u store.User) error {
	return written(s.set, func() error { return s.Tx.UpdateUser(ctx, u) })
}

func (s wiredTx) DeleteCredential(ctx context.Context, id string, version int64) error {
	return written(s.set, func() error { return s.Tx.DeleteCredential(ctx, id, version) })
}
