package accounts_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/accounts"
	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/store/sqlite/sqlitetest"
	"github.com/portcullis-mfa/portcullis/store/storetest"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// office is a desk over a real store, at noon.
type office struct {
	*accounts.Desk
	t     *testing.T
	ctx   context.Context
	store store.Store
}

func newOffice(t *testing.T) *office {
	t.Helper()
	db := storetest.Rerun(sqlitetest.Open(t))
	clock := func() time.Time { return noon }
	log := audit.NewLog(zap.NewNop(), db, clock)
	people := person.New(person.Settings{Store: db, Audit: log, Clock: clock, Random: rand.Reader})
	links := authflow.New(authflow.Settings{Store: db, People: people, Audit: log, Clock: clock, Random: rand.Reader})
	return &office{accounts.NewDesk(db, links, nil, log, clock, rand.Reader), t, t.Context(), db}
}

func (o *office) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

// active makes a user who has set up.
func (o *office) active(name string) store.User {
	o.t.Helper()
	user := store.User{ID: "id of " + name, Name: name, Status: store.UserActive, Created: noon}
	o.must(o.store.CreateUser(o.ctx, user))
	o.must(o.store.CreateCredential(o.ctx, store.Credential{
		ID: "password of " + name, UserID: user.ID, Kind: assurance.Password, State: store.CredentialActive, Created: noon,
	}))
	return user
}

func (o *office) signOn(id string, user store.User, seen time.Time) {
	o.t.Helper()
	o.must(o.store.CreateSignOn(o.ctx, store.SignOn{
		ID: id, UserID: user.ID, Started: noon.Add(-3 * time.Hour), Expires: noon.Add(9 * time.Hour), Idle: time.Hour, LastSeen: seen,
	}))
}

// browser makes a browser of the user's, remembered for a TOTP until then.
func (o *office) browser(id string, user store.User, until time.Time) {
	o.t.Helper()
	b := store.Browser{ID: id, UserID: user.ID, TokenHash: id, UserAgent: "Lynx", Created: noon, LastSeen: noon, Remembered: until}
	if !until.IsZero() {
		b.RememberedFor = assurance.TOTP
	}
	o.must(o.store.CreateBrowser(o.ctx, b))
}

