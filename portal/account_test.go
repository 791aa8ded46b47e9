package portal_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/selfservice"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/templates"
)

// accounts holds what Ada has, and notes what is done to it.
type accounts struct {
	held    []credentials.Own
	signOns []selfservice.OwnSignOn
	events  []store.Event
	// enrollable is what she can add; nil: the usual.
	enrollable []assurance.Factor

	devices  []store.Device
	programs []selfservice.AppPassword
	freshTo  string // where the last fresh check leads back to
	addTo    string // where the last enrolment leads back to
	done     []string
	refusal  error

	browsers  []store.Browser
	forgotten []string

	displayName string // as browsers are told
}

func (a *accounts) Holdings(context.Context, string) ([]credentials.Own, error) { return a.held, nil }

func (a *accounts) Announcement(_ context.Context, u store.User, kind assurance.Factor) (any, error) {
	if kind != assurance.FIDO {
		return nil, nil
	}
	var names []string
	for _, h := range a.held {
		if h.Kind == kind {
			names = append(names, h.ID)
		}
	}
	return templates.FIDOSignals{Accepted: strings.Join(names, " "), Details: u.DisplayName + a.displayName}, nil
}

func (a *accounts) FreshCheck(context.Context, string) (person.FreshCheck, error) {
	return person.FreshCheck{Ask: assurance.Requirement{Level: assurance.Multi, MaxAge: person.FreshFor}}, nil
}

func (a *accounts) Remembered(context.Context, string) ([]store.Browser, error) {
	return a.browsers, nil
}

func (a *accounts) Forget(_ context.Context, u store.User, id string, _ person.Client) error {
	for _, b := range a.browsers {
		if b.ID == id && b.UserID == u.ID {
			a.forgotten = append(a.forgotten, id)
			return nil
		}
	}
	return selfservice.ErrNoBrowser
}

func (a *accounts) Enrollable(context.Context, string) ([]assurance.Factor, error) {
	if a.enrollable != nil {
		return a.enrollable, nil
	}
	return []assurance.Factor{assurance.TOTP, assurance.BackupCode}, nil
}

func (a *accounts) Rename(_ context.Context, _ store.SignOn, _ store.User, id, name string, _ person.Client) error {
	return a.note("rename " + id + " to " + name)
}

func (a *accounts) Remove(_ context.Context, _ store.SignOn, _ store.User, id string, _ person.Client) (person.Granted, error) {
	return a.granted(), a.note("remove " + id)
}

func (a *accounts) RemoveAll(_ context.Context, _ store.SignOn, _ store.User, kind assurance.Factor, _ person.Client) (person.Granted, error) {
	return a.granted(), a.note("remove all " + string(kind))
}

func (a *accounts) JudgePassword(_ store.User, password string) person.Judgement {
	return identity.PasswordPolicy{}.Judge(password)
}

func (a *accounts) ChangePassword(_ context.Context, _ store.SignOn, _ store.User, change selfservice.PasswordChange, _ person.Client) (person.Granted, error) {
	return a.granted(), a.note("password " + change.Current + " to " + change.New)
}

func (a *accounts) SignOnsOf(context.Context, string) ([]selfservice.OwnSignOn, error) {
	return a.signOns, nil
}

func (a *accounts) EndSignOn(_ context.Context, _ store.User, short string, _ person.Client) error {
	return a.note("end " + short)
}

func (a *accounts) EndOthers(context.Context, store.SignOn, store.User, person.Client) (int, error) {
	return 2, a.note("end others")
}

func (a *accounts) Disown(context.Context, store.SignOn, store.User, person.Client) error {
	return a.note("disown")
}

func (a *accounts) Activity(_ context.Context, _ string, before int64, limit int) ([]store.Event, error) {
	var some []store.Event
	for _, e := range a.events {
		if len(some) < limit && (before == 0 || e.ID < before) {
			some = append(some, e)
		}
	}
	return some, nil
}

func (a *accounts) DevicesOf(context.Context, string) ([]store.Device, error) { return a.devices, nil }

func (a *accounts) RevokeDevice(_ context.Context, _ store.SignOn, _ store.User, id string, _ person.Client) error {
	return a.note("revoke " + id)
}

