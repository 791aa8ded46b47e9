package keys

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// documentVersion is the version of the format that this code reads and
// writes. A change that an older binary must not overlook raises it.
const documentVersion = 1

// Sizes in bytes.
const (
	hashKeySize      = 64 // HMAC-SHA-256 takes a block at most, RFC 2104 §3
	blockKeySize     = 32 // AES-256
	sealingKeySize   = 32 // AES-256
	pepperSize       = 32
	assertionKeySize = 32 // a scalar of P-256
	idSize           = 4  // told apart within one set only; not a secret
)

// document is the key set as it is stored. Generations stand oldest first.
type document struct {
	Version int             `json:"version"`
	Cookies []cookieKey     `json:"cookie_keys"`
	Sealing json.RawMessage `json:"sealing_keyset"` // Tink's JSON
	// SealingKeys dates the keys of the keyset. It and the assertion keys are
	// absent from documents of before they could be rotated.
	SealingKeys []sealingKey   `json:"sealing_keys,omitempty"`
	Peppers     []pepper       `json:"peppers"`
	Assertions  []assertionKey `json:"assertion_keys,omitempty"`
	// Push identifies the server to push services: a scalar, like assertion keys. Absent
	// until somebody asks for it.
	Push []byte `json:"push_key,omitempty"`
}

// cookieKey is one generation of the keys that sign and encrypt cookies.
type cookieKey struct {
	generation
	Hash  []byte `json:"hash_key"`
	Block []byte `json:"block_key"`
}

func (k cookieKey) equal(other cookieKey) bool {
	return k.ID == other.ID && bytes.Equal(k.Hash, other.Hash) && bytes.Equal(k.Block, other.Block)
}

// pepper is one generation of the password pepper.
type pepper struct {
	generation
	Key []byte `json:"key"`
}

func (p pepper) equal(other pepper) bool { return p.ID == other.ID && bytes.Equal(p.Key, other.Key) }

// assertionKey is one generation of the key that signs assertions.
type assertionKey struct {
	generation
	Private []byte `json:"private_key"` // the scalar, RFC 5915 §3
}

// marshal returns the stored form.
func (d document) marshal() ([]byte, error) {
	content, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the key set as JSON: %w", err)
	}
	return append(content, '\n'), nil
}

// parse reads a stored key set and checks what is in it.
func parse(content []byte) (document, error) {
	// The version comes first and alone: another version may look different
	// in every other respect.
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(content, &head); err != nil {
		return document{}, fmt.Errorf("parsing JSON: %w", err)
	}
	if head.Version != documentVersion {
		return document{}, fmt.Errorf("its format has version %d, this program reads version %d", head.Version, documentVersion)
	}
	var doc document
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&doc); err != nil {
		return document{}, fmt.Errorf("parsing JSON: %w", err)
	}
	if err := doc.check(); err != nil {
		return document{}, err
	}
	return doc, nil
}

// check reports what is missing or of the wrong size. It never quotes a key.
func (d document) check() error {
	if len(d.Cookies) == 0 || len(d.Peppers) == 0 || len(d.Sealing) == 0 {
		return errors.New("cookie keys, sealing keys or peppers are absent")
	}
	err := errors.Join(
		checkKeys("cookie key", d.Cookies, func(k cookieKey) bool { return len(k.Hash) == hashKeySize && len(k.Block) == blockKeySize }),
		checkKeys("pepper", d.Peppers, func(p pepper) bool { return len(p.Key) == pepperSize }),
		checkKeys("assertion key", d.Assertions, func(k assertionKey) bool { return len(k.Private) == assertionKeySize }),
		checkKeys("sealing key", d.SealingKeys, func(sealingKey) bool { return true }),
		d.checkPush(),
	)
	if err != nil {
		return err
	}
	return d.checkKeyset()
}

// checkPush reports a key for push services that isn't one.
func (d document) checkPush() error {
	if len(d.Push) == 0 {
		return nil // none was asked for yet
	}
	if _, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d.Push); err != nil {
		return errors.New("the push key isn't a P-256 key")
	}
	return nil
}

// checkKeys reports a key whose id isn't its own, or that has the wrong size.
func checkKeys[K aged](what string, keys []K, sized func(K) bool) error {
	ids := make(map[string]bool)
	for i, key := range keys {
		id := key.which().ID
		if !validID(id) || ids[id] {
			return fmt.Errorf("%s %d has no id of its own", what, i+1)
		}
		if !sized(key) {
			return fmt.Errorf("%s %s has the wrong size", what, id)
		}
		ids[id] = true
	}
	return nil
}

// checkKeyset reports whether the keyset and its dates go together.
func (d document) checkKeyset() error {
	handle, err := readKeyset(d.Sealing)
	if err != nil {
		return err
	}
	dated := make(map[string]bool)
	for _, key := range d.SealingKeys {
		dated[key.ID] = true
	}
	if len(dated) == 0 && handle.Len() == 1 {
		return nil // of before they had dates
	}
	for _, key := range handle.KeysetInfo().GetKeyInfo() {
		if !dated[sealingID(key.GetKeyId())] {
			return errors.New("a sealing key has no date")
		}
	}
	if len(dated) != handle.Len() {
		return errors.New("a date has no sealing key")
	}
	return nil
}

