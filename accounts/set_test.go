package accounts_test

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/accounts"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// M01: an invitation that was mailed to a wrong address is void once that is corrected. One
// that was handed over stays.
func TestM01AnotherAddressVoidsMailedInvitations(t *testing.T) {
	o := newOffice(t)
	bob, handedOver, err := o.Add(o.ctx, accounts.NewUser{Name: "bob", Email: "bop@example.com"})
	o.must(err)
	o.must(o.store.PutRecord(o.ctx, store.Record{
		Namespace: person.Links, Key: "mailed", Owner: bob.ID, Value: []byte(person.MailedInvitation), Expires: noon.Add(time.Hour),
	}))
	left := func() int {
		links, err := o.store.RecordsOf(o.ctx, person.Links, bob.ID, noon)
		o.must(err)
		return len(links)
	}
	group, right := []string{"staff"}, "bob@example.com"
	_, err = o.Set(o.ctx, "bob", accounts.Changes{Groups: &group})
	o.must(err)
	if left() != 2 {
		t.Fatalf("%d links are left after another change", left())
	}
	_, err = o.Set(o.ctx, "bob", accounts.Changes{Email: &right})
	o.must(err)
	if _, err := o.store.GetRecord(o.ctx, person.Links, "mailed", noon); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the mailed link counts still: %v", err)
	}
	if _, err := o.store.GetRecord(o.ctx, person.Links, token.Hash(handedOver), noon); err != nil {
		t.Errorf("the other link: %v", err)
	}
}

func TestSet(t *testing.T) {
	none := ""
	for _, tt := range []struct {
		what    string
		changes accounts.Changes
		want    store.User // its name, display name, address and groups
		fields  map[string]string
	}{
		{"all", accounts.Changes{Name: new("Robert"), DisplayName: new(" Robert B "), Email: new("R@Example.com"), Groups: &[]string{"ops", "ops", "dev"}},
			store.User{Name: "robert", DisplayName: "Robert B", Email: "r@example.com", Groups: []string{"ops", "dev"}},
			map[string]string{"user": "robert", "was_called": "bob", "changed": "name,display_name,email,groups", "groups": "ops,dev"}},
		{"one of them", accounts.Changes{Groups: &[]string{"staff", "admins"}},
			store.User{Name: "bob", DisplayName: "Bob", Email: "bob@example.com", Groups: []string{"staff", "admins"}},
			map[string]string{"user": "bob", "changed": "groups", "groups": "staff,admins"}},
		{"what can be removed", accounts.Changes{DisplayName: &none, Email: &none, Groups: &[]string{}},
			store.User{Name: "bob"},
			map[string]string{"user": "bob", "changed": "display_name,email,groups"}},
		{"nothing", accounts.Changes{}, store.User{Name: "bob", DisplayName: "Bob", Email: "bob@example.com", Groups: []string{"staff"}}, nil},
		{"what is so already", accounts.Changes{Name: new("BOB"), Email: new("BOB@example.com"), Groups: &[]string{"staff"}},
			store.User{Name: "bob", DisplayName: "Bob", Email: "bob@example.com", Groups: []string{"staff"}}, nil},
	} {
		t.Run(tt.what, func(t *testing.T) {
			o := newOffice(t)
			bob := store.User{
				ID: "id", Name: "bob", DisplayName: "Bob", Email: "bob@example.com", Groups: []string{"staff"},
				Status: store.UserActive, Created: noon,
			}
			o.must(o.store.CreateUser(o.ctx, bob))
			o.signOn("1", bob, noon)
			told, err := o.Set(o.ctx, "Bob", tt.changes)
			o.must(err)
			kept, err := o.store.UserByID(o.ctx, "id")
			o.must(err)
			for _, got := range []store.User{told, kept} {
				if got.Name != tt.want.Name || got.DisplayName != tt.want.DisplayName || got.Email != tt.want.Email ||
					!slices.Equal(got.Groups, tt.want.Groups) || got.Status != store.UserActive {
					t.Errorf("got %+v, want %+v", got, tt.want)
				}
			}
			if s, err := o.store.SignOnByID(o.ctx, "1"); err != nil || !s.Ended.IsZero() {
				t.Errorf("a sign-on ended with it: %+v, %v", s, err)
			}
			events, err := o.store.ListEvents(o.ctx, store.EventFilter{UserID: "id"})
			o.must(err)
			if tt.fields == nil {
				if len(events) != 0 || kept.Version != 1 {
					t.Errorf("nothing was to change: version %d, events %+v", kept.Version, events)
				}
				return
			}
			tt.fields["by"] = "administrator"
			if len(events) != 1 || events[0].Name != "user.changed" || !maps.Equal(events[0].Fields, tt.fields) {
				t.Errorf("events %+v, want one with %v", events, tt.fields)
			}
		})
	}
}

