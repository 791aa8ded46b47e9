package portal

import (
	"fmt"
	"net/http"
	"slices"

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
func (p *Portal) showOffer(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	v, to, err := p.onTheWay(r, query.Get("request"), query.Get("to"))
	if err != nil {
		return err
	}
	held, enrollable, err := p.waysOf(r, v)
	if err != nil {
		return err
	}
	kind := p.resistant()
	has := func(h credentials.Own) bool { return h.Kind == kind && !h.Elsewhere }
	if slices.ContainsFunc(held, has) || !slices.Contains(enrollable, kind) {
		return p.proceed(w, r, v, to)
	}
	return p.page(w, r, http.StatusOK, "passkey_offer", templates.PasskeyOfferView{
		Frame: p.frame(r), Host: to.host(), Request: to.signed, To: to.own,
	}, to.formOrigins()...)
}

// onTheWay returns who is signed in with two factors and where they were going.
func (p *Portal) onTheWay(r *http.Request, signed, own string) (visitor, destination, error) {
	to, err := p.destinationOf(signed)
	if err != nil {
		return visitor{}, destination{}, err
	}
	to.own = accountPage(own)
	v, err := p.member(r)
	return v, to, err
}

// answerOffer begins to set a passkey up, or leaves the person in peace for a
// while. Either way they go on then.
func (p *Portal) answerOffer(w http.ResponseWriter, r *http.Request) error {
	v, to, err := p.onTheWay(r, r.PostFormValue("request"), r.PostFormValue("to"))
	if err != nil {
		return err
	}
	if r.PostFormValue("answer") != "set_up" {
		if err := p.Flows.DeclinePasskey(r.Context(), v.user); err != nil {
			return fmt.Errorf("noting that somebody wants no passkey now: %w", err)
		}
		return p.proceed(w, r, v, to)
	}
	return p.enrol(w, r, v, authflow.Adding{Kind: p.resistant(), Request: to.signed, Return: to.own, Offered: true})
}
