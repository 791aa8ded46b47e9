package assertion

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

// oneKey is a key that never changes.
type oneKey struct{ *ecdsa.PrivateKey }

func (k oneKey) AssertionKey() (string, *ecdsa.PrivateKey) { return "one", k.PrivateKey }

func (k oneKey) AssertionKeys() map[string]*ecdsa.PublicKey {
	return map[string]*ecdsa.PublicKey{"one": &k.PublicKey}
}

// However many people come by, and however many groups they are in, what is
// remembered of them is bounded.
func TestMemoryIsBounded(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := NewSigner(Config{Issuer: "https://login.example.com", Keys: oneKey{key}, Clock: time.Now})
	user := store.User{ID: "id", Name: "ada", Groups: []string{strings.Repeat("g", 4<<20)}}
	made := 0
	for made <= maxCached {
		user.Version++
		token, err := s.Token(Subject{User: user, Expires: time.Now().Add(time.Hour)}, "https://wiki.example.com")
		if err != nil {
			t.Fatal(err)
		}
		made += len(token)
	}
	s.cache.CleanUp()
	if held := s.cache.WeightedSize(); held == 0 || held > maxCached {
		t.Errorf("%d bytes are held, the limit is %d", held, maxCached)
	}
}
