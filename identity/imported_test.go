package identity

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

const importedPassword = "correct horse ﬁtting"

// madeBy returns what a program prints. Programs that can't be run fail the test:
// test/install-packages.sh installs them.
func madeBy(t *testing.T, input string, command ...string) string {
	t.Helper()
	program := exec.Command(command[0], command[1:]...)
	program.Stdin = strings.NewReader(input)
	out, err := program.Output()
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(command, " "), err)
	}
	return strings.TrimSpace(string(out))
}

// kdf returns a key that OpenSSL derives.
func kdf(t *testing.T, name string, options ...string) []byte {
	t.Helper()
	arguments := []string{"openssl", "kdf", "-keylen", "32"}
	for _, option := range options {
		arguments = append(arguments, "-kdfopt", option)
	}
	key, err := hex.DecodeString(strings.ReplaceAll(madeBy(t, "", append(arguments, name)...), ":", ""))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// foreignHashes are hashes of a password by the programs that people come from.
func foreignHashes(t *testing.T, password string) map[string]string {
	t.Helper()
	htpasswd := func(flags ...string) string {
		_, hash, _ := strings.Cut(madeBy(t, "", append(append([]string{"htpasswd", "-nb"}, flags...), "user", password)...), ":")
		return hash
	}
	salt := []byte("sixteen byte slt")
	adapted := func(raw []byte) string {
		return strings.ReplaceAll(base64.RawStdEncoding.EncodeToString(raw), "+", ".")
	}
	pbkdf2 := kdf(t, "PBKDF2", "digest:SHA256", "pass:"+password, "hexsalt:"+hex.EncodeToString(salt), "iter:10000")
	scrypt := kdf(t, "SCRYPT", "pass:"+password, "hexsalt:"+hex.EncodeToString(salt), "n:4096", "r:8", "p:1")
	return map[string]string{
		"htpasswd -B":            htpasswd("-B", "-C", "5"),
		"htpasswd -2":            htpasswd("-2"),
		"htpasswd -5":            htpasswd("-5"),
		"openssl passwd -5":      madeBy(t, password, "openssl", "passwd", "-5", "-stdin"),
		"openssl passwd -6":      madeBy(t, password, "openssl", "passwd", "-6", "-stdin"),
		"openssl kdf PBKDF2":     fmt.Sprintf("$pbkdf2-sha256$10000$%s$%s", adapted(salt), adapted(pbkdf2)),
		"openssl kdf SCRYPT":     fmt.Sprintf("$scrypt$ln=12,r=8,p=1$%s$%s", base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(scrypt)),
		"argon2 -id":             madeBy(t, password, "argon2", "some salt", "-id", "-m", "12", "-e"),
		"argon2 -i":              madeBy(t, password, "argon2", "some salt", "-i", "-m", "12", "-e"),
		"argon2 -d":              madeBy(t, password, "argon2", "some salt", "-d", "-m", "12", "-p", "2", "-e"),
		"mkpasswd yescrypt":      madeBy(t, password, "mkpasswd", "-s", "-m", "yescrypt"),
		"mkpasswd sha512, short": madeBy(t, password, "mkpasswd", "-s", "-m", "sha512crypt", "-R", "1000"),
		"mkpasswd bcrypt":        madeBy(t, password, "mkpasswd", "-s", "-m", "bcrypt", "-R", "5"),
	}
}

func TestImportedHashes(t *testing.T) {
	hasher := newTestHasher(t, HasherConfig{})
	for program, hash := range foreignHashes(t, importedPassword) {
		t.Run(program, func(t *testing.T) {
			stored, err := Import(hash)
			if err != nil {
				t.Fatalf("%v: %s", err, hash)
			}
			if !hasher.Outdated(stored) {
				t.Error("it isn't hashed anew")
			}
			for typed, want := range map[string]bool{
				importedPassword: true,
				// Other programs don't normalise.
				"correct horse fitting":   false,
				importedPassword + " ":    false,
				importedPassword + "\x00": false,
				"":                        false,
			} {
				before := hasher.Work()
				got, err := hasher.Verify(t.Context(), stored, typed)
				if err != nil || got != want {
					t.Errorf("%q: %v, %v", typed, got, err)
				}
				ours := hasher.Work().Kibibytes - before.Kibibytes
				if cost := uint64(cheap.Memory) * uint64(cheap.Passes); !want && ours != cost {
					t.Errorf("%q is refused for %d KiB of ours, not %d", typed, ours, cost)
				}
			}
		})
	}
}

// bcrypt knows only the first 72 bytes, and so does a password that comes with such a hash
// until it is hashed anew.
func TestImportedBcryptIsCut(t *testing.T) {
	hasher := newTestHasher(t, HasherConfig{})
	long := strings.Repeat("0123456789", 8)
	stored, err := Import(madeBy(t, long, "htpasswd", "-niB", "-C", "5", "user")[len("user:"):])
	if err != nil {
		t.Fatal(err)
	}
	for typed, want := range map[string]bool{long: true, long[:72] + "something else": true, long[:71]: false} {
		if got, err := hasher.Verify(t.Context(), stored, typed); err != nil || got != want {
			t.Errorf("%d bytes: %v, %v", len(typed), got, err)
		}
	}
}

func TestImportRefuses(t *testing.T) {
	const salt, key = "c29tZSBzYWx0", "c29tZSBrZXkgb2YgMzIgYnl0ZXMsIHdoYXRldmVyISE"
	bcrypt := strings.Repeat("a", 53)
	crypt := strings.Repeat("a", 86)
	for hash, want := range map[string]error{
		"":                                   ErrUnknownHash,
		"secret":                             ErrUnknownHash,
		"$plaintext$secret":                  ErrUnknownHash,
		"$apr1$abcdefgh$" + crypt[:22]:       ErrUnknownHash,
		"$1$abcdefgh$" + crypt[:22]:          ErrUnknownHash,
		"{SHA}2jmj7l5rSw0yVb/vlWAYkK/Y":      ErrUnknownHash,
		"$2y$03$" + bcrypt:                   ErrCostlyHash,
		"$2y$15$" + bcrypt:                   ErrCostlyHash,
		"$2y$31$" + bcrypt:                   ErrCostlyHash,
		"$2y$10$" + bcrypt + "a":             ErrUnknownHash,
		"$2y$10$" + bcrypt[:52] + "\n":       ErrUnknownHash,
		"$6$rounds=999999999$salt$" + crypt:  ErrCostlyHash,
		"$6$rounds=1000001$salt$" + crypt:    ErrCostlyHash,
		"$6$rounds=9999999999$salt$" + crypt: ErrUnknownHash,
		"$argon2id$v=19$m=4194304,t=3,p=4$" + salt + "$" + key:   ErrCostlyHash,
		"$argon2id$v=19$m=65537,t=3,p=4$" + salt + "$" + key:     ErrCostlyHash,
		"$argon2id$v=19$m=65536,t=9,p=4$" + salt + "$" + key:     ErrCostlyHash,
		"$argon2id$v=19$m=65536,t=0,p=4$" + salt + "$" + key:     ErrCostlyHash,
		"$argon2id$v=19$m=65536,t=3,p=0$" + salt + "$" + key:     ErrCostlyHash,
		"$argon2id$v=19$m=65536,t=3,p=255$" + salt + "$" + key:   ErrCostlyHash,
		"$argon2id$v=16$m=65536,t=3,p=1$" + salt + "$" + key:     ErrUnknownHash,
		"$argon2id$v=19$m=65536,t=3,p=1,keyid=cDE$" + salt + "$": ErrUnknownHash,
		"$scrypt$ln=30,r=8,p=1$" + salt + "$" + key:              ErrCostlyHash,
		"$scrypt$ln=17,r=8,p=1$" + salt + "$" + key:              ErrCostlyHash,
		"$scrypt$ln=16,r=9999,p=9999$" + salt + "$" + key:        ErrCostlyHash,
		"$scrypt$ln=16,r=8,p=100$" + salt + "$" + key:            ErrCostlyHash,
		"$pbkdf2-sha512$2000001$" + salt + "$" + key:             ErrCostlyHash,
		"$pbkdf2-sha512$0$" + salt + "$" + key:                   ErrCostlyHash,
		"$y$jFT$salt$" + crypt[:43]:                              ErrUnknownHash,
	} {
		if stored, err := Import(hash); stored != "" || !errors.Is(err, want) {
			t.Errorf("%q: %q, %v; want %v", hash, stored, err, want)
		}
	}
	for _, hash := range []string{
		"$argon2id$v=19$m=65536,t=3,p=4$" + salt + "$" + key,
		"$scrypt$ln=16,r=8,p=1$" + salt + "$" + key,
		"$pbkdf2-sha512$310000$" + salt + "$" + key,
		"$2b$14$" + bcrypt,
	} {
		if _, err := Import(hash); err != nil {
			t.Errorf("%q: %v", hash, err)
		}
	}
}

// FuzzImport imports whatever a file holds: what is accepted can be decoded again.
func FuzzImport(f *testing.F) {
	for _, seed := range []string{"$2y$10$" + strings.Repeat("a", 53), "$5$salt$" + strings.Repeat("a", 43), "$y$j9T$salt$" + strings.Repeat("a", 43), "$argon2id$v=19$m=8,t=1,p=1$c29tZSBzYWx0$c29tZSBrZXkgb2YgMzIgYnl0ZXM"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, hash string) {
		stored, err := Import(hash)
		if err != nil {
			return
		}
		encoded, err := base64.RawStdEncoding.DecodeString(strings.TrimPrefix(stored, importedPrefix))
		if err != nil || !bytes.Equal(encoded, []byte(hash)) {
			t.Errorf("%q is stored as %q", hash, stored)
		}
	})
}
