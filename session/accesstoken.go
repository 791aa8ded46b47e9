package session

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/portcullis-mfa/portcullis/accesstoken"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// maxAccessTokens bounds how many access tokens are kept in memory.
const maxAccessTokens = 10_000

// keptAccessToken is what is needed of an access token with each request. One that
// is revoked or suspended is kept too, so that whoever goes on using it asks the
// store once. Those that nobody has are not: anybody can make some up.
type keptAccessToken struct {
	id, hash string
	speaker  *Profile
	scope    *accesstoken.Scope
	expires  time.Time
	refused  bool
}

// LiveAccessToken is an access token that was valid when it was looked up.
type LiveAccessToken struct {
	ID      string
	Expires time.Time
	// User is who the token speaks for: never somebody who could sign in.
	User *Profile
	// Scope says which requests it is for. It must not be changed.
	Scope *accesstoken.Scope

	keeper   *Keeper
	selector string
	token    *row[keptAccessToken]
}

// AccessTokenLookup says which access token to look up, and how.
type AccessTokenLookup struct {
	Token string // as the program sent it
	// MaxStaleness is as in SignOnLookup.
	MaxStaleness time.Duration
}

// LiveAccessToken returns the access token if it is valid now. ErrEnded means that it
// isn't; with any other error, it isn't known. A token with a wrong checksum costs no
// look-up.
func (k *Keeper) LiveAccessToken(ctx context.Context, l AccessTokenLookup) (LiveAccessToken, error) {
	selector, ok := accesstoken.Selector(l.Token)
	if !ok {
		return LiveAccessToken{}, ErrEnded
	}
	if k.stale(k.clock(), l.MaxStaleness) {
		return LiveAccessToken{}, ErrCutOff
	}
	t, err := k.findAccessToken(ctx, selector)
	if err != nil {
		return LiveAccessToken{}, err
	}
	if subtle.ConstantTimeCompare([]byte(token.Hash(l.Token)), []byte(t.value.hash)) != 1 {
		return LiveAccessToken{}, ErrEnded
	}
	return LiveAccessToken{
		ID: t.value.id, Expires: t.value.expires, User: t.value.speaker, Scope: t.value.scope, keeper: k, selector: selector, token: t,
	}, nil
}

func (k *Keeper) findAccessToken(ctx context.Context, selector string) (*row[keptAccessToken], error) {
	t, err := k.accessTokens.find(ctx, selector)
	if err != nil {
		return nil, err
	}
	if t.value.refused || !k.clock().Before(t.value.expires) {
		return nil, ErrEnded
	}
	return t, nil
}

func (k *Keeper) readAccessToken(ctx context.Context, selector string) (keptAccessToken, error) {
	t, err := k.store.AccessTokenBySelector(ctx, selector)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return keptAccessToken{}, ErrEnded
	case err != nil:
		return keptAccessToken{}, fmt.Errorf("reading an access token: %w", err)
	}
	scope := new(accesstoken.Scope)
	if err := json.Unmarshal(t.Scope, scope); err != nil {
		return keptAccessToken{}, fmt.Errorf("reading the scope of an access token: %w", err)
	}
	return keptAccessToken{
		id: t.ID, hash: t.Hash, scope: scope, expires: t.Expires, refused: !t.Revoked.IsZero() || t.Suspended,
		speaker: &Profile{
			User:      User{ID: t.ID, Name: accesstoken.Speaker(t.Name), Groups: t.Groups, Status: store.UserActive},
			GroupList: joinGroups(t.Groups), Program: t.Name,
		},
	}, nil
}

// Key implements Anchor: it is the selector.
func (t *LiveAccessToken) Key() string { return t.selector }

// Speaker implements Anchor.
func (t *LiveAccessToken) Speaker() *Profile { return t.User }

// Until implements Anchor.
func (t *LiveAccessToken) Until() time.Time { return t.Expires }

// IsAbout implements Anchor.
func (t *LiveAccessToken) IsAbout(change store.Change) bool {
	return change.Kind == store.AccessTokenChanged && change.ID == t.selector
}

// Use implements Anchor. A token doesn't go idle.
func (*LiveAccessToken) Use(time.Time, bool) bool { return true }

// Check implements Anchor.
func (t *LiveAccessToken) Check(ctx context.Context, _ bool) (*Profile, error) {
	if t.keeper.accessTokens.isCurrent(t.token) {
		return t.User, nil
	}
	now, err := t.keeper.findAccessToken(ctx, t.selector)
	if err != nil {
		return nil, err
	}
	return now.value.speaker, nil
}

var _ Anchor = (*LiveAccessToken)(nil)
