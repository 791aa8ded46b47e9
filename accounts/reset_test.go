package accounts_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/accounts"
	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// equip gives a user a credential of each kind.
func (o *office) equip(user store.User, kinds ...assurance.Factor) {
	o.t.Helper()
	for _, kind := range kinds {
		o.must(o.store.CreateCredential(o.ctx, store.Credential{
			ID: string(kind) + " of " + user.ID, UserID: user.ID, Kind: kind, Secret: []byte("x"),
			State: store.CredentialActive, Created: noon,
		}))
	}
}

// kinds are the kinds of credential that a user has.
func (o *office) kinds(user store.User) []assurance.Factor {
	o.t.Helper()
	all, err := o.store.CredentialsOf(o.ctx, user.ID)
	o.must(err)
	var kinds []assurance.Factor
	for _, c := range all {
		kinds = append(kinds, c.Kind)
	}
	return kinds
}

func TestResetFactors(t *testing.T) {
	for _, c := range []struct {
		what     string
		password bool
		left     []assurance.Factor
		status   store.UserStatus
	}{
		{"second factors", false, []assurance.Factor{assurance.Password}, store.UserActive},
		{"the password too", true, nil, store.UserInvited},
	} {
		t.Run(c.what, func(t *testing.T) {
			o := newOffice(t)
			alice, bob := o.active("alice"), o.active("bob")
			for _, user := range []store.User{alice, bob} {
				o.equip(user, assurance.TOTP, assurance.BackupCode)
				o.signOn("sign-on of "+user.Name, user, noon)
				o.browser("browser of "+user.Name, user, noon.Add(time.Hour))
			}
			o.must(o.store.PutAttempts(o.ctx, store.Attempts{Scope: guess.ScopeUser, Key: alice.ID + "/totp/unknown", Failures: 9, Last: noon}))
			o.must(o.store.PutAttempts(o.ctx, store.Attempts{Scope: guess.ScopeBudget, Key: alice.ID + "/", Failures: 25, First: noon, Last: noon}))
			done, err := o.ResetFactors(o.ctx, "Alice", c.password)
			o.must(err)
			want := []assurance.Factor{assurance.BackupCode, assurance.TOTP}
			if c.password {
				want = []assurance.Factor{assurance.BackupCode, assurance.Password, assurance.TOTP}
			}
			if !slices.Equal(done.Factors, want) || done.Ended != 1 {
				t.Errorf("done: %+v", done)
			}
			if got := o.kinds(alice); !slices.Equal(got, c.left) || o.status("alice") != c.status {
				t.Errorf("alice has %v and is %s", got, o.status("alice"))
			}
			if s, err := o.store.SignOnByID(o.ctx, "sign-on of alice"); err != nil || s.EndReason != session.EndedByReset {
				t.Errorf("her sign-on: %+v, %v", s, err)
			}
			if known, err := o.store.BrowsersOf(o.ctx, alice.ID); err != nil || len(known) != 0 {
				t.Errorf("her browsers: %+v, %v", known, err)
			}
			if count, err := o.store.GetAttempts(o.ctx, guess.ScopeUser, alice.ID+"/totp/unknown"); err != nil || count.Failures != 0 {
				t.Errorf("her failed attempts: %+v, %v", count, err)
			}
			if person, err := o.Show(o.ctx, "alice"); err != nil || !person.PausedUntil.IsZero() {
				t.Errorf("paused until %s, %v", person.PausedUntil, err)
			}
			if len(o.kinds(bob)) != 3 || len(o.remembered(bob)) != 1 {
				t.Error("somebody else was reset")
			}
			if told := o.told(alice.ID); !slices.ContainsFunc(told, func(line string) bool { return strings.HasPrefix(line, "factors.reset") }) {
				t.Errorf("events: %v", told)
			}
		})
	}
}

func TestWhoCanBeHelped(t *testing.T) {
	o := newOffice(t)
	o.active("alice")
	_, _, err := o.Add(o.ctx, accounts.NewUser{Name: "invited"})
	o.must(err)
	if _, err := o.ResetFactors(o.ctx, "invited", false); !errors.Is(err, accounts.ErrNotSetUp) {
		t.Errorf("resetting somebody who hasn't set up: %v", err)
	}
	if _, err := o.AccessCode(o.ctx, "invited"); !errors.Is(err, authflow.ErrNotActive) {
		t.Errorf("an access code for somebody who hasn't set up: %v", err)
	}
	for _, name := range []string{"nobody", "", "no body"} {
		if _, err := o.ResetFactors(o.ctx, name, false); !errors.Is(err, accounts.ErrNobody) {
			t.Errorf("resetting %q: %v", name, err)
		}
		if _, err := o.AccessCode(o.ctx, name); !errors.Is(err, accounts.ErrNobody) {
			t.Errorf("an access code for %q: %v", name, err)
		}
	}
	code, err := o.AccessCode(o.ctx, "alice")
	if err != nil || len(code) != 19 {
		t.Errorf("the code is %q, %v", code, err)
	}
}
