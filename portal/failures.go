package portal

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/selfservice"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/showable"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/token"
	"github.com/portcullis-mfa/portcullis/undo"
)

// What becomes of errors. A refusal of what somebody typed is said in the form,
// which the handler shows once more: refusalOf knows the words. Every other error
// is returned by the handler, and failed answers it: with a page that says what
// happened, or by leading elsewhere. No handler calls failed, and failed calls
// none.

var (
	// errNotFound says that there is nothing at an address, or nothing of the
	// person's own.
	errNotFound = errors.New("there is nothing here")
	// errForged says that another site's page has a request sent.
	errForged = errors.New("this comes from another site")
	// errUnrendered says that a page can't be rendered.
	errUnrendered = errors.New("the page doesn't render")
)

// form is one that somebody posted, as far as what is said of it depends on that.
type form struct {
	field string // the input in which the answer was typed
	// wrong says why an answer was refused.
	wrong func(t words, refused *factors.Refused) string
}

// sayingEither is saying where one text is for an answer without the form of one,
// and another for a wrong one.
func sayingEither(malformed, wrong string) func(words, *factors.Refused) string {
	return func(t words, refused *factors.Refused) string {
		if refused.Reason == factors.Malformed {
			return t.say(malformed)
		}
		return t.say(wrong)
	}
}

// refusal is what is said in a form of what was typed into it.
type refusal struct {
	status  int
	message templates.Message
}

// refusalOf returns what is said of what was typed, and sets when to try again;
// false where err isn't about that.
func (p *Portal) refusalOf(w http.ResponseWriter, r *http.Request, typed form, err error) (refusal, bool) {
	t, refused, slowed, invalid := p.words(r), new(factors.Refused), new(guess.Slowed), new(person.Invalid)
	switch {
	case errors.As(err, &refused) && typed.wrong != nil:
		said := refusal{http.StatusUnprocessableEntity, templates.Message{
			Field: typed.field, Text: typed.wrong(t, refused), RetryAfter: refused.RetryAfter, Unknown: refused.Credential,
		}}
		if refused.RetryAfter > 0 {
			said.status = http.StatusTooManyRequests
			w.Header().Set("Retry-After", seconds(refused.RetryAfter))
		}
		return said, true
	case errors.As(err, &invalid):
		return refusal{http.StatusUnprocessableEntity, t.firstOf(invalid)}, true
	case errors.As(err, &slowed):
		w.Header().Set("Retry-After", seconds(slowed.RetryAfter))
		return refusal{http.StatusTooManyRequests, p.tooMany(t, slowed)}, true
	}
	return refusal{}, false
}

// failed answers a request that a handler couldn't. It leads nobody back to the
// page that failed, and shows no step of a flow: showing one may be what failed.
func (p *Portal) failed(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, person.ErrStale) {
		if err = p.checkAnew(w, r, p.backFrom(r)); err == nil {
			return
		}
	}
	switch {
	case errors.Is(err, errForged):
		p.forged(w, r)
	case errors.Is(err, errUnrendered):
		p.unrendered(w, r, err)
	case errors.Is(err, session.ErrEnded):
		p.elsewhere(w, r, addressed("/sign-in", "to", accountPage(p.comeBack(r))), err)
	case errors.Is(err, authflow.ErrFlowGone) && p.isSignedOn(r) && r.Method == http.MethodGet:
		p.elsewhere(w, r, "/", err) // the back button, after all was done
	default:
		if view, known := p.problemOf(r, err); known {
			p.problem(w, r, view)
			return
		}
		p.fault(w, r, "answering a request", err)
	}
}

// problemOf returns the page that says what an error is; false where it is a fault
// of our own.
func (p *Portal) problemOf(r *http.Request, err error) (templates.ProblemView, bool) {
	t := p.words(r)
	switch {
	case isNotFound(err):
		return t.problem(http.StatusNotFound, "not_found", "first_page", "/"), true
	case errors.Is(err, errBadDestination), errors.Is(err, errMalformedWish):
		return t.problem(http.StatusBadRequest, "bad_request", "first_page", "/"), true
	case errors.Is(err, undo.ErrGone):
		return t.problem(http.StatusGone, "undo_gone", "sign_in", "/sign-in"), true
	case errors.Is(err, authflow.ErrResetGone):
		return t.problem(http.StatusGone, "reset_gone", "new_link", forgottenPath), true
	case errors.Is(err, authflow.ErrLinkGone):
		view := t.problem(http.StatusGone, "link_gone", "sign_in", "/sign-in")
		view.Text = t.say("portal.link_gone.text", "Contact", p.contactOr(t.say("portal.link_gone.contact")))
		return view, true
	case errors.Is(err, authflow.ErrFlowGone):
		view := t.problem(http.StatusGone, "flow_gone", "sign_in", "/sign-in")
		if _, err := r.Cookie(flowCookie); err != nil {
			view.Text += " " + t.say("portal.flow_gone.cookies")
		}
		return view, true
	case isOutOfStep(err):
		return t.problem(http.StatusConflict, "changed", "go_back", p.backFrom(r)), true
	case errors.Is(err, credentials.ErrTooMany):
		return t.problem(http.StatusConflict, "too_many", "to_account", accountPath), true
	case errors.Is(err, selfservice.ErrLastWayIn):
		return t.problem(http.StatusConflict, "last_way", "to_account", accountPath), true
	}
	return templates.ProblemView{}, false
}

