package portal

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/selfservice"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/token"
)

// kindPath is the page of a kind of proof.
func (p *Portal) kindPath(kind assurance.Factor) string { return accountPath + "/" + p.slugOf(kind) }

// slugOf is what a kind of proof is called in addresses. What stands by comes in
// sets, such as backup codes.
func (p *Portal) slugOf(kind assurance.Factor) string {
	slug := strings.ReplaceAll(string(kind), "_", "-")
	if p.Factors.IsStandby(kind) {
		slug += "s"
	}
	return slug
}

// kindOf returns the second factor that a request's path names.
func (p *Portal) kindOf(r *http.Request) (assurance.Factor, error) {
	for _, f := range p.Factors {
		if p.slugOf(f.Kind()) == r.PathValue("kind") {
			return f.Kind(), nil
		}
	}
	return "", errNotFound
}

// kind returns a text about a kind of proof. A kind of which the catalogue
// doesn't speak is spoken of in general terms.
func (t words) kind(kind assurance.Factor, text string) string {
	return t.sayOr("portal.kind.unnamed."+text, "portal.kind."+string(kind)+"."+text)
}

// kindCount is kind for a text about a number of things.
func (t words) kindCount(kind assurance.Factor, text string, n int) string {
	return t.sayOr("portal.kind.unnamed."+text, "portal.kind."+string(kind)+"."+text, "Count", n)
}

// isNamed reports whether people give those of a kind names: where they can have
// several.
func (p *Portal) isNamed(kind assurance.Factor) bool {
	f, err := p.Factors.Get(kind)
	return err == nil && f.Most() > 1
}

// isReplaced reports whether a new one of a kind takes the place of one that the
// person uses day by day.
func (p *Portal) isReplaced(kind assurance.Factor, held []credentials.Own) bool {
	return !p.isNamed(kind) && !p.Factors.IsStandby(kind) && len(ofKind(held, kind)) > 0
}

// showKind lists what a person has of one kind of proof.
func (p *Portal) showKind(w http.ResponseWriter, r *http.Request) error {
	kind, err := p.kindOf(r)
	if err != nil {
		return err
	}
	v, err := p.member(r)
	if err != nil {
		return err
	}
	held, enrollable, err := p.waysOf(r, v)
	if err != nil {
		return err
	}
	t := p.words(r)
	view := templates.KindView{
		Frame: p.frame(r), Done: p.done(w, r), Kind: p.addTexts(t, kind, held), Single: !p.isNamed(kind),
		Items: p.items(t, ofKind(held, kind)), CanAdd: slices.Contains(enrollable, kind),
	}
	view.Total = t.kindCount(kind, "how_many", len(view.Items))
	if view.Announcement, err = p.announcement(w, r, v, kind, view.Done != ""); err != nil {
		return err
	}
	name := "account_kind"
	if p.Factors.IsStandby(kind) {
		name, view.Codes = "account_codes", codesShown(t, working(ofKind(held, kind)))
	}
	return p.page(w, r, http.StatusOK, name, view)
}

// toldCookie says what a browser was told last of somebody's own.
const toldCookie = "__Host-mfa-told"

// announcement returns what the browser is to be told of all that somebody has
// of a kind: after a change, and where it was told something else before, since
// a key may have been removed in another browser, or by an administrator, and a
// name changed anywhere.
func (p *Portal) announcement(w http.ResponseWriter, r *http.Request, v visitor, kind assurance.Factor, changed bool) (any, error) {
	announcement, err := p.Accounts.Announcement(r.Context(), v.user, kind)
	if err == nil && announcement == nil {
		return nil, nil
	}
	raw, unwritten := json.Marshal(announcement)
	if err = errors.Join(err, unwritten); err != nil {
		return nil, fmt.Errorf("finding out what a browser is to be told: %w", err)
	}
	now := token.Hash(string(raw))
	if cookie, err := r.Cookie(toldCookie); err == nil && cookie.Value == now && !changed {
		return nil, nil
	}
	setCookie(w, toldCookie, now, kept(browserLifetime, v.signOn.Shared))
	return announcement, nil
}