func (a *accounts) AppPasswordsOf(context.Context, string) ([]selfservice.AppPassword, error) {
	return a.programs, nil
}

func (a *accounts) CreateAppPassword(_ context.Context, _ store.SignOn, _ store.User, n selfservice.NewAppPassword, _ person.Client) (string, error) {
	return "pct_p_made", a.note("create " + n.Name + " for " + n.Host)
}

func (a *accounts) RevokeAppPassword(_ context.Context, _ store.User, id string, _ person.Client) error {
	return a.note("revoke " + id)
}

func (a *accounts) note(what string) error {
	if a.refusal == nil {
		a.done = append(a.done, what)
	}
	return a.refusal
}

func (a *accounts) granted() person.Granted {
	return person.Granted{SignOn: store.SignOn{ID: "s2", UserID: "ada", Expires: noon.Add(time.Hour)}, PortalSecret: "new"}
}

// atHome is a browser in which Ada has signed in with two factors, just now.
func atHome(t *testing.T) *hall {
	t.Helper()
	h := newHall(t)
	h.signOns.proofs = []assurance.Proof{{Factor: assurance.Password, At: noon}, {Factor: assurance.TOTP, At: noon}}
	h.accounts.held = []credentials.Own{
		{ID: "p1", Kind: assurance.Password},
		{ID: "c1", Kind: assurance.TOTP, Daily: true, Name: "Work phone", Created: noon},
		{ID: "c2", Kind: assurance.TOTP, Daily: true, Name: "Tablet", Created: noon},
		{ID: "b1", Kind: assurance.BackupCode, Details: factors.Details{Stock: &factors.Stock{Left: 3, Total: 10, Used: []time.Time{noon}}}},
	}
	h.accounts.devices = []store.Device{
		{ID: "d1", Name: "Laptop", Serial: "0badcafe", Issued: noon, Expires: noon.AddDate(0, 3, 0), LastSeen: noon.Add(time.Hour)},
		{ID: "d2", Name: "Tablet of <b>Ada</b>", Serial: "c0ffee", Issued: noon, Expires: noon.AddDate(0, 3, 0)},
	}
	h.flows.step = authflow.Step{Kind: authflow.StepGrant}
	h.signIn("ada")
	h.send(http.MethodGet, "/flow?id=flow+of+ada", nil)
	return h
}

// The pages of an account, and what can be done there.
var (
	readingPages = []string{"/account", "/account/totp", "/account/backup-codes", "/account/sign-ons", "/account/devices", "/account/activity", "/account/not-me"}
	editingPages = []string{"/account/password", "/account/totp/add", "/account/backup-codes/add", "/account/totp/rename?id=c1", "/account/totp/remove?id=c1", "/account/totp/remove-all", "/account/devices/revoke?id=d1"}
	changes      = map[string]url.Values{
		"/account/totp/rename":         {"id": {"c1"}, "name": {"Phone"}},
		"/account/totp/remove":         {"id": {"c1"}},
		"/account/totp/remove-all":     {},
		"/account/password":            {"current": {"old"}, "password": {"new"}},
		"/account/sign-ons/end":        {"id": {"s7"}},
		"/account/sign-ons/end-others": {},
		"/account/devices/revoke":      {"id": {"d1"}},
		"/account/not-me":              {},
		"/account/totp/add":            {},
	}
)

func TestAccountPagesAreThere(t *testing.T) {
	h := atHome(t)
	for _, path := range slices.Concat([]string{"/"}, readingPages, editingPages) {
		if r := h.send(http.MethodGet, path, nil); r.StatusCode != http.StatusOK {
			t.Errorf("%s: %d to %q", path, r.StatusCode, r.Header.Get("Location"))
		}
	}
	for _, path := range []string{"/account/telepathy", "/account/backup_code", "/account/backup-codes/remove?id=b1", "/account/backup-codes/remove-all", "/account/password/remove-all", "/account/password/add", "/account/"} {
		if r := h.send(http.MethodGet, path, nil); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
	}
}

