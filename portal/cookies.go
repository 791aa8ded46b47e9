package portal

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/session"
)

// The portal's own cookies.
const (
	portalCookie  = "__Host-mfa-portal"
	flowCookie    = "__Host-mfa-flow"
	browserCookie = "__Host-mfa-browser"

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

// flowsOf returns the ids of the flows that this browser has under way. The
// cookie is sealed, so an id that was learned elsewhere opens nothing.
func (p *Portal) flowsOf(r *http.Request) []string {
	cookie, err := r.Cookie(flowCookie)
	if err != nil {
		return nil
	}
	raw, err := p.FlowCodec.Decode(cookie.Value)
	if err != nil {
		return nil
	}
	var ids []string
	if json.Unmarshal(raw, &ids) != nil {
		return nil
	}
	return ids
}

// bindFlow binds a flow to this browser, beside those it has in other tabs.
func (p *Portal) bindFlow(w http.ResponseWriter, r *http.Request, id string) error {
	ids := append(p.flowsOf(r), id)
	return p.setFlows(w, ids[max(0, len(ids)-maxFlows):])
}

// releaseFlow forgets a finished flow.
func (p *Portal) releaseFlow(w http.ResponseWriter, r *http.Request, id string) error {
	ids := slices.DeleteFunc(p.flowsOf(r), func(have string) bool { return have == id })
	if len(ids) == 0 {
		setCookie(w, flowCookie, "", -time.Second)
		return nil
	}
	return p.setFlows(w, ids)
}

func (p *Portal) setFlows(w http.ResponseWriter, ids []string) error {
	raw, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	value, err := p.FlowCodec.Encode(raw)
	if err != nil {
		return err
	}
	setCookie(w, flowCookie, value, time.Hour)
	return nil
}

// signedOn returns the sign-on that the portal's cookie stands for;
// session.ErrEnded is a definite no.
func (p *Portal) signedOn(r *http.Request) (session.SignOn, session.User, error) {
	cookie, err := r.Cookie(portalCookie)
	if err != nil {
		return session.SignOn{}, session.User{}, session.ErrEnded
	}
	said, err := p.PortalCookies.Read(cookie.Value)
	if err != nil {
		return session.SignOn{}, session.User{}, session.ErrEnded
	}
	return p.SignOns.LivePortal(r.Context(), said)
}
