package portal

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/selfservice"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/templates"
)

// Accounts is what people can do with their own account; package selfservice
// offers it. Whatever changes something is told person.ErrStale where the
// person has to show first that it's them.
type Accounts interface {
	Holdings(ctx context.Context, userID string) ([]credentials.Own, error)
	Announcement(ctx context.Context, u store.User, kind assurance.Factor) (any, error)
	FreshCheck(ctx context.Context, userID string) (person.FreshCheck, error)
	Enrollable(ctx context.Context, userID string) ([]assurance.Factor, error)
	Rename(ctx context.Context, s store.SignOn, u store.User, id, name string, c person.Client) error
	Remove(ctx context.Context, s store.SignOn, u store.User, id string, c person.Client) (person.Granted, error)
	RemoveAll(ctx context.Context, s store.SignOn, u store.User, kind assurance.Factor, c person.Client) (person.Granted, error)
	JudgePassword(u store.User, password string) person.Judgement
	ChangePassword(ctx context.Context, s store.SignOn, u store.User, change selfservice.PasswordChange, c person.Client) (person.Granted, error)
	SignOnsOf(ctx context.Context, userID string) ([]selfservice.OwnSignOn, error)
	EndSignOn(ctx context.Context, u store.User, shortID string, c person.Client) error
	EndOthers(ctx context.Context, s store.SignOn, u store.User, c person.Client) (int, error)
	Disown(ctx context.Context, s store.SignOn, u store.User, c person.Client) error
	DevicesOf(ctx context.Context, userID string) ([]store.Device, error)
	Remembered(ctx context.Context, userID string) ([]store.Browser, error)
	Forget(ctx context.Context, u store.User, id string, c person.Client) error
	RenameDevice(ctx context.Context, by store.SignOn, id, name string, c person.Client) error
	RevokeDevice(ctx context.Context, s store.SignOn, u store.User, id string, c person.Client) error
	AppPasswordsOf(ctx context.Context, userID string) ([]selfservice.AppPassword, error)
	CreateAppPassword(ctx context.Context, s store.SignOn, u store.User, n selfservice.NewAppPassword, c person.Client) (string, error)
	RevokeAppPassword(ctx context.Context, u store.User, id string, c person.Client) error
	Activity(ctx context.Context, userID string, before int64, limit int) ([]store.Event, error)
}

// visitor is somebody who is signed in.
type visitor struct {
	signOn session.SignOn
	user   session.User
}

// present returns who is signed in, however little they have shown;
// session.ErrEnded where nobody is.
func (p *Portal) present(r *http.Request) (visitor, error) {
	signOn, user, err := p.signedOn(r)
	return visitor{signOn, user}, err
}

// hasShownTwo reports whether somebody has shown two factors. A device's
// certificate is none of them: it says nothing of who sits at the device.
func (p *Portal) hasShownTwo(v visitor) bool {
	two := assurance.Requirement{Level: assurance.Multi}
	return two.Missing(v.signOn.Proofs, p.Clock(), p.weights) == assurance.Nothing
}

// member returns who is signed in with two factors; person.ErrStale where they
// have shown the password alone.
func (p *Portal) member(r *http.Request) (visitor, error) {
	v, err := p.present(r)
	if err != nil {
		return visitor{}, err
	}
	if !p.hasShownTwo(v) {
		return visitor{}, person.ErrStale
	}
	return v, nil
}

// changer returns who is signed in and has just shown that it's them, as
// everything asks that changes an account; person.ErrStale where that was too
// long ago. It is asked ahead of a form, so that what is typed into it isn't lost
// to the check.
func (p *Portal) changer(r *http.Request) (visitor, error) {
	v, err := p.member(r)
	if err != nil {
		return visitor{}, err
	}
	check, err := p.Accounts.FreshCheck(r.Context(), v.user.ID)
	if err != nil {
		return visitor{}, fmt.Errorf("deciding how fresh a check has to be: %w", err)
	}
	if !check.IsMet(v.signOn.Proofs, p.Clock(), p.Factors) {
		return visitor{}, person.ErrStale
	}
	return v, nil
}

// The account pages.
const (
	accountPath  = "/account"
	passwordPath = "/account/password"
	strengthPath = passwordPath + "/strength"
	signOnsPath  = "/account/sign-ons"
	activityPath = "/account/activity"
	disownPath   = "/account/not-me"
)

