package portal

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/factors"
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
	Freshness(ctx context.Context, userID string) (assurance.Requirement, error)
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
	RevokeDevice(ctx context.Context, s store.SignOn, u store.User, id string, c person.Client) error
	Activity(ctx context.Context, userID string, before int64, limit int) ([]store.Event, error)
}

// visitor is somebody who is signed in.
type visitor struct {
	signOn session.SignOn
	user   session.User
}

// present returns who is signed in, however little they have shown, or sends
// everybody else to sign in, whence they come back, and returns false.
func (p *Portal) present(w http.ResponseWriter, r *http.Request) (visitor, bool) {
	signOn, user, err := p.signedOn(r)
	if errors.Is(err, session.ErrEnded) {
		p.redirect(w, addressed("/sign-in", "to", accountPage(p.comeBack(r))))
		return visitor{}, false
	}
	if err != nil {
		p.fault(w, r, "looking up a sign-on", err)
		return visitor{}, false
	}
	return visitor{signOn, user}, true
}

// hasShownTwo reports whether somebody has shown two factors. A device's
// certificate is none of them: it says nothing of who sits at the device.
func (p *Portal) hasShownTwo(v visitor) bool {
	two := assurance.Requirement{Level: assurance.Multi}
	return two.Missing(v.signOn.Proofs, p.Clock(), p.Weights) == assurance.Nothing
}

// member returns who is signed in with two factors. Whoever has shown the
// password alone shows a second one first, and comes back.
func (p *Portal) member(w http.ResponseWriter, r *http.Request) (visitor, bool) {
	v, ok := p.present(w, r)
	if !ok || p.hasShownTwo(v) {
		return v, ok
	}
	p.checkAnew(w, r, v, p.comeBack(r))
	return v, false
}

// changer returns who is signed in and has just shown that it's them, as
// everything asks that changes an account. It is asked ahead of a form, so that
// what is typed into it isn't lost to the check.
func (p *Portal) changer(w http.ResponseWriter, r *http.Request) (visitor, bool) {
	v, ok := p.member(w, r)
	if !ok {
		return v, false
	}
	ask, err := p.Accounts.Freshness(r.Context(), v.user.ID)
	if err != nil {
		p.fault(w, r, "deciding how fresh a check has to be", err)
		return v, false
	}
	if ask.Missing(v.signOn.Proofs, p.Clock(), p.Weights) != assurance.Nothing {
		p.checkAnew(w, r, v, p.comeBack(r))
		return v, false
	}
	return v, true
}

// checkAnew asks that somebody show again that it's them, and then leads back.
func (p *Portal) checkAnew(w http.ResponseWriter, r *http.Request, v visitor, back string) {
	if !isVisit(r) {
		p.forged(w, r)
		return
	}
	flow, err := p.Flows.BeginFreshCheck(r.Context(), v.signOn, v.user, back, p.client(r))
	if err != nil {
		p.fault(w, r, "beginning a fresh check", err)
		return
	}
	p.enter(w, r, flow)
}

// accountFailed answers what keeps somebody from changing their account.
func (p *Portal) accountFailed(w http.ResponseWriter, r *http.Request, v visitor, doing string, err error) {
	t := p.words(r)
	switch {
	case errors.Is(err, person.ErrStale):
		p.checkAnew(w, r, v, p.comeBack(r))
	case errors.Is(err, credentials.ErrUnknown), errors.Is(err, selfservice.ErrNoSignOn), errors.Is(err, selfservice.ErrNoBrowser), errors.Is(err, person.ErrNoDevice):
		p.notFound(w, r)
	case errors.Is(err, session.ErrEnded), errors.Is(err, authflow.ErrFlowGone):
		p.redirect(w, "/sign-in")
	case errors.Is(err, selfservice.ErrLastWayIn):
		p.problem(w, r, templates.ProblemView{
			Status: http.StatusConflict, Title: t.say("portal.last_way.title"), Text: t.say("portal.last_way.text"),
			Action: t.say("portal.to_account"), ActionURL: accountPath,
		})
	case errors.Is(err, credentials.ErrTooMany):
		p.tooManyOfKind(w, r)
	case errors.Is(err, store.ErrConflict):
		p.changed(w, r, p.comeBack(r))
	default:
		p.fault(w, r, doing, err)
	}
}

// changed answers somebody whose account or sign-in was changed elsewhere while
// they were at it.
func (p *Portal) changed(w http.ResponseWriter, r *http.Request, back string) {
	t := p.words(r)
	p.problem(w, r, templates.ProblemView{
		Status: http.StatusConflict, Title: t.say("portal.changed.title"), Text: t.say("portal.changed.text"),
		Action: t.say("portal.go_back"), ActionURL: back,
	})
}