// TestS06PasswordAloneOpensNoAccount sends whoever passed the password alone to
// a check, and back to where they wanted to go.
func TestS06PasswordAloneOpensNoAccount(t *testing.T) {
	h := atHome(t)
	password, device := h.signOns.proofs[0], assurance.Proof{Factor: assurance.Certificate, At: noon, Credential: "d1"}
	// Whose device it is doesn't say who sits at it.
	for _, proofs := range [][]assurance.Proof{{password}, {device}, {device, password}} {
		h.signOns.proofs = proofs
		for _, path := range slices.Concat(readingPages, editingPages) {
			r := h.send(http.MethodGet, path, nil)
			if r.Header.Get("Location") != "/flow?id=check" || h.accounts.freshTo != path {
				t.Errorf("%v at %s: %d to %q and back to %q", proofs, path, r.StatusCode, r.Header.Get("Location"), h.accounts.freshTo)
			}
		}
		for path, form := range changes {
			if r := h.send(http.MethodPost, path, form); r.Header.Get("Location") != "/flow?id=check" || len(h.accounts.done) > 0 {
				t.Errorf("%v at %s: %d to %q, done %v", proofs, path, r.StatusCode, r.Header.Get("Location"), h.accounts.done)
			}
		}
	}
	clear(h.cookies)
	for _, path := range slices.Concat(readingPages, editingPages) {
		if r := h.send(http.MethodGet, path, nil); r.Header.Get("Location") != "/sign-in?to="+url.QueryEscape(path) {
			t.Errorf("%s, for nobody: %d to %q", path, r.StatusCode, r.Header.Get("Location"))
		}
	}
}

// TestFormsAskForAFreshCheckFirst wants the check before the form, so that
// nothing typed is lost to it, and after a form the page with the form again.
func TestFormsAskForAFreshCheckFirst(t *testing.T) {
	h := atHome(t)
	h.signOns.proofs[1].At = noon.Add(-person.FreshFor - time.Second)
	for _, path := range readingPages {
		if r := h.send(http.MethodGet, path, nil); r.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
	}
	for _, path := range editingPages {
		r := h.send(http.MethodGet, path, nil)
		if r.Header.Get("Location") != "/flow?id=check" || h.accounts.freshTo != path {
			t.Errorf("%s: %d, and back to %q", path, r.StatusCode, h.accounts.freshTo)
		}
	}
	h.accounts.refusal = person.ErrStale
	for path, back := range map[string]string{
		"/account/totp/rename": "/account/totp/rename?id=c1", "/account/totp/remove": "/account/totp/remove?id=c1",
		"/account/totp/remove-all": "/account/totp/remove-all",
		"/account/password":        "/account/password", "/account/totp/add": "/account/totp/add", "/account/sign-ons/end": "/account/sign-ons",
		"/account/devices/revoke": "/account/devices/revoke?id=d1",
	} {
		r := h.send(http.MethodPost, path, changes[path])
		if r.Header.Get("Location") != "/flow?id=check" || h.accounts.freshTo != back {
			t.Errorf("after %s: %d, and back to %q", path, r.StatusCode, h.accounts.freshTo)
		}
	}
}

func TestChangesAreMadeAndTold(t *testing.T) {
	for path, want := range map[string]struct{ done, to, told string }{
		"/account/totp/rename":         {"rename c1 to Phone", "/account/totp", "The new name is saved."},
		"/account/totp/remove":         {"remove c1", "/account/totp", "Removed."},
		"/account/totp/remove-all":     {"remove all totp", "/account/totp", "Removed."},
		"/account/password":            {"password old to new", "/account", "Your password has been changed."},
		"/account/sign-ons/end":        {"end s7", "/account/sign-ons", "Signed out there."},
		"/account/sign-ons/end-others": {"end others", "/account/sign-ons", "signed out everywhere except here."},
		"/account/devices/revoke":      {"revoke d1", "/account/devices", "certificate no longer opens anything."},
	} {
		t.Run(path, func(t *testing.T) {
			h := atHome(t)
			before := h.cookies["__Host-mfa-portal"].Value
			r := h.send(http.MethodPost, path, changes[path])
			if r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != want.to || !slices.Equal(h.accounts.done, []string{want.done}) {
				t.Fatalf("%d to %q, done %v", r.StatusCode, r.Header.Get("Location"), h.accounts.done)
			}
			renews := want.told == "Removed." || want.to == "/account"
			if (h.cookies["__Host-mfa-portal"].Value != before) != renews {
				t.Error("the portal's cookie is not what it must be")
			}
			if renews {
				h.cookies["__Host-mfa-portal"].Value = before // the only sign-on that the fake knows
			}
			if page := h.page(h.send(http.MethodGet, want.to, nil)); !strings.Contains(page, want.told) {
				t.Errorf("the page doesn't say %q", want.told)
			}
			if page := h.page(h.send(http.MethodGet, want.to, nil)); strings.Contains(page, want.told) {
				t.Errorf("the page says %q again", want.told)
			}
		})
	}
}

