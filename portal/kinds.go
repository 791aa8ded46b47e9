package portal

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/templates"
)

// codesSlug is what backup codes are called in addresses; every other kind of
// proof is called what it is called everywhere.
const codesSlug = "backup-codes"

// kindPath is the page of a kind of proof.
func kindPath(kind assurance.Factor) string {
	if kind == assurance.BackupCode {
		return accountPath + "/" + codesSlug
	}
	return accountPath + "/" + string(kind)
}

// kindOf returns the second factor that a request's path names.
func (p *Portal) kindOf(r *http.Request) (assurance.Factor, bool) {
	kind := assurance.Factor(r.PathValue("kind"))
	if kind == codesSlug {
		kind = assurance.BackupCode
	} else if kind == assurance.BackupCode {
		return "", false
	}
	return kind, kind.IsSecond() && p.Enabled(kind)
}

// kind returns a text about a kind of proof. A kind of which the catalogue
// doesn't speak is spoken of in general terms.
func (t words) kind(kind assurance.Factor, text string) string {
	return t.sayOr("portal.kind.unnamed."+text, "portal.kind."+string(kind)+"."+text)
}

// showKind lists what a person has of one kind of proof.
func (p *Portal) showKind(w http.ResponseWriter, r *http.Request) {
	kind, known := p.kindOf(r)
	if !known {
		p.notFound(w, r)
		return
	}
	v, ok := p.member(w, r)
	if !ok {
		return
	}
	held, enrollable, ok := p.waysOf(w, r, v)
	if !ok {
		return
	}
	t := p.words(r)
	view := templates.KindView{
		Frame: p.frame(r), Done: p.done(w, r), Kind: p.kindTexts(t, kind),
		Items: items(t, ofKind(held, kind)), CanAdd: slices.Contains(enrollable, kind),
	}
	name := "account_kind"
	if kind == assurance.BackupCode {
		name, view.Codes = "account_codes", codesShown(t, working(ofKind(held, kind)))
	}
	p.page(w, r, http.StatusOK, name, view)
}

// kindTexts is what the pages of a kind say of it.
func (p *Portal) kindTexts(t words, kind assurance.Factor) templates.KindTexts {
	texts := templates.KindTexts{
		Kind: string(kind), URL: kindPath(kind), Title: t.kind(kind, "title"), About: t.kind(kind, "about"),
		Add: t.kind(kind, "add"), AddAbout: t.kind(kind, "add_about"), None: t.kind(kind, "none"), Help: p.helpURL(kind),
	}
	return texts
}

func items(t words, held []authflow.Held) []templates.Item {
	listed := make([]templates.Item, 0, len(held))
	for _, h := range held {
		item := templates.Item{
			ID: h.ID, Name: h.Name, Added: local(h.Created), LastUsed: local(h.LastUsed), Suspended: h.Suspended,
			Details: details(t, h),
		}
		if h.Kind == assurance.FIDO { // nothing else could count for more
			item.HeldUntil = local(h.HeldUntil)
		}
		listed = append(listed, item)
	}
	return listed
}

// details puts what is known of one of a person's own into a few words; empty:
// there is nothing to say.
func details(t words, h authflow.Held) string {
	key, ok := h.Details.(factors.Key)
	if !ok {
		return ""
	}
	var by []string
	for _, transport := range key.Transports {
		named := "portal.key.by." + transport
		if said := t.say(named); said != named {
			by = append(by, said)
		}
	}
	form := t.say("portal.key.form." + string(key.Form))
	if len(by) == 0 {
		return form
	}
	return form + " · " + strings.Join(by, ", ")
}

// codesShown says how many backup codes are left, and which were used when.
func codesShown(t words, sets []authflow.Held) *templates.CodesLeft {
	if len(sets) == 0 {
		return nil
	}
	codes := codesOf(sets[0])
	shown := &templates.CodesLeft{
		Left: t.say("portal.codes_left", "Count", codes.Left, "Total", codes.Total),
		Few:  codes.Left <= fewCodes, Made: local(sets[0].Created),
	}
	for _, used := range codes.Used {
		shown.Used = append(shown.Used, local(used))
	}
	return shown
}

// showAdd says what adding one of a kind begins with.
func (p *Portal) showAdd(w http.ResponseWriter, r *http.Request) {
	kind, known := p.kindOf(r)
	if !known {
		p.notFound(w, r)
		return
	}
	if _, ok := p.changer(w, r); ok {
		p.page(w, r, http.StatusOK, "account_add", templates.AddView{Frame: p.frame(r), Kind: p.kindTexts(p.words(r), kind)})
	}
}

// add begins to set up one more of a kind.
func (p *Portal) add(w http.ResponseWriter, r *http.Request) {
	kind, known := p.kindOf(r)
	if !known {
		p.notFound(w, r)
		return
	}
	v, ok := p.member(w, r)
	if !ok {
		return
	}
	flow, err := p.Accounts.BeginEnrolment(r.Context(), v.signOn, v.user, kind, kindPath(kind), p.client(r))
	if err != nil {
		p.accountFailed(w, r, v, "beginning an enrolment", err)
		return
	}
	p.enter(w, r, flow)
}

