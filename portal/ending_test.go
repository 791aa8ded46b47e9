package portal_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// mostCalls is how often a request may ask something of a flow.
const mostCalls = 12

// failing is a sign-in of which one method fails, each time that it is asked
// for as long as it is set to.
type failing struct {
	*flows
	method string
	err    error
	calls  int
	asked  map[string]bool // the methods that were called
}

// called counts a call. One that never ends would end the process.
func (f *failing) called(method string) error {
	f.asked[method] = true
	if f.calls++; f.calls > mostCalls {
		panic(fmt.Sprintf("%s is asked for ever", method))
	}
	if method == f.method {
		return f.err
	}
	return nil
}

func (f *failing) Load(ctx context.Context, id string) (authflow.Flow, error) {
	flow, err := f.flows.Load(ctx, id)
	return flow, errors.Join(f.called("Load"), err)
}

func (f *failing) Step(ctx context.Context, flow authflow.Flow, prefer assurance.Factor) (authflow.Step, error) {
	step, err := f.flows.Step(ctx, flow, prefer)
	return step, errors.Join(f.called("Step"), err)
}

func (f *failing) Challenge(ctx context.Context, flow authflow.Flow, kind assurance.Factor, c person.Client) (authflow.Page, error) {
	made, err := f.flows.Challenge(ctx, flow, kind, c)
	return made, errors.Join(f.called("Challenge"), err)
}

func (f *failing) Enrolment(ctx context.Context, flow authflow.Flow, kind assurance.Factor, c person.Client) (authflow.Page, error) {
	made, err := f.flows.Enrolment(ctx, flow, kind, c)
	return made, errors.Join(f.called("Enrolment"), err)
}

func (f *failing) Invited(context.Context, authflow.Flow) (store.User, error) {
	return store.User{}, f.called("Invited")
}

func (f *failing) Losable(ctx context.Context, flow authflow.Flow) ([]credentials.Own, error) {
	held, err := f.flows.Losable(ctx, flow)
	return held, errors.Join(f.called("Losable"), err)
}

func (f *failing) Grant(ctx context.Context, flow authflow.Flow, previous string, c person.Client) (authflow.Granted, error) {
	granted, err := f.flows.Grant(ctx, flow, previous, c)
	return granted, errors.Join(f.called("Grant"), err)
}

func (f *failing) AnswerPassword(context.Context, authflow.Flow, string, person.Client) error {
	return f.called("AnswerPassword")
}

func (f *failing) ChooseAccount(context.Context, authflow.Flow, authflow.Choice) error {
	return f.called("ChooseAccount")
}

func (f *failing) Answer(context.Context, authflow.Flow, authflow.Response, person.Client) error {
	return f.called("Answer")
}

func (f *failing) AnswerEnrolment(context.Context, authflow.Flow, authflow.EnrolmentAnswer, person.Client) error {
	return f.called("AnswerEnrolment")
}

func (f *failing) AnswerAccessCode(context.Context, authflow.Flow, string, person.Client) error {
	return f.called("AnswerAccessCode")
}

func (f *failing) ChooseNewPassword(context.Context, authflow.Flow, string, person.Client) error {
	return f.called("ChooseNewPassword")
}

func (f *failing) Lose(context.Context, authflow.Flow, []string) error { return f.called("Lose") }

func (f *failing) Extend(context.Context, authflow.Flow) (time.Duration, error) {
	return 0, f.called("Extend")
}

// failures are all that a flow may end or be disturbed by.
var failures = map[string]error{
	"gone":           authflow.ErrFlowGone,
	"the link, gone": authflow.ErrLinkGone,
	"at another one": authflow.ErrWrongStep,
	"changed":        fmt.Errorf("keeping a flow: %w", store.ErrConflict),
	"stale":          person.ErrStale,
	"too many":       credentials.ErrTooMany,
	"not theirs":     credentials.ErrUnknown,
	"sign-on ended":  session.ErrEnded,
	"busy":           guess.ErrBusy,
	"refused":        &factors.Refused{Reason: factors.Wrong},
	"slowed":         &guess.Slowed{RetryAfter: time.Minute},
	"invalid":        &person.Invalid{Fields: map[string]error{"name": errors.New("x")}},
	"can't tell":     errors.New("the disk is on fire"),
}

// entrances are the requests by which a browser comes to a flow: with a form
// where it is posted.
var entrances = map[string]url.Values{
	"/flow":                                nil,
	"/flow?use=totp":                       nil,
	"/flow/lost?use=totp":                  nil,
	"/flow/file?factor=backup_code":        nil,
	"/flow/password":                       {"password": {"x"}},
	"/flow/challenge":                      {"factor": {"totp"}, "code": {"123456"}},
	"/flow/account":                        {"name": {"ada"}, "password": {"x"}},
	"/flow/enrol":                          {"factor": {"totp"}, "code": {"123456"}},
	"/flow/lost":                           {"lose": {"c1"}},
	"/flow/lost?nothing":                   {"factor": {"totp"}},
	"/flow/access-code":                    {"code": {"x"}},
	"/flow/new-password":                   {"password": {"x"}},
	"/flow/more-time":                      {},
	"/flow/password-strength?with=a-field": {"password": {"x"}},
}

