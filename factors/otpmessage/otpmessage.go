// Package otpmessage implements codes that are sent in messages, such as e-mails, to
// the address of a credential.
//
// A code is made for one question and works only for that question. It is derived
// from a seed that the question keeps sealed, so neither the waiting message nor the
// store contains the code. A code works for ten minutes, and a question allows five
// wrong guesses, counted over all its codes. A further message repeats the code while
// at least half of its time is left, since messages can overtake each other. After
// that, it contains a new code.
//
//	Begin ──▶ sent ──▶ Check ──▶ accepted
//	           ▲ │       └─────▶ refused; the fifth time closes the question
//	    Again ─┘ └─────────────▶ Compose, when the message is sent
//
// The package must not know how messages are delivered, how failures are counted
// overall, or how many messages somebody may have sent to them.
package otpmessage

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/templates"
)

// What a code is good for; NIST SP 800-63B-4 §3.1.3 asks for ten minutes at most.
const (
	// Lifetime is how long a code works.
	Lifetime = 10 * time.Minute
	// repeatable is how much of that is left at least where a further message
	// repeats the code.
	repeatable = Lifetime / 2
	// patience is how long to wait before a further message.
	patience = 30 * time.Second
	// mostAgain is how many further messages a question gets.
	mostAgain = 3
	// mostGuesses is how many wrong codes a question takes.
	mostGuesses = 5
)

// channel is a way for messages.
type channel struct {
	kind assurance.Factor
	// parse returns an address in its one form, or false.
	parse func(written string) (string, bool)
	// mask returns what may be shown of an address to somebody who proved no more
	// than the password.
	mask func(address string) string
	// spell returns an address as its owner reads it best.
	spell func(address string) string
	// fold returns the form by which messages to an address are counted: of several
	// addresses that lead to one mailbox the same.
	fold func(address string) string
	// amr are the methods of its proofs (RFC 8176 §2).
	amr []string
	// onDemand says that nothing is sent before the person presses a button.
	onDemand bool
}

// Factor is the factor for codes by one kind of message.
type Factor struct {
	channel
	clock  func() time.Time
	random io.Reader
}

var (
	_ factors.Factor    = (*Factor)(nil)
	_ factors.Addressed = (*Factor)(nil)
	_ factors.Resender  = proving{}
	_ factors.Composer  = proving{}
	_ factors.Resender  = enrolling{}
	_ factors.Composer  = enrolling{}
)

// NewEmail returns the factor "email".
func NewEmail(clock func() time.Time, random io.Reader) *Factor {
	return &Factor{channel: channel{assurance.Email, parseEmail, maskEmail, unchanged, foldEmail, []string{"otp"}, false}, clock: clock, random: random}
}

// NewSMS returns the factor "sms", for mobile numbers of regions, of which there is
// at least one: see CheckRegions.
func NewSMS(regions []string, clock func() time.Time, random io.Reader) *Factor {
	return &Factor{channel: channel{assurance.SMS, parseNumber(regions), maskNumber, spellNumber, unchanged, []string{"otp", "sms"}, true}, clock: clock, random: random}
}

func unchanged(address string) string { return address }

// Kind implements factors.Factor.
func (f *Factor) Kind() assurance.Factor { return f.kind }

// Most returns 1: a new address replaces the old one.
func (f *Factor) Most() int { return 1 }

// Traits implements factors.Factor. Codes have eight digits.
func (f *Factor) Traits() factors.Traits {
	return factors.Traits{
		Weight: assurance.Second, Daily: true, Typed: true, Recalls: true, Guessable: true, Delivers: true, OnDemand: f.onDemand,
		ByMail: f.kind == assurance.Email,
		Rank:   1, AMR: f.amr, // a mailbox or a number vouches for the loss of nothing
	}
}

// Reads reports whether answer "code" has the form of a code, or an enrolment's
// answer "address" is there.
func (f *Factor) Reads(_ []factors.Credential, answer factors.Answer) (bool, error) {
	_, ok := readCode(answer["code"])
	return ok, nil
}

// Address implements factors.Addressed.
func (f *Factor) Address(c factors.Credential) (string, error) {
	kept, err := parseSecret(c.Secret)
	return kept.Address, err
}

// Proving asks for a code that is sent to the person's address.
func (f *Factor) Proving() factors.Ceremony { return proving{f} }

