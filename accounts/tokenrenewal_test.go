package accounts_test

import (
	"errors"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/accesstoken"
	"github.com/portcullis-mfa/portcullis/accounts"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// TestRenewedTokensOverlap for seven days, but never longer than the one that was
// replaced would have worked, and at most two work at once.
func TestRenewedTokensOverlap(t *testing.T) {
	const day = 24 * time.Hour
	o := newOffice(t)
	desk, now := o.later()
	_, first, err := desk.CreateToken(o.ctx, accounts.NewToken{Name: "ci", Scope: accesstoken.Scope{Hosts: []string{"app.example.com"}}, Lifetime: 30 * day})
	o.must(err)
	renewed, second, err := desk.RenewToken(o.ctx, accounts.TokenRenewal{Name: "CI"})
	o.must(err)
	if renewed.Hash != token.Hash(second) || renewed.FormerHash != token.Hash(first) || !renewed.FormerUntil.Equal(noon.Add(7*day)) || !renewed.Expires.Equal(noon.Add(90*day)) {
		t.Errorf("%+v", renewed)
	}
	*now = noon.Add(86 * day)
	renewed, third, err := desk.RenewToken(o.ctx, accounts.TokenRenewal{Name: "ci", Lifetime: day})
	o.must(err)
	if !renewed.FormerUntil.Equal(noon.Add(90*day)) || !renewed.Expires.Equal(noon.Add(87*day)) {
		t.Errorf("the overlap is %+v", renewed)
	}
	for what, held := range map[string]struct {
		secret string
		found  bool
	}{"replaced twice": {first, false}, "replaced": {second, true}, "current": {third, true}, "made up": {third[:len(third)-1] + "0", false}, "with a line's end": {third + "\n", true}} {
		if _, err := desk.HeldToken(o.ctx, held.secret); (err == nil) != held.found || err != nil && !errors.Is(err, accounts.ErrNoToken) {
			t.Errorf("%s: %v", what, err)
		}
	}
	o.must(o.store.Renew(o.ctx, o.store.Incarnation()))
	if _, _, err := desk.RenewToken(o.ctx, accounts.TokenRenewal{Name: "ci"}); !errors.Is(err, accounts.ErrTokenSuspended) {
		t.Errorf("a suspended token is renewed: %v", err)
	}
	revoked, err := desk.RevokeHeldToken(o.ctx, second)
	o.must(err)
	if revoked.Revoked.IsZero() || len(o.events(audit.TokenRevoked)) != 1 {
		t.Errorf("%+v", revoked)
	}
	if _, _, err := desk.RenewToken(o.ctx, accounts.TokenRenewal{Name: "ci"}); !errors.Is(err, accounts.ErrNoToken) {
		t.Errorf("a revoked token is renewed: %v", err)
	}
}

// TestTokensNeedAnOwnerToBeRenewed once they had one.
func TestTokensNeedAnOwnerToBeRenewed(t *testing.T) {
	o := newOffice(t)
	alice := o.active("alice")
	o.active("bob")
	scope := accesstoken.Scope{Hosts: []string{"app.example.com"}}
	if _, _, err := o.CreateToken(o.ctx, accounts.NewToken{Name: "ci", Scope: scope, Owner: "nobody"}); !errors.Is(err, accounts.ErrNobody) {
		t.Errorf("an owner who doesn't exist: %v", err)
	}
	made, _, err := o.CreateToken(o.ctx, accounts.NewToken{Name: "ci", Scope: scope, Owner: "Alice"})
	o.must(err)
	if made.OwnerID != alice.ID {
		t.Errorf("%+v", made)
	}
	alice.Status, alice.Version = store.UserDisabled, 1
	o.must(o.store.UpdateUser(o.ctx, alice))
	for _, name := range []string{"", "alice"} {
		if _, _, err := o.RenewToken(o.ctx, accounts.TokenRenewal{Name: "ci", Owner: name}); !errors.Is(err, accounts.ErrNoOwner) {
			t.Errorf("for %q: %v", name, err)
		}
	}
	renewed, _, err := o.RenewToken(o.ctx, accounts.TokenRenewal{Name: "ci", Owner: "bob"})
	o.must(err)
	if renewed.OwnerID != "id of bob" {
		t.Errorf("%+v", renewed)
	}
}
