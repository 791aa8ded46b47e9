package keys

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// StorageKey is the name under which the key set is kept.
const StorageKey = "portcullis/keys.json"

// The errors on which callers decide.
var (
	// ErrMissing says that there is no key set and that none may be created.
	ErrMissing = errors.New("the key set is missing, and the store holds data that only it can read: " +
		"bring " + StorageKey + " (or the file that `keys` names) back from a backup; " +
		"to begin anew, move the store aside as well")
	// ErrUnreadable says that what is stored is not a key set of this version.
	// It is left as it is.
	ErrUnreadable = errors.New("the stored key set can't be read; restore it from a backup")
	// ErrForeign says that another set, which has no key in common with the one in
	// use, was put in its place: everybody would be signed out, and no second
	// factor could be read any more.
	ErrForeign = errors.New("the stored key set isn't the one in use; restore the right one from a backup")
	// ErrInvalid says that an encoded value is not one that this set made
	// under that name.
	ErrInvalid = errors.New("not a value that these keys made")
	// ErrUnknownKey is the ErrInvalid of a value whose key is not in the set.
	ErrUnknownKey = fmt.Errorf("%w: its key is not in the set", ErrInvalid)
	// ErrNotOpened says that a sealed value is not one that this set sealed
	// with that associated data.
	ErrNotOpened = errors.New("a sealed value does not open: it was altered, belongs elsewhere, or its key is gone")
	// ErrNoPepper says that the set holds no pepper of that id.
	ErrNoPepper = errors.New("the key set holds no such pepper")
)

// Storage keeps the key set. certmagic.Storage satisfies it. Implementations
// are safe for concurrent use.
type Storage interface {
	// Load returns the value, or an error that is fs.ErrNotExist where there
	// is none.
	Load(ctx context.Context, key string) ([]byte, error)
	// Store writes the value whole or not at all.
	Store(ctx context.Context, key string, value []byte) error
	// Lock waits until the lock of that name is held, or the context ends.
	Lock(ctx context.Context, name string) error
	Unlock(ctx context.Context, name string) error
}

// DefaultCookieLifetime is the longest life of what cookie keys make, unless
// Exist reports whether storage holds a key set, readable or not.
func Exist(ctx context.Context, storage Storage) (bool, error) {
	_, err := load(ctx, storage)
	if errors.Is(err, ErrMissing) {
		return false, nil
	}
	if err != nil && !errors.Is(err, ErrUnreadable) {
		return false, err
	}
	return true, nil
}

// SetCookieLifetime says otherwise.
const DefaultCookieLifetime = 12 * time.Hour

// shortLived is how long other things live at most than those that say how
// long themselves: cookies of a sign-in in progress, and what is sealed and
// hashed in it before it comes to rest.
const shortLived = time.Hour

// sealedFor is how long what is sealed may wait where no walk finds it, and a little more:
// messages wait a day at most.
const sealedFor = 25 * time.Hour

// TooSoonError says that a set can't be rotated yet: the generation that was
// made last isn't written with so far.
type TooSoonError struct {
	Until time.Time // when it can be
}

func (e *TooSoonError) Error() string {
	return "the keys were rotated a moment ago: this can be done again at " + e.Until.Format(time.DateTime+" MST")
}

// Set is a key set in use, which changes by Rotate, Refresh and Prune. It is
// safe for concurrent use; each use goes by the keys of its moment.
type Set struct {
	storage Storage
	random  io.Reader
	clock   func() time.Time
	current atomic.Pointer[snapshot]

	mu             sync.Mutex // held while current is replaced
	cookieLifetime time.Duration
}

