package backup

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"filippo.io/age"
)

// minPassphrase is how many characters a passphrase must have. Whoever gets hold of a
// backup can guess at it for as long as they like. NIST SP 800-63B-4 §3.1.1.2 asks for
// as many where a password stands alone.
const minPassphrase = 15

// ErrWrongKey says that a backup isn't encrypted to the passphrase or identity.
var ErrWrongKey = errors.New("the backup is encrypted to something else: wrong passphrase or identity")

// Lock is what a backup is encrypted to.
type Lock struct{ recipients []age.Recipient }

// Key is what a backup is decrypted with.
type Key struct{ identities []age.Identity }

// PassphraseLock encrypts to a passphrase, which must have at least 15 characters.
func PassphraseLock(passphrase string) (Lock, error) {
	if utf8.RuneCountInString(passphrase) < minPassphrase {
		return Lock{}, fmt.Errorf("the passphrase is too short: use at least %d characters", minPassphrase)
	}
	recipient, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return Lock{}, err
	}
	return Lock{[]age.Recipient{recipient}}, nil
}

// PassphraseKey decrypts with a passphrase.
func PassphraseKey(passphrase string) (Key, error) {
	identity, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return Key{}, err
	}
	return Key{[]age.Identity{identity}}, nil
}

// RecipientLock encrypts to public keys of age, as age-keygen prints them. Any one of
// their identities decrypts.
func RecipientLock(written []string) (Lock, error) {
	recipients, err := age.ParseRecipients(strings.NewReader(strings.Join(written, "\n")))
	if err != nil {
		return Lock{}, fmt.Errorf("reading the recipients (age1…): %w", err)
	}
	return Lock{recipients}, nil
}

// IdentityKey decrypts with the identities in a file of age-keygen.
func IdentityKey(file io.Reader) (Key, error) {
	identities, err := age.ParseIdentities(file)
	if err != nil {
		return Key{}, fmt.Errorf("reading the identity: %w", err)
	}
	return Key{identities}, nil
}

// Encrypt returns a writer that encrypts to w. What was written counts only after Close.
func (l Lock) Encrypt(w io.Writer) (io.WriteCloser, error) { return age.Encrypt(w, l.recipients...) }

// Decrypt returns a reader of the plaintext. A part that was altered or is missing is an
// error once it is read.
func (k Key) Decrypt(r io.Reader) (io.Reader, error) {
	plain, err := age.Decrypt(r, k.identities...)
	var other *age.NoIdentityMatchError
	if errors.As(err, &other) {
		return nil, ErrWrongKey
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoBackup, err)
	}
	return plain, nil
}
