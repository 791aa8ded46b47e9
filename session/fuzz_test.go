package session_test

import (
	"crypto/rand"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/keys"
	"github.com/portcullis-mfa/portcullis/session"
)

// FuzzCookies reads what strangers send in place of a session cookie: only what
// was minted, letter by letter and for its host, is one, also when it was read
// before.
func FuzzCookies(f *testing.F) {
	set, err := keys.Open(f.Context(), keys.FileStorage(filepath.Join(f.TempDir(), "keys.json")), rand.Reader, time.Now, true)
	if err != nil {
		f.Fatal(err)
	}
	cookies := session.NewCookies(set.Codec("session"), set.Generation, inLife("life"), time.Now)
	const host = "app.example.com"
	minted, err := cookies.Mint(session.SignOn{ID: "s", UserID: "alice", Expires: time.Now().Add(24 * time.Hour)}, host, multi)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", ".", minted, minted[:len(minted)-1], minted + "=", " " + minted, minted + "\n", `{"s":"s"}`} {
		f.Add(seed, host)
		f.Add(seed, "wiki.example.com")
	}
	f.Fuzz(func(t *testing.T, value, at string) {
		s, err := cookies.Read(value, at)
		if value == minted && at == host {
			if err != nil || s.SignOn != "s" {
				t.Errorf("what was minted is read as %+v, %v", s, err)
			}
			return
		}
		if !errors.Is(err, session.ErrInvalid) || s != nil {
			t.Errorf("%q at %q is read as %+v, %v", value, at, s, err)
		}
		if s, ok := cookies.Peek(value, at); ok {
			t.Errorf("%q at %q once said %+v", value, at, s)
		}
	})
}
