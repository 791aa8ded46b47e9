package portal

import (
	"errors"
	"mime"
	"net/http"
	"strings"

	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/templates"
)

// moreTime is what a flow's page needs to offer more time.
func (p *Portal) moreTime(f authflow.Flow) templates.MoreTime {
	return templates.MoreTime{Flow: f.ID, Seconds: max(0, int(p.Flows.Left(f).Seconds()))}
}

// extend gives a flow more time. It tells a script how much there is then, and
// leads everybody else back to the flow.
func (p *Portal) extend(w http.ResponseWriter, r *http.Request) error {
	f, err := p.flowOf(r, r.PostFormValue("flow"))
	var answer struct {
		Seconds int `json:"seconds"`
	}
	if err == nil {
		left, failed := p.Flows.Extend(r.Context(), f)
		answer.Seconds, err = int(left.Seconds()), failed
	}
	switch {
	case !wantsJSON(r) && err == nil:
		p.redirect(w, flowURL(f.ID))
	case wantsJSON(r) && err == nil:
		return p.json(w, r, http.StatusOK, answer)
	case wantsJSON(r) && errors.Is(err, authflow.ErrFlowGone):
		return p.json(w, r, http.StatusGone, answer)
	}
	return err
}

// wantsJSON reports whether a script asks.
func wantsJSON(r *http.Request) bool { return accepts(r, "application/json") }

// accepts reports whether a request names a media type that it accepts.
func accepts(r *http.Request, mediaType string) bool {
	for accepted := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		if kind, _, err := mime.ParseMediaType(accepted); err == nil && kind == mediaType {
			return true
		}
	}
	return false
}
