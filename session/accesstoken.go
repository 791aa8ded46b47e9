package session

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/portcullis-mfa/portcullis/accesstoken"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

const (
	// maxAccessTokens bounds how many access tokens are kept in memory.
	maxAccessTokens = 10_000
	// maxTokenNetworks bounds how many networks are remembered of an access token.
	maxTokenNetworks = 20
)

// AccessTokenRefusal says why an access token doesn't count. It is definite.
type AccessTokenRefusal string

// The reasons why an access token is refused.
const (
	TokenUnknown   AccessTokenRefusal = "unknown"
	TokenRevoked   AccessTokenRefusal = "revoked"
	TokenExpired   AccessTokenRefusal = "expired"
	TokenSuspended AccessTokenRefusal = "suspended"     // the store was restored from a copy
	TokenReplaced  AccessTokenRefusal = "replaced"      // by a renewal, some time ago
	TokenOfNobody  AccessTokenRefusal = "disabled_user" // whose app password it is may not sign in
)

// Error returns the reason.
func (r AccessTokenRefusal) Error() string { return "access token: " + string(r) }

// RefusedAccessToken is an AccessTokenRefusal with what is known of the token. It is
// ErrEnded.
type RefusedAccessToken struct {
	AccessTokenRefusal
	// Selector is what the token was looked up by; empty: it has none.
	Selector string
	Name     string // empty: nobody has such a token
	// UserID and User are whose app password it is, the latter by sign-in name as far
	// as that is known; empty: nobody's.
	UserID, User string
}

// Is reports whether an error is ErrEnded, or the reason.
func (r RefusedAccessToken) Is(target error) bool {
	return target == ErrEnded || target == r.AccessTokenRefusal
}

// keptAccessToken is what is needed of an access token with each request. One that
// is refused is kept too, so that whoever goes on using it asks the store once.
// Those that nobody has are not: anybody can make some up.
type keptAccessToken struct {
	id, name, hash string
	// former is the hash of the token that a renewal replaced, which counts until
	// formerUntil.
	former      string
	formerUntil time.Time
	user        string   // whose app password it is; empty: it is a service's
	speaker     *Profile // of a service; nil: the user is
	scope       *accesstoken.Scope
	created     time.Time
	expires     time.Time
	refusal     AccessTokenRefusal // empty: it counts
	seen        *sighting
	// used says that it has been used before.
	used *atomic.Bool
	// networks are where it was used from, and address is where last; nil: nowhere.
	networks []string
	address  *atomic.Pointer[string]
}

// LiveAccessToken is an access token that was valid when it was looked up.
type LiveAccessToken struct {
	ID      string
	Name    string
	Created time.Time
	Expires time.Time
	// User is who the token speaks for: the person whose app password it is, or
	// somebody who could never sign in.
	User *Profile
	// IsPersonal says that it is an app password.
	IsPersonal bool
	// Scope says which requests it is for. It must not be changed.
	Scope *accesstoken.Scope

	keeper   *Keeper
	selector string
	token    *row[keptAccessToken]
	owner    *row[Profile] // of an app password; nil: it is a service's
}

// AccessTokenLookup says which access token to look up, and how.
type AccessTokenLookup struct {
	Token string // as the program sent it
	// MaxStaleness is as in SignOnLookup.
	MaxStaleness time.Duration
}