// Open reads the key set from storage. Where there is none it creates one,
// under the storage's lock, if mayCreate is true, and else returns ErrMissing.
// A set that is there but cannot be read is an error and is never replaced;
// one of before there were assertion keys gets one.
//
// Callers pass mayCreate only where nothing depends on an earlier set: at a
// start with an empty store.
func Open(ctx context.Context, storage Storage, random io.Reader, clock func() time.Time, mayCreate bool) (*Set, error) {
	s := &Set{storage: storage, random: random, clock: clock, cookieLifetime: DefaultCookieLifetime}
	doc, err := load(ctx, storage)
	switch {
	case err == nil && doc.isComplete():
		err = s.use(doc)
	case err == nil, errors.Is(err, ErrMissing) && mayCreate:
		err = s.change(ctx, mayCreate, func(doc *document) (bool, error) { return doc.complete(random, clock()) })
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// SetCookieLifetime says how long what cookie keys make is good for, which is
// how long retired ones are read: the longest lifetime of a session that the
// operator's configuration allows. Less than an hour counts as an hour.
func (s *Set) SetCookieLifetime(lifetime time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cookieLifetime = max(lifetime, shortLived)
	return s.use(s.current.Load().document)
}

// Rotate makes a new generation of all keys and stores it. It is written with
// after Lead; until then another Rotate is a *TooSoonError. Nodes follow by
// Refresh.
func (s *Set) Rotate(ctx context.Context) error {
	return s.change(ctx, false, func(doc *document) (bool, error) {
		now, newest := s.clock(), len(doc.Cookies)-1
		if writtenWith(doc.Cookies, now) != newest {
			return false, &TooSoonError{Until: doc.Cookies[newest].Created.Add(Lead)}
		}
		return true, doc.grow(s.random, now)
	})
}

// Refresh takes over what changed in the stored set, and lets time pass: a
// generation whose time has come is written with from then on, and retired
// keys that are over are read no more. Each node calls it every minute. Where
// the stored set is missing, unreadable or ErrForeign, the keys in use stay, and
// time passes for them all the same.
func (s *Set) Refresh(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	doc, err := load(ctx, s.storage)
	if err == nil {
		err = s.use(doc)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("rereading the key set: %w", err), s.use(s.current.Load().document))
	}
	return nil
}

// InUse is what is still named by something that depends on it, as a walk over
// all of it has found.
type InUse struct {
	// Since is when the walk began.
	Since time.Time
	// Sealing are the ids of sealing keys as SealedBy gives them, Peppers those
	// of peppers.
	Sealing, Peppers []string
}

// Prune deletes the retired keys that are over from the stored set: cookie and
// assertion keys by the time, peppers and sealing keys that were retired an hour and 25
// hours before the walk began, so that nothing made with them was under way any more, and
// which it found nowhere.
func (s *Set) Prune(ctx context.Context, used InUse) error {
	return s.change(ctx, false, func(doc *document) (bool, error) {
		return doc.prune(s.clock(), s.cookieLifetime, used)
	})
}

// HasRetired reports whether the set holds keys that aren't written with any
// more, so that Prune may find something to delete.
func (s *Set) HasRetired() bool {
	doc, now := s.current.Load().document, s.clock()
	return writtenWith(doc.Cookies, now)+writtenWith(doc.SealingKeys, now)+
		writtenWith(doc.Peppers, now)+writtenWith(doc.Assertions, now) > 0
}

// Generation changes whenever the keys by which cookies are read do: what was
// remembered of opened cookies counts no more then.
func (s *Set) Generation() uint64 { return s.current.Load().generation }

// change edits the stored set under the storage's lock and uses what is stored
// in the end. Without mayCreate a missing one is ErrMissing; with it, edit
// gets the zero document. Nothing is stored that couldn't be used.
func (s *Set) change(ctx context.Context, mayCreate bool, edit func(*document) (changed bool, err error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return locked(ctx, s.storage, func() error {
		doc, err := load(ctx, s.storage)
		if err == nil {
			err = s.checkOwn(doc)
		}
		if err != nil && !(mayCreate && errors.Is(err, ErrMissing)) {
			return err
		}
		changed, err := edit(&doc)
		if err != nil {
			return fmt.Errorf("changing the key set: %w", err)
		}
		if !changed {
			return s.use(doc)
		}
		if err := s.store(ctx, doc); err != nil {
			return err
		}
		// What counts is what can be read back, not what was meant to be
		// written.
		if doc, err = load(ctx, s.storage); err != nil {
			return err
		}
		return s.use(doc)
	})
}

func (s *Set) store(ctx context.Context, doc document) error {
	content, err := doc.marshal()
	if err != nil {
		return err
	}
	if doc, err = parse(content); err != nil {
		return fmt.Errorf("checking the new key set: %w", err)
	}
	if _, err := build(doc, s.clock(), s.cookieLifetime); err != nil {
		return fmt.Errorf("checking the new key set: %w", err)
	}
	if err := s.storage.Store(ctx, StorageKey, content); err != nil {
		return fmt.Errorf("storing the new key set: %w", err)
	}
	return nil
}

// locked runs fn while it holds the storage's lock.
func locked(ctx context.Context, storage Storage, fn func() error) (err error) {
	if err := storage.Lock(ctx, StorageKey); err != nil {
		return fmt.Errorf("locking the key set: %w", err)
	}
	defer func() {
		// Who is cancelled must not leave the lock behind.
		if unlockErr := storage.Unlock(context.WithoutCancel(ctx), StorageKey); unlockErr != nil && err == nil {
			err = fmt.Errorf("unlocking the key set: %w", unlockErr)
		}
	}()
	return fn()
}

// load reads the stored set: ErrMissing where there is none, ErrUnreadable
// where it isn't one.
func load(ctx context.Context, storage Storage) (document, error) {
	content, err := storage.Load(ctx, StorageKey)
	if errors.Is(err, fs.ErrNotExist) {
		return document{}, ErrMissing
	}
	if err != nil {
		return document{}, fmt.Errorf("loading the key set: %w", err)
	}
	doc, err := parse(content)
	if err != nil {
		return document{}, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return doc, nil
}

// checkOwn refuses what isn't the set in use any more, nor came of it by
// rotation.
func (s *Set) checkOwn(doc document) error {
	if inUse := s.current.Load(); inUse != nil && !doc.sharesKeysWith(inUse.document) {
		return ErrForeign
	}
	return nil
}

// use takes the keys of a document that count now.
func (s *Set) use(doc document) error {
	next, err := build(doc, s.clock(), s.cookieLifetime)
	if err == nil {
		err = s.checkOwn(doc)
	}
	if err != nil {
		return err
	}
	if previous := s.current.Load(); previous != nil {
		next.follow(previous)
	}
	s.current.Store(next)
	return nil
}

// Seal encrypts plaintext so that only Open with the same associated data
// yields it. The associated data says where the value belongs (its table, row
// and column), so that a sealed value copied elsewhere does not open.
func (s *Set) Seal(plaintext, associated []byte) ([]byte, error) {
	sealed, err := s.current.Load().sealing.Encrypt(plaintext, associated)
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	return sealed, nil
}

// Open returns what Seal was given, or ErrNotOpened.
func (s *Set) Open(sealed, associated []byte) ([]byte, error) {
	plaintext, err := s.current.Load().sealing.Decrypt(sealed, associated)
	if err != nil {
		return nil, ErrNotOpened
	}
	return plaintext, nil
}

// SealedBy returns the id of the key that sealed a value, and whether it's the
// one that Seal uses now; the empty id for what Seal didn't make.
func (s *Set) SealedBy(sealed []byte) (id string, current bool) {
	id = sealedBy(sealed)
	return id, id == s.current.Load().currentSealing
}

// CurrentPepper returns the pepper for new password hashes, and the id by
// which a hash names it.
func (s *Set) CurrentPepper() (id string, key []byte) {
	now := s.current.Load()
	return now.currentPepper, bytes.Clone(now.peppers[now.currentPepper])
}

// Pepper returns the pepper that a hash names, or ErrNoPepper.
func (s *Set) Pepper(id string) ([]byte, error) {
	key, ok := s.current.Load().peppers[id]
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrNoPepper, id)
	}
	return bytes.Clone(key), nil
}

// AssertionKey returns the key that signs assertions now, a key of P-256, and
// its id.
func (s *Set) AssertionKey() (id string, key *ecdsa.PrivateKey) {
	now := s.current.Load()
	return now.assertionID, now.assertion
}

// AssertionKeys returns, by their ids, the public keys by which an assertion
// may have to be verified: of the key that signs, of one that will sign after
// Lead, and of those that signed within the last hour.
func (s *Set) AssertionKeys() map[string]*ecdsa.PublicKey {
	return maps.Clone(s.current.Load().published)
}
