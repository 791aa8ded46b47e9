package authflow_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/test/pager"
)

// outbox keeps what is to be sent in the store, as of each commit.
type outbox struct {
	h    *house
	fail error
	woke int
}

const outboxNamespace = "test_outbox"

func (o *outbox) Queue(ctx context.Context, tx store.Tx, q ceremony.Question) error {
	if o.fail != nil {
		return o.fail
	}
	queued, err := o.queued(ctx, tx)
	if err != nil {
		return err
	}
	return tx.PutRecord(ctx, store.Record{
		Namespace: outboxNamespace, Key: strconv.Itoa(len(queued)), Value: []byte(q.Ref), Expires: o.h.clock().AddDate(1, 0, 0),
	})
}

// queued returns what was queued, oldest first.
func (o *outbox) queued(ctx context.Context, records interface {
	GetRecord(ctx context.Context, namespace, key string, now time.Time) (store.Record, error)
}) (refs []string, err error) {
	for {
		record, err := records.GetRecord(ctx, outboxNamespace, strconv.Itoa(len(refs)), o.h.clock())
		if errors.Is(err, store.ErrNotFound) {
			return refs, nil
		}
		if err != nil {
			return nil, err
		}
		refs = append(refs, string(record.Value))
	}
}

// refs are the questions that messages were queued about, oldest first.
func (o *outbox) refs() []string {
	o.h.t.Helper()
	refs, err := o.queued(o.h.ctx, o.h.store)
	o.h.must(err)
	return refs
}

func (o *outbox) Wake() { o.woke++ }

// newest is what is sent for the newest question.
func (o *outbox) newest() string {
	o.h.t.Helper()
	message, open, err := o.h.Compose(o.h.ctx, pager.Kind, newestOf(o.refs()))
	o.h.must(err)
	if !open {
		return ""
	}
	return message.(string)
}

func newestOf(refs []string) string { return refs[len(refs)-1] }

// code is the newest code that was sent.
func (o *outbox) code() string { return o.newest()[:8] }

// newHouseWithPagers is a house that knows pagers besides, which are recommended
// before all others.
func newHouseWithPagers(t *testing.T) (*house, *outbox) {
	h := newHouse(t)
	h.vault.Factors = slices.Insert(slices.Clone(h.vault.Factors), 0, factors.Factor(pager.Factor{Clock: h.clock}))
	h.guesses.Guessable = h.vault.Factors.Guessable()
	o := &outbox{h: h}
	h.Outbox = o
	return h, o
}

var cafe = person.Client{Address: "192.0.2.44", UserAgent: "Mozilla/5.0"}

// withPager adds a pager to an account, in two steps.
func (p *member) withPager(o *outbox, number string) {
	p.h.t.Helper()
	f, err := p.h.BeginEnrolment(p.h.ctx, p.in(), p.user(), authflow.Adding{Kind: pager.Kind, Return: "/account"}, cafe)
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
	before := len(o.refs())
	h.expectPage("number ", f, h.Enrolment)
	answer := func(given factors.Answer) error {
		return h.AnswerEnrolment(h.ctx, h.load(f), authflow.EnrolmentAnswer{Factor: pager.Kind, Answer: given}, cafe)
	}
	if err := answer(factors.Answer{"number": number}); !errors.Is(err, authflow.ErrPending) {
		t.Fatalf("the first step: %v", err)
	}
	for range 3 {
		h.expectPage("number "+number, f, h.Enrolment)
	}
	if len(o.refs()) != before+1 {
		t.Errorf("%d messages left", len(o.refs())-before)
	}
	if err := answer(factors.Answer{"code": "wrong"}); !isRefused(err, factors.Wrong) {
		t.Errorf("a wrong code: %v", err)
	}
	h.must(answer(factors.Answer{"code": o.code()}))
}

// shownOn is what a page shows.
func shownOn(page authflow.Page) string {
	shown, _ := page.Content.(pager.Page)
	if shown.Pager != "" {
		return "pager " + shown.Pager
	}
	return "number " + shown.Number
}

// expectPage shows a question about a pager.
func (h *house) expectPage(want string, f authflow.Flow, render func(context.Context, authflow.Flow, assurance.Factor, person.Client) (authflow.Page, error)) {
	h.t.Helper()
	if page, err := render(h.ctx, h.load(f), pager.Kind, cafe); err != nil || shownOn(page) != want {
		h.t.Fatalf("the page shows %q, %v; want %q", shownOn(page), err, want)
	}
}

func (h *house) answerPager(f authflow.Flow, code string) error {
	return h.Answer(h.ctx, h.load(f), authflow.Response{Factor: pager.Kind, Answer: factors.Answer{"code": code}}, cafe)
}

func (h *house) collect(f authflow.Flow) error {
	return h.Answer(h.ctx, h.load(f), authflow.Response{Factor: pager.Kind}, cafe)
}