func TestW03OthersCredentialsAreNotThere(t *testing.T) {
	h := atHome(t)
	// Ada's own password and codes are no authenticator apps either.
	for _, id := range []string{"", "c9", "p1", "b1", "../c1"} {
		for _, path := range []string{"/account/totp/rename", "/account/totp/remove"} {
			get := h.send(http.MethodGet, path+"?id="+url.QueryEscape(id), nil)
			post := h.send(http.MethodPost, path, url.Values{"id": {id}, "name": {"x"}})
			if get.StatusCode != http.StatusNotFound || post.StatusCode != http.StatusNotFound || len(h.accounts.done) > 0 {
				t.Errorf("%s of %q: %d and %d, done %v", path, id, get.StatusCode, post.StatusCode, h.accounts.done)
			}
		}
	}
	h.accounts.refusal = selfservice.ErrNoSignOn
	if r := h.send(http.MethodPost, "/account/sign-ons/end", url.Values{"id": {"s9"}}); r.StatusCode != http.StatusNotFound {
		t.Errorf("somebody else's sign-on: %d", r.StatusCode)
	}
}

func TestLastWayInStays(t *testing.T) {
	const warning = "Add another first"
	h := atHome(t)
	if page := h.page(h.send(http.MethodGet, "/account/totp/remove?id=c1", nil)); strings.Contains(page, warning) || !strings.Contains(page, "Tablet") {
		t.Error("one of two can't be removed")
	}
	h.accounts.held[2].Suspended = true
	if page := h.page(h.send(http.MethodGet, "/account/totp/remove?id=c1", nil)); !strings.Contains(page, warning) || strings.Contains(page, `action="/account/totp/remove"`) {
		t.Error("beside a lost one it isn't the last")
	}
	if page := h.page(h.send(http.MethodGet, "/account/totp/remove?id=c2", nil)); strings.Contains(page, warning) {
		t.Error("a lost one can't be removed")
	}
	h.accounts.refusal = selfservice.ErrLastWayIn
	if r := h.send(http.MethodPost, "/account/totp/remove", url.Values{"id": {"c1"}}); r.StatusCode != http.StatusConflict {
		t.Errorf("removing it all the same: %d", r.StatusCode)
	}
}

// TestRemovingAll wants all of a kind named before it goes, and refused while
// there is nothing else to go on with.
func TestRemovingAll(t *testing.T) {
	const form, link = `action="/account/totp/remove-all"`, `href="/account/totp/remove-all"`
	h := atHome(t)
	if page := h.page(h.send(http.MethodGet, "/account/totp", nil)); !strings.Contains(page, link) || !strings.Contains(page, "2 authenticator apps") {
		t.Error("the list of two doesn't lead to removing both")
	}
	page := h.page(h.send(http.MethodGet, "/account/totp/remove-all", nil))
	if strings.Contains(page, form) || !strings.Contains(page, "Set up something else") {
		t.Error("with backup codes alone remaining, all can be removed")
	}
	h.accounts.held = append(h.accounts.held, credentials.Own{ID: "k1", Kind: assurance.FIDO, Daily: true, Name: "Blue key"})
	page = h.page(h.send(http.MethodGet, "/account/totp/remove-all", nil))
	for _, says := range []string{form, "Remove all 2 authenticator apps", "Work phone", "Tablet", "Blue key", "3 backup codes"} {
		if !strings.Contains(page, says) {
			t.Errorf("the page doesn't say %q", says)
		}
	}
	if r := h.send(http.MethodGet, "/account/fido/remove-all", nil); r.Header.Get("Location") != "/account/fido" {
		t.Errorf("all of one: %d to %q", r.StatusCode, r.Header.Get("Location"))
	}
	if page := h.page(h.send(http.MethodGet, "/account/fido", nil)); strings.Contains(page, "remove-all") {
		t.Error("the list of one leads to removing all")
	}
	h.accounts.held = h.accounts.held[:len(h.accounts.held)-1]
	h.accounts.held[1].Suspended, h.accounts.held[2].Suspended = true, true
	if page := h.page(h.send(http.MethodGet, "/account/totp/remove-all", nil)); !strings.Contains(page, form) {
		t.Error("what is lost can't be removed")
	}
	h.accounts.refusal = selfservice.ErrLastWayIn
	r := h.send(http.MethodPost, "/account/totp/remove-all", nil)
	if page := h.page(r); r.StatusCode != http.StatusConflict || strings.Contains(page, form) {
		t.Errorf("removing them all the same: %d", r.StatusCode)
	}
}

