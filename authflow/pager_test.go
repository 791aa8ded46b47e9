package authflow_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// pager is a factor that only tests know, and uses all that the contract of
// factors offers: a code is sent to a pager, where the owner may also say yes or
// no; and a pager is enrolled in two steps, by its number and by a code.
type pager struct {
	clock    func() time.Time
	onDemand bool
}

const pagerKind assurance.Factor = "pager"

// beep is what a pager keeps of a question.
type beep struct {
	Number string `json:"number,omitempty"` // of an enrolment
	Wrong  int    `json:"wrong,omitempty"`
	Said   string `json:"said,omitempty"` // at the pager
}

func (b beep) turn(until time.Time) *factors.Turn {
	state, err := json.Marshal(b)
	if err != nil {
		panic(err)
	}
	return &factors.Turn{State: state, Until: until, Settled: b.Said != ""}
}

func readBeep(state []byte) (b beep, err error) { return b, json.Unmarshal(state, &b) }

const pagerPatience = 2 * time.Minute

func (p pager) Kind() assurance.Factor { return pagerKind }
func (p pager) Most() int              { return 2 }
func (p pager) Traits() factors.Traits {
	return factors.Traits{Weight: assurance.Second, Daily: true, Recalls: true, Guessable: true, Delivers: true, OnDemand: p.onDemand}
}
func (p pager) Reads(_ []factors.Credential, answer factors.Answer) (bool, error) {
	return answer["code"] != "", nil
}
func (p pager) Proving() factors.Ceremony   { return paging{p} }
func (p pager) Enrolling() factors.Ceremony { return numbering{p} }

// sent is the code that leaves for a question.
func sent(ref string) string { return token.Hash("pager\x00" + ref)[:8] }

type paging struct{ pager }

func (p paging) Begin(context.Context, factors.Asking) (factors.Turn, error) {
	turn := beep{}.turn(p.clock().Add(pagerPatience))
	turn.Send = true
	return *turn, nil
}

func (p paging) Resume(_ context.Context, a factors.Asking, _ []byte) (factors.Page, error) {
	return factors.Page{Content: "Look at the pager " + a.Credentials[0].Name}, nil
}

func (p paging) Check(_ context.Context, a factors.Asking, state []byte, answer factors.Answer) (factors.Verdict, error) {
	b, err := readBeep(state)
	switch {
	case err != nil:
		return factors.Verdict{}, err
	case answer == nil && b.Said == "":
		return factors.Verdict{Outcome: factors.OutcomePending}, nil
	case answer == nil && b.Said == "yes", answer != nil && answer["code"] == sent(a.Ref):
		return factors.Verdict{Outcome: factors.OutcomeAccepted, CredentialID: a.Credentials[0].ID}, nil
	case answer == nil:
		return factors.Verdict{Reason: factors.Wrong, Closes: true}, nil
	}
	b.Wrong++
	return factors.Verdict{Reason: factors.Wrong, Next: b.turn(p.clock().Add(pagerPatience)), Closes: b.Wrong == 3}, nil
}

func (p paging) Again(_ context.Context, _ factors.Asking, state []byte) (factors.Verdict, error) {
	b, err := readBeep(state)
	next := b.turn(p.clock().Add(pagerPatience))
	next.Send = true
	return factors.Verdict{Outcome: factors.OutcomePending, Next: next}, err
}

func (p paging) Compose(_ context.Context, a factors.Asking, state []byte) (any, bool, error) {
	b, err := readBeep(state)
	return sent(a.Ref) + " for " + a.Scene.Address, b.Said == "", err
}

func (p paging) Resolve(_ context.Context, _ factors.Asking, state, message []byte) (factors.Verdict, error) {
	b, err := readBeep(state)
	if err != nil || b.Said != "" {
		return factors.Verdict{Reply: []byte("answered: " + b.Said)}, err
	}
	b.Said = string(message)
	return factors.Verdict{Next: b.turn(p.clock().Add(pagerPatience)), Reply: []byte("thanks")}, nil
}

type numbering struct{ pager }

func (n numbering) Begin(context.Context, factors.Asking) (factors.Turn, error) {
	return *beep{}.turn(time.Time{}), nil
}

func (n numbering) Resume(_ context.Context, _ factors.Asking, state []byte) (factors.Page, error) {
	b, err := readBeep(state)
	return factors.Page{Content: "number " + b.Number}, err
}