// kindTexts is what the pages of a kind say of it.
func (p *Portal) kindTexts(t words, kind assurance.Factor) templates.KindTexts {
	return templates.KindTexts{
		Kind: string(kind), URL: p.kindPath(kind), Title: t.kind(kind, "title"), About: t.kind(kind, "about"),
		Add: t.kind(kind, "add"), AddAbout: t.kind(kind, "add_about"), None: t.kind(kind, "none"), Help: p.helpURL(kind),
	}
}

// addTexts is kindTexts for pages that lead to adding one of a kind, or to replacing
// the one that the person has.
func (p *Portal) addTexts(t words, kind assurance.Factor, held []credentials.Own) templates.KindTexts {
	texts := p.kindTexts(t, kind)
	if p.isReplaced(kind, held) {
		texts.Add, texts.AddAbout = t.kind(kind, "change"), t.kind(kind, "change_about")
	}
	return texts
}

func (p *Portal) items(t words, held []credentials.Own) []templates.Item {
	listed := make([]templates.Item, 0, len(held))
	for _, h := range held {
		item := templates.Item{
			ID: h.ID, Name: h.Name, Added: local(h.Created), LastUsed: local(h.LastUsed), Suspended: h.Suspended,
			Details: details(t, h), Icon: h.Details.Form, Picture: h.Details.Picture,
			Heard: local(h.Details.Heard), Silent: h.Details.Unreachable,
		}
		if h.Elsewhere {
			item.Elsewhere = t.say("portal.kind."+string(h.Kind)+".elsewhere", "Realm", h.Realm)
		}
		if p.weights[h.Kind] == assurance.Unphishable { // nothing else could count for more
			item.ProbationUntil = local(h.ProbationUntil)
		}
		listed = append(listed, item)
	}
	return listed
}

// details puts what is known of one of a person's own into a few words; empty:
// there is nothing to say.
func details(t words, h credentials.Own) string {
	d, texts := h.Details, "portal.kind."+string(h.Kind)+"."
	if d.Form == "" {
		return ""
	}
	var by []string
	for _, means := range d.By {
		named := texts + "by." + means
		if said := t.say(named); said != named {
			by = append(by, said)
		}
	}
	parts := []string{t.say(texts + "form." + d.Form)}
	if d.Model != "" && !strings.HasPrefix(h.Name, d.Model) {
		parts = slices.Insert(parts, 0, d.Model)
	}
	if len(by) > 0 {
		parts = append(parts, strings.Join(by, ", "))
	}
	return strings.Join(parts, " · ")
}

// codesShown says how many codes are left, and which were used when.
func codesShown(t words, sets []credentials.Own) *templates.CodesLeft {
	if len(sets) == 0 || sets[0].Details.Stock == nil {
		return nil
	}
	stock := sets[0].Details.Stock
	shown := &templates.CodesLeft{
		Left: t.say("portal.codes_left", "Count", stock.Left, "Total", stock.Total),
		Few:  stock.Left <= fewLeft, Made: local(sets[0].Created),
	}
	for _, used := range stock.Used {
		shown.Used = append(shown.Used, local(used))
	}
	return shown
}

// showAdd says what adding one of a kind begins with.
func (p *Portal) showAdd(w http.ResponseWriter, r *http.Request) error {
	kind, err := p.kindOf(r)
	if err != nil {
		return err
	}
	to, err := p.destinationOf(r.URL.Query().Get("request"))
	if err != nil {
		return err
	}
	v, err := p.changer(r)
	if err != nil {
		return err
	}
	held, err := p.holdingsOf(r, v.user.ID)
	if err != nil {
		return err
	}
	return p.page(w, r, http.StatusOK, "account_add", templates.AddView{
		Frame: p.frame(r), Kind: p.addTexts(p.words(r), kind, held), Host: to.host(), Request: to.signed,
	})
}

// addURL leads to adding one of a kind on the way to somewhere.
func (p *Portal) addURL(kind assurance.Factor, to destination) string {
	return addressed(p.kindPath(kind)+"/add", "request", to.signed)
}