// validID reports whether id is of the form that newID makes: ids stand before
// a dot in cookies and within password hashes.
func validID(id string) bool {
	raw, err := hex.DecodeString(id)
	return err == nil && len(raw) == idSize && hex.EncodeToString(raw) == id
}

// sharesKeysWith reports whether a set can have come of another one by rotation:
// a generation goes on long after the next one was made.
func (d document) sharesKeysWith(other document) bool {
	return slices.ContainsFunc(d.Cookies, func(k cookieKey) bool { return slices.ContainsFunc(other.Cookies, k.equal) }) ||
		slices.ContainsFunc(d.Peppers, func(p pepper) bool { return slices.ContainsFunc(other.Peppers, p.equal) })
}

// complete makes what a document lacks, and reports whether it lacked
// anything: all of it, where there is no document yet, and what documents of
// before rotation don't have.
func (d *document) complete(random io.Reader, now time.Time) (bool, error) {
	if d.Version == 0 {
		d.Version = documentVersion
		return true, d.grow(random, now)
	}
	if d.isComplete() {
		return false, nil
	}
	taken := draw{random: random}
	if len(d.SealingKeys) == 0 {
		handle, err := readKeyset(d.Sealing)
		if err != nil {
			return false, err
		}
		only := handle.KeysetInfo().GetPrimaryKeyId()
		d.SealingKeys = []sealingKey{{generation{ID: sealingID(only), Created: d.Cookies[0].Created}}}
	}
	if len(d.Assertions) == 0 {
		d.Assertions = append(d.Assertions, taken.assertionKey(now))
	}
	return true, taken.failure()
}

func (d *document) isComplete() bool { return len(d.SealingKeys) > 0 && len(d.Assertions) > 0 }

// grow adds a new generation of each key.
func (d *document) grow(random io.Reader, now time.Time) error {
	taken := draw{random: random}
	d.Cookies = append(d.Cookies, cookieKey{taken.generation(now), taken.bytes(hashKeySize), taken.bytes(blockKeySize)})
	d.Peppers = append(d.Peppers, pepper{taken.generation(now), taken.bytes(pepperSize)})
	d.Assertions = append(d.Assertions, taken.assertionKey(now))
	id, key := sealingKey{taken.generation(now)}, taken.bytes(sealingKeySize)
	if err := taken.failure(); err != nil {
		return err
	}
	d.SealingKeys = append(d.SealingKeys, id)
	var err error
	d.Sealing, err = withSealingKey(d.Sealing, id, key)
	return err
}

// prune deletes what is over and reports whether anything was.
func (d *document) prune(now time.Time, cookieLifetime time.Duration, used InUse) (bool, error) {
	unless := func(named []string, underWay time.Duration) func(string, time.Time) bool {
		return func(id string, retired time.Time) bool {
			return slices.Contains(named, id) || used.Since.Before(retired.Add(underWay))
		}
	}
	before := *d
	d.Cookies = kept(d.Cookies, now, keptFor(cookieLifetime, now))
	d.Assertions = kept(d.Assertions, now, keptFor(publishedFor, now))
	d.Peppers = kept(d.Peppers, now, unless(used.Peppers, shortLived))
	d.SealingKeys = kept(d.SealingKeys, now, unless(used.Sealing, sealedFor))
	if len(d.SealingKeys) < len(before.SealingKeys) {
		var err error
		if d.Sealing, err = withSealingKeys(d.Sealing, d.SealingKeys); err != nil {
			return false, err
		}
	}
	return len(d.Cookies) < len(before.Cookies) || len(d.Assertions) < len(before.Assertions) ||
		len(d.Peppers) < len(before.Peppers) || len(d.SealingKeys) < len(before.SealingKeys), nil
}

// draw takes random bytes. After a failure all it gives is zero, and failure
// says so.
type draw struct {
	random io.Reader
	err    error
}

func (d *draw) bytes(size int) []byte {
	taken := make([]byte, size)
	if d.err == nil {
		_, d.err = io.ReadFull(d.random, taken)
	}
	return taken
}

func (d *draw) generation(now time.Time) generation {
	return generation{ID: hex.EncodeToString(d.bytes(idSize)), Created: now.UTC().Truncate(time.Second)}
}

// assertionKey draws a scalar. One draw in 2^32 lies beyond the order of
// P-256 and makes no key (FIPS 186-5 A.2.2): the set is then refused before
// it's stored, and another attempt draws another one.
func (d *draw) assertionKey(now time.Time) assertionKey {
	return assertionKey{d.generation(now), d.bytes(assertionKeySize)}
}

func (d *draw) failure() error {
	if d.err != nil {
		return fmt.Errorf("reading random bytes: %w", d.err)
	}
	return nil
}
