package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/tink"
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
	ErrUnreadable = errors.New("the stored key set cannot be read; bring it back from a backup")
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

// Set is a key set in use. It is safe for concurrent use.
type Set struct {
	cookies       map[string]*securecookie.SecureCookie // by key id
	currentCookie string
	sealing       tink.AEAD
	peppers       map[string][]byte // by id
	currentPepper string
}

// Open reads the key set from storage. Where there is none it creates one,
// under the storage's lock, if mayCreate is true, and else returns ErrMissing.
// A set that is there but cannot be read is an error and is never replaced.
//
// Callers pass mayCreate only where nothing depends on an earlier set: at a
// start with an empty store.
func Open(ctx context.Context, storage Storage, random io.Reader, clock func() time.Time, mayCreate bool) (*Set, error) {
	set, err := load(ctx, storage)
	if !errors.Is(err, fs.ErrNotExist) {
		return set, err
	}
	if !mayCreate {
		return nil, ErrMissing
	}
	return create(ctx, storage, random, clock())
}

// load reads and builds the set; a missing one is fs.ErrNotExist.
func load(ctx context.Context, storage Storage) (*Set, error) {
	content, err := storage.Load(ctx, StorageKey)
	if err != nil {
		return nil, fmt.Errorf("loading the key set: %w", err)
	}
	doc, err := parse(content)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	set, err := build(doc)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return set, nil
}

// create makes a set unless another process was faster, and returns the one
// that is stored in the end.
func create(ctx context.Context, storage Storage, random io.Reader, now time.Time) (set *Set, err error) {
	if err := storage.Lock(ctx, StorageKey); err != nil {
		return nil, fmt.Errorf("locking the key set: %w", err)
	}
	defer func() {
		// A start that was cancelled must not leave the lock behind.
		if unlockErr := storage.Unlock(context.WithoutCancel(ctx), StorageKey); unlockErr != nil && err == nil {
			set, err = nil, fmt.Errorf("unlocking the key set: %w", unlockErr)
		}
	}()
	set, err = load(ctx, storage)
	if !errors.Is(err, fs.ErrNotExist) {
		return set, err
	}
	doc, err := generate(random, now)
	if err != nil {
		return nil, fmt.Errorf("making a key set: %w", err)
	}
	content, err := doc.marshal()
	if err != nil {
		return nil, err
	}
	if err := storage.Store(ctx, StorageKey, content); err != nil {
		return nil, fmt.Errorf("storing the new key set: %w", err)
	}
	// What counts is what can be read back, not what was meant to be written.
	return load(ctx, storage)
}

// build turns a checked document into keys that can be used.
func build(doc document) (*Set, error) {
	handle, err := readKeyset(doc.Sealing)
	if err != nil {
		return nil, err
	}
	sealing, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("preparing the sealing key: %w", err)
	}
	set := &Set{
		cookies:       make(map[string]*securecookie.SecureCookie, len(doc.Cookies)),
		currentCookie: doc.Cookies[len(doc.Cookies)-1].ID,
		sealing:       sealing,
		peppers:       make(map[string][]byte, len(doc.Peppers)),
		currentPepper: doc.Peppers[len(doc.Peppers)-1].ID,
	}
	for _, key := range doc.Cookies {
		// Neither the library's age limit (30 days unless told otherwise) nor
		// its length limit decides: payloads carry their expiry, and Codec
		// bounds the length before anything is computed.
		set.cookies[key.ID] = securecookie.New(key.Hash, key.Block).
			SetSerializer(securecookie.NopEncoder{}).MaxAge(0).MaxLength(0)
	}
	for _, pepper := range doc.Peppers {
		set.peppers[pepper.ID] = pepper.Key
	}
	return set, nil
}

// Seal encrypts plaintext so that only Open with the same associated data
// yields it. The associated data says where the value belongs (its table, row
// and column), so that a sealed value copied elsewhere does not open.
func (s *Set) Seal(plaintext, associated []byte) ([]byte, error) {
	sealed, err := s.sealing.Encrypt(plaintext, associated)
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	return sealed, nil
}

// Open returns what Seal was given, or ErrNotOpened.
func (s *Set) Open(sealed, associated []byte) ([]byte, error) {
	plaintext, err := s.sealing.Decrypt(sealed, associated)
	if err != nil {
		return nil, ErrNotOpened
	}
	return plaintext, nil
}

// CurrentPepper returns the pepper for new password hashes, and the id by
// which a hash names it.
func (s *Set) CurrentPepper() (id string, key []byte) {
	return s.currentPepper, bytes.Clone(s.peppers[s.currentPepper])
}

// Pepper returns the pepper that a hash names, or ErrNoPepper.
func (s *Set) Pepper(id string) ([]byte, error) {
	key, ok := s.peppers[id]
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrNoPepper, id)
	}
	return bytes.Clone(key), nil
}