func (n numbering) Check(_ context.Context, a factors.Asking, state []byte, answer factors.Answer) (factors.Verdict, error) {
	b, err := readBeep(state)
	switch {
	case err != nil:
		return factors.Verdict{}, err
	case b.Number == "":
		b.Number = answer["number"]
		next := b.turn(time.Time{})
		next.Send = true
		return factors.Verdict{Outcome: factors.OutcomePending, Next: next}, nil
	case answer["code"] != sent(a.Ref):
		return factors.Verdict{Reason: factors.Wrong}, nil
	}
	return factors.Verdict{
		Outcome: factors.OutcomeAccepted, Made: factors.Made{Secret: []byte(b.Number), Name: b.Number, Unique: b.Number},
	}, nil
}

func (n numbering) Compose(_ context.Context, a factors.Asking, _ []byte) (any, bool, error) {
	return sent(a.Ref) + " for " + a.Scene.Address, true, nil
}

// outbox remembers what is to be sent, as of each commit.
type outbox struct {
	h    *house
	fail error
	refs []string
	woke int
}

const outboxNamespace = "test_outbox"

func (o *outbox) Queue(ctx context.Context, tx store.Tx, kind assurance.Factor, ref string) error {
	o.refs = append(o.refs, ref)
	if o.fail != nil {
		return o.fail
	}
	return tx.PutRecord(ctx, store.Record{
		Namespace: outboxNamespace, Key: token.Hash(ref + string(rune(len(o.refs)))), Value: []byte(kind), Expires: o.h.clock().Add(time.Hour),
	})
}

func (o *outbox) Wake() { o.woke++ }

// newest is what is sent for the newest question.
func (o *outbox) newest() string {
	o.h.t.Helper()
	message, open, err := o.h.Compose(o.h.ctx, pagerKind, o.refs[len(o.refs)-1])
	o.h.must(err)
	if !open {
		return ""
	}
	return message.(string)
}

// code is the newest code that was sent.
func (o *outbox) code() string { return o.newest()[:8] }

// newHouseWithPagers is a house that knows pagers besides, which are recommended
// before all others.
func newHouseWithPagers(t *testing.T) (*house, *outbox) {
	h := newHouse(t)
	h.vault.Factors = slices.Insert(slices.Clone(h.vault.Factors), 0, factors.Factor(pager{clock: h.clock}))
	h.guesses.Guessable = h.vault.Factors.Guessable()
	o := &outbox{h: h}
	h.Outbox = o
	return h, o
}

var cafe = person.Client{Address: "192.0.2.44", UserAgent: "Mozilla/5.0"}

// withPager adds a pager to an account, in two steps.
func (p *member) withPager(o *outbox, number string) {
	p.h.t.Helper()
	f, err := p.h.BeginEnrolment(p.h.ctx, p.in(), p.user(), authflow.Adding{Kind: pagerKind, Return: "/account"}, cafe)
	p.h.must(err)
	p.enrolPager(f, o, number)
	step, err := p.h.Step(p.h.ctx, p.h.load(f), "")
	if err != nil || step.Kind != authflow.StepDone {
		p.h.t.Fatalf("the enrolment ended at %+v, %v", step, err)
	}
	p.h.pass(10 * time.Minute)
}

// enrolPager goes through both steps of an enrolment.
func (p *member) enrolPager(f authflow.Flow, o *outbox, number string) {
	t, h := p.h.t, p.h
	t.Helper()
	before := len(o.refs)
	h.expectPage("number ", f, h.Enrolment)
	answer := func(given factors.Answer) error {
		return h.AnswerEnrolment(h.ctx, h.load(f), authflow.EnrolmentAnswer{Factor: pagerKind, Answer: given}, cafe)
	}
	if err := answer(factors.Answer{"number": number}); !errors.Is(err, authflow.ErrPending) {
		t.Fatalf("the first step: %v", err)
	}
	for range 3 {
		h.expectPage("number "+number, f, h.Enrolment)
	}
	if len(o.refs) != before+1 {
		t.Errorf("%d messages left", len(o.refs)-before)
	}
	if err := answer(factors.Answer{"code": "wrong"}); !isRefused(err, factors.Wrong) {
		t.Errorf("a wrong code: %v", err)
	}
	h.must(answer(factors.Answer{"code": o.code()}))
}

// expectPage shows a question about a pager.
func (h *house) expectPage(want string, f authflow.Flow, render func(context.Context, authflow.Flow, assurance.Factor, person.Client) (authflow.Page, error)) {
	h.t.Helper()
	if page, err := render(h.ctx, h.load(f), pagerKind, cafe); err != nil || page.Content != want {
		h.t.Fatalf("the page is %v, %v; want %q", page.Content, err, want)
	}
}