// Enrolling asks for an address, and for a code that is sent there.
func (f *Factor) Enrolling() factors.Ceremony { return enrolling{f} }

type proving struct{ *Factor }

// Begin asks for a message to be sent.
func (f proving) Begin(_ context.Context, a factors.Asking) (factors.Turn, error) {
	to, err := addressee(a)
	if err != nil {
		return factors.Turn{}, err
	}
	s, err := f.newQuestion()
	if err != nil {
		return factors.Turn{}, err
	}
	return f.send(s, to.address, false)
}

// send is a question's turn with which a message is sent to an address.
func (f *Factor) send(s question, address string, isNew bool) (factors.Turn, error) {
	turn, err := s.turn()
	turn.Send, turn.Recipient, turn.NewRecipient = true, f.fold(address), isNew
	return turn, err
}

// Resume says where the code was sent, or would be.
func (f proving) Resume(_ context.Context, a factors.Asking, state []byte) (factors.Page, error) {
	to, err := addressee(a)
	if err != nil {
		return factors.Page{}, err
	}
	if state == nil {
		return factors.Page{Content: f.page(f.mask(to.address), false)}, nil
	}
	s, err := parseQuestion(state)
	if err != nil {
		return factors.Page{}, err
	}
	return factors.Page{Content: f.page(f.mask(to.address), true), Again: s.mayAgain()}, nil
}

// page is what both ceremonies show of a code.
func (f *Factor) page(address string, sent bool) templates.MessageCode {
	return templates.MessageCode{Address: address, Sent: sent, Digits: digits, Minutes: int(Lifetime / time.Minute)}
}

// Check decides on answer "code".
func (f proving) Check(_ context.Context, a factors.Asking, state []byte, answer factors.Answer) (factors.Verdict, error) {
	s, err := parseQuestion(state)
	if err != nil {
		return factors.Verdict{}, err
	}
	to, err := addressee(a)
	if err != nil {
		return factors.Verdict{}, err
	}
	return f.judge(s, a.Ref, answer["code"], factors.Verdict{Outcome: factors.OutcomeAccepted, CredentialID: to.id})
}

// judge returns the verdict where the code is right, and else a refusal.
func (f *Factor) judge(s question, ref, typed string, right factors.Verdict) (factors.Verdict, error) {
	code, ok := readCode(typed)
	switch {
	case !ok:
		return factors.Verdict{Reason: factors.Malformed}, nil
	case !f.clock().Before(s.until()):
		return factors.Verdict{Reason: factors.Expired, Closes: true}, nil
	case s.isCode(ref, code):
		return right, nil
	}
	s.Wrong++
	next, err := s.turn()
	return factors.Verdict{Reason: factors.Wrong, Next: &next, Closes: s.Wrong == mostGuesses}, err
}

// Again sends a further message.
func (f proving) Again(_ context.Context, a factors.Asking, state []byte) (factors.Verdict, error) {
	s, err := parseQuestion(state)
	if err != nil {
		return factors.Verdict{}, err
	}
	to, err := addressee(a)
	if err != nil {
		return factors.Verdict{}, err
	}
	return f.again(s, to.address)
}

func (f *Factor) again(s question, address string) (factors.Verdict, error) {
	now := f.clock()
	if refused, ok := s.refusal(now); ok {
		return refused, nil
	}
	next, err := f.send(s.further(now), address, false)
	return factors.Verdict{Outcome: factors.OutcomePending, Next: &next}, err
}

// Compose writes the message.
func (f proving) Compose(_ context.Context, a factors.Asking, state []byte) (any, bool, error) {
	s, err := parseQuestion(state)
	if err != nil {
		return nil, false, err
	}
	if len(a.Credentials) == 0 {
		return nil, false, nil // it was removed meanwhile
	}
	to, err := addressee(a)
	if err != nil {
		return nil, false, err
	}
	return f.letter(a, to.address, f.content(s, a)), f.clock().Before(s.until()), nil
}

// letter is the message of a question.
func (f *Factor) letter(a factors.Asking, address string, content templates.CodeMail) factors.Letter {
	return factors.Letter{To: address, Template: "code", Language: a.Scene.Language, Content: content}
}

