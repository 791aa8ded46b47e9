package accounts_test

import (
	"crypto/rand"
	"errors"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/accounts"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/store"
)

// later returns a desk whose clock can be moved on.
func (o *office) later() (*accounts.Desk, *time.Time) {
	now := noon
	clock := func() time.Time { return now }
	return accounts.NewDesk(o.store, nil, nil, audit.NewLog(zap.NewNop(), o.store, clock), clock, rand.Reader), &now
}

func (o *office) token(t store.AccessToken) {
	o.t.Helper()
	t.Name, t.Selector, t.Hash, t.Scope = t.ID, t.ID, t.ID, []byte(`{"hosts":["app.example.com"]}`)
	t.Created, t.Expires = noon, noon.AddDate(1, 0, 0)
	o.must(o.store.CreateAccessToken(o.ctx, t))
}

// revoked returns the names of the tokens that are revoked.
func (o *office) revoked() (names []string) {
	o.t.Helper()
	all, err := o.store.ListAccessTokens(o.ctx)
	o.must(err)
	for _, t := range all {
		if !t.Revoked.IsZero() {
			names = append(names, t.Name)
		}
	}
	return names
}

// events returns the fields of the events of a name, oldest first.
func (o *office) events(name audit.Name) (fields []map[string]string) {
	o.t.Helper()
	all, err := o.store.EventsAfter(o.ctx, 0, store.EventFilter{Limit: 1000})
	o.must(err)
	for _, e := range all {
		if e.Name == string(name) {
			fields = append(fields, e.Fields)
		}
	}
	return fields
}

// TestUnusedAppPasswordsEnd after 30 days, and nothing else does.
func TestUnusedAppPasswordsEnd(t *testing.T) {
	o := newOffice(t)
	desk, now := o.later()
	alice := o.active("alice")
	o.token(store.AccessToken{ID: "unused", UserID: alice.ID})
	o.token(store.AccessToken{ID: "used", UserID: alice.ID})
	o.token(store.AccessToken{ID: "service"})
	o.must(o.store.TouchAccessTokens(o.ctx, []store.AccessTokenActivity{{Token: "used", Seen: noon.Add(time.Hour)}}))
	for _, step := range []struct {
		after time.Duration
		ended []string
	}{
		{accounts.UnusedFor - time.Second, nil},
		{accounts.UnusedFor, []string{"unused"}},
		{accounts.UnusedFor + time.Hour - time.Second, []string{"unused"}},
		{accounts.UnusedFor + time.Hour, []string{"unused", "used"}},
	} {
		*now = noon.Add(step.after)
		o.must(desk.ReviewTokens(o.ctx))
		if ended := o.revoked(); !slices.Equal(ended, step.ended) {
			t.Errorf("after %s: %q have ended", step.after, ended)
		}
	}
	if told := o.events(audit.TokenRevoked); len(told) != 2 || told[0]["user"] != "alice" || told[0]["reason"] != "unused" {
		t.Errorf("the events are %v", told)
	}
}

// TestAppPasswordsByName are found, resumed and revoked as their user's, and no other
// token of the name is.
func TestAppPasswordsByName(t *testing.T) {
	o := newOffice(t)
	alice, bob := o.active("alice"), o.active("bob")
	for id, t := range map[string]store.AccessToken{"of alice": {UserID: alice.ID}, "of bob": {UserID: bob.ID}, "of nobody": {}} {
		t.ID, t.Name, t.Selector, t.Hash, t.Scope, t.Created, t.Expires = id, "Phone", id, id, []byte(`{"hosts":["app.example.com"]}`), noon, noon.AddDate(1, 0, 0)
		if t.UserID == "" {
			t.Name = "phone"
		}
		o.must(o.store.CreateAccessToken(o.ctx, t))
	}
	ofAlice := accounts.TokenName{Name: "Phone", User: "Alice"}
	found, err := o.Token(o.ctx, ofAlice)
	o.must(err)
	shown, err := o.Listed(o.ctx, found)
	o.must(err)
	if shown.ID != "of alice" || shown.User != "alice" || shown.Owner != "" {
		t.Errorf("%+v", shown)
	}
	o.must(o.store.Renew(o.ctx, o.store.Incarnation()))
	if resumed, err := o.ResumeToken(o.ctx, ofAlice); err != nil || resumed.ID != "of alice" || resumed.Suspended {
		t.Errorf("%+v, %v", resumed, err)
	}
	if _, err := o.RevokeToken(o.ctx, ofAlice); err != nil {
		t.Error(err)
	}
	if ended := o.revoked(); !slices.Equal(ended, []string{"Phone"}) {
		t.Errorf("%q have ended", ended)
	}
	for name, want := range map[accounts.TokenName]error{
		ofAlice: accounts.ErrNoAppPassword, {Name: "phone", User: "bob"}: accounts.ErrNoAppPassword,
		{Name: "Phone", User: "carol"}: accounts.ErrNobody, {Name: "other"}: accounts.ErrNoToken, {Name: "Phone", User: "bob"}: nil, {Name: "PHONE"}: nil,
	} {
		if _, err := o.Token(o.ctx, name); !errors.Is(err, want) {
			t.Errorf("%+v: %v, not %v", name, err, want)
		}
	}
	if told := o.events(audit.TokenRevoked); len(told) != 1 || told[0]["user"] != "alice" || told[0]["by"] == "" {
		t.Errorf("the events are %v", told)
	}
}

// TestTokensOutliveTheirOwner by 14 days, with an event a day.
func TestTokensOutliveTheirOwner(t *testing.T) {
	const day = 24 * time.Hour
	o := newOffice(t)
	desk, now := o.later()
	alice, bob := o.active("alice"), o.active("bob")
	o.token(store.AccessToken{ID: "of alice", OwnerID: alice.ID})
	o.token(store.AccessToken{ID: "of bob", OwnerID: bob.ID})
	o.token(store.AccessToken{ID: "of nobody"})
	o.must(desk.ReviewTokens(o.ctx))
	if told := o.events(audit.TokenUnowned); len(told) != 0 {
		t.Errorf("told of owners who are there: %v", told)
	}
	status := func(u store.User, status store.UserStatus) {
		t.Helper()
		current, err := o.store.UserByID(o.ctx, u.ID)
		o.must(err)
		current.Status = status
		o.must(o.store.UpdateUser(o.ctx, current))
	}
	status(bob, store.UserDisabled)
	_, err := o.Delete(o.ctx, "alice")
	o.must(err)
	for hour := range 24 * 3 {
		*now = noon.Add(time.Duration(hour) * time.Hour)
		o.must(desk.ReviewTokens(o.ctx))
	}
	told := o.events(audit.TokenUnowned)
	if len(told) != 6 || told[0]["until"] != noon.Add(14*day).Format(time.RFC3339) {
		t.Errorf("in three days, the events are %v", told)
	}
	status(bob, store.UserActive)
	o.must(desk.ReviewTokens(o.ctx))
	status(bob, store.UserDisabled)
	*now = noon.Add(14*day - time.Second)
	o.must(desk.ReviewTokens(o.ctx))
	if ended := o.revoked(); len(ended) != 0 {
		t.Errorf("%q have ended too early", ended)
	}
	*now = noon.Add(14 * day)
	o.must(desk.ReviewTokens(o.ctx))
	if ended := o.revoked(); !slices.Equal(ended, []string{"of alice"}) {
		t.Errorf("%q have ended", ended)
	}
	if told := o.events(audit.TokenRevoked); len(told) != 1 || told[0]["reason"] != "owner_left" {
		t.Errorf("the events are %v", told)
	}
}