func (h *house) answerPager(f authflow.Flow, code string) error {
	return h.Answer(h.ctx, h.load(f), authflow.Response{Factor: pagerKind, Answer: factors.Answer{"code": code}}, cafe)
}

func (h *house) collect(f authflow.Flow) error {
	return h.Answer(h.ctx, h.load(f), authflow.Response{Factor: pagerKind}, cafe)
}

// askedOverThePager is a flow of somebody with a pager, which was asked for there.
func askedOverThePager(t *testing.T) (*house, *outbox, *member, authflow.Flow) {
	t.Helper()
	h, o := newHouseWithPagers(t)
	ada := h.person("ada")
	ada.withPager(o, "555-1")
	f := ada.shown(cafe)
	h.expectPage("Look at the pager 555-1", f, h.Challenge)
	return h, o, ada, f
}

// TestAFactorThatSendsAsksOnce shows a page four times: one message leaves, and
// its code works after a wrong one.
func TestAFactorThatSendsAsksOnce(t *testing.T) {
	h, o := newHouseWithPagers(t)
	ada := h.person("ada")
	ada.withPager(o, "555-1")
	before, woke := len(o.refs), o.woke
	f := ada.shown(cafe)
	for range 4 {
		h.expectPage("Look at the pager 555-1", f, h.Challenge)
	}
	if len(o.refs) != before+1 || o.woke != woke+1 {
		t.Fatalf("%d messages left, %d times they were sent", len(o.refs)-before, o.woke-woke)
	}
	if message := o.newest(); message != o.code()+" for 192.0.2.44" {
		t.Errorf("%q was sent", message)
	}
	for range 2 {
		if err := h.answerPager(f, "12345678"); !isRefused(err, factors.Wrong) {
			t.Errorf("a wrong code: %v", err)
		}
	}
	h.must(h.Send(h.ctx, h.load(f), pagerKind, cafe))
	if len(o.refs) != before+2 || o.refs[before] != o.refs[before+1] {
		t.Error("another question was asked, or none")
	}
	code := o.code()
	h.must(h.answerPager(f, code))
	if _, err := h.Grant(h.ctx, h.load(f), "", cafe); err != nil {
		t.Fatal(err)
	}
	// It was answered once.
	if o.newest() != "" {
		t.Error("an answered question is sent")
	}
	g := ada.shown(cafe)
	h.expectPage("Look at the pager 555-1", g, h.Challenge)
	if err := h.answerPager(g, code); !isRefused(err, factors.Wrong) {
		t.Errorf("M01 the code of another flow: %v", err)
	}
}

// TestAQuestionThatIsOverIsAskedAnew has one be closed by wrong answers, and one
// expire. The next one is asked when a button is pressed, and not by a reload.
func TestAQuestionThatIsOverIsAskedAnew(t *testing.T) {
	h, o, _, f := askedOverThePager(t)
	expectUnasked := func() {
		t.Helper()
		before := len(o.refs)
		for range 3 {
			if page, err := h.Challenge(h.ctx, h.load(f), pagerKind, cafe); err != nil || !page.Unasked {
				t.Fatalf("the page is %+v, %v", page, err)
			}
		}
		if len(o.refs) != before {
			t.Errorf("a reload sent %d messages", len(o.refs)-before)
		}
		if progress, err := h.Poll(h.ctx, h.load(f), pagerKind); progress != authflow.ProgressOver || err != nil {
			t.Errorf("the question is %q, %v", progress, err)
		}
		if err := h.answerPager(f, "12345678"); !errors.Is(err, authflow.ErrWrongStep) && !isRefused(err, factors.Expired) {
			t.Errorf("M01 an answer to what isn't asked: %v", err)
		}
		if err := h.collect(f); !errors.Is(err, authflow.ErrWrongStep) {
			t.Errorf("collected what isn't asked: %v", err)
		}
		h.must(h.Send(h.ctx, h.load(f), pagerKind, cafe))
		h.expectPage("Look at the pager 555-1", f, h.Challenge)
	}
	old := o.code()
	for range 3 {
		if err := h.answerPager(f, "12345678"); !isRefused(err, factors.Wrong) {
			t.Errorf("a wrong code: %v", err)
		}
	}
	if o.newest() != "" {
		t.Error("a closed question is sent")
	}
	expectUnasked()
	if o.code() == old {
		t.Error("the same code was sent")
	}
	h.pass(pagerPatience)
	if err := h.answerPager(f, "12345678"); !isRefused(err, factors.Expired) {
		t.Errorf("M01 too late: %v", err)
	}
	expectUnasked()
	h.must(h.answerPager(f, o.code()))
}

