package totp

import (
	"cmp"
	"encoding/base32"
	"errors"
	"strings"
)

// minImported is how many bytes a secret must have that was made elsewhere: RFC 4226 §4
// R6 asks for 128 bits. Secrets of 80 bits are common, and still more than six digits.
const minImported = 10

// errNotImportable quotes nothing of the secret.
var errNotImportable = errors.New("the authenticator app can't be used: its secret must be base32 of at least 80 bits, its algorithm SHA1, SHA256 or SHA512, with 6 or 8 digits and a period of 15 to 120 seconds")

// Import returns the secret of a credential for an authenticator app that was set up with
// another program. The key is in base32; an empty algorithm is SHA1, and zero digits and
// period (in seconds) are 6 and 30.
func Import(key, algorithm string, digits, period int) ([]byte, error) {
	key = strings.TrimRight(strings.ToUpper(strings.NewReplacer(" ", "", "-", "").Replace(key)), "=")
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(key)
	s := secret{Key: key, Algorithm: cmp.Or(strings.ToUpper(algorithm), "SHA1"), Digits: cmp.Or(digits, 6), Period: cmp.Or(period, 30)}
	_, known := algorithmNamed(s.Algorithm)
	if err != nil || !known || len(raw) < minImported || len(raw) > 128 || s.Digits != 6 && s.Digits != 8 || s.Period < 15 || s.Period > 120 {
		return nil, errNotImportable
	}
	return s.marshal()
}
