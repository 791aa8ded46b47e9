package portal

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/templates"
)

// askSignOut shows one button: a GET ends nothing.
func (p *Portal) askSignOut(w http.ResponseWriter, r *http.Request) error {
	_, user, err := p.signedOn(r)
	if errors.Is(err, session.ErrEnded) {
		p.redirect(w, "/signed-out")
		return nil
	}
	if err != nil {
		return err
	}
	return p.page(w, r, http.StatusOK, "sign_out", templates.SignOutView{Frame: p.frame(r), Name: user.Name, Action: "/sign-out"})
}

// signOut ends the sign-on, and with it its sessions at all apps.
func (p *Portal) signOut(w http.ResponseWriter, r *http.Request) error {
	// A cookie that another tab has replaced ends it, too.
	if id := p.portalSession(r).SignOn; id != "" {
		if err := p.end(r, id, session.EndedSignOut); err != nil {
			return fmt.Errorf("signing out: %w", err)
		}
	}
	setCookie(w, portalCookie, "", -time.Second)
	setCookie(w, flowCookie, "", -time.Second)
	if isCertified(r) {
		setCookie(w, signedOutCookie, "yes", 0)
	}
	// Pages that were seen while signed in. Not "cookies", which browsers clear
	// for the whole domain: other apps', and the one by which this browser is
	// known. Not "storage": the portal keeps nothing there.
	w.Header().Set("Clear-Site-Data", `"cache"`)
	p.redirect(w, "/signed-out")
	return nil
}

// end ends a sign-on, and records that.
func (p *Portal) end(r *http.Request, signOn, reason string) error {
	owner, err := p.SignOns.End(r.Context(), signOn, reason)
	if err != nil || owner.ID == "" {
		return err
	}
	p.Audit.Record(r.Context(), audit.SignOnEnded, owner.ID, audit.Fields{
		audit.User: owner.Name, audit.SignOn: audit.ShortID(signOn), audit.Reason: reason, audit.Address: p.Address(r),
	})
	return nil
}

// signedOut confirms it. Whoever has signed in again since, and comes by the back
// button, goes where people go who are signed in.
func (p *Portal) signedOut(w http.ResponseWriter, r *http.Request) error {
	if p.isSignedOn(r) {
		p.redirect(w, "/")
		return nil
	}
	return p.page(w, r, http.StatusOK, "signed_out", templates.SignedOutView{Frame: p.frame(r), SignIn: "/sign-in"})
}