// LiveAccessToken returns the access token if it is valid now, and notes that it is
// used. A RefusedAccessToken, which is ErrEnded, means that it isn't valid; with any
// other error, it isn't known. A token with a wrong checksum costs no look-up.
func (k *Keeper) LiveAccessToken(ctx context.Context, l AccessTokenLookup) (LiveAccessToken, error) {
	selector, ok := accesstoken.Selector(l.Token)
	if !ok {
		return LiveAccessToken{}, RefusedAccessToken{AccessTokenRefusal: TokenUnknown}
	}
	now := k.clock()
	if k.stale(now, l.MaxStaleness) {
		return LiveAccessToken{}, ErrCutOff
	}
	t, err := k.accessTokens.find(ctx, selector)
	if errors.Is(err, store.ErrNotFound) {
		return LiveAccessToken{}, RefusedAccessToken{AccessTokenRefusal: TokenUnknown, Selector: selector}
	}
	if err != nil {
		return LiveAccessToken{}, err
	}
	if refusal := t.value.refuses(token.Hash(l.Token), now); refusal != "" {
		return LiveAccessToken{}, t.value.refused(selector, refusal)
	}
	live := LiveAccessToken{
		ID: t.value.id, Name: t.value.name, Created: t.value.created, Expires: t.value.expires, User: t.value.speaker,
		IsPersonal: t.value.user != "", Scope: t.value.scope, keeper: k, selector: selector, token: t,
	}
	if live.IsPersonal {
		if live.owner, err = k.findTokenOwner(ctx, t.value.user); err != nil {
			return LiveAccessToken{}, live.refusing(err)
		}
		live.User = &live.owner.value
	}
	if !t.value.seen.raise(now.UnixNano()) {
		k.tokenActivity.note(t.value.id, now)
	}
	return live, nil
}

// refuses returns why a token with a hash doesn't count at the time now; empty: it
// does. Only whoever has the token learns what became of it.
func (t *keptAccessToken) refuses(hash string, now time.Time) AccessTokenRefusal {
	isCurrent := subtle.ConstantTimeCompare([]byte(hash), []byte(t.hash)) == 1
	isFormer := subtle.ConstantTimeCompare([]byte(hash), []byte(t.former)) == 1
	switch {
	case !isCurrent && !isFormer:
		return TokenUnknown
	case !isCurrent && !now.Before(t.formerUntil):
		return TokenReplaced
	}
	return t.ended(now)
}

// ended returns why a token doesn't count at the time now, whoever has it; empty: it
// does.
func (t *keptAccessToken) ended(now time.Time) AccessTokenRefusal {
	switch {
	case t.refusal != "":
		return t.refusal
	case !now.Before(t.expires):
		return TokenExpired
	}
	return ""
}

func (t *keptAccessToken) refused(selector string, refusal AccessTokenRefusal) RefusedAccessToken {
	refused := RefusedAccessToken{AccessTokenRefusal: refusal, Selector: selector}
	if refusal != TokenUnknown {
		refused.Name, refused.UserID = t.name, t.user
	}
	return refused
}

func (k *Keeper) readAccessToken(ctx context.Context, selector string) (keptAccessToken, error) {
	t, err := k.store.AccessTokenBySelector(ctx, selector)
	if err != nil {
		return keptAccessToken{}, fmt.Errorf("reading an access token: %w", err)
	}
	scope := new(accesstoken.Scope)
	if err := json.Unmarshal(t.Scope, scope); err != nil {
		return keptAccessToken{}, fmt.Errorf("reading the scope of an access token: %w", err)
	}
	kept := keptAccessToken{
		id: t.ID, name: t.Name, hash: t.Hash, former: t.FormerHash, formerUntil: t.FormerUntil, user: t.UserID,
		scope: scope, created: t.Created, expires: t.Expires,
		seen: k.tokenActivity.learn(t.ID, t.LastUsed), used: new(atomic.Bool),
		networks: t.Networks, address: new(atomic.Pointer[string]),
	}
	kept.used.Store(!t.LastUsed.IsZero())
	if t.UserID == "" {
		kept.speaker = &Profile{
			User:      User{ID: t.ID, Name: accesstoken.Speaker(t.Name), Groups: t.Groups, Status: store.UserActive},
			GroupList: joinGroups(t.Groups),
		}
	}
	switch {
	case !t.Revoked.IsZero():
		kept.refusal = TokenRevoked
	case t.Suspended:
		kept.refusal = TokenSuspended
	}
	return kept, nil
}

// findTokenOwner returns the user whose app password a token is.
func (k *Keeper) findTokenOwner(ctx context.Context, id string) (*row[Profile], error) {
	owner, err := active(k.profiles.find(ctx, id))
	if errors.Is(err, ErrEnded) {
		return nil, TokenOfNobody
	}
	return owner, err
}

// refusing adds to a refusal what is known of the token, and leaves other errors as
// they are.
func (t *LiveAccessToken) refusing(err error) error {
	var refusal AccessTokenRefusal
	if errors.As(err, &refusal) {
		return t.token.value.refused(t.selector, refusal)
	}
	return err
}