// TestL03EveryFailureOfAFlowIsAnswered has each part of a flow fail in each way,
// at each step and entrance: there is an answer, after little work, and none that
// sends a browser back to what it asked for.
func TestL03EveryFailureOfAFlowIsAnswered(t *testing.T) {
	steps := []authflow.Step{
		{Kind: authflow.StepAccount}, {Kind: authflow.StepPassword}, {Kind: authflow.StepChallenge, Factor: assurance.TOTP},
		{Kind: authflow.StepChallenge, Factor: assurance.FIDO, Resistant: true}, {Kind: authflow.StepAccessCode},
		{Kind: authflow.StepEnrol, Factor: assurance.TOTP}, {Kind: authflow.StepEnrol, Factor: assurance.FIDO},
		{Kind: authflow.StepNewPassword}, {Kind: authflow.StepNoFactor}, {Kind: authflow.StepGrant}, {Kind: authflow.StepDone},
	}
	h := atHome(t)
	f := &failing{flows: h.flows}
	h.Flows = f
	for _, step := range steps {
		for entrance, form := range entrances {
			try := func(method string, err error) {
				h.flows.flow, h.flows.step = authflow.Flow{ID: "f", Kind: authflow.Enrol, UserID: "ada", Name: "ada", SignOn: "s1", Return: "/account/totp"}, step
				f.method, f.err, f.calls, f.asked = method, err, 0, make(map[string]bool)
				h.expectAnswer(t, entrance, form)
			}
			try("", nil)
			for method := range f.asked {
				for what, err := range failures {
					try(method, err)
					if t.Failed() {
						t.Fatalf("at %s %s, when %s fails: %s", step.Kind, step.Factor, method, what)
					}
				}
			}
		}
	}
}

// expectAnswer sends what a browser sends that has a flow "f" under way.
func (h *hall) expectAnswer(t *testing.T, entrance string, form url.Values) {
	t.Helper()
	h.cookies["__Host-mfa-flow"] = &http.Cookie{Name: "__Host-mfa-flow", Value: bound("f")}
	path, raw, _ := strings.Cut(entrance, "?")
	query, err := url.ParseQuery(raw)
	if err != nil {
		t.Fatal(err)
	}
	method := http.MethodGet
	if form != nil {
		method = http.MethodPost
		form = url.Values(http.Header(form).Clone())
		form.Set("flow", "f")
	} else {
		query.Set("id", "f")
	}
	target := path + "?" + query.Encode()
	r := h.send(method, target, form)
	if method == http.MethodGet && r.Header.Get("Location") == target {
		t.Errorf("%s leads back to itself", target)
	}
	// A panic is answered as what failed for reasons of our own.
	if f := h.Flows.(*failing); r.StatusCode == http.StatusInternalServerError || f.calls > mostCalls {
		t.Errorf("%s %s: %d", method, target, r.StatusCode)
	}
}

// bound is the cookie of a browser that has a flow under way.
func bound(id string) string {
	value, err := plain{}.Encode([]byte(`{"flows":["` + id + `"]}`))
	if err != nil {
		panic(err)
	}
	return value
}

// TestL03AFlowNeedsTheSignOnItBeganUnder holds that nobody goes on with it who
// has signed out or in anew since.
func TestL03AFlowNeedsTheSignOnItBeganUnder(t *testing.T) {
	for signOn, want := range map[string]int{"s1": http.StatusOK, "s0": http.StatusGone} {
		h := atHome(t)
		h.flows.flow = authflow.Flow{ID: "f", Kind: authflow.Enrol, UserID: "ada", SignOn: signOn}
		h.flows.step = authflow.Step{Kind: authflow.StepEnrol, Factor: assurance.TOTP}
		h.cookies["__Host-mfa-flow"] = &http.Cookie{Name: "__Host-mfa-flow", Value: bound("f")}
		form := url.Values{"flow": {"f"}, "factor": {"totp"}, "code": {"123456"}}
		if signOn == "s1" {
			h.flows.refusal = &factors.Refused{Reason: factors.Wrong}
			want = http.StatusUnprocessableEntity
		}
		if r := h.send(http.MethodPost, "/flow/enrol", form); r.StatusCode != want {
			t.Errorf("under %s: %d", signOn, r.StatusCode)
		}
		delete(h.cookies, "__Host-mfa-portal")
		if r := h.send(http.MethodGet, "/flow?id=f", nil); r.StatusCode != http.StatusGone {
			t.Errorf("signed out: %d", r.StatusCode)
		}
	}
}