func TestPasswordChangeIsRefused(t *testing.T) {
	for _, c := range []struct {
		refusal error
		status  int
		says    string
	}{
		{&factors.Refused{Reason: factors.Wrong}, http.StatusUnprocessableEntity, `id="current-error"`},
		{&person.Invalid{Fields: map[string]error{"password": context.Canceled}}, http.StatusUnprocessableEntity, `id="password-error"`},
		{&guess.Slowed{RetryAfter: time.Minute}, http.StatusTooManyRequests, "Too many attempts."},
		{store.ErrConflict, http.StatusConflict, "Something has changed in the meantime"},
		{session.ErrEnded, http.StatusSeeOther, ""},
	} {
		h := atHome(t)
		h.accounts.refusal = c.refusal
		r := h.send(http.MethodPost, "/account/password", changes["/account/password"])
		page := h.page(r)
		if r.StatusCode != c.status || !strings.Contains(page, c.says) {
			t.Errorf("%v: %d", c.refusal, r.StatusCode)
		}
		if strings.Contains(page, `value="old"`) || strings.Contains(page, `value="new"`) {
			t.Errorf("%v: a password comes back", c.refusal)
		}
	}
}

func TestAdvice(t *testing.T) {
	const second, few, well = "You only have one way to sign in.", "Only 3 backup codes are left.", "all set: if you lose one way to sign in"
	for _, c := range []struct {
		what   string
		change func(a *accounts)
		says   []string
	}{
		{"two apps, few codes", func(*accounts) {}, []string{few}},
		{"two apps, many codes", func(a *accounts) { a.held[3].Details = factors.Details{Stock: &factors.Stock{Left: 4, Total: 10}} }, []string{well}},
		{"one app lost", func(a *accounts) { a.held[2].Suspended = true }, []string{second, few}},
		{"no codes", func(a *accounts) { a.held = a.held[:3] }, []string{"You have no backup codes."}},
	} {
		h := atHome(t)
		c.change(h.accounts)
		page := h.page(h.send(http.MethodGet, "/account", nil))
		for _, text := range []string{second, few, well, "You have no backup codes."} {
			if got := strings.Contains(page, text); got != slices.Contains(c.says, text) {
				t.Errorf("%s: says %q: %v", c.what, text, got)
			}
		}
	}
}

func TestActivityIsShownInPages(t *testing.T) {
	h := atHome(t)
	for id := int64(120); id > 0; id-- {
		h.accounts.events = append(h.accounts.events, store.Event{ID: id, At: noon, Name: string(audit.PasswordChanged)})
	}
	first := h.page(h.send(http.MethodGet, "/account/activity", nil))
	if n := strings.Count(first, "Password changed"); n != 50 || !strings.Contains(first, "before=71") {
		t.Errorf("the first page shows %d", n)
	}
	last := h.page(h.send(http.MethodGet, "/account/activity?before=21", nil))
	if n := strings.Count(last, "Password changed"); n != 20 || strings.Contains(last, `href="/account/activity?before=`) {
		t.Errorf("the last page shows %d", n)
	}
	for _, before := range []string{"x", "-1", "99999999999999999999"} {
		if r := h.send(http.MethodGet, "/account/activity?before="+before, nil); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", before, r.StatusCode)
		}
	}
}

