package keys

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/secretdata"
)

// documentVersion is the version of the format that this code reads and
// writes. A change that an older binary must not overlook raises it.
const documentVersion = 1

// Sizes in bytes.
const (
	hashKeySize    = 64 // HMAC-SHA-256 takes a block at most, RFC 2104 §3
	blockKeySize   = 32 // AES-256
	sealingKeySize = 32 // AES-256
	pepperSize     = 32
	idSize         = 4 // told apart within one set only; not a secret
)

// document is the key set as it is stored. Generations stand oldest first;
// the last one is written with, all are read with.
type document struct {
	Version int             `json:"version"`
	Cookies []cookieKey     `json:"cookie_keys"`
	Sealing json.RawMessage `json:"sealing_keyset"` // Tink's JSON, with generations of its own
	Peppers []pepper        `json:"peppers"`
}

// cookieKey is one generation of the keys that sign and encrypt cookies.
type cookieKey struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	Hash    []byte    `json:"hash_key"`
	Block   []byte    `json:"block_key"`
}

// pepper is one generation of the password pepper.
type pepper struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	Key     []byte    `json:"key"`
}

// marshal returns the stored form.
func (d document) marshal() ([]byte, error) {
	content, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the key set as JSON: %w", err)
	}
	return append(content, '\n'), nil
}

// parse reads a stored key set and checks that it is complete.
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
	ids := make(map[string]bool)
	for i, key := range d.Cookies {
		if !validID(key.ID) || ids[key.ID] {
			return fmt.Errorf("cookie key %d has no id of its own", i+1)
		}
		if len(key.Hash) != hashKeySize || len(key.Block) != blockKeySize {
			return fmt.Errorf("cookie key %s has the wrong size", key.ID)
		}
		ids[key.ID] = true
	}
	clear(ids)
	for i, pepper := range d.Peppers {
		if !validID(pepper.ID) || ids[pepper.ID] {
			return fmt.Errorf("pepper %d has no id of its own", i+1)
		}
		if len(pepper.Key) != pepperSize {
			return fmt.Errorf("pepper %s has the wrong size", pepper.ID)
		}
		ids[pepper.ID] = true
	}
	return nil
}

// validID reports whether id is of the form that newID makes: ids stand before
// a dot in cookies and within password hashes.
func validID(id string) bool {
	raw, err := hex.DecodeString(id)
	return err == nil && len(raw) == idSize && hex.EncodeToString(raw) == id
}

// generate makes a set with one generation of each key.
func generate(random io.Reader, now time.Time) (document, error) {
	var err error
	take := func(size int) []byte {
		taken := make([]byte, size)
		if err == nil {
			_, err = io.ReadFull(random, taken)
		}
		return taken
	}
	newID := func() string { return hex.EncodeToString(take(idSize)) }
	now = now.UTC().Truncate(time.Second)

	doc := document{
		Version: documentVersion,
		Cookies: []cookieKey{{ID: newID(), Created: now, Hash: take(hashKeySize), Block: take(blockKeySize)}},
		Peppers: []pepper{{ID: newID(), Created: now, Key: take(pepperSize)}},
	}
	sealingKey, sealingID := take(sealingKeySize), binary.BigEndian.Uint32(take(4))
	if err != nil {
		return document{}, fmt.Errorf("reading random bytes: %w", err)
	}
	doc.Sealing, err = newKeyset(sealingKey, sealingID)
	return doc, err
}

// newKeyset returns a Tink keyset of one AES-256-GCM key, as JSON. Tink would
// make the key itself, but from a source of randomness of its own.
func newKeyset(key []byte, id uint32) (json.RawMessage, error) {
	parameters, err := aesgcm.NewParameters(aesgcm.ParametersOpts{
		KeySizeInBytes: sealingKeySize,
		IVSizeInBytes:  12,
		TagSizeInBytes: 16,
		Variant:        aesgcm.VariantTink,
	})
	if err != nil {
		return nil, fmt.Errorf("describing the sealing key: %w", err)
	}
	sealingKey, err := aesgcm.NewKey(secretdata.NewBytesFromData(key, insecuresecretdataaccess.Token{}), id, parameters)
	if err != nil {
		return nil, fmt.Errorf("making the sealing key: %w", err)
	}
	manager := keyset.NewManager()
	if _, err := manager.AddKey(sealingKey); err != nil {
		return nil, fmt.Errorf("adding the sealing key: %w", err)
	}
	if err := manager.SetPrimary(id); err != nil {
		return nil, fmt.Errorf("choosing the sealing key: %w", err)
	}
	handle, err := manager.Handle()
	if err != nil {
		return nil, fmt.Errorf("making the sealing keyset: %w", err)
	}
	var written bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&written)); err != nil {
		return nil, fmt.Errorf("writing the sealing keyset: %w", err)
	}
	return written.Bytes(), nil
}

// readKeyset reads what newKeyset made. The keyset is in clear, as the rest of
// the key set is: whoever may read the document holds all keys anyway.
func readKeyset(written json.RawMessage) (*keyset.Handle, error) {
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(written)))
	if err != nil {
		return nil, fmt.Errorf("reading the sealing keyset: %w", err)
	}
	return handle, nil
}
