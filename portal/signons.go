package portal

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/selfservice"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/token"
)

// showSignOns lists where somebody is signed in, and the browsers in which
// they skip the second step.
func (p *Portal) showSignOns(w http.ResponseWriter, r *http.Request) error {
	v, err := p.member(r)
	if err != nil {
		return err
	}
	signOns, err := p.Accounts.SignOnsOf(r.Context(), v.user.ID)
	if err != nil {
		return fmt.Errorf("listing sign-ons: %w", err)
	}
	browsers, err := p.browsersOf(r, v.user)
	if err != nil {
		return fmt.Errorf("listing browsers: %w", err)
	}
	return p.page(w, r, http.StatusOK, "account_sign_ons", templates.SignOnsView{
		Frame: p.frame(r), Done: p.done(w, r), SignOns: p.signOnsShown(r, v, signOns),
		Others: len(signOns) > 1, Browsers: browsers,
	})
}

// signOnsShown puts the sign-on of the browser that asks first.
func (p *Portal) signOnsShown(r *http.Request, v visitor, signOns []selfservice.OwnSignOn) []templates.OwnSignOn {
	t := p.words(r)
	shown := make([]templates.OwnSignOn, 0, len(signOns))
	for _, s := range signOns {
		own := templates.OwnSignOn{
			ID: audit.ShortID(s.ID), Here: s.ID == v.signOn.ID, Browser: browserName(t, s.UserAgent), Address: s.Address,
			Started: local(s.Started), Seen: local(s.LastSeen), Until: local(s.Expires), Apps: hostsOf(s.Apps),
		}
		if own.Here {
			shown = slices.Insert(shown, 0, own)
		} else {
			shown = append(shown, own)
		}
	}
	return shown
}

// hostsOf returns what people call apps by.
func hostsOf(origins []string) []string {
	hosts := make([]string, len(origins))
	for i, origin := range origins {
		hosts[i] = hostOf(origin)
	}
	return hosts
}

func hostOf(origin string) string {
	parsed, err := url.Parse(origin)
	if err != nil {
		return origin
	}
	return parsed.Host
}

func (p *Portal) browsersOf(r *http.Request, user session.User) ([]templates.Browser, error) {
	remembered, err := p.Accounts.Remembered(r.Context(), user.ID)
	if err != nil {
		return nil, err
	}
	t, here := p.words(r), token.Hash(p.client(r).Browser)
	var listed []templates.Browser
	for _, b := range remembered {
		listed = append(listed, templates.Browser{
			ID: b.ID, Name: browserName(t, b.UserAgent), Here: b.TokenHash == here, Until: local(b.Remembered),
		})
	}
	return listed, nil
}

// endSignOn ends one of a person's own sign-ons.
func (p *Portal) endSignOn(w http.ResponseWriter, r *http.Request) error {
	return p.change(w, r, "ended", func(v visitor) error {
		return p.Accounts.EndSignOn(r.Context(), v.user, r.PostFormValue("id"), p.client(r))
	})
}

// endOthers ends all of a person's sign-ons but the one that asks.
func (p *Portal) endOthers(w http.ResponseWriter, r *http.Request) error {
	return p.change(w, r, "ended_others", func(v visitor) error {
		_, err := p.Accounts.EndOthers(r.Context(), v.signOn, v.user, p.client(r))
		return err
	})
}

// forgetBrowser has one of a person's own browsers skip the second step no
// more.
func (p *Portal) forgetBrowser(w http.ResponseWriter, r *http.Request) error {
	return p.change(w, r, "forgotten", func(v visitor) error {
		return p.Accounts.Forget(r.Context(), v.user, r.PostFormValue("id"), p.client(r))
	})
}

// change does what a button of the page of sign-ons asks, and returns to it.
func (p *Portal) change(w http.ResponseWriter, r *http.Request, what string, do func(visitor) error) error {
	v, err := p.member(r)
	if err != nil {
		return err
	}
	if err := do(v); err != nil {
		return fmt.Errorf("changing sign-ons: %w", err)
	}
	p.finished(w, what, signOnsPath)
	return nil
}
