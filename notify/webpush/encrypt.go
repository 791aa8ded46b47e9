package webpush

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

const (
	recordSize = 4096 // RFC 8291 §4: the body is one record
	keySize    = 16   // of AES-128-GCM
	nonceSize  = 12
	saltSize   = 16
	// padded is the size of what is encrypted, so that the size of a body says nothing.
	padded = 1024
)

// encrypt writes a body for a subscription, RFC 8291 §3 and RFC 8188 §2. The key and
// the salt are used once. The plaintext is padded to a size in bytes, delimiter
// included, if it is shorter.
func encrypt(plaintext []byte, receiver *ecdh.PublicKey, secret []byte, sender *ecdh.PrivateKey, salt []byte, size int) ([]byte, error) {
	shared, err := sender.ECDH(receiver)
	if err != nil {
		return nil, fmt.Errorf("agreeing on a key: %w", err)
	}
	public := sender.PublicKey().Bytes()
	info := "WebPush: info\x00" + string(receiver.Bytes()) + string(public)
	ikm, err := hkdf.Key(sha256.New, shared, secret, info, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("deriving a key: %w", err)
	}
	key, err := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: aes128gcm\x00", keySize)
	if err != nil {
		return nil, fmt.Errorf("deriving a key: %w", err)
	}
	nonce, err := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: nonce\x00", nonceSize)
	if err != nil {
		return nil, fmt.Errorf("deriving a nonce: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	record := append(append([]byte(nil), plaintext...), 2) // the delimiter of the last record
	for len(record) < size {
		record = append(record, 0)
	}
	if len(record)+aead.Overhead() > recordSize {
		return nil, fmt.Errorf("a notification of %d bytes is too long", len(plaintext))
	}
	body := append([]byte(nil), salt...)
	body = binary.BigEndian.AppendUint32(body, recordSize)
	body = append(body, byte(len(public)))
	body = append(body, public...)
	return aead.Seal(body, nonce, record, nil), nil
}