func TestSetRefuses(t *testing.T) {
	o := newOffice(t)
	bob := o.active("bob")
	o.active("ada")
	_, err := o.Set(o.ctx, "ada", accounts.Changes{Email: new("ada@example.com")})
	o.must(err)
	for what, taken := range map[string]accounts.Changes{
		"a name":                  {Name: new("ADA")},
		"an address":              {Email: new("Ada@Example.com")},
		"a name, with new groups": {Name: new("ada"), Groups: &[]string{"ops"}},
	} {
		if _, err := o.Set(o.ctx, "bob", taken); !errors.Is(err, accounts.ErrTaken) {
			t.Errorf("%s that somebody has: %v", what, err)
		}
	}
	for what, wrong := range map[string]accounts.Changes{
		"no name":                      {Name: new("")},
		"an address for a name":        {Name: new("eve@example.com")},
		"an address that is none":      {Email: new("eve")},
		"a group with a comma":         {Groups: &[]string{"a,b"}},
		"an empty group":               {Groups: &[]string{""}},
		"a name with a control letter": {DisplayName: new("Eve\x1b[2J")},
		"a good one, then a bad one":   {DisplayName: new("Eve"), Email: new("eve")},
	} {
		var speaks interface{ Text() string }
		if _, err := o.Set(o.ctx, "bob", wrong); !errors.As(err, &speaks) || speaks.Text() == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if kept, err := o.store.UserByID(o.ctx, bob.ID); err != nil || kept.Version != 1 || kept.Name != "bob" {
		t.Errorf("a change that was refused left %+v, %v", kept, err)
	}
	if got := o.told(bob.ID); len(got) != 0 {
		t.Errorf("events %v", got)
	}
}

func TestDelete(t *testing.T) {
	o := newOffice(t)
	ada, bob := o.active("ada"), o.active("bob")
	for _, user := range []store.User{ada, bob} {
		o.signOn("sign-on of "+user.Name, user, noon)
		o.browser("browser of "+user.Name, user, noon.Add(time.Hour))
		o.must(o.store.PutRecord(o.ctx, store.Record{Namespace: "flow", Key: user.Name, Owner: user.ID, Expires: noon.Add(time.Hour)}))
	}
	for id, expires := range map[string]time.Time{"laptop": noon.Add(time.Hour), "expired": noon} {
		o.must(o.store.CreateDevice(o.ctx, store.Device{ID: id, UserID: bob.ID, Name: id, Certificate: id, Issued: noon, Expires: expires}))
	}
	deleted, err := o.Delete(o.ctx, "Bob")
	o.must(err)
	if deleted.User.Name != "bob" || len(deleted.Factors) != 1 || len(deleted.SignOns) != 1 || len(deleted.Browsers) != 1 {
		t.Errorf("said to have deleted %+v", deleted)
	}
	for user, lives := range map[string]bool{"ada": true, "bob": false} {
		_, userErr := o.store.UserByName(o.ctx, user)
		_, signOnErr := o.store.SignOnByID(o.ctx, "sign-on of "+user)
		_, credentialErr := o.store.CredentialByID(o.ctx, "password of "+user)
		_, flowErr := o.store.GetRecord(o.ctx, "flow", user, noon)
		for what, err := range map[string]error{"user": userErr, "sign-on": signOnErr, "credential": credentialErr, "flow": flowErr} {
			if lives && err != nil || !lives && !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s of %s: %v", what, user, err)
			}
		}
	}
	if got := o.told(bob.ID); !slices.Equal(got, []string{"sign_on.ended", "browser.forgotten", "device.revoked", "user.deleted"}) {
		t.Errorf("events %v", got)
	}
	if _, err := o.Delete(o.ctx, "bob"); !errors.Is(err, accounts.ErrNobody) {
		t.Errorf("deleting twice: %v", err)
	}
}