func TestDisowning(t *testing.T) {
	h := atHome(t)
	h.accounts.devices = nil
	if page := h.page(h.send(http.MethodGet, "/account/not-me", nil)); strings.Contains(page, "/account/devices") || len(h.accounts.done) > 0 {
		t.Fatal("looking ends everything, or it tells of devices that aren't there")
	}
	h.accounts.devices = []store.Device{{ID: "laptop"}}
	if page := h.page(h.send(http.MethodGet, "/account/not-me", nil)); !strings.Contains(page, `<a href="/account/devices">`) {
		t.Error("it doesn't tell of the devices")
	}
	r := h.send(http.MethodPost, "/account/not-me", nil)
	if r.Header.Get("Location") != "/sign-in" || !slices.Equal(h.accounts.done, []string{"disown"}) || h.cookies["__Host-mfa-portal"] != nil {
		t.Errorf("to %q, done %v", r.Header.Get("Location"), h.accounts.done)
	}
}

func TestW01AccountChangesFromElsewhere(t *testing.T) {
	h := atHome(t)
	for path, form := range changes {
		r := httptest.NewRequest(http.MethodPost, "https://login.example.com"+path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-site")
		r.AddCookie(h.cookies["__Host-mfa-portal"])
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusForbidden || len(h.accounts.done) > 0 {
			t.Errorf("%s: %d, done %v", path, w.Code, h.accounts.done)
		}
	}
}

// TestSignInLeadsToTheAccountPage brings whoever wanted an account page there,
// and to no other address (R01).
func TestSignInLeadsToTheAccountPage(t *testing.T) {
	h := atHome(t)
	clear(h.cookies)
	for to, kept := range map[string]bool{
		"/account": true, "/account/totp/remove?id=c1": true,
		"//evil.example/account": false, "https://evil.example/account": false, "/account/../sign-out": false, "/account//x": false,
		"/accounts": false, "/sign-out": false, "/account\\@evil.example": false, "/account/\tx": false, "/invitation?token=x": false,
	} {
		page := h.page(h.send(http.MethodGet, "/sign-in?to="+url.QueryEscape(to), nil))
		if holds := strings.Contains(page, `name="to" value="`+to+`"`); holds != kept {
			t.Errorf("%q: the form holds it: %t", to, holds)
		}
		if !kept && strings.Count(page, `name="to"`) != 1 { // the choice of a language has one
			t.Errorf("%q: the form leads somewhere", to)
		}
	}
}

// TestBrowserIsToldOnce tells the browser of somebody's keys after a change, and
// where it was told something else before, and not on each visit.
func TestBrowserIsToldOnce(t *testing.T) {
	h := atHome(t)
	h.accounts.held = append(h.accounts.held, credentials.Own{ID: "k1", Kind: assurance.FIDO, Daily: true, Name: "Blue key"})
	expect := func(when, path, told string) {
		t.Helper()
		page := h.page(h.send(http.MethodGet, path, nil))
		_, rest, found := strings.Cut(page, `data-signal-accepted="`)
		if got, _, _ := strings.Cut(rest, `"`); got != told || found != (told != "") || strings.Contains(page, "signal.js") != found {
			t.Errorf("%s the browser is told %q, want %q", when, got, told)
		}
	}
	expect("of other kinds", "/account/totp", "")
	expect("at first", "/account/fido", "k1")
	if got := h.lastsFor("told"); got != 365*24*time.Hour {
		t.Errorf("what was told is kept for %v", got)
	}
	expect("the second time", "/account/fido", "")
	h.send(http.MethodPost, "/account/fido/rename", url.Values{"id": {"k1"}, "name": {"Red key"}})
	expect("after a change", "/account/fido", "k1")
	expect("the second time after a change", "/account/fido", "")
	h.accounts.held = append(h.accounts.held, credentials.Own{ID: "k2", Kind: assurance.FIDO, Daily: true, Suspended: true})
	expect("after one was added elsewhere", "/account/fido", "k1 k2")
	h.accounts.displayName = "Ada Lovelace"
	expect("after a new name", "/account/fido", "k1 k2")
	expect("the last time", "/account/fido", "")
}
