package portal

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/templates"
)

// eventsOnPage is how many events a page of the activity shows.
const eventsOnPage = 50

// showActivity lists what happened in somebody's account, newest first.
func (p *Portal) showActivity(w http.ResponseWriter, r *http.Request) error {
	v, err := p.member(r)
	if err != nil {
		return err
	}
	before, err := strconv.ParseInt(cmp.Or(r.URL.Query().Get("before"), "0"), 10, 64)
	if err != nil || before < 0 {
		return errNotFound
	}
	// One more than is shown tells whether there are older ones.
	events, err := p.Accounts.Activity(r.Context(), v.user.ID, before, eventsOnPage+1)
	if err != nil {
		return fmt.Errorf("reading what happened: %w", err)
	}
	view := templates.ActivityView{Frame: p.frame(r), Later: before > 0}
	if len(events) > eventsOnPage {
		events = events[:eventsOnPage]
		view.Older = addressed(activityPath, "before", strconv.FormatInt(events[eventsOnPage-1].ID, 10))
	}
	view.Events = happened(p.words(r), events)
	return p.page(w, r, http.StatusOK, "account_activity", view)
}

// happened puts events into plain words.
func happened(t words, events []store.Event) []templates.Happening {
	told := make([]templates.Happening, 0, len(events))
	for _, e := range events {
		told = append(told, happening(t, e))
	}
	return told
}

func happening(t words, e store.Event) templates.Happening {
	return templates.Happening{
		At: local(e.At), Text: tell(t, e), Where: whereabouts(t, e), Alarming: slices.Contains(alarming, audit.Name(e.Name)),
	}
}

// alarming are the events that failed, or behind which somebody else may be.
var alarming = []audit.Name{
	audit.SignInFailed, audit.SignInSlowed, audit.FactorAlert, audit.FactorBarred, audit.CounterRegressed, audit.DeviceRefused,
}

// tell puts one event into words.
func tell(t words, e store.Event) string {
	kind := assurance.Factor(e.Fields[string(audit.Factor)])
	return t.sayOr("portal.event.unnamed", "portal.event."+e.Name,
		"Proof", t.kind(kind, "proof"), "Thing", t.kind(kind, "name"),
		"Proofs", proofs(t, e.Fields[string(audit.Factors)]), "App", hostOf(e.Fields[string(audit.App)]),
		"Device", e.Fields[string(audit.Device)], "Credential", e.Fields[string(audit.Credential)],
		"Token", e.Fields[string(audit.Token)])
}

// proofs lists what was shown.
func proofs(t words, kinds string) string {
	var shown []string
	for kind := range strings.SplitSeq(kinds, ",") {
		if kind != "" {
			shown = append(shown, t.kind(assurance.Factor(kind), "proof"))
		}
	}
	return strings.Join(shown, ", ")
}

// by says who did it, where it wasn't the person.
func by(t words, e store.Event) string {
	if e.Fields[string(audit.By)] == "" {
		return ""
	}
	return t.say("portal.by_administrator")
}

// whereabouts says from where something was done.
func whereabouts(t words, e store.Event) string {
	var parts []string
	if agent := e.Fields[string(audit.UserAgent)]; agent != "" {
		parts = append(parts, browserName(t, agent))
	}
	if address := e.Fields[string(audit.Address)]; address != "" {
		parts = append(parts, address)
	}
	if who := by(t, e); who != "" {
		parts = append(parts, who)
	}
	return strings.Join(parts, " · ")
}

// askDisown says what "this wasn't me" does, and does nothing yet.
func (p *Portal) askDisown(w http.ResponseWriter, r *http.Request) error {
	v, err := p.member(r)
	if err != nil {
		return err
	}
	devices, err := p.devicesOf(r, v)
	if err != nil {
		return err
	}
	programs, err := p.appPasswordsOf(r, v)
	if err != nil {
		return err
	}
	view := templates.DisownView{Frame: p.frame(r), Name: v.user.Name, AppPasswords: len(programs) > 0}
	if len(devices) > 0 {
		view.Devices = devicesPath
	}
	return p.page(w, r, http.StatusOK, "account_disown", view)
}

// disown ends everything that anybody has begun in a person's name. They sign
// in again with two factors and choose a new password.
func (p *Portal) disown(w http.ResponseWriter, r *http.Request) error {
	v, err := p.member(r)
	if err != nil {
		return err
	}
	if err := p.Accounts.Disown(r.Context(), v.signOn, v.user, p.client(r)); err != nil {
		return fmt.Errorf("ending everything: %w", err)
	}
	setCookie(w, portalCookie, "", -time.Second)
	setCookie(w, flowCookie, "", -time.Second)
	p.redirect(w, "/sign-in")
	return nil
}
