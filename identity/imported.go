package identity

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-crypt/crypt"
	"github.com/go-crypt/crypt/algorithm"
)

// importedPrefix begins the stored form of hashes that other programs made. What follows
// is in base64, so that nothing takes it for a hash of ours, which names its pepper.
const importedPrefix = "imported:"

// The bounds of what a hash of another program can demand, apart from those of ours.
// One at a bound takes about a second of one core. Beyond them, one sign-in could keep the
// server from its work.
const (
	maxBcryptCost       = 14
	maxSHACryptRounds   = 1_000_000
	maxPBKDF2Iterations = 2_000_000
	maxImportedMemory   = 64 * 1024 // KiB
	maxImportedWork     = 8 * maxImportedMemory
	maxImportedLanes    = 16
)

// ErrUnknownHash says that a hash is of a kind that can't be verified.
var ErrUnknownHash = errors.New("this kind of password hash isn't supported: supported are bcrypt, argon2, scrypt, yescrypt, PBKDF2 and SHA-crypt ($5$, $6$)")

// ErrCostlyHash says that verifying a hash would take too long, or too much memory.
var ErrCostlyHash = errors.New("verifying this password hash would take too much time or memory")

// importable are the hashes that are understood, as their programs write them, each with
// what its numbers may be. They are strict, since what they let through is decoded as
// soon as somebody signs in.
var importable = []struct {
	form   *regexp.Regexp
	within func(numbers []uint64) bool
}{
	{regexp.MustCompile(`^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$`), func(n []uint64) bool { return n[0] >= 4 && n[0] <= maxBcryptCost }},
	{regexp.MustCompile(`^\$[56]\$(?:rounds=(\d{4,9})\$)?[./A-Za-z0-9]{1,16}\$(?:[./A-Za-z0-9]{43}|[./A-Za-z0-9]{86})$`), func(n []uint64) bool { return n[0] <= maxSHACryptRounds }},
	{regexp.MustCompile(`^\$pbkdf2(?:-sha\d{1,3})?\$(\d{1,9})\$[./+A-Za-z0-9]{8,}\$[./+A-Za-z0-9]{16,}$`), func(n []uint64) bool { return n[0] >= 1 && n[0] <= maxPBKDF2Iterations }},
	{regexp.MustCompile(`^\$argon2(?:id|i|d)\$v=19\$m=(\d{1,9}),t=(\d{1,9}),p=(\d{1,9})\$[+/A-Za-z0-9]{8,}\$[+/A-Za-z0-9]{16,}$`), func(n []uint64) bool {
		return n[0] <= maxImportedMemory && n[1] >= 1 && n[0]*n[1] <= maxImportedWork && n[2] >= 1 && n[2] <= maxImportedLanes && n[0] >= 8*n[2]
	}},
	{regexp.MustCompile(`^\$scrypt\$ln=(\d{1,2}),r=(\d{1,4}),p=(\d{1,4})\$[+/A-Za-z0-9]{8,}\$[+/A-Za-z0-9]{16,}$`), func(n []uint64) bool {
		// 128·r·2^ln bytes, p times (RFC 7914 §2).
		return n[0] >= 1 && n[0] <= 20 && n[1] >= 1 && n[2] >= 1 && n[1]<<n[0]>>3 <= maxImportedMemory && n[1]<<n[0]>>3*n[2] <= 4*maxImportedMemory
	}},
	// yescrypt as crypt(3) makes it, with up to 64 MiB: j9T is its default.
	{regexp.MustCompile(`^\$y\$j[5-9AB]T\$[./A-Za-z0-9]{2,64}\$[./A-Za-z0-9]{43}$`), func([]uint64) bool { return true }},
}

var decoder = newDecoder()

func newDecoder() *crypt.Decoder {
	decoder, err := crypt.NewDefaultDecoder()
	if err != nil {
		panic(err) // it depends on nothing
	}
	return decoder
}

// Import returns the stored form of a hash that another program made. The password is
// verified as it was typed, and hashed again once it was right. A hash that can't be
// verified is ErrUnknownHash, and one that would cost too much ErrCostlyHash; neither
// quotes it.
func Import(encoded string) (stored string, err error) {
	if _, err := decodeImported(encoded); err != nil {
		return "", err
	}
	return importedPrefix + base64.RawStdEncoding.EncodeToString([]byte(encoded)), nil
}

// IsCut reports whether a hash of another program is of no more than the first 72 bytes
// of a password, as bcrypt's are.
func IsCut(encoded string) bool { return strings.HasPrefix(encoded, "$2") }

// isImported reports whether a stored hash is of another program.
func isImported(stored string) bool { return strings.HasPrefix(stored, importedPrefix) }

func decodeImported(encoded string) (algorithm.Digest, error) {
	for _, kind := range importable {
		found := kind.form.FindStringSubmatch(encoded)
		if found == nil {
			continue
		}
		numbers := make([]uint64, len(found)-1)
		for i, written := range found[1:] {
			if written == "" {
				continue // the program's default
			}
			var err error
			if numbers[i], err = strconv.ParseUint(written, 10, 32); err != nil {
				return nil, ErrUnknownHash
			}
		}
		if !kind.within(numbers) {
			return nil, ErrCostlyHash
		}
		digest, err := decoder.Decode(encoded)
		if err != nil {
			return nil, ErrUnknownHash // its own words may quote the hash
		}
		return digest, nil
	}
	return nil, ErrUnknownHash
}

// verifyImported is Verify for a hash of another program. A wrong password costs a hash
// of ours on top, as a right one does, which is hashed anew: so somebody with a cheap hash
// isn't told from everybody else by how soon they are refused.
func (h *Hasher) verifyImported(ctx context.Context, stored, password string) (bool, error) {
	encoded, err := base64.RawStdEncoding.DecodeString(strings.TrimPrefix(stored, importedPrefix))
	if err != nil {
		return false, fmt.Errorf("reading an imported hash: %w", ErrUnknownHash)
	}
	if _, err := decodeImported(string(encoded)); err != nil {
		return false, fmt.Errorf("reading an imported hash: %w", err)
	}
	normal, refused := normalise(password)
	task := Task{Imported: string(encoded), Input: []byte(normal), Salt: make([]byte, saltBytes), Params: h.params}
	if refused == nil {
		task.Password = password
	}
	outcome, err := h.do(ctx, task)
	return outcome.Matches, err
}
