package session_test

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/accesstoken"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// tokenStore is a store in which nobody finds a token that doesn't exist until they
// give up.
type tokenStore struct {
	*slowStore
	listed  []store.AccessToken
	held    map[string]store.AccessToken // by selector
	guesses int                          // reads begun of tokens that don't exist
}

func (s *tokenStore) ListAccessTokens(context.Context) ([]store.AccessToken, error) {
	return s.listed, nil
}

func (s *tokenStore) AccessTokenBySelector(ctx context.Context, selector string) (store.AccessToken, error) {
	s.mu.Lock()
	held, found := s.held[selector]
	if !found {
		s.guesses++
	}
	s.mu.Unlock()
	if found {
		return held, nil
	}
	<-ctx.Done()
	return store.AccessToken{}, ctx.Err()
}

// newToken makes a token that the store holds.
func (s *tokenStore) newToken(t *testing.T) (secret string, row store.AccessToken) {
	t.Helper()
	secret, selector, err := accesstoken.New(rand.Reader, accesstoken.Service)
	must(t, err)
	row = store.AccessToken{
		ID: selector, Name: "ci", Selector: selector, Hash: token.Hash(secret), Scope: []byte(`{"hosts": ["app.example.com"]}`),
		Expires: time.Now().Add(time.Hour),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[selector] = row
	return secret, row
}

// A02: made-up tokens with a right checksum take few slots, and none from tokens
// that exist: neither from those that were there at the start nor from new ones.
func TestA02GuessesDelayNoToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &tokenStore{slowStore: &slowStore{}, held: map[string]store.AccessToken{}}
		old, row := s.newToken(t)
		s.listed = []store.AccessToken{row}
		k := session.NewKeeper(s, time.Now, zap.NewNop().Warn)
		ctx, end := context.WithCancel(t.Context())
		ran := make(chan struct{})
		go func() { defer close(ran); k.Run(ctx) }()
		synctest.Wait()
		k.Heartbeat(time.Now())

		const guesses = 1000
		refused := make(chan error, guesses)
		for range guesses {
			made, _, err := accesstoken.New(rand.Reader, accesstoken.Service)
			must(t, err)
			go func() {
				_, err := k.LiveAccessToken(t.Context(), session.AccessTokenLookup{Token: made, MaxStaleness: time.Minute})
				refused <- err
			}()
		}
		synctest.Wait()
		if s.guesses != 4 {
			t.Errorf("%d guesses are looked up at once", s.guesses)
		}
		fresh, row := s.newToken(t)
		k.Changed([]store.Change{{Kind: store.AccessTokenChanged, ID: row.Selector}})
		begun := time.Now()
		for _, secret := range []string{old, fresh} {
			_, err := k.LiveAccessToken(t.Context(), session.AccessTokenLookup{Token: secret, MaxStaleness: time.Minute})
			if err != nil || time.Since(begun) > 0 {
				t.Errorf("%v, after %s", err, time.Since(begun))
			}
		}
		for range guesses {
			if err := <-refused; err == nil || errors.Is(err, session.ErrEnded) {
				t.Errorf("a guess that wasn't looked up: %v", err)
			}
		}
		end()
		<-ran
	})
}