// askedOverThePager is a flow of somebody with a pager, which was asked for there.
func askedOverThePager(t *testing.T) (*house, *outbox, *member, authflow.Flow) {
	t.Helper()
	h, o := newHouseWithPagers(t)
	ada := h.person("ada")
	ada.withPager(o, "555-1")
	f := ada.shown(cafe)
	h.expectPage("pager 555-1", f, h.Challenge)
	return h, o, ada, f
}

// TestAFactorThatSendsAsksOnce shows a page four times: one message leaves, and
// its code works after a wrong one.
func TestAFactorThatSendsAsksOnce(t *testing.T) {
	h, o := newHouseWithPagers(t)
	ada := h.person("ada")
	ada.withPager(o, "555-1")
	before, woke := len(o.refs()), o.woke
	f := ada.shown(cafe)
	for range 4 {
		h.expectPage("pager 555-1", f, h.Challenge)
	}
	if len(o.refs()) != before+1 || o.woke != woke+1 {
		t.Fatalf("%d messages left, %d times they were sent", len(o.refs())-before, o.woke-woke)
	}
	if message := o.newest(); message != o.code()+" for 192.0.2.44" {
		t.Errorf("%q was sent", message)
	}
	for range 2 {
		if err := h.answerPager(f, "12345678"); !isRefused(err, factors.Wrong) {
			t.Errorf("a wrong code: %v", err)
		}
	}
	h.must(h.Send(h.ctx, h.load(f), pager.Kind, cafe))
	if len(o.refs()) != before+2 || o.refs()[before] != o.refs()[before+1] {
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
	h.expectPage("pager 555-1", g, h.Challenge)
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
		before := len(o.refs())
		for range 3 {
			if page, err := h.Challenge(h.ctx, h.load(f), pager.Kind, cafe); err != nil || !page.Unasked {
				t.Fatalf("the page is %+v, %v", page, err)
			}
		}
		if len(o.refs()) != before {
			t.Errorf("a reload sent %d messages", len(o.refs())-before)
		}
		if progress, err := h.Poll(h.ctx, h.load(f), pager.Kind); progress != authflow.ProgressOver || err != nil {
			t.Errorf("the question is %q, %v", progress, err)
		}
		if err := h.answerPager(f, "12345678"); !errors.Is(err, authflow.ErrWrongStep) && !isRefused(err, factors.Expired) {
			t.Errorf("M01 an answer to what isn't asked: %v", err)
		}
		if err := h.collect(f); !errors.Is(err, authflow.ErrWrongStep) {
			t.Errorf("collected what isn't asked: %v", err)
		}
		h.must(h.Send(h.ctx, h.load(f), pager.Kind, cafe))
		h.expectPage("pager 555-1", f, h.Challenge)
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
	h.pass(pager.Patience)
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
	h.vault.Factors[0] = pager.Factor{Clock: h.clock, OnDemand: true}
	before := len(o.refs())
	f := ada.shown(cafe)
	for range 3 {
		if page, err := h.Challenge(h.ctx, h.load(f), pager.Kind, cafe); err != nil || !page.Unasked {
			t.Fatalf("the page is %+v, %v", page, err)
		}
	}
	if len(o.refs()) != before {
		t.Errorf("%d messages left", len(o.refs())-before)
	}
	for range 2 {
		h.must(h.Send(h.ctx, h.load(f), pager.Kind, cafe))
	}
	if len(o.refs()) != before+2 || o.refs()[before] != o.refs()[before+1] {
		t.Errorf("%d messages left", len(o.refs())-before)
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
	ref := newestOf(o.refs())
	expectProgress := func(want authflow.Progress) {
		t.Helper()
		if got, err := h.Poll(h.ctx, f, pager.Kind); got != want || err != nil {
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
		if reply, err := h.Resolve(h.ctx, pager.Kind, ref, []byte("yes")); err != nil || string(reply) != want {
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
	if _, err := h.Resolve(h.ctx, pager.Kind, ref, []byte("no")); !errors.Is(err, ceremony.ErrNone) {
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
		"its time is over": func(h *house, _ *member, _ authflow.Flow) { h.pass(pager.Patience) },
		"another factor was shown": func(h *house, p *member, f authflow.Flow) {
			h.must(p.answer(f, p.code(), cafe))
		},
	} {
		t.Run(what, func(t *testing.T) {
			h, o := newHouseWithPagers(t)
			ada := h.person("ada")
			ada.withPager(o, "555-1")
			f := ada.shown(cafe)
			h.expectPage("pager 555-1", f, h.Challenge)
			change(h, ada, f)
			if _, err := h.Resolve(h.ctx, pager.Kind, newestOf(o.refs()), []byte("yes")); !errors.Is(err, ceremony.ErrNone) {
				t.Errorf("the pager is told %v", err)
			}
		})
	}
}

// TestDevicesAnswerAtOnce has many say yes or no at the same time: one is first.
func TestDevicesAnswerAtOnce(t *testing.T) {
	h, o, _, _ := askedOverThePager(t)
	ref := newestOf(o.refs())
	thanks := make(chan string, 10)
	for i := range cap(thanks) {
		go func() {
			reply, err := h.Resolve(h.ctx, pager.Kind, ref, []byte([]string{"yes", "no"}[i%2]))
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
			h.expectPage("pager 555-1", f, h.Challenge)
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
		h.expectPage("pager 555-1", f, h.Challenge)
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
	t.Run("M01 a weak factor suspends nothing stronger", func(t *testing.T) {
		h, o := newHouseWithPagers(t)
		ada := h.person("ada")
		ada.withPager(o, "555-1")
		h.vault.Factors[0] = pager.Factor{Clock: h.clock, Weak: true}
		f := ada.shown(cafe)
		h.expectPage("pager 555-1", f, h.Challenge)
		h.must(h.Lose(h.ctx, h.load(f), []string{ada.named("Authenticator app").ID}))
		if err := h.answerPager(f, o.code()); !errors.Is(err, authflow.ErrWrongStep) {
			t.Errorf("the pager is taken: %v", err)
		}
		step, err := h.Step(h.ctx, h.load(f), pager.Kind)
		if err != nil || step.Factor != assurance.BackupCode || slices.Contains(step.Others, pager.Kind) {
			t.Errorf("asked for is %+v, %v", step, err)
		}
		if ada.named("Authenticator app").Suspended {
			t.Error("it was suspended")
		}
	})
	t.Run("M01 a weak factor changes nothing stronger", weakFactorChangesNothing)
	t.Run("X03 nothing is sent of what isn't kept", func(t *testing.T) {
		h, o := newHouseWithPagers(t)
		ada := h.person("ada")
		ada.withPager(o, "555-1")
		f := ada.shown(cafe)
		o.fail = errors.New("the disk is full")
		woke := o.woke
		if _, err := h.Challenge(h.ctx, f, pager.Kind, cafe); !errors.Is(err, o.fail) || o.woke != woke {
			t.Errorf("the page is shown: %v", err)
		}
		o.fail = nil
		h.Outbox = nil
		if _, err := h.Challenge(h.ctx, f, pager.Kind, cafe); err == nil {
			t.Error("a page is shown of what nothing sends")
		}
	})
}

// weakFactorChangesNothing has somebody who reads the pager of an owner with an
// authenticator app go for the app, and for all else that the account page offers.
func weakFactorChangesNothing(t *testing.T) {
	h, o := newHouseWithPagers(t)
	ada := h.person("ada")
	ada.withPager(o, "555-1")
	h.vault.Factors[0] = pager.Factor{Clock: h.clock, Weak: true}
	app := ada.named("Authenticator app").ID
	signOn := ada.byPager(o)
	check := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, person.ErrStale) {
			t.Errorf("%s after a weak factor: %v", what, err)
		}
	}
	_, err := h.Remove(h.ctx, signOn, ada.user(), app, cafe)
	check("removing the app", err)
	_, err = h.RemoveAll(h.ctx, signOn, ada.user(), pager.Kind, cafe)
	check("removing the pager", err)
	check("renaming the app", h.Rename(h.ctx, signOn, ada.user(), app, "Mine", cafe))
	_, err = h.BeginEnrolment(h.ctx, signOn, ada.user(), authflow.Adding{Kind: assurance.TOTP, Return: "/account"}, cafe)
	check("adding an app", err)

	f, err := h.BeginFreshCheck(h.ctx, signOn, ada.user(), "/account", cafe)
	h.must(err)
	step, err := h.Step(h.ctx, h.load(f), pager.Kind)
	if err != nil || step.Kind != authflow.StepChallenge || step.Factor == pager.Kind || slices.Contains(step.Others, pager.Kind) {
		t.Fatalf("the fresh check asks for %+v, %v", step, err)
	}
	h.must(ada.answer(f, ada.code(), cafe))
	granted, err := h.Grant(h.ctx, h.load(f), "", cafe)
	h.must(err)
	h.must(h.Rename(h.ctx, granted.SignOn, ada.user(), app, "Mine", cafe))

	// What is on probation asks for nothing: somebody else may have added it.
	h.hold(app)
	signOn = ada.byPager(o)
	_, err = h.Remove(h.ctx, signOn, ada.user(), app, cafe)
	h.must(err)
}

// byPager signs in by a code that is sent to the pager.
func (p *member) byPager(o *outbox) store.SignOn {
	p.h.t.Helper()
	f := p.shown(cafe)
	_, err := p.h.Challenge(p.h.ctx, f, pager.Kind, cafe)
	p.h.must(err)
	p.h.must(p.h.answerPager(f, o.code()))
	granted, err := p.h.Grant(p.h.ctx, p.h.load(f), "", cafe)
	p.h.must(err)
	return granted.SignOn
}