// content is what the message of a question shows.
func (f *Factor) content(s question, a factors.Asking) templates.CodeMail {
	zone, err := time.LoadLocation(a.Scene.Zone)
	if err != nil {
		zone = time.UTC
	}
	return templates.CodeMail{
		Code: s.code(a.Ref), Name: a.Who.Name, At: s.Sent.In(zone), Until: s.until().In(zone), Address: a.Scene.Address,
		Known: a.Scene.Known, Host: a.Scene.Host,
	}
}

// recipient is whom a code goes to.
type recipient struct{ id, address string }

// addressee returns the credential that a question is about. Of several the
// newest counts: the others are replaced, whether or not their rows are gone.
func addressee(a factors.Asking) (recipient, error) {
	if len(a.Credentials) == 0 {
		return recipient{}, fmt.Errorf("asking for a code that is sent nowhere")
	}
	newest := slices.MaxFunc(a.Credentials, func(a, b factors.Credential) int { return a.Created.Compare(b.Created) })
	kept, err := parseSecret(newest.Secret)
	if err != nil {
		return recipient{}, fmt.Errorf("reading credential %s: %w", newest.ID, err)
	}
	return recipient{newest.ID, kept.Address}, nil
}

type enrolling struct{ *Factor }

// Begin asks for an address.
func (f enrolling) Begin(context.Context, factors.Asking) (factors.Turn, error) {
	s, err := f.newQuestion()
	if err != nil {
		return factors.Turn{}, err
	}
	s.Made, s.Sent = time.Time{}, time.Time{} // once there is an address
	return s.turn()
}

// Resume asks for an address, or for the code that was sent there.
func (f enrolling) Resume(_ context.Context, _ factors.Asking, state []byte) (factors.Page, error) {
	s, err := parseQuestion(state)
	if err != nil {
		return factors.Page{}, err
	}
	if s.Address == "" {
		return factors.Page{Content: templates.MessageEnrolment{}}, nil
	}
	sent := f.page(f.spell(s.Address), true) // whoever enrols it typed it
	return factors.Page{Content: templates.MessageEnrolment{Sent: &sent}, Again: s.mayAgain()}, nil
}

// Check takes answer "address" first, and then answer "code".
func (f enrolling) Check(_ context.Context, a factors.Asking, state []byte, answer factors.Answer) (factors.Verdict, error) {
	s, err := parseQuestion(state)
	switch {
	case err != nil:
		return factors.Verdict{}, err
	case answer["address"] != "" || s.Address == "":
		return f.sendTo(s, answer["address"])
	}
	made, err := secret{Address: s.Address}.marshal()
	if err != nil {
		return factors.Verdict{}, err
	}
	return f.judge(s, a.Ref, answer["code"], factors.Verdict{
		Outcome: factors.OutcomeAccepted, Made: factors.Made{Secret: made, Name: f.mask(s.Address)},
	})
}

// sendTo has a code sent to an address: the first one, or another one because
// the first was mistyped.
func (f enrolling) sendTo(s question, written string) (factors.Verdict, error) {
	address, ok := f.parse(written)
	if !ok {
		return factors.Verdict{Reason: factors.Malformed}, nil
	}
	now := f.clock()
	if s.Address == "" {
		s.Sent, s.Made = now, now
	} else {
		if refused, ok := s.refusal(now); ok {
			return refused, nil
		}
		s = s.further(now).renewed(now) // who got the code before may not know this one
	}
	s.Address = address
	next, err := f.send(s, address, true)
	return factors.Verdict{Outcome: factors.OutcomePending, Next: &next}, err
}

// Again sends a further message to the address that was given.
func (f enrolling) Again(_ context.Context, _ factors.Asking, state []byte) (factors.Verdict, error) {
	s, err := parseQuestion(state)
	switch {
	case err != nil:
		return factors.Verdict{}, err
	case s.Address == "":
		return factors.Verdict{Reason: factors.Malformed}, nil
	}
	return f.again(s, s.Address)
}

// Compose writes the message to the address that was given.
func (f enrolling) Compose(_ context.Context, a factors.Asking, state []byte) (any, bool, error) {
	s, err := parseQuestion(state)
	if err != nil || s.Address == "" {
		return nil, false, err
	}
	content := f.content(s, a)
	content.Adding, content.Name = true, "" // whoever reads it may not be the person
	return f.letter(a, s.Address, content), f.clock().Before(s.until()), nil
}
