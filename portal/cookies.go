package portal

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/session"
)

// The portal's own cookies.
const (
	portalCookie  = "__Host-mfa-portal"
	flowCookie    = "__Host-mfa-flow"
	browserCookie = "__Host-mfa-browser"
	// signedOutCookie says that somebody signed out at a device, which therefore
	// doesn't go in again by itself.
	signedOutCookie = "__Host-mfa-signed-out"

	// passkeyCookie tells this browser from others while it has been asked for a
	// passkey and has no flow yet.
	passkeyCookie = "__Host-mfa-passkey"

	// zoneCookie is the browser's time zone. forms.js sets it.
	zoneCookie = "__Host-mfa-zone"

	// maxFlows is how many flows a browser may have under way.
	maxFlows = 8
	// browserLifetime is how long a known browser is remembered; browsers
	// keep no cookie for longer than 400 days.
	browserLifetime = 365 * 24 * time.Hour
)

// setCookie sets a cookie of ours; maxAge 0 keeps it until the browser closes
// and a negative one removes it.
func setCookie(w http.ResponseWriter, name, value string, maxAge time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: int(maxAge / time.Second),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// underWay is what the flow cookie says. It is sealed, so an id that was
// learned elsewhere opens nothing.
type underWay struct {
	// Flows are the ids of the flows that this browser has under way.
	Flows []string `json:"flows"`
	// Shared says that one of them is at a shared computer, where the cookie
	// ends with the browser.
	Shared bool `json:"shared,omitempty"`
}

func (p *Portal) underWay(r *http.Request) underWay {
	cookie, err := r.Cookie(flowCookie)
	if err != nil {
		return underWay{}
	}
	raw, err := p.FlowCodec.Decode(cookie.Value)
	if err != nil {
		return underWay{}
	}
	var u underWay
	if json.Unmarshal(raw, &u) != nil {
		return underWay{}
	}
	return u
}

// bindFlow binds a flow to this browser, beside those it has in other tabs.
func (p *Portal) bindFlow(w http.ResponseWriter, r *http.Request, f authflow.Flow) error {
	u := p.underWay(r)
	u.Flows = append(u.Flows, f.ID)
	u.Flows = u.Flows[max(0, len(u.Flows)-maxFlows):]
	u.Shared = u.Shared || f.Shared
	return p.setUnderWay(w, u)
}

// releaseFlow forgets a finished flow.
func (p *Portal) releaseFlow(w http.ResponseWriter, r *http.Request, id string) error {
	u := p.underWay(r)
	u.Flows = slices.DeleteFunc(u.Flows, func(have string) bool { return have == id })
	if len(u.Flows) == 0 {
		setCookie(w, flowCookie, "", -time.Second)
		return nil
	}
	return p.setUnderWay(w, u)
}

func (p *Portal) setUnderWay(w http.ResponseWriter, u underWay) error {
	raw, err := json.Marshal(u)
	if err != nil {
		return fmt.Errorf("writing the flow cookie: %w", err)
	}
	value, err := p.FlowCodec.Encode(raw)
	if err != nil {
		return fmt.Errorf("sealing the flow cookie: %w", err)
	}
	setCookie(w, flowCookie, value, kept(authflow.FlowLifetime, u.Shared))
	return nil
}

// kept is how long a cookie stays: with the browser at a shared computer.
func kept(lifetime time.Duration, shared bool) time.Duration {
	if shared {
		return 0
	}
	return lifetime
}

// signedOn returns the sign-on that the portal's cookie stands for;
// session.ErrEnded is a definite no.
func (p *Portal) signedOn(r *http.Request) (session.SignOn, session.User, error) {
	said := p.portalSession(r)
	if said.SignOn == "" {
		return session.SignOn{}, session.User{}, session.ErrEnded
	}
	signOn, user, err := p.SignOns.LivePortal(r.Context(), said)
	if err != nil {
		return session.SignOn{}, session.User{}, fmt.Errorf("looking up a sign-on: %w", err)
	}
	return signOn, user, nil
}

// portalSession returns what the portal's cookie says; the zero value if there is
// none of ours. The sign-on belonged to this browser, even if another tab has since
// replaced its cookie.
func (p *Portal) portalSession(r *http.Request) session.PortalSession {
	cookie, err := r.Cookie(portalCookie)
	if err != nil {
		return session.PortalSession{}
	}
	said, err := p.PortalCookies.Read(cookie.Value)
	if err != nil {
		return session.PortalSession{}
	}
	return said
}
