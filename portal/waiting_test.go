package portal_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/portal"
	"github.com/portcullis-mfa/portcullis/stream"
)

// rung is a bell that has rung for one user.
type rung struct {
	user  string
	heard chan struct{}
}

func ringing(user string, times int) *rung {
	r := &rung{user, make(chan struct{}, times)}
	for range times {
		r.heard <- struct{}{}
	}
	return r
}

func (r *rung) Listen(user string) (<-chan struct{}, func()) {
	if user != r.user {
		return nil, func() {}
	}
	return r.heard, func() {}
}

// pollable is a flow whose question is settled once it was asked about a number of times.
type pollable struct {
	*flows
	left int
}

func (p *pollable) Load(_ context.Context, id string) (authflow.Flow, error) {
	return authflow.Flow{ID: id, UserID: "ada"}, nil
}

func (p *pollable) Poll(context.Context, authflow.Flow, assurance.Factor) (authflow.Progress, error) {
	if p.left--; p.left < 0 {
		return authflow.ProgressSettled, nil
	}
	return authflow.ProgressWaiting, nil
}

// awaiting is a browser whose page waits until its question was asked about so often.
func awaiting(t *testing.T, asks int) *hall {
	h := newHall(t)
	h.Settings.Flows = &pollable{h.flows, asks}
	h.Streams = &stream.Room{Each: 1, All: 1}
	h.Ending = func() bool { return false }
	h.Bell = ringing("ada", asks)
	h.Portal = portal.New(h.Settings)
	h.signIn("ada")
	return h
}

func (h *hall) listens() *http.Response {
	r := httptest.NewRequest(http.MethodGet, "https://login.example.com/flow/wait?use=push&id="+url.QueryEscape(h.flows.flow.ID), nil)
	r.Header.Set("Accept", "text/event-stream")
	for _, c := range h.cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// Of a question that was asked about every few seconds only, nobody would hear in the
// time that a stream lasts.
func TestBrowsersHearOfAnswersAtOnce(t *testing.T) {
	h := awaiting(t, 20)
	answer := h.listens()
	page := h.page(answer)
	if answer.Header.Get("Content-Type") != "text/event-stream" || !strings.HasSuffix(page, "data: settled\n\n") {
		t.Errorf("the browser hears %s", page)
	}
	if answer := h.listens(); answer.StatusCode != http.StatusOK {
		t.Errorf("the stream that ended still counts: %d", answer.StatusCode)
	}
}

// U06: nobody else hears anything.
func TestStreamsAreForTheBrowserThatAsked(t *testing.T) {
	h := awaiting(t, 20)
	clear(h.cookies)
	if page := h.page(h.listens()); !strings.HasSuffix(page, "data: over\n\n") || strings.Contains(page, "data: waiting") {
		t.Errorf("another browser hears %s", page)
	}
}

func TestStreamsOfBrowsersAreBounded(t *testing.T) {
	h := awaiting(t, 20)
	h.Streams.All = 0
	answer := h.listens()
	if answer.StatusCode != http.StatusTooManyRequests || answer.Header.Get("Retry-After") != "10" {
		t.Errorf("one stream too many: %d %v", answer.StatusCode, answer.Header)
	}
}
