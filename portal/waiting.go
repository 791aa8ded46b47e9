package portal

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/stream"
	"github.com/portcullis-mfa/portcullis/templates"
)

// Questions that another device answers, and messages that are sent about them.
// The browser that asked listens at waitPath, or polls it, and then posts its form with
// "collect" in place of an answer. Without scripts, the person presses the button of that
// name.

const (
	waitPath = "/flow/wait"
	sendPath = "/flow/send"
)

// collect is the field that has a form collect what another device has answered.
const collect = "collect"

// wait tells a page's script how far the page's question is: as a stream of server-sent
// events, or once, and then also what became of its message. It only reads. Anyone who
// comes here in another way is led to the page.
func (p *Portal) wait(w http.ResponseWriter, r *http.Request) error {
	id, kind := r.URL.Query().Get("id"), assurance.Factor(r.URL.Query().Get("use"))
	switch {
	case accepts(r, "text/event-stream"):
		return p.streamProgress(w, r, id, kind)
	case !wantsJSON(r):
		p.redirect(w, useURL(authflow.Flow{ID: id}, kind))
		return nil
	}
	f, progress, err := p.progress(r, id, kind)
	if err != nil {
		return err
	}
	told := struct {
		Progress authflow.Progress `json:"progress"`
		Delivery authflow.Delivery `json:"delivery,omitempty"`
		Said     string            `json:"said,omitempty"`
	}{Progress: progress}
	if progress == authflow.ProgressWaiting {
		var enrols bool
		if told.Delivery, enrols, err = p.Flows.DeliveryOf(r.Context(), f, kind); err != nil {
			return err
		}
		told.Said = p.words(r).delivery(kind, told.Delivery, enrols)
	}
	return p.json(w, r, http.StatusOK, told)
}

// progress returns a flow of this browser and how far its question is. It is over if there
// is no such flow.
func (p *Portal) progress(r *http.Request, id string, kind assurance.Factor) (authflow.Flow, authflow.Progress, error) {
	f, err := p.flowOf(r, id)
	var progress authflow.Progress
	if err == nil {
		progress, err = p.Flows.Poll(r.Context(), f, kind)
	}
	if errors.Is(err, authflow.ErrFlowGone) {
		return f, authflow.ProgressOver, nil
	}
	return f, progress, err
}

const (
	// progressEvery is how often a stream tells how far a question is even if nothing
	// has changed: questions expire, and connections are lost without a word.
	progressEvery = 5 * time.Second
	// fullWait is how long a browser polls before it tries to listen again.
	fullWait = 10 * time.Second
)

// streamProgress tells how far a question is as soon as it changes, until the question
// has been answered or is over.
func (p *Portal) streamProgress(w http.ResponseWriter, r *http.Request, id string, kind assurance.Factor) error {
	f, _, err := p.progress(r, id, kind)
	if err != nil {
		return err
	}
	templates.Protect(w.Header(), p.Origin.Scheme == "https")
	leave, ok := p.Streams.Enter(f.ID)
	if !ok {
		w.Header().Set("Retry-After", seconds(fullWait))
		w.WriteHeader(http.StatusTooManyRequests)
		return nil
	}
	defer leave()
	heard, stop := p.Bell.Listen(f.UserID)
	defer stop()
	w.Header().Set("Content-Type", "text/event-stream")
	stream.Serve(w, r, stream.Source{Heard: heard, Every: progressEvery, Ending: p.Ending}, func() (string, bool) {
		_, progress, err := p.progress(r, id, kind)
		if err != nil {
			if r.Context().Err() == nil {
				p.Logger.Error("telling a browser how far its question is", zap.Error(err))
			}
			return "", false // it polls, and begins another stream
		}
		return "retry: 2000\ndata: " + string(progress) + "\n\n", progress == authflow.ProgressWaiting
	})
	return nil
}

// send has the message of a question sent: the first one, or one more.
func (p *Portal) send(w http.ResponseWriter, r *http.Request) error {
	kind := assurance.Factor(r.PostFormValue("factor"))
	asked := form{wrong: p.formOf(kind).wrong}
	return p.answer(w, r, attempt{kind: kind, form: asked, then: saidSent, take: func(f authflow.Flow) error {
		to, err := p.destinationOf(f.Request)
		if err != nil {
			return err
		}
		return p.Flows.Send(r.Context(), f, kind, p.clientBoundFor(r, to))
	}})
}

// What the page of a question says of what was done just before, in its address.
const (
	saidSent       = "sent"
	saidUnanswered = "unanswered"
)

// sayingURL leads to the step of a flow, which then says what was done.
func sayingURL(f authflow.Flow, kind assurance.Factor, said string) string {
	return addressed("/flow", "id", f.ID, "use", string(kind), "said", said)
}

// said is what a page has to say of what was done just before; empty: nothing.
func (p *Portal) said(r *http.Request) string {
	switch said := r.URL.Query().Get("said"); said {
	case saidSent, saidUnanswered:
		return p.words(r).say("portal.said." + said)
	}
	return ""
}

// asked is how the question of a step is going. Enrols says that the step adds a credential.
func (p *Portal) asked(r *http.Request, at stage, page authflow.Page, enrols bool) templates.Asked {
	return templates.Asked{
		Waiting: p.waiting(at, page), Sending: p.sending(at, page), Tracking: p.tracking(at, page),
		Said:   cmp.Or(p.words(r).delivery(at.step.Factor, page.Delivery, enrols), p.said(r)),
		Unsent: page.Delivery == authflow.DeliveryFailed,
	}
}

// delivery says what became of a message, which checks the address of a new credential if
// enrols is set; empty: there is nothing to say.
func (t words) delivery(kind assurance.Factor, d authflow.Delivery, enrols bool) string {
	key := "portal.delivery." + string(kind) + "." + string(d)
	if enrols && d == authflow.DeliveryFailed {
		key += "_new"
	}
	if said := t.say(key); d != "" && said != key {
		return said
	}
	return ""
}

// tracking is where a page's script asks what became of the message about its question;
// empty: that is known.
func (p *Portal) tracking(at stage, page authflow.Page) string {
	if page.Delivery.IsFinal() {
		return ""
	}
	return waitURL(at)
}

// waitURL is where the page of a step learns how far its question is.
func waitURL(at stage) string {
	return waitPath + "?" + url.Values{"id": {at.flow.ID}, "use": {string(at.step.Factor)}}.Encode()
}

// waiting is what a page needs whose question another device can answer; nil:
// none can.
func (p *Portal) waiting(at stage, page authflow.Page) *templates.Waiting {
	if !page.Waits || page.Unasked {
		return nil
	}
	return &templates.Waiting{
		Poll: waitURL(at),
		Page: useURL(at.flow, at.step.Factor),
		Left: p.until(page.Until),
	}
}

// sending is the button that sends a message; nil: there is none.
func (p *Portal) sending(at stage, page authflow.Page) *templates.Sending {
	button := &templates.Sending{Flow: at.flow.ID, Factor: string(at.step.Factor), First: page.Unasked}
	switch {
	case page.Unasked:
	case page.Again == nil:
		return nil
	default:
		button.Left, button.After = page.Again.Left, p.until(page.Again.At)
	}
	return button
}

// until is how long it is until a point in time; 0: it has passed, or there is
// none.
func (p *Portal) until(at time.Time) time.Duration {
	if at.IsZero() {
		return 0
	}
	return max(0, at.Sub(p.Clock()))
}