// problem says what a problem is, by its texts, and leads on.
func (t words) problem(status int, what, action, to string) templates.ProblemView {
	return templates.ProblemView{
		Status: status, Title: t.say("portal." + what + ".title"), Text: t.say("portal." + what + ".text"),
		Action: t.say("portal." + action), ActionURL: to,
	}
}

// isNotFound reports whether an error says that there is nothing of the sort, or
// nothing of the person's own.
func isNotFound(err error) bool {
	for _, none := range []error{
		errNotFound, authflow.ErrNoPasskeys, credentials.ErrUnknown, selfservice.ErrNoSignOn, selfservice.ErrNoBrowser, selfservice.ErrNoAppPassword, person.ErrNoDevice,
	} {
		if errors.Is(err, none) {
			return true
		}
	}
	return false
}

// isOutOfStep reports whether a flow or an account has meanwhile become another than
// somebody took it for.
func isOutOfStep(err error) bool {
	return errors.Is(err, authflow.ErrWrongStep) || errors.Is(err, store.ErrConflict)
}

func (p *Portal) isSignedOn(r *http.Request) bool {
	_, _, err := p.signedOn(r)
	return err == nil
}

// elsewhere leads away from a page that failed. What would lead back to it is a
// fault.
func (p *Portal) elsewhere(w http.ResponseWriter, r *http.Request, to string, err error) {
	if place, _, _ := strings.Cut(to, "?"); place == r.URL.Path {
		p.fault(w, r, "answering a request", err)
		return
	}
	p.redirect(w, to)
}

// backFrom returns where somebody goes on whose request failed: with the flow that
// it is about, else where comeBack leads.
func (p *Portal) backFrom(r *http.Request) string {
	if strings.HasPrefix(r.URL.Path, "/flow") && r.Method != http.MethodPost {
		return flowURL(r.URL.Query().Get("id"))
	}
	return p.comeBack(r)
}

// checkAnew has somebody show again that it's them, and then leads back. The flow
// is a new one, so this is another page than the one that failed.
func (p *Portal) checkAnew(w http.ResponseWriter, r *http.Request, back string) error {
	v, err := p.present(r)
	if err != nil {
		return err
	}
	if !isVisit(r) {
		return errForged
	}
	flow, err := p.Flows.BeginFreshCheck(r.Context(), v.signOn, v.user, back, p.client(r))
	if err != nil {
		return fmt.Errorf("beginning a fresh check: %w", err)
	}
	return p.enter(w, r, flow)
}

// forged answers what another site's page has a browser send.
func (p *Portal) forged(w http.ResponseWriter, r *http.Request) {
	p.Audit.Note(audit.CrossOrigin, "", audit.Fields{
		audit.App: p.Origin.String(), audit.Address: p.Address(r),
	})
	p.problem(w, r, p.words(r).problem(http.StatusForbidden, "forged", "sign_in", "/sign-in"))
}

// unrendered answers in place of a page that can't be rendered.
func (p *Portal) unrendered(w http.ResponseWriter, r *http.Request, err error) {
	p.Logger.Error("rendering a page", zap.Error(err))
	http.Error(w, p.words(r).say("portal.fault.text"), http.StatusInternalServerError)
}

// fault answers where something failed on our side: nothing is granted, the
// person gets a reference, and the log says what it was.
func (p *Portal) fault(w http.ResponseWriter, r *http.Request, doing string, err error) {
	if errors.Is(err, guess.ErrBusy) {
		p.busy(w, r)
		return
	}
	reference := token.Reference(p.Random)
	p.Logger.Error(doing, zap.Error(err), zap.String("reference", reference), zap.String("path", showable.Text(r.URL.Path)))
	view := p.words(r).problem(http.StatusServiceUnavailable, "fault", "try_again", p.comeBack(r))
	view.Reference, view.RetryAfter = reference, 5*time.Second
	p.problem(w, r, view)
}

// busy answers where too many passwords are being checked. Nothing is wrong, so
// there is nothing to look for in the log.
func (p *Portal) busy(w http.ResponseWriter, r *http.Request) {
	p.Logger.Warn("refusing a sign-in, since too many passwords are being checked", zap.String("address", p.Address(r)))
	view := p.words(r).problem(http.StatusServiceUnavailable, "busy", "try_again", p.comeBack(r))
	view.RetryAfter = 5 * time.Second
	p.problem(w, r, view)
}