// IsFirstUse reports once that the token was never used before, as far as this
// process knows.
func (t *LiveAccessToken) IsFirstUse() bool {
	used := t.token.value.used
	return !used.Load() && used.CompareAndSwap(false, true)
}

// Moves reports whether the token is used from a network that is new to it, and remembers
// the network. Only one of all nodes gets true. It is false at the first use. The network
// is that of the address, by networkOf.
func (t *LiveAccessToken) Moves(ctx context.Context, address string, networkOf func(string) string) (bool, error) {
	kept := &t.token.value
	if last := kept.address.Load(); last != nil && *last == address {
		return false, nil
	}
	network := networkOf(address)
	if network == "" {
		return false, nil
	}
	moves := false
	if !slices.Contains(kept.networks, network) {
		err := t.keeper.store.Atomically(ctx, func(tx store.Tx) (err error) {
			moves, err = addNetwork(ctx, tx, t.selector, network)
			return err
		})
		if err != nil {
			return false, fmt.Errorf("remembering the network of an access token: %w", err)
		}
	}
	kept.address.Store(&address)
	return moves, nil
}

// addNetwork adds a network to those of a token, where the oldest gives way to it. It
// reports whether the token was used before, but not from there.
func addNetwork(ctx context.Context, tx store.Tx, selector, network string) (bool, error) {
	row, err := tx.AccessTokenBySelector(ctx, selector)
	if err != nil || slices.Contains(row.Networks, network) {
		return false, err
	}
	wasUsed := len(row.Networks) > 0
	row.Networks = append(row.Networks, network)
	row.Networks = row.Networks[max(0, len(row.Networks)-maxTokenNetworks):]
	return wasUsed, tx.UpdateAccessToken(ctx, row)
}

// Selector is what the token is looked up by.
func (t *LiveAccessToken) Selector() string { return t.selector }

// Key implements Anchor: it is the selector.
func (t *LiveAccessToken) Key() string { return t.selector }

// Speaker implements Anchor.
func (t *LiveAccessToken) Speaker() *Profile { return t.User }

// Until implements Anchor.
func (t *LiveAccessToken) Until() time.Time { return t.Expires }

// IsAbout implements Anchor.
func (t *LiveAccessToken) IsAbout(change store.Change) bool {
	switch change.Kind {
	case store.AccessTokenChanged:
		return change.ID == t.selector
	case store.UserChanged:
		return t.IsPersonal && change.ID == t.User.ID
	}
	return false
}

// Use implements Anchor. A token doesn't go idle while it is in use.
func (t *LiveAccessToken) Use(now time.Time, _ bool) bool {
	t.keeper.tokenActivity.note(t.ID, now)
	return true
}

// Check implements Anchor. What a token has opened continues after the token is
// replaced, since its replacement opens the same.
func (t *LiveAccessToken) Check(ctx context.Context, _ bool) (*Profile, error) {
	k, speaker := t.keeper, t.User
	if !k.accessTokens.isCurrent(t.token) {
		now, err := k.accessTokens.find(ctx, t.selector)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return nil, ErrEnded
		case err != nil:
			return nil, err
		}
		if now.value.ended(k.clock()) != "" {
			return nil, ErrEnded
		}
	}
	if t.owner == nil || k.profiles.isCurrent(t.owner) {
		return speaker, nil
	}
	owner, err := active(k.profiles.find(ctx, t.User.ID))
	if err != nil {
		return nil, err
	}
	return &owner.value, nil
}

var _ Anchor = (*LiveAccessToken)(nil)

// flushAccessTokens writes down when access tokens were used, as Flush does for
// sign-ons.
func (k *Keeper) flushAccessTokens(ctx context.Context) error {
	pending := k.tokenActivity.takePending(k.clock())
	if len(pending) == 0 {
		return nil
	}
	seen := make([]store.AccessTokenActivity, len(pending))
	for i, p := range pending {
		seen[i] = store.AccessTokenActivity{Token: p.SignOn, Seen: p.Seen}
	}
	err := k.store.TouchAccessTokens(ctx, seen)
	if err != nil {
		k.tokenActivity.putBack(pending)
	}
	return err
}