// tooManyOfKind answers somebody who has as many of a kind as they may.
func (p *Portal) tooManyOfKind(w http.ResponseWriter, r *http.Request) {
	t := p.words(r)
	p.problem(w, r, templates.ProblemView{
		Status: http.StatusConflict, Title: t.say("portal.too_many.title"), Text: t.say("portal.too_many.text"),
		Action: t.say("portal.to_account"), ActionURL: accountPath,
	})
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

// fewCodes is how many backup codes are so few that new ones are due.
const fewCodes = 3

// newest is how many events the overview shows.
const newest = 5

// overview says what is set up, what is worth setting up, and what happened
// lately.
func (p *Portal) overview(w http.ResponseWriter, r *http.Request) {
	v, ok := p.member(w, r)
	if !ok {
		return
	}
	held, enrollable, ok := p.waysOf(w, r, v)
	if !ok {
		return
	}
	devices, ok := p.devicesOf(w, r, v)
	if !ok {
		return
	}
	events, err := p.Accounts.Activity(r.Context(), v.user.ID, 0, eventsOnPage)
	if err != nil {
		p.fault(w, r, "reading what happened lately", err)
		return
	}
	t := p.words(r)
	p.page(w, r, http.StatusOK, "account_overview", templates.OverviewView{
		Frame: p.frame(r), Done: p.done(w, r), Name: v.user.Name, DisplayName: v.user.DisplayName,
		Email: v.user.Email, Groups: v.user.Groups, Advice: advise(t, held, enrollable),
		Ways: append(ways(t, held, enrollable), deviceWay(t, devices)...), Since: local(v.signOn.Started),
		Before: signInBefore(t, events, v.signOn), Recent: happened(t, events[:min(newest, len(events))]),
	})
}

// waysOf returns what somebody has to sign in with, and the kinds that they can
// add; it answers itself, and returns false, where that can't be told.
func (p *Portal) waysOf(w http.ResponseWriter, r *http.Request, v visitor) ([]credentials.Own, []assurance.Factor, bool) {
	held, err := p.Accounts.Holdings(r.Context(), v.user.ID)
	if err != nil {
		p.fault(w, r, "listing ways to sign in", err)
		return nil, nil, false
	}
	enrollable, err := p.Accounts.Enrollable(r.Context(), v.user.ID)
	if err != nil {
		p.fault(w, r, "finding what can be added", err)
		return nil, nil, false
	}
	return held, enrollable, true
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
func ways(t words, held []credentials.Own, enrollable []assurance.Factor) []templates.Way {
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
			Kind: string(kind), Name: t.kind(kind, "title"), URL: kindPath(kind), State: stateOf(t, kind, of[kind]),
			Daily: kind != assurance.Password && kind != assurance.BackupCode,
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
	case kind == assurance.BackupCode:
		return t.count("portal.state.left", codesOf(active[0]).Left)
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

// secondWays returns what can stand beside the password day by day. Backup
// codes are for emergencies and are never counted among them.
func secondWays(held []credentials.Own) []credentials.Own {
	var second []credentials.Own
	for _, h := range working(held) {
		if h.Daily {
			second = append(second, h)
		}
	}
	return second
}

// codesOf returns what is known of a set of backup codes.
func codesOf(h credentials.Own) factors.Codes {
	codes, _ := h.Details.(factors.Codes)
	return codes
}

// advise says what would make somebody safer from being locked out. Where
// there is nothing, it says so.
func advise(t words, held []credentials.Own, enrollable []assurance.Factor) []templates.Advice {
	var advice []templates.Advice
	if next := recommended(held, enrollable); next != "" && len(secondWays(held)) < 2 {
		advice = append(advice, templates.Advice{
			Text: t.say("portal.advice.second_way"), Action: t.kind(next, "add"), URL: kindPath(next),
		})
	}
	if text := adviseOnCodes(t, working(ofKind(held, assurance.BackupCode)), enrollable); text != "" {
		advice = append(advice, templates.Advice{
			Text: text, Action: t.kind(assurance.BackupCode, "add"), URL: kindPath(assurance.BackupCode), Urgent: true,
		})
	}
	if len(advice) == 0 && len(secondWays(held)) > 1 {
		advice = append(advice, templates.Advice{Text: t.say("portal.advice.all_well"), Good: true})
	}
	return advice
}

// adviseOnCodes says that backup codes run short, or are missing where they
// could be there.
func adviseOnCodes(t words, codes []credentials.Own, enrollable []assurance.Factor) string {
	left := 0
	if len(codes) > 0 {
		left = codesOf(codes[0]).Left
	}
	switch {
	case left > fewCodes, len(codes) == 0 && !slices.Contains(enrollable, assurance.BackupCode):
		return ""
	case left == 0:
		return t.say("portal.advice.no_codes")
	}
	return t.count("portal.advice.few_codes", left)
}

// recommended returns the kind to add next: one that isn't there yet, if there
// is any.
func recommended(held []credentials.Own, enrollable []assurance.Factor) assurance.Factor {
	var another assurance.Factor
	for _, kind := range enrollable {
		if kind == assurance.BackupCode {
			continue
		}
		if len(working(ofKind(held, kind))) == 0 {
			return kind
		}
		if another == "" {
			another = kind
		}
	}
	return another
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

// finished leads on after a change and has the next page say what was done, a
// key below "portal.done".
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
	switch what := cookie.Value; what {
	case "added", "renamed", "removed", "new_codes", "password", "ended", "ended_others", "forgotten", "revoked":
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
