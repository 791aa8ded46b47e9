package portal

import (
	"net/http"

	"github.com/portcullis-mfa/portcullis/templates"
)

// home says who is signed in and which apps they can open.
func (p *Portal) home(w http.ResponseWriter, r *http.Request) error {
	v, err := p.present(r)
	if err != nil {
		return err
	}
	if !p.hasShownTwo(v) {
		p.redirect(w, "/sign-in")
		return nil
	}
	return p.page(w, r, http.StatusOK, "home", templates.HomeView{
		Frame: p.frame(r), Done: p.done(w, r), Name: v.user.Name, DisplayName: v.user.DisplayName,
		Since: local(v.signOn.Started), Until: local(v.signOn.Expires), Apps: p.Apps(r, v.user),
	})
}