// newest is how many events the overview shows.
const newest = 5

// overview says what is set up, what is worth setting up, and what happened
// lately.
func (p *Portal) overview(w http.ResponseWriter, r *http.Request) error {
	v, err := p.member(r)
	if err != nil {
		return err
	}
	held, enrollable, err := p.waysOf(r, v)
	if err != nil {
		return err
	}
	devices, err := p.devicesOf(r, v)
	if err != nil {
		return err
	}
	events, err := p.Accounts.Activity(r.Context(), v.user.ID, 0, eventsOnPage)
	if err != nil {
		return fmt.Errorf("reading what happened lately: %w", err)
	}
	t := p.words(r)
	programs, err := p.appPasswordWay(r, t, v)
	if err != nil {
		return err
	}
	return p.page(w, r, http.StatusOK, "account_overview", templates.OverviewView{
		Frame: p.frame(r), Done: p.done(w, r), Name: v.user.Name, DisplayName: v.user.DisplayName,
		Email: v.user.Email, Groups: v.user.Groups, Advice: p.advise(t, held, enrollable),
		Ways: slices.Concat(p.ways(t, held, enrollable), deviceWay(t, devices, p.Enrolments != nil), programs), Since: local(v.signOn.Started),
		Before: signInBefore(t, events, v.signOn), Recent: happened(t, events[:min(newest, len(events))]),
	})
}

// waysOf returns what somebody has to sign in with, and the kinds that they can
// add.
func (p *Portal) waysOf(r *http.Request, v visitor) ([]credentials.Own, []assurance.Factor, error) {
	held, err := p.holdingsOf(r, v.user.ID)
	if err != nil {
		return nil, nil, err
	}
	enrollable, err := p.Accounts.Enrollable(r.Context(), v.user.ID)
	if err != nil {
		return nil, nil, fmt.Errorf("finding what can be added: %w", err)
	}
	return held, enrollable, nil
}

// holdingsOf returns what somebody has to sign in with.
func (p *Portal) holdingsOf(r *http.Request, userID string) ([]credentials.Own, error) {
	held, err := p.Accounts.Holdings(r.Context(), userID)
	if err != nil {
		return nil, fmt.Errorf("listing ways to sign in: %w", err)
	}
	return held, nil
}

// signInBefore returns the newest sign-in that isn't the one of this browser;
// nil where it isn't among the events.
func signInBefore(t words, events []store.Event, here session.SignOn) *templates.Happening {
	short := audit.ShortID(here.ID)
	for _, e := range events {
		if e.Name == string(audit.SignInSucceeded) && e.Fields[string(audit.SignOn)] != short {
			found := happening(t, e)
			return &found
		}
	}
	return nil
}

// ways lists the kinds of proof that somebody has, and those that they could
// add, in the order in which they come.
func (p *Portal) ways(t words, held []credentials.Own, enrollable []assurance.Factor) []templates.Way {
	var kinds []assurance.Factor
	of := make(map[assurance.Factor][]credentials.Own)
	for _, h := range held {
		if of[h.Kind] == nil {
			kinds = append(kinds, h.Kind)
		}
		of[h.Kind] = append(of[h.Kind], h)
	}
	for _, kind := range enrollable {
		if of[kind] == nil {
			kinds = append(kinds, kind)
			of[kind] = []credentials.Own{}
		}
	}
	listed := make([]templates.Way, 0, len(kinds))
	for _, kind := range kinds {
		way := templates.Way{
			Kind: string(kind), Name: t.kind(kind, "title"), URL: p.kindPath(kind), State: stateOf(t, kind, of[kind]),
			Daily: p.Factors.Traits(kind).Daily,
		}
		for _, h := range of[kind] {
			if h.LastUsed.After(way.LastUsed) {
				way.LastUsed = h.LastUsed
			}
		}
		way.LastUsed = local(way.LastUsed)
		listed = append(listed, way)
	}
	return listed
}

// stateOf says in a few words what somebody has of a kind.
func stateOf(t words, kind assurance.Factor, held []credentials.Own) string {
	switch active := working(held); {
	case len(active) == 0:
		return t.say("portal.state.none")
	case kind == assurance.Password:
		return t.say("portal.state.set", "Date", local(active[0].Created).Format(time.DateOnly))
	case active[0].Details.Stock != nil:
		return t.count("portal.state.left", active[0].Details.Stock.Left)
	default:
		return t.count("portal.state.active", len(active))
	}
}