// add begins to set up one more of a kind. Whoever was on their way to an app
// goes on there.
func (p *Portal) add(w http.ResponseWriter, r *http.Request) error {
	kind, err := p.kindOf(r)
	if err != nil {
		return err
	}
	to, err := p.destinationOf(r.PostFormValue("request"))
	if err != nil {
		return err
	}
	v, err := p.member(r)
	if err != nil {
		return err
	}
	adding := authflow.Adding{Kind: kind, Request: to.signed}
	if to.signed == "" {
		adding.Return = p.kindPath(kind)
	}
	return p.enrol(w, r, v, adding)
}

// enrol begins a flow that adds something to the account of somebody who is
// signed in.
func (p *Portal) enrol(w http.ResponseWriter, r *http.Request, v visitor, adding authflow.Adding) error {
	flow, err := p.Flows.BeginEnrolment(r.Context(), v.signOn, v.user, adding, p.client(r))
	if errors.Is(err, authflow.ErrFlowGone) {
		return session.ErrEnded // which the flow would belong to
	}
	if err != nil {
		return fmt.Errorf("beginning an enrolment: %w", err)
	}
	return p.enter(w, r, flow)
}

// chosen is one of a person's own, as a form or a link names it.
type chosen struct {
	listed
	one credentials.Own
}

// listed is a kind of proof whose list a person is about to change.
type listed struct {
	visitor
	kind assurance.Factor
	held []credentials.Own // everything that they have
}

// list returns the kind of proof that a request is about, once the person has
// shown that it's them.
func (p *Portal) list(r *http.Request) (listed, error) {
	kind, err := p.kindOf(r)
	if err != nil {
		return listed{}, err
	}
	if p.Factors.IsStandby(kind) { // they are replaced as a whole
		return listed{}, errNotFound
	}
	v, err := p.changer(r)
	if err != nil {
		return listed{}, err
	}
	held, err := p.holdingsOf(r, v.user.ID)
	if err != nil {
		return listed{}, err
	}
	return listed{v, kind, held}, nil
}

// choose returns which of their own a person means. What belongs to somebody
// else isn't there.
func (p *Portal) choose(r *http.Request, id string) (chosen, error) {
	l, err := p.list(r)
	if err != nil {
		return chosen{}, err
	}
	i := slices.IndexFunc(l.held, func(h credentials.Own) bool { return h.ID == id && h.Kind == l.kind })
	if i < 0 {
		return chosen{}, errNotFound
	}
	return chosen{l, l.held[i]}, nil
}

// showRename shows the form for another name.
func (p *Portal) showRename(w http.ResponseWriter, r *http.Request) error {
	c, err := p.choose(r, r.URL.Query().Get("id"))
	if err != nil {
		return err
	}
	return p.renameForm(w, r, http.StatusOK, c, c.one.Name, templates.Message{})
}

func (p *Portal) renameForm(w http.ResponseWriter, r *http.Request, status int, c chosen, typed string, message templates.Message) error {
	return p.page(w, r, status, "account_rename", templates.RenameView{
		Frame: p.frame(r), Kind: p.kindTexts(p.words(r), c.kind), ID: c.one.ID, Name: c.one.Name, Typed: typed, Error: message,
	})
}

// rename gives one of a person's own another name.
func (p *Portal) rename(w http.ResponseWriter, r *http.Request) error {
	c, err := p.choose(r, r.PostFormValue("id"))
	if err != nil {
		return err
	}
	name := strings.TrimSpace(r.PostFormValue("name"))
	err = p.Accounts.Rename(r.Context(), c.signOn, c.user, c.one.ID, name, p.client(r))
	if refusal, ok := p.refusalOf(w, r, form{}, err); ok {
		return p.renameForm(w, r, refusal.status, c, name, refusal.message)
	}
	if err != nil {
		return fmt.Errorf("renaming a way to sign in: %w", err)
	}
	p.finished(w, "renamed", p.kindPath(c.kind))
	return nil
}

// showRemove says what removing one leaves and ends, before the button.
func (p *Portal) showRemove(w http.ResponseWriter, r *http.Request) error {
	c, err := p.choose(r, r.URL.Query().Get("id"))
	if err != nil {
		return err
	}
	return p.removeForm(w, r, http.StatusOK, c)
}

