package identity

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// The sizes of what is stored, in bytes (RFC 9106 section 4).
const (
	saltBytes = 16
	tagBytes  = 32
)

// The bounds of what a stored hash can demand. At the upper ones a hash takes
// 256 MiB and eight passes over it: an operator may go there, a planted row no
// further.
const (
	maxMemory      = 256 * 1024 // KiB
	maxPasses      = 8
	maxParallelism = 4
	maxKeyIDBytes  = 48
)

var errMalformedHash = errors.New("not an argon2id hash of ours")

// Params is what one hash costs.
type Params struct {
	Memory      uint32 // KiB
	Passes      uint32 // over the memory
	Parallelism uint8  // lanes, each of which takes a core
}

// PasswordParams returns the cost of hashing passwords: 64 MiB, three passes,
// one lane. RFC 9106 section 4 recommends four lanes with that; one lane makes
// a hash take one core, which is what the queue counts.
func PasswordParams() Params { return Params{Memory: 64 * 1024, Passes: 3, Parallelism: 1} }

// CodeParams returns the cost of hashing random codes of 50 bits of entropy or
// more, such as backup codes, which need less help than passwords: 19 MiB, two
// passes, one lane, the least that OWASP's Password Storage Cheat Sheet
// recommends.
func CodeParams() Params { return Params{Memory: 19 * 1024, Passes: 2, Parallelism: 1} }

// check refuses costs that argon2 doesn't know (RFC 9106 section 3.1) and
// those beyond our bounds.
func (p Params) check() error {
	switch {
	case p.Parallelism < 1 || p.Parallelism > maxParallelism:
		return fmt.Errorf("argon2id parallelism %d is not between 1 and %d", p.Parallelism, maxParallelism)
	case p.Passes < 1 || p.Passes > maxPasses:
		return fmt.Errorf("argon2id passes %d are not between 1 and %d", p.Passes, maxPasses)
	case p.Memory < 8*uint32(p.Parallelism) || p.Memory > maxMemory:
		return fmt.Errorf("argon2id memory of %d KiB is not between %d and %d", p.Memory, 8*p.Parallelism, maxMemory)
	}
	return nil
}

// storedHash is a hash as it is stored, in the PHC string format with the
// parameters of argon2id:
//
//	$argon2id$v=19$m=65536,t=3,p=1,keyid=cDE$salt$tag
//
// keyid names the pepper; like salt and tag it is in base64 without padding.
// The PHC format allows it 8 bytes, we allow 48.
type storedHash struct {
	params Params
	keyID  string
	salt   []byte
	tag    []byte
}

// String renders the hash in its one encoding.
func (h storedHash) String() string {
	encode := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d,keyid=%s$%s$%s",
		argon2.Version, h.params.Memory, h.params.Passes, h.params.Parallelism,
		encode([]byte(h.keyID)), encode(h.salt), encode(h.tag))
}

// parseHash reads what String renders and nothing else. Its errors hold
// nothing of the input.
func parseHash(encoded string) (storedHash, error) {
	fields := strings.Split(encoded, "$")
	if len(fields) != 6 {
		return storedHash{}, errMalformedHash
	}
	hash, err := parseParams(fields[3])
	if err != nil {
		return storedHash{}, err
	}
	// DecodeString skips line breaks; rendering again below finds them.
	decode := base64.RawStdEncoding.Strict().DecodeString
	var errSalt, errTag error
	hash.salt, errSalt = decode(fields[4])
	hash.tag, errTag = decode(fields[5])
	if errSalt != nil || errTag != nil || len(hash.salt) != saltBytes || len(hash.tag) != tagBytes {
		return storedHash{}, errMalformedHash
	}
	if err := hash.params.check(); err != nil {
		return storedHash{}, err
	}
	if hash.String() != encoded { // leading zeros, another version, line breaks
		return storedHash{}, errMalformedHash
	}
	return hash, nil
}

// parseParams reads "m=65536,t=3,p=1,keyid=cDE".
func parseParams(field string) (storedHash, error) {
	parts := strings.Split(field, ",")
	if len(parts) != 4 {
		return storedHash{}, errMalformedHash
	}
	memory, errMemory := parseNumber(parts[0], "m=", 32)
	passes, errPasses := parseNumber(parts[1], "t=", 32)
	parallelism, errParallelism := parseNumber(parts[2], "p=", 8)
	encodedID, found := strings.CutPrefix(parts[3], "keyid=")
	keyID, errKeyID := base64.RawStdEncoding.Strict().DecodeString(encodedID)
	if err := errors.Join(errMemory, errPasses, errParallelism, errKeyID); err != nil || !found {
		return storedHash{}, errMalformedHash
	}
	if len(keyID) == 0 || len(keyID) > maxKeyIDBytes {
		return storedHash{}, errMalformedHash
	}
	params := Params{Memory: uint32(memory), Passes: uint32(passes), Parallelism: uint8(parallelism)}
	return storedHash{params: params, keyID: string(keyID)}, nil
}

func parseNumber(part, prefix string, bits int) (uint64, error) {
	digits, found := strings.CutPrefix(part, prefix)
	if !found {
		return 0, errMalformedHash
	}
	return strconv.ParseUint(digits, 10, bits)
}