// remembered returns the ids of the user's browsers that are remembered at noon.
func (o *office) remembered(user store.User) []string {
	o.t.Helper()
	all, err := o.store.BrowsersOf(o.ctx, user.ID)
	o.must(err)
	var ids []string
	for _, b := range all {
		if b.Remembered.After(noon) {
			ids = append(ids, b.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

func (o *office) status(name string) store.UserStatus {
	o.t.Helper()
	user, err := o.store.UserByName(o.ctx, name)
	o.must(err)
	return user.Status
}

// told returns the names of the events about a user, oldest first.
func (o *office) told(userID string) []string {
	o.t.Helper()
	events, err := o.store.ListEvents(o.ctx, store.EventFilter{UserID: userID})
	o.must(err)
	var names []string
	for _, e := range slices.Backward(events) {
		names = append(names, e.Name)
	}
	return names
}

func TestAdd(t *testing.T) {
	o := newOffice(t)
	user, link, err := o.Add(o.ctx, accounts.NewUser{Name: "Bob", Email: "Bob@Example.COM", DisplayName: " Bob Builder ", Groups: []string{"staff", "ops", "staff"}})
	o.must(err)
	if user.Name != "bob" || user.Email != "bob@example.com" || user.DisplayName != "Bob Builder" ||
		!slices.Equal(user.Groups, []string{"staff", "ops"}) || user.Status != store.UserInvited || len(link) != 43 {
		t.Errorf("%+v %q", user, link)
	}
	if got := o.told(user.ID); !slices.Equal(got, []string{"user.created", "user.invited"}) {
		t.Errorf("events %v", got)
	}
	for what, again := range map[string]accounts.NewUser{
		"the name is taken":                    {Name: "bob"},
		"the name is taken, in another case":   {Name: "BOB"},
		"the address is taken":                 {Name: "robert", Email: "bob@example.com"},
		"the address is taken in another case": {Name: "robert", Email: "BOB@example.com"},
	} {
		if _, _, err := o.Add(o.ctx, again); !errors.Is(err, accounts.ErrTaken) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, wrong := range map[string]accounts.NewUser{
		"no name":                      {},
		"an address for a name":        {Name: "eve@example.com"},
		"an address that is none":      {Name: "eve", Email: "eve"},
		"a group with a comma":         {Name: "eve", Groups: []string{"a,b"}},
		"an empty group":               {Name: "eve", Groups: []string{""}},
		"a name with a control letter": {Name: "eve", DisplayName: "Eve\x1b[2J"},
	} {
		var speaks interface{ Text() string }
		if _, _, err := o.Add(o.ctx, wrong); !errors.As(err, &speaks) || speaks.Text() == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if all, err := o.List(o.ctx); err != nil || len(all) != 1 {
		t.Errorf("%d users, %v", len(all), err)
	}
}

func TestNobody(t *testing.T) {
	o := newOffice(t)
	for _, name := range []string{"nemo", "", "a b", "@", "id of nemo"} {
		_, _, inviteErr := o.Invite(o.ctx, name, false)
		_, showErr := o.Show(o.ctx, name)
		_, endErr := o.EndSignOnsOf(o.ctx, name)
		_, setErr := o.Set(o.ctx, name, accounts.Changes{})
		_, deleteErr := o.Delete(o.ctx, name)
		_, unlockErr := o.Unlock(o.ctx, name)
		for what, err := range map[string]error{
			"invite": inviteErr, "show": showErr, "end": endErr,
			"disable": o.Disable(o.ctx, name), "enable": o.Enable(o.ctx, name), "unlock": unlockErr,
			"set": setErr, "delete": deleteErr, "forget": o.ForgetBrowser(o.ctx, name, "000000000000"),
		} {
			if !errors.Is(err, accounts.ErrNobody) {
				t.Errorf("%s %q: %v", what, name, err)
			}
		}
	}
}

func TestDisableAndEnable(t *testing.T) {
	o := newOffice(t)
	ada, bob := o.active("ada"), o.active("bob")
	o.signOn("1", ada, noon)
	o.signOn("2", ada, noon)
	o.signOn("3", bob, noon)
	o.browser("ada's", ada, noon.Add(time.Hour))
	o.browser("bob's", bob, noon.Add(time.Hour))
	for _, namespace := range []string{"flow", "link"} {
		for _, user := range []store.User{ada, bob} {
			o.must(o.store.PutRecord(o.ctx, store.Record{Namespace: namespace, Key: user.Name, Owner: user.ID, Expires: noon.Add(time.Hour)}))
		}
	}
	o.must(o.Disable(o.ctx, "ADA"))
	if o.status("ada") != store.UserDisabled || o.status("bob") != store.UserActive {
		t.Errorf("ada is %s, bob %s", o.status("ada"), o.status("bob"))
	}
	for id, lives := range map[string]bool{"1": false, "2": false, "3": true} {
		if s, err := o.store.SignOnByID(o.ctx, id); err != nil || s.Ended.IsZero() != lives || !lives && s.EndReason != "user_disabled" {
			t.Errorf("sign-on %s: %+v, %v", id, s, err)
		}
	}
	if len(o.remembered(ada)) != 0 || len(o.remembered(bob)) != 1 {
		t.Errorf("remembered: %q of ada's, %q of bob's", o.remembered(ada), o.remembered(bob))
	}
	o.must(o.Enable(o.ctx, "ada"))
	for _, namespace := range []string{"flow", "link"} {
		if _, err := o.store.GetRecord(o.ctx, namespace, "ada", noon); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a %s from before the disabling: %v", namespace, err)
		}
		if _, err := o.store.GetRecord(o.ctx, namespace, "bob", noon); err != nil {
			t.Errorf("somebody else's %s: %v", namespace, err)
		}
	}
	if s, err := o.store.SignOnByID(o.ctx, "1"); err != nil || s.Ended.IsZero() {
		t.Errorf("enabling revived a sign-on: %+v, %v", s, err)
	}
	if got := o.told(ada.ID); !slices.Equal(got, []string{"sign_on.ended", "sign_on.ended", "browser.forgotten", "user.disabled", "user.enabled"}) {
		t.Errorf("events %v", got)
	}

	t.Run("to where they had been", func(t *testing.T) {
		_, _, err := o.Add(o.ctx, accounts.NewUser{Name: "carol"})
		o.must(err)
		for name, want := range map[string]store.UserStatus{"carol": store.UserInvited, "ada": store.UserActive} {
			o.must(o.Enable(o.ctx, name)) // of somebody who isn't disabled
			if got := o.status(name); got != want {
				t.Errorf("enabling %s made them %s", name, got)
			}
			o.must(o.Disable(o.ctx, name))
			o.must(o.Disable(o.ctx, name))
			o.must(o.Enable(o.ctx, name))
			if got := o.status(name); got != want {
				t.Errorf("enabled, %s is %s", name, got)
			}
		}
	})
}

func TestInvite(t *testing.T) {
	o := newOffice(t)
	o.active("ada")
	bob, first, err := o.Add(o.ctx, accounts.NewUser{Name: "bob"})
	o.must(err)
	_, second, err := o.Invite(o.ctx, "bob", false)
	o.must(err)
	if first == second {
		t.Error("one link twice")
	}
	for _, name := range []string{"ada", "bob"} {
		if name == "bob" {
			o.must(o.Disable(o.ctx, name))
		}
		if _, _, err := o.Invite(o.ctx, name, false); !errors.Is(err, authflow.ErrSetUp) {
			t.Errorf("inviting %s: %v", name, err)
		}
	}
	if got := o.told(bob.ID); !slices.Equal(got, []string{"user.created", "user.invited", "user.invited", "user.disabled"}) {
		t.Errorf("events %v", got)
	}
}

func TestUnlock(t *testing.T) {
	o := newOffice(t)
	ada, adam := o.active("ada"), o.active("adam")
	keys := func(u store.User) []string {
		return []string{u.ID + "/password/unknown", u.ID + "/totp/unknown", u.ID + "/totp/some browser"}
	}
	for _, u := range []store.User{ada, adam} {
		for _, key := range keys(u) {
			o.must(o.store.PutAttempts(o.ctx, store.Attempts{Scope: guess.ScopeUser, Key: key, Failures: 100, First: noon, Last: noon}))
		}
	}
	if wasPaused, err := o.Unlock(o.ctx, "ada"); err != nil || wasPaused {
		t.Errorf("%t, %v", wasPaused, err)
	}
	for _, u := range []store.User{ada, adam} {
		for _, key := range keys(u) {
			a, err := o.store.GetAttempts(o.ctx, guess.ScopeUser, key)
			if want := map[string]int{"ada": 0, "adam": 100}[u.Name]; err != nil || a.Failures != want {
				t.Errorf("%s: %d failures, %v; want %d", key, a.Failures, err, want)
			}
		}
	}
	if got := o.told(ada.ID); !slices.Equal(got, []string{"user.unlocked"}) {
		t.Errorf("events %v", got)
	}
}

// TestPauses has administrators see a pause and end it.
func TestPauses(t *testing.T) {
	o := newOffice(t)
	ada, adam := o.active("ada"), o.active("adam")
	began := noon.AddDate(0, 0, -10)
	for _, u := range []store.User{ada, adam} {
		o.must(o.store.PutAttempts(o.ctx, store.Attempts{Scope: guess.ScopeBudget, Key: u.ID + "/", Failures: 25, First: began, Last: noon}))
	}
	pausedUntil := func(name string) time.Time {
		person, err := o.Show(o.ctx, name)
		o.must(err)
		return person.PausedUntil
	}
	if until := pausedUntil("ada"); !until.Equal(began.AddDate(0, 0, 30)) {
		t.Errorf("paused until %s", until)
	}
	for _, want := range []bool{true, false} {
		if wasPaused, err := o.Unlock(o.ctx, "ada"); err != nil || wasPaused != want {
			t.Errorf("was paused: %t, %v; want %t", wasPaused, err, want)
		}
	}
	if until := pausedUntil("ada"); !until.IsZero() {
		t.Errorf("afterwards: paused until %s", until)
	}
	if pausedUntil("adam").IsZero() {
		t.Error("somebody else was unlocked, too")
	}
}

func TestShow(t *testing.T) {
	o := newOffice(t)
	ada := o.active("ada")
	for i, c := range []store.Credential{
		{Kind: assurance.TOTP, State: store.CredentialActive}, {Kind: assurance.TOTP, State: store.CredentialActive},
		{Kind: assurance.BackupCode, State: store.CredentialSuspended},
	} {
		c.ID, c.UserID, c.Created = fmt.Sprint(i), ada.ID, noon
		o.must(o.store.CreateCredential(o.ctx, c))
	}
	o.signOn("live", ada, noon.Add(-59*time.Minute))
	o.signOn("gone idle", ada, noon.Add(-2*time.Hour))
	o.browser("remembered", ada, noon.Add(time.Minute))
	o.browser("remembered until now", ada, noon)
	o.browser("never remembered", ada, time.Time{})
	person, err := o.Show(o.ctx, "Ada")
	o.must(err)
	if len(person.Browsers) != 1 || person.Browsers[0].ID != "remembered" {
		t.Errorf("browsers: %+v", person.Browsers)
	}
	if person.User.ID != ada.ID || !slices.Equal(person.Factors, []assurance.Factor{assurance.Password, assurance.TOTP}) ||
		len(person.SignOns) != 1 || person.SignOns[0].ID != "live" {
		t.Errorf("%+v", person)
	}
}

func TestSignOns(t *testing.T) {
	o := newOffice(t)
	ada, bob := o.active("ada"), o.active("bob")
	o.signOn("a1", ada, noon)
	o.signOn("a2", ada, noon.Add(-2*time.Hour)) // went idle
	o.signOn("b1", bob, noon)
	o.signOn("b2", bob, noon)
	listed := func(name string) []string {
		live, err := o.SignOns(o.ctx, name)
		o.must(err)
		var ids []string
		for _, s := range live {
			ids = append(ids, s.User+" "+s.ID)
		}
		slices.Sort(ids)
		return ids
	}
	if got := listed(""); !slices.Equal(got, []string{"ada a1", "bob b1", "bob b2"}) {
		t.Errorf("all: %v", got)
	}
	if got := listed("BOB"); !slices.Equal(got, []string{"bob b1", "bob b2"}) {
		t.Errorf("bob's: %v", got)
	}
	if _, err := o.SignOns(o.ctx, "nemo"); !errors.Is(err, accounts.ErrNobody) {
		t.Errorf("nobody's: %v", err)
	}

	for _, wrong := range []string{"", "b1", "000000000000", audit.ShortID("a2")} {
		if err := o.EndSignOn(o.ctx, wrong); !errors.Is(err, accounts.ErrNoSignOn) {
			t.Errorf("ending %q: %v", wrong, err)
		}
	}
	o.must(o.EndSignOn(o.ctx, audit.ShortID("b1")))
	if err := o.EndSignOn(o.ctx, audit.ShortID("b1")); !errors.Is(err, accounts.ErrNoSignOn) {
		t.Errorf("ending it twice: %v", err)
	}
	if got := listed(""); !slices.Equal(got, []string{"ada a1", "bob b2"}) {
		t.Errorf("left: %v", got)
	}
	if n, err := o.EndSignOnsOf(o.ctx, "bob"); err != nil || n != 1 {
		t.Errorf("ended %d of bob's, %v", n, err)
	}
	if n, err := o.EndSignOnsOf(o.ctx, "bob"); err != nil || n != 0 {
		t.Errorf("ended %d of none, %v", n, err)
	}
	events, err := o.store.ListEvents(o.ctx, store.EventFilter{UserID: bob.ID, Name: "sign_on.ended"})
	o.must(err)
	if len(events) != 2 || events[0].Fields["reason"] != "ended_by_administrator" || events[0].Fields["sign_on"] != audit.ShortID("b2") || events[0].Fields["by"] != "administrator" {
		t.Errorf("events %+v", events)
	}
}

func TestEndingAllForgetsBrowsers(t *testing.T) {
	o := newOffice(t)
	ada, bob := o.active("ada"), o.active("bob")
	for _, user := range []store.User{ada, bob} {
		o.must(o.store.PutRecord(o.ctx, store.Record{Namespace: "flow", Key: user.Name, Owner: user.ID, Expires: noon.Add(time.Hour)}))
	}
	o.browser("a1", ada, noon.Add(time.Hour))
	o.browser("a2", ada, noon.Add(-time.Hour))
	o.browser("b1", bob, noon.Add(time.Hour))
	if n, err := o.EndSignOnsOf(o.ctx, "ada"); n != 0 || err != nil {
		t.Errorf("ended %d, %v", n, err)
	}
	if _, err := o.store.GetRecord(o.ctx, "flow", "ada", noon); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("what is under way: %v", err)
	}
	if _, err := o.store.GetRecord(o.ctx, "flow", "bob", noon); err != nil {
		t.Errorf("what bob has under way: %v", err)
	}
	if len(o.remembered(ada)) != 0 || len(o.remembered(bob)) != 1 {
		t.Errorf("remembered: %q of ada's, %q of bob's", o.remembered(ada), o.remembered(bob))
	}
	events, err := o.store.ListEvents(o.ctx, store.EventFilter{UserID: ada.ID})
	o.must(err)
	if len(events) != 1 || events[0].Name != "browser.forgotten" || events[0].Fields["factor"] != "totp" || events[0].Fields["by"] != "administrator" {
		t.Errorf("events %+v", events)
	}
}

func TestForgetBrowser(t *testing.T) {
	o := newOffice(t)
	ada, bob := o.active("ada"), o.active("bob")
	o.signOn("1", ada, noon)
	o.browser("a1", ada, noon.Add(time.Hour))
	o.browser("a2", ada, noon.Add(time.Hour))
	o.browser("lapsed", ada, noon)
	o.browser("b1", bob, noon.Add(time.Hour))
	for _, wrong := range []string{"", "a1", audit.ShortID("b1"), audit.ShortID("lapsed"), "000000000000"} {
		if err := o.ForgetBrowser(o.ctx, "ada", wrong); !errors.Is(err, accounts.ErrNoBrowser) {
			t.Errorf("forgetting %q: %v", wrong, err)
		}
	}
	o.must(o.ForgetBrowser(o.ctx, "Ada", audit.ShortID("a1")))
	if err := o.ForgetBrowser(o.ctx, "ada", audit.ShortID("a1")); !errors.Is(err, accounts.ErrNoBrowser) {
		t.Errorf("forgetting it twice: %v", err)
	}
	if !slices.Equal(o.remembered(ada), []string{"a2"}) || !slices.Equal(o.remembered(bob), []string{"b1"}) {
		t.Errorf("remembered: %q of ada's, %q of bob's", o.remembered(ada), o.remembered(bob))
	}
	if s, err := o.store.SignOnByID(o.ctx, "1"); err != nil || !s.Ended.IsZero() {
		t.Errorf("a sign-on ended with it: %+v, %v", s, err)
	}
	if got := o.told(ada.ID); !slices.Equal(got, []string{"browser.forgotten"}) {
		t.Errorf("events %v", got)
	}
}