// TestNothingIsSentUnasked has a pager that is asked only when a button is pressed.
func TestNothingIsSentUnasked(t *testing.T) {
	h, o := newHouseWithPagers(t)
	ada := h.person("ada")
	ada.withPager(o, "555-1")
	h.vault.Factors[0] = pager{h.clock, true}
	before := len(o.refs)
	f := ada.shown(cafe)
	for range 3 {
		if page, err := h.Challenge(h.ctx, h.load(f), pagerKind, cafe); err != nil || !page.Unasked {
			t.Fatalf("the page is %+v, %v", page, err)
		}
	}
	if len(o.refs) != before {
		t.Errorf("%d messages left", len(o.refs)-before)
	}
	for range 2 {
		h.must(h.Send(h.ctx, h.load(f), pagerKind, cafe))
	}
	if len(o.refs) != before+2 || o.refs[before] != o.refs[before+1] {
		t.Errorf("%d messages left", len(o.refs)-before)
	}
	h.must(h.answerPager(f, o.code()))
	if err := h.Send(h.ctx, h.load(f), assurance.TOTP, cafe); !errors.Is(err, authflow.ErrWrongStep) {
		t.Errorf("a message of a factor that sends none: %v", err)
	}
}

// TestAnotherDeviceAnswers has the pager itself say yes: the browser that asked
// polls, which writes and counts nothing, and is the one that is let in.
func TestAnotherDeviceAnswers(t *testing.T) {
	h, o, ada, f := askedOverThePager(t)
	ref := o.refs[len(o.refs)-1]
	expectProgress := func(want authflow.Progress) {
		t.Helper()
		if got, err := h.Poll(h.ctx, f, pagerKind); got != want || err != nil {
			t.Fatalf("the question is %q, %v; want %q", got, err, want)
		}
	}
	commits := h.store.commits.Load()
	for range 20 {
		expectProgress(authflow.ProgressWaiting)
	}
	if n := h.store.commits.Load() - commits; n != 0 {
		t.Errorf("polling wrote %d times", n)
	}
	for range 20 {
		if err := h.collect(f); !errors.Is(err, authflow.ErrPending) {
			t.Fatalf("nothing to collect yet: %v", err)
		}
	}
	if len(h.events(audit.SignInFailed)) != 0 {
		t.Error("waiting was counted as failing")
	}
	expectReply := func(want string) {
		t.Helper()
		if reply, err := h.Resolve(h.ctx, pagerKind, ref, []byte("yes")); err != nil || string(reply) != want {
			t.Errorf("the pager is told %q, %v; want %q", reply, err, want)
		}
	}
	expectReply("thanks")
	expectReply("answered: yes")
	expectProgress(authflow.ProgressSettled)
	if _, err := h.Grant(h.ctx, h.load(f), "", cafe); !errors.Is(err, authflow.ErrWrongStep) {
		t.Errorf("the pager let the flow in by itself: %v", err)
	}
	// U06: somebody else's flow collects nothing of it.
	if err := h.collect(ada.shown(cafe)); err == nil {
		t.Error("another flow collected")
	}
	h.must(h.collect(f))
	if _, err := h.Grant(h.ctx, h.load(f), "", cafe); err != nil {
		t.Error(err)
	}
	if _, err := h.Resolve(h.ctx, pagerKind, ref, []byte("no")); !errors.Is(err, ceremony.ErrNone) {
		t.Errorf("U01 after it was collected: %v", err)
	}
}

// TestAnotherDeviceAnswersLate has the flow be gone, the pager be removed, or
// another factor be shown meanwhile.
func TestAnotherDeviceAnswersLate(t *testing.T) {
	for what, change := range map[string]func(*house, *member, authflow.Flow){
		"the flow is abandoned": func(h *house, p *member, _ authflow.Flow) {
			h.must(h.store.Atomically(h.ctx, func(tx store.Tx) error { return person.AbandonFlows(h.ctx, tx, p.id) }))
		},
		"its time is over": func(h *house, _ *member, _ authflow.Flow) { h.pass(pagerPatience) },
		"another factor was shown": func(h *house, p *member, f authflow.Flow) {
			h.must(p.answer(f, p.code(), cafe))
		},
	} {
		t.Run(what, func(t *testing.T) {
			h, o := newHouseWithPagers(t)
			ada := h.person("ada")
			ada.withPager(o, "555-1")
			f := ada.shown(cafe)
			h.expectPage("Look at the pager 555-1", f, h.Challenge)
			change(h, ada, f)
			if _, err := h.Resolve(h.ctx, pagerKind, o.refs[len(o.refs)-1], []byte("yes")); !errors.Is(err, ceremony.ErrNone) {
				t.Errorf("the pager is told %v", err)
			}
		})
	}
}

