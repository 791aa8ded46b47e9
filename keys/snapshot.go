package keys

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"fmt"
	"slices"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// publishedFor is how long the public key of a retired assertion key can still
// be had. What it signed lives for minutes.
const publishedFor = time.Hour

// snapshot is the keys of a document that count at one time. It never changes.
type snapshot struct {
	document   document
	generation uint64 // changes with readable

	readable      []cookieKey
	cookies       map[string]*securecookie.SecureCookie // those that are readable, by id
	currentCookie string

	sealing        tink.AEAD
	currentSealing string

	peppers       map[string][]byte // by id
	currentPepper string

	assertion   *ecdsa.PrivateKey
	assertionID string
	published   map[string]*ecdsa.PublicKey // by id
}

// build picks the keys that count at the time now out of a checked document
// and prepares them.
func build(doc document, now time.Time, cookieLifetime time.Duration) (*snapshot, error) {
	if !doc.isComplete() {
		return nil, fmt.Errorf("%w: it has no assertion key", ErrUnreadable)
	}
	sealing := doc.SealingKeys[writtenWith(doc.SealingKeys, now)]
	sealer, err := newSealer(doc.Sealing, sealing)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	s := &snapshot{
		document:       doc,
		readable:       kept(doc.Cookies, now, keptFor(cookieLifetime, now)),
		currentCookie:  doc.Cookies[writtenWith(doc.Cookies, now)].ID,
		sealing:        sealer,
		currentSealing: sealing.ID,
		currentPepper:  doc.Peppers[writtenWith(doc.Peppers, now)].ID,
		cookies:        make(map[string]*securecookie.SecureCookie),
		peppers:        make(map[string][]byte),
	}
	for _, key := range s.readable {
		// Neither the library's age limit (30 days unless told otherwise) nor
		// its length limit decides: payloads carry their expiry, and Codec
		// bounds the length before anything is computed.
		s.cookies[key.ID] = securecookie.New(key.Hash, key.Block).
			SetSerializer(securecookie.NopEncoder{}).MaxAge(0).MaxLength(0)
	}
	for _, pepper := range doc.Peppers {
		s.peppers[pepper.ID] = pepper.Key
	}
	if err := s.takeAssertions(doc.Assertions, now); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return s, nil
}

func (s *snapshot) takeAssertions(keys []assertionKey, now time.Time) error {
	s.assertionID = keys[writtenWith(keys, now)].ID
	s.published = make(map[string]*ecdsa.PublicKey)
	for _, key := range kept(keys, now, keptFor(publishedFor, now)) {
		private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), key.Private)
		if err != nil {
			return fmt.Errorf("assertion key %s is none of P-256", key.ID)
		}
		if s.published[key.ID] = &private.PublicKey; key.ID == s.assertionID {
			s.assertion = private
		}
	}
	return nil
}

// follow numbers a snapshot that comes after another one.
func (s *snapshot) follow(previous *snapshot) {
	s.generation = previous.generation
	if !slices.EqualFunc(s.readable, previous.readable, cookieKey.equal) {
		s.generation++
	}
}