func (p *Portal) removeForm(w http.ResponseWriter, r *http.Request, status int, c chosen) error {
	t := p.words(r)
	view := templates.RemoveView{
		Frame: p.frame(r), Kind: p.kindTexts(t, c.kind), ID: c.one.ID, Name: c.one.Name, Suspended: c.one.Suspended,
	}
	view.Remaining = p.remaining(t, c.held, func(h credentials.Own) bool { return h.ID == c.one.ID })
	view.Last = len(view.Remaining) == 0 && !c.one.Suspended && !c.one.Elsewhere
	return p.page(w, r, status, "account_remove", view)
}

// remaining names what is left beside the password when something has gone.
// What stands by is nothing that somebody could go on with alone.
func (p *Portal) remaining(t words, held []credentials.Own, goes func(credentials.Own) bool) []string {
	var names []string
	for _, h := range slices.DeleteFunc(secondWays(held), goes) {
		names = append(names, h.Name)
	}
	if len(names) == 0 {
		return nil
	}
	for _, kind := range p.standbys() {
		if has := working(ofKind(held, kind)); len(has) > 0 && has[0].Details.Stock != nil {
			names = append(names, t.kindCount(kind, "remain", has[0].Details.Stock.Left))
		}
	}
	return names
}

// remove takes one of a person's own away. Their other sign-ons end, and this
// browser goes on under a new one.
func (p *Portal) remove(w http.ResponseWriter, r *http.Request) error {
	c, err := p.choose(r, r.PostFormValue("id"))
	if err != nil {
		return err
	}
	granted, err := p.Accounts.Remove(r.Context(), c.signOn, c.user, c.one.ID, p.client(r))
	if errors.Is(err, selfservice.ErrLastWayIn) {
		return p.removeForm(w, r, http.StatusConflict, c)
	}
	if err != nil {
		return fmt.Errorf("removing a way to sign in: %w", err)
	}
	return p.removed(w, r, c.kind, granted)
}

// removed has the browser keep its new sign-on after a removal, and leads back
// to the list.
func (p *Portal) removed(w http.ResponseWriter, r *http.Request, kind assurance.Factor, granted person.Granted) error {
	if err := p.keep(w, r, granted, ""); err != nil {
		return err
	}
	p.finished(w, "removed", p.kindPath(kind))
	return nil
}

// showRemoveAll says what of a kind goes, what that leaves and what it ends,
// before the button.
func (p *Portal) showRemoveAll(w http.ResponseWriter, r *http.Request) error {
	l, err := p.list(r)
	if err != nil {
		return err
	}
	if len(ofKind(l.held, l.kind)) < 2 { // perhaps removed in another tab
		p.redirect(w, p.kindPath(l.kind))
		return nil
	}
	return p.removeAllForm(w, r, http.StatusOK, l)
}

func (p *Portal) removeAllForm(w http.ResponseWriter, r *http.Request, status int, l listed) error {
	t, going := p.words(r), ofKind(l.held, l.kind)
	view := templates.RemoveAllView{
		Frame: p.frame(r), Kind: p.kindTexts(t, l.kind), Total: t.kindCount(l.kind, "how_many", len(going)),
		Remaining: p.remaining(t, l.held, func(h credentials.Own) bool { return h.Kind == l.kind }),
	}
	for _, h := range going {
		view.Names = append(view.Names, h.Name)
	}
	view.Last = status == http.StatusConflict || len(view.Remaining) == 0 && len(working(going)) > 0
	return p.page(w, r, status, "account_remove_all", view)
}

// removeAll takes all of a kind away, as remove does one.
func (p *Portal) removeAll(w http.ResponseWriter, r *http.Request) error {
	l, err := p.list(r)
	if err != nil {
		return err
	}
	granted, err := p.Accounts.RemoveAll(r.Context(), l.signOn, l.user, l.kind, p.client(r))
	if errors.Is(err, selfservice.ErrLastWayIn) {
		return p.removeAllForm(w, r, http.StatusConflict, l)
	}
	if err != nil {
		return fmt.Errorf("removing all of a kind: %w", err)
	}
	return p.removed(w, r, l.kind, granted)
}