// chosen is one of a person's own, as a form or a link names it.
type chosen struct {
	visitor
	kind assurance.Factor
	held []authflow.Held // everything that they have
	one  authflow.Held
}

// choose returns which of their own a person means, once they have shown that
// it's them. What belongs to somebody else isn't there.
func (p *Portal) choose(w http.ResponseWriter, r *http.Request, id string) (chosen, bool) {
	kind, known := p.kindOf(r)
	if !known || kind == assurance.BackupCode {
		p.notFound(w, r)
		return chosen{}, false
	}
	v, ok := p.changer(w, r)
	if !ok {
		return chosen{}, false
	}
	held, err := p.Accounts.Holdings(r.Context(), v.user.ID)
	if err != nil {
		p.fault(w, r, "listing ways to sign in", err)
		return chosen{}, false
	}
	i := slices.IndexFunc(held, func(h authflow.Held) bool { return h.ID == id && h.Kind == kind })
	if i < 0 {
		p.notFound(w, r)
		return chosen{}, false
	}
	return chosen{v, kind, held, held[i]}, true
}

// showRename shows the form for another name.
func (p *Portal) showRename(w http.ResponseWriter, r *http.Request) {
	if c, ok := p.choose(w, r, r.URL.Query().Get("id")); ok {
		p.renameForm(w, r, http.StatusOK, c, c.one.Name, templates.Message{})
	}
}

func (p *Portal) renameForm(w http.ResponseWriter, r *http.Request, status int, c chosen, typed string, message templates.Message) {
	p.page(w, r, status, "account_rename", templates.RenameView{
		Frame: p.frame(r), Kind: p.kindTexts(p.words(r), c.kind), ID: c.one.ID, Name: c.one.Name, Typed: typed, Error: message,
	})
}

// rename gives one of a person's own another name.
func (p *Portal) rename(w http.ResponseWriter, r *http.Request) {
	c, ok := p.choose(w, r, r.PostFormValue("id"))
	if !ok {
		return
	}
	name := strings.TrimSpace(r.PostFormValue("name"))
	err := p.Accounts.Rename(r.Context(), c.signOn, c.user, c.one.ID, name, p.client(r))
	switch invalid := new(authflow.Invalid); {
	case err == nil:
		p.finished(w, "renamed", kindPath(c.kind))
	case errors.As(err, &invalid):
		p.renameForm(w, r, http.StatusUnprocessableEntity, c, name, templates.Message{
			Field: "name", Text: p.words(r).phrase(invalid.Fields["name"]),
		})
	default:
		p.accountFailed(w, r, c.visitor, "renaming a way to sign in", err)
	}
}

// showRemove says what removing one leaves and ends, before the button.
func (p *Portal) showRemove(w http.ResponseWriter, r *http.Request) {
	if c, ok := p.choose(w, r, r.URL.Query().Get("id")); ok {
		p.removeForm(w, r, http.StatusOK, c)
	}
}

func (p *Portal) removeForm(w http.ResponseWriter, r *http.Request, status int, c chosen) {
	t := p.words(r)
	view := templates.RemoveView{
		Frame: p.frame(r), Kind: p.kindTexts(t, c.kind), ID: c.one.ID, Name: c.one.Name, Suspended: c.one.Suspended,
	}
	remaining := slices.DeleteFunc(secondWays(c.held), func(h authflow.Held) bool { return h.ID == c.one.ID })
	for _, h := range remaining {
		view.Remaining = append(view.Remaining, h.Name)
	}
	view.Last = len(remaining) == 0 && !c.one.Suspended
	if codes := working(ofKind(c.held, assurance.BackupCode)); len(codes) > 0 && len(remaining) > 0 {
		view.Remaining = append(view.Remaining, t.count("portal.codes_remain", codesOf(codes[0]).Left))
	}
	p.page(w, r, status, "account_remove", view)
}

// remove takes one of a person's own away. Their other sign-ons end, and this
// browser goes on under a new one.
func (p *Portal) remove(w http.ResponseWriter, r *http.Request) {
	c, ok := p.choose(w, r, r.PostFormValue("id"))
	if !ok {
		return
	}
	granted, err := p.Accounts.Remove(r.Context(), c.signOn, c.user, c.one.ID, p.client(r))
	switch {
	case errors.Is(err, authflow.ErrLastWayIn):
		p.removeForm(w, r, http.StatusConflict, c)
		return
	case err != nil:
		p.accountFailed(w, r, c.visitor, "removing a way to sign in", err)
		return
	}
	if err := p.keep(w, r, granted); err != nil {
		p.fault(w, r, "setting the portal's cookies", err)
		return
	}
	p.finished(w, "removed", kindPath(c.kind))
}
