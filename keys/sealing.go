package keys

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/secretdata"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// sealingKey is one generation of the key that seals secrets. The key itself
// stands in the document's keyset, which is Tink's and holds no dates.
type sealingKey struct{ generation }

// number is the id as Tink has it.
func (k sealingKey) number() uint32 {
	raw, _ := hex.DecodeString(k.ID) // checked when the document was read
	return binary.BigEndian.Uint32(raw)
}

// sealingID is a Tink key's id as ours are written.
func sealingID(number uint32) string { return fmt.Sprintf("%08x", number) }

// sealedBy returns the id of the key that made a sealed value: Tink puts a
// byte 1 and the key's id in front of the ciphertext. What isn't of that form
// has no key.
func sealedBy(sealed []byte) string {
	if len(sealed) < 1+idSize || sealed[0] != 1 {
		return ""
	}
	return hex.EncodeToString(sealed[1 : 1+idSize])
}

// withSealingKey returns the keyset, which may be empty, with one AES-256-GCM
// key more. Tink would make the key itself, but from a source of randomness of
// its own.
func withSealingKey(written json.RawMessage, id sealingKey, key []byte) (json.RawMessage, error) {
	manager := keyset.NewManager()
	if len(written) > 0 {
		handle, err := readKeyset(written)
		if err != nil {
			return nil, err
		}
		manager = keyset.NewManagerFromHandle(handle)
	}
	parameters, err := aesgcm.NewParameters(aesgcm.ParametersOpts{
		KeySizeInBytes: sealingKeySize,
		IVSizeInBytes:  12,
		TagSizeInBytes: 16,
		Variant:        aesgcm.VariantTink,
	})
	if err != nil {
		return nil, fmt.Errorf("describing the sealing key: %w", err)
	}
	made, err := aesgcm.NewKey(secretdata.NewBytesFromData(key, insecuresecretdataaccess.Token{}), id.number(), parameters)
	if err != nil {
		return nil, fmt.Errorf("making the sealing key: %w", err)
	}
	if _, err := manager.AddKey(made); err != nil {
		return nil, fmt.Errorf("adding the sealing key: %w", err)
	}
	if err := manager.SetPrimary(id.number()); err != nil {
		return nil, fmt.Errorf("choosing the sealing key: %w", err)
	}
	return writeKeyset(manager)
}

// withSealingKeys returns the keyset with those keys only.
func withSealingKeys(written json.RawMessage, keys []sealingKey) (json.RawMessage, error) {
	handle, err := readKeyset(written)
	if err != nil {
		return nil, err
	}
	stays := make(map[uint32]bool)
	for _, key := range keys {
		stays[key.number()] = true
	}
	manager := keyset.NewManagerFromHandle(handle)
	if err := manager.SetPrimary(keys[len(keys)-1].number()); err != nil {
		return nil, fmt.Errorf("choosing the sealing key: %w", err)
	}
	for _, key := range handle.KeysetInfo().GetKeyInfo() {
		if stays[key.GetKeyId()] {
			continue
		}
		if err := manager.Delete(key.GetKeyId()); err != nil {
			return nil, fmt.Errorf("deleting a sealing key: %w", err)
		}
	}
	return writeKeyset(manager)
}

// writeKeyset returns a keyset as JSON. A keyset names a primary key; which
// one is written with goes by the time, though, and is chosen when it's used.
func writeKeyset(manager *keyset.Manager) (json.RawMessage, error) {
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

// readKeyset reads what writeKeyset made. The keyset is in clear, as the rest
// of the key set is: whoever may read the document holds all keys anyway.
func readKeyset(written json.RawMessage) (*keyset.Handle, error) {
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(written)))
	if err != nil {
		return nil, fmt.Errorf("reading the sealing keyset: %w", err)
	}
	return handle, nil
}

// newSealer returns what seals by the current key and opens by each of the
// keyset.
func newSealer(written json.RawMessage, current sealingKey) (tink.AEAD, error) {
	handle, err := readKeyset(written)
	if err != nil {
		return nil, err
	}
	manager := keyset.NewManagerFromHandle(handle)
	if err := manager.SetPrimary(current.number()); err != nil {
		return nil, fmt.Errorf("choosing the sealing key: %w", err)
	}
	if handle, err = manager.Handle(); err != nil {
		return nil, fmt.Errorf("making the sealing keyset: %w", err)
	}
	sealer, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("preparing the sealing keys: %w", err)
	}
	return sealer, nil
}