// TestDevicesAnswerAtOnce has many say yes or no at the same time: one is first.
func TestDevicesAnswerAtOnce(t *testing.T) {
	h, o, _, _ := askedOverThePager(t)
	ref := o.refs[len(o.refs)-1]
	thanks := make(chan string, 10)
	for i := range cap(thanks) {
		go func() {
			reply, err := h.Resolve(h.ctx, pagerKind, ref, []byte([]string{"yes", "no"}[i%2]))
			if err != nil {
				reply = []byte(err.Error())
			}
			thanks <- string(reply)
		}()
	}
	first := 0
	for range cap(thanks) {
		if <-thanks == "thanks" {
			first++
		}
	}
	if first != 1 {
		t.Errorf("U03: %d were first", first)
	}
}

// TestPagersEverywhere has the pager take part in what every factor takes part
// in: limits on guessing, step-ups, set-ups, losses, and no message where the
// store fails.
func TestPagersEverywhere(t *testing.T) {
	t.Run("F02 guesses are slowed", func(t *testing.T) {
		h, o := newHouseWithPagers(t)
		ada := h.person("ada")
		ada.withPager(o, "555-1")
		for i := range 6 {
			f := ada.shown(cafe)
			h.expectPage("Look at the pager 555-1", f, h.Challenge)
			err := h.answerPager(f, "12345678")
			if i < 5 && !isRefused(err, factors.Wrong) || i == 5 && asSlowed(err) == nil {
				t.Errorf("guess %d: %v", i+1, err)
			}
		}
	})
	t.Run("a step-up", func(t *testing.T) {
		h, o := newHouseWithPagers(t)
		ada := h.person("ada")
		ada.withPager(o, "555-1")
		s := ada.in()
		h.pass(30 * time.Minute)
		f, err := h.BeginStepUp(h.ctx, authflow.Raise{
			SignOn: s, User: ada.user(), Ask: assurance.Requirement{Level: assurance.Multi, MaxAge: time.Minute}, Client: cafe,
		})
		h.must(err)
		h.expectPage("Look at the pager 555-1", f, h.Challenge)
		h.must(h.answerPager(f, o.code()))
		_, err = h.Grant(h.ctx, h.load(f), "", cafe)
		h.must(err)
	})
	t.Run("a set-up", func(t *testing.T) {
		h, o := newHouseWithPagers(t)
		link, err := h.NewInvitation(h.ctx, h.add("bob", store.UserInvited))
		h.must(err)
		f, err := h.OpenLink(h.ctx, link)
		h.must(err)
		h.must(h.ChooseAccount(h.ctx, f, authflow.Choice{Password: rightPassword}))
		(&member{h: h}).enrolPager(f, o, "555-2")
		step, err := h.Step(h.ctx, h.load(f), "")
		if err != nil || step.Factor != assurance.BackupCode {
			t.Errorf("then comes %+v, %v", step, err)
		}
	})
	t.Run("a loss", func(t *testing.T) {
		h, o := newHouseWithPagers(t)
		ada := h.person("ada")
		ada.withPager(o, "555-1")
		f := ada.shown(cafe)
		h.must(h.Lose(h.ctx, f, []string{ada.named("555-1").ID}))
		h.must(ada.answer(f, ada.code(), cafe))
		ada.enrolPager(f, o, "555-3")
		if held := ada.named("555-3"); held.Suspended {
			t.Errorf("the replacement is %+v", held)
		}
		if !ada.named("555-1").Suspended {
			t.Error("the lost one still works")
		}
	})
	t.Run("X03 nothing is sent of what isn't kept", func(t *testing.T) {
		h, o := newHouseWithPagers(t)
		ada := h.person("ada")
		ada.withPager(o, "555-1")
		f := ada.shown(cafe)
		o.fail = errors.New("the disk is full")
		woke := o.woke
		if _, err := h.Challenge(h.ctx, f, pagerKind, cafe); !errors.Is(err, o.fail) || o.woke != woke {
			t.Errorf("the page is shown: %v", err)
		}
		o.fail = nil
		h.Outbox = nil
		if _, err := h.Challenge(h.ctx, f, pagerKind, cafe); err == nil {
			t.Error("a page is shown of what nothing sends")
		}
	})
}
