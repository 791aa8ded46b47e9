package portal

import (
	"net/http"
	"slices"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/templates"
)

// offerPath is the page that offers a passkey to whoever has signed in by
// something weaker, before they go on.
const offerPath = accountPath + "/passkey-offer"

func offerURL(to destination) string {
	if query := to.query().Encode(); query != "" {
		return offerPath + "?" + query
	}
	return offerPath
}

// showOffer offers a passkey, and goes on where there is nothing to offer: the
// back button leads here after one was set up.
func (p *Portal) showOffer(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	v, to, ok := p.onTheWay(w, r, query.Get("request"), query.Get("to"))
	if !ok {
		return
	}
	held, enrollable, ok := p.waysOf(w, r, v)
	has := func(h credentials.Own) bool { return h.Kind == assurance.FIDO && !h.Elsewhere }
	switch {
	case !ok:
	case slices.ContainsFunc(held, has) || !slices.Contains(enrollable, assurance.FIDO):
		p.proceed(w, r, v, to)
	default:
		p.page(w, r, http.StatusOK, "passkey_offer", templates.PasskeyOfferView{
			Frame: p.frame(r), Host: to.host(), Request: to.signed, To: to.own,
		}, to.formOrigins()...)
	}
}

// onTheWay returns who is signed in with two factors and where they were going.
func (p *Portal) onTheWay(w http.ResponseWriter, r *http.Request, signed, own string) (visitor, destination, bool) {
	to, err := p.destinationOf(signed)
	if err != nil {
		p.badDestination(w, r)
		return visitor{}, destination{}, false
	}
	to.own = accountPage(own)
	v, ok := p.member(w, r)
	return v, to, ok
}

// answerOffer begins to set a passkey up, or leaves the person in peace for a
// while. Either way they go on then.
func (p *Portal) answerOffer(w http.ResponseWriter, r *http.Request) {
	v, to, ok := p.onTheWay(w, r, r.PostFormValue("request"), r.PostFormValue("to"))
	if !ok {
		return
	}
	if r.PostFormValue("answer") != "set_up" {
		if err := p.Flows.DeclinePasskey(r.Context(), v.user); err != nil {
			p.fault(w, r, "noting that somebody wants no passkey now", err)
			return
		}
		p.proceed(w, r, v, to)
		return
	}
	flow, err := p.Flows.BeginEnrolment(r.Context(), v.signOn, v.user, authflow.Adding{
		Kind: assurance.FIDO, Request: to.signed, Return: to.own, Offered: true,
	}, p.client(r))
	if err != nil {
		p.accountFailed(w, r, v, "beginning to set up a passkey", err)
		return
	}
	p.enter(w, r, flow)
}