// working returns what can be used of what somebody has.
func working(held []credentials.Own) []credentials.Own {
	var active []credentials.Own
	for _, h := range held {
		if !h.Suspended && !h.Elsewhere {
			active = append(active, h)
		}
	}
	return active
}

// ofKind returns what somebody has of one kind.
func ofKind(held []credentials.Own, kind assurance.Factor) []credentials.Own {
	var same []credentials.Own
	for _, h := range held {
		if h.Kind == kind {
			same = append(same, h)
		}
	}
	return same
}

// secondWays returns what can stand beside the password day by day. What stands by
// for need is never counted among them.
func secondWays(held []credentials.Own) []credentials.Own {
	var second []credentials.Own
	for _, h := range working(held) {
		if h.Daily {
			second = append(second, h)
		}
	}
	return second
}

// local brings a point in time into the server's zone, which pages show; the
// zero time stays.
func local(at time.Time) time.Time {
	if at.IsZero() {
		return at
	}
	return at.In(time.Local)
}

// doneCookie carries what was just done from a form to the page that comes
// after it.
const doneCookie = "__Host-mfa-done"

// addedPrefix begins what finished says of a kind of which one was added.
const addedPrefix = "added."

// finished leads on after a change and has the next page say what was done: a key
// below "portal.done", or addedPrefix with a kind.
func (p *Portal) finished(w http.ResponseWriter, what, next string) {
	setCookie(w, doneCookie, what, time.Minute)
	p.redirect(w, next)
}

// done returns, once, what was done just before.
func (p *Portal) done(w http.ResponseWriter, r *http.Request) string {
	cookie, err := r.Cookie(doneCookie)
	if err != nil {
		return ""
	}
	setCookie(w, doneCookie, "", -time.Second)
	if kind, isAdded := strings.CutPrefix(cookie.Value, addedPrefix); isAdded && p.Factors.Enabled(assurance.Factor(kind)) {
		return p.words(r).kind(assurance.Factor(kind), "added")
	}
	switch what := cookie.Value; what {
	case "set_up", "first_set_up", "renamed", "removed", "password", "ended", "ended_others", "forgotten", "revoked", "device_confirmed", "app_password_revoked":
		return p.words(r).say("portal.done." + what)
	}
	return ""
}

// comeBack returns where a person can go by a link in place of the request
// that is being answered.
func (p *Portal) comeBack(r *http.Request) string {
	id := r.PostFormValue("flow")
	switch asked := r.URL.Path; {
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && !HoldsToken(r.URL):
		// Two slashes in front would lead to another site.
		return "/" + strings.TrimLeft(r.URL.RequestURI(), "/")
	case id != "":
		return flowURL(id)
	case asked == strengthPath:
		return passwordPath
	case asked == offerPath:
		return offerURL(destination{signed: r.PostFormValue("request"), own: r.PostFormValue("to")})
	case asked == "/browsers/forget" || strings.HasPrefix(asked, signOnsPath+"/"):
		return signOnsPath
	case strings.HasPrefix(asked, accountPath+"/"):
		return addressed(asked, "id", r.PostFormValue("id"), "request", r.PostFormValue("request"))
	}
	return addressed("/sign-in", "request", r.PostFormValue("request"), "to", r.PostFormValue("to"))
}

// returnPage returns where a flow of the portal's own leads: to an account page,
// or back to the flow that it interrupted. Nothing for any other.
func returnPage(to string) string {
	if strings.HasPrefix(to, flowURL("")+"?") && ownPath(to) == to {
		return to
	}
	return accountPage(to)
}

// accountPage returns the address of an account page as it is, and nothing for
// any other.
func accountPage(to string) string {
	at, _, _ := strings.Cut(to, "?")
	if (at == accountPath || strings.HasPrefix(at, accountPath+"/")) && path.Clean(at) == at && ownPath(to) == to {
		return to
	}
	return ""
}

// addressed returns a path that says in its query, by pairs of a name and a
// value, what it is about; empty values are left out.
func addressed(path string, pairs ...string) string {
	query := make(url.Values)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			query.Set(pairs[i], pairs[i+1])
		}
	}
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}
