package conformance

import (
	"errors"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

var accessTokenTests = []test{
	{"come back as created", accessTokensComeBack},
	{"are created in a transaction or not at all", accessTokensInTransactions},
	{"are unique", accessTokensAreUnique},
	{"are revoked once", accessTokensRevoked},
	{"are suspended with the store's life", accessTokensSuspended},
	{"go once they have expired", accessTokensSwept},
	{"are of a user or of nobody", accessTokensOfUsers},
	{"are updated", accessTokensUpdated},
	{"are touched", accessTokensTouched},
}

func accessToken(id string) store.AccessToken {
	return store.AccessToken{
		ID: id, Name: "name of " + id, Selector: "selector of " + id, Hash: "hash of " + id, Groups: []string{"b", awkward}, Scope: []byte(awkward),
		Created: noon, Expires: noon.AddDate(0, 3, 0),
	}
}

func accessTokensComeBack(t *testing.T, f fixture) {
	wantEqual(t, "at first", get(f.ListAccessTokens(f.ctx))(t), []store.AccessToken(nil))
	bare := store.AccessToken{ID: "c", Name: "a", Selector: "c", Scope: []byte("{}"), Created: noon, Expires: noon}
	all := []store.AccessToken{bare, accessToken("a"), accessToken("b")}
	for _, one := range all {
		must(t, f.CreateAccessToken(f.ctx, one))
	}
	wantEqual(t, "all", get(f.ListAccessTokens(f.ctx))(t), all)
	for _, one := range all {
		wantEqual(t, "by selector", get(f.AccessTokenBySelector(f.ctx, one.Selector))(t), one)
		wantEqual(t, "by name", get(f.AccessTokenByName(f.ctx, one.Name))(t), one)
	}
	_, err := f.AccessTokenBySelector(f.ctx, "selector of A")
	wantError(t, err, store.ErrNotFound)
	_, err = f.AccessTokenByName(f.ctx, "")
	wantError(t, err, store.ErrNotFound)
}

func accessTokensInTransactions(t *testing.T, f fixture) {
	wantError(t, f.Atomically(f.ctx, func(tx store.Tx) error {
		return errors.Join(tx.CreateAccessToken(f.ctx, accessToken("a")), errRefused)
	}), errRefused)
	wantEqual(t, "after a transaction that failed", get(f.ListAccessTokens(f.ctx))(t), []store.AccessToken(nil))
}

func accessTokensAreUnique(t *testing.T, f fixture) {
	must(t, f.CreateAccessToken(f.ctx, accessToken("a")))
	for _, change := range []func(*store.AccessToken){
		func(other *store.AccessToken) { other.ID = "a" },
		func(other *store.AccessToken) { other.Name = accessToken("a").Name },
		func(other *store.AccessToken) { other.Selector = accessToken("a").Selector },
	} {
		other := accessToken("b")
		change(&other)
		wantError(t, f.CreateAccessToken(f.ctx, other), store.ErrConflict)
	}
}

// accessTokensRevoked frees the name of one, and keeps the first time.
func accessTokensRevoked(t *testing.T, f fixture) {
	one, successor := accessToken("a"), accessToken("b")
	successor.Name = one.Name
	must(t, f.CreateAccessToken(f.ctx, one))
	must(t, f.RevokeAccessToken(f.ctx, "a", noon.Add(time.Hour)))
	must(t, f.RevokeAccessToken(f.ctx, "a", noon.Add(2*time.Hour)))
	must(t, f.ResumeAccessToken(f.ctx, "a"))
	wantError(t, f.RevokeAccessToken(f.ctx, "x", noon), store.ErrNotFound)
	_, err := f.AccessTokenByName(f.ctx, one.Name)
	wantError(t, err, store.ErrNotFound)
	one.Revoked = noon.Add(time.Hour)
	wantEqual(t, "revoked", get(f.AccessTokenBySelector(f.ctx, one.Selector))(t), one)
	must(t, f.CreateAccessToken(f.ctx, successor))
	wantEqual(t, "of its name", get(f.AccessTokenByName(f.ctx, one.Name))(t), successor)
}

func accessTokensSuspended(t *testing.T, f fixture) {
	must(t, f.CreateAccessToken(f.ctx, accessToken("a")))
	must(t, f.CreateAccessToken(f.ctx, accessToken("b")))
	must(t, f.Renew(f.ctx, f.Incarnation()))
	must(t, f.ResumeAccessToken(f.ctx, "b"))
	wantError(t, f.ResumeAccessToken(f.ctx, "x"), store.ErrNotFound)
	for id, suspended := range map[string]bool{"a": true, "b": false} {
		want := accessToken(id)
		want.Suspended = suspended
		wantEqual(t, id, get(f.AccessTokenBySelector(f.ctx, want.Selector))(t), want)
	}
}

func accessTokensSwept(t *testing.T, f fixture) {
	one := accessToken("a")
	must(t, f.CreateAccessToken(f.ctx, one))
	must(t, f.Sweep(f.ctx, noon, store.SweepLimits{AccessTokensBefore: one.Expires}))
	wantEqual(t, "at the expiry", get(f.AccessTokenBySelector(f.ctx, one.Selector))(t), one)
	must(t, f.Sweep(f.ctx, noon, store.SweepLimits{AccessTokensBefore: one.Expires.Add(time.Microsecond)}))
	_, err := f.AccessTokenBySelector(f.ctx, one.Selector)
	wantError(t, err, store.ErrNotFound)
}

// accessTokensOfUsers share their name with those of others, and go with their user.
func accessTokensOfUsers(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	f.addUser(t, "u2")
	service, own, other := accessToken("a"), accessToken("b"), accessToken("c")
	own.UserID, own.Name, other.UserID, other.Name = "u1", service.Name, "u2", service.Name
	for _, one := range []store.AccessToken{service, own, other} {
		must(t, f.CreateAccessToken(f.ctx, one))
	}
	again := accessToken("d")
	again.UserID, again.Name = "u1", service.Name
	wantError(t, f.CreateAccessToken(f.ctx, again), store.ErrConflict)
	again.UserID = "u3"
	wantError(t, f.CreateAccessToken(f.ctx, again), store.ErrNotFound)
	wantEqual(t, "by name", get(f.AccessTokenByName(f.ctx, service.Name))(t), service)
	wantEqual(t, "of a user", get(f.AccessTokensOf(f.ctx, "u1"))(t), []store.AccessToken{own})
	wantEqual(t, "of nobody", get(f.AccessTokensOf(f.ctx, ""))(t), []store.AccessToken(nil))
	must(t, f.DeleteUser(f.ctx, "u1"))
	wantEqual(t, "after their user", get(f.ListAccessTokens(f.ctx))(t), []store.AccessToken{service, other})
}

func accessTokensUpdated(t *testing.T, f fixture) {
	one := accessToken("a")
	must(t, f.CreateAccessToken(f.ctx, one))
	one.Hash, one.FormerHash, one.FormerUntil = "new", one.Hash, noon.Add(time.Hour)
	one.OwnerID, one.Unowned, one.Warned, one.Expires = "u9", noon, noon.Add(time.Hour), noon.AddDate(1, 0, 0)
	one.Networks = []string{"192.0.2.0/24", awkward}
	must(t, f.UpdateAccessToken(f.ctx, one))
	wantEqual(t, "updated", get(f.AccessTokenBySelector(f.ctx, one.Selector))(t), one)
	wantError(t, f.UpdateAccessToken(f.ctx, accessToken("x")), store.ErrNotFound)
}

func accessTokensTouched(t *testing.T, f fixture) {
	one, revoked := accessToken("a"), accessToken("b")
	must(t, f.CreateAccessToken(f.ctx, one))
	must(t, f.CreateAccessToken(f.ctx, revoked))
	must(t, f.RevokeAccessToken(f.ctx, "b", noon))
	position := get(f.Position(f.ctx))(t)
	one.LastUsed, revoked.Revoked = noon.Add(time.Hour), noon
	for _, at := range []time.Time{noon, one.LastUsed, noon.Add(time.Minute)} {
		must(t, f.TouchAccessTokens(f.ctx, []store.AccessTokenActivity{{Token: "a", Seen: at}, {Token: "b", Seen: at}, {Token: "x", Seen: at}}))
	}
	for _, want := range []store.AccessToken{one, revoked} {
		wantEqual(t, want.ID, get(f.AccessTokenBySelector(f.ctx, want.Selector))(t), want)
	}
	wantEqual(t, "position", get(f.Position(f.ctx))(t), position)
}
