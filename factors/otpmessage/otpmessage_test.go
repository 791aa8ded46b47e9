package otpmessage

import (
	"bytes"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/templates"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// mailed is a question whose codes are sent to ada.
type mailed struct {
	t        *testing.T
	now      time.Time
	factor   *Factor
	ceremony factors.Ceremony
	asking   factors.Asking
	turn     factors.Turn
}

func newMailed(t *testing.T, enrolling bool) *mailed {
	t.Helper()
	m := &mailed{t: t, now: noon}
	m.factor = NewEmail(func() time.Time { return m.now }, rand.Reader)
	m.asking = factors.Asking{
		Ref: "r1", Who: factors.Subject{UserID: "u1", Name: "ada"},
		Scene: factors.Scene{Address: "192.0.2.7", Host: "wiki.example.com", Language: "de", Known: true},
	}
	m.ceremony = m.factor.Enrolling()
	if !enrolling {
		m.ceremony = m.factor.Proving()
		m.asking.Credentials = []factors.Credential{
			m.credential("old", "old@example.com", noon.Add(-time.Hour)), m.credential("new", "ada.byron@example.com", noon),
		}
	}
	turn, err := m.ceremony.Begin(t.Context(), m.asking)
	if err != nil {
		t.Fatal(err)
	}
	m.turn = turn
	return m
}

func (m *mailed) credential(id, address string, created time.Time) factors.Credential {
	m.t.Helper()
	kept, err := secret{Address: address}.marshal()
	if err != nil {
		m.t.Fatal(err)
	}
	return factors.Credential{ID: id, Secret: kept, Created: created}
}

// answer checks an answer and keeps the question's next turn.
func (m *mailed) answer(field, value string) factors.Verdict {
	m.t.Helper()
	v, err := m.ceremony.Check(m.t.Context(), m.asking, m.turn.State, factors.Answer{field: value})
	if err != nil {
		m.t.Fatal(err)
	}
	return m.kept(v)
}

func (m *mailed) again() factors.Verdict {
	m.t.Helper()
	v, err := m.ceremony.(factors.Resender).Again(m.t.Context(), m.asking, m.turn.State)
	if err != nil {
		m.t.Fatal(err)
	}
	return m.kept(v)
}

func (m *mailed) kept(v factors.Verdict) factors.Verdict {
	if v.Next != nil {
		m.turn = *v.Next
	}
	return v
}

// letter is what leaves now.
func (m *mailed) letter() factors.Letter {
	m.t.Helper()
	message, open, err := m.ceremony.(factors.Composer).Compose(m.t.Context(), m.asking, m.turn.State)
	if err != nil || !open {
		m.t.Fatalf("nothing leaves: %t, %v", open, err)
	}
	return message.(factors.Letter)
}

func (m *mailed) code() string { return m.letter().Content.(templates.CodeMail).Code }

func (m *mailed) page() factors.Page {
	m.t.Helper()
	page, err := m.ceremony.Resume(m.t.Context(), m.asking, m.turn.State)
	if err != nil {
		m.t.Fatal(err)
	}
	return page
}

// wrong is a code that isn't the right one.
func (m *mailed) wrong() string {
	code := []byte(m.code())
	code[0] = '0' + (code[0]-'0'+1)%10
	return string(code)
}

func (m *mailed) expect(v factors.Verdict, outcome factors.Outcome, reason factors.Reason) {
	m.t.Helper()
	if v.Outcome != outcome || v.Reason != reason {
		m.t.Errorf("the verdict is %+v; want outcome %d, reason %q", v, outcome, reason)
	}
}

func TestACodeIsSentAndTaken(t *testing.T) {
	m := newMailed(t, false)
	if !m.turn.Send || !m.turn.Until.Equal(noon.Add(10*time.Minute)) {
		t.Errorf("the turn is %+v", m.turn)
	}
	letter := m.letter()
	content := letter.Content.(templates.CodeMail)
	if letter.To != "ada.byron@example.com" || letter.Language != "de" || content.Host != "wiki.example.com" || !content.Known {
		t.Errorf("the letter is %+v", letter)
	}
	if page := m.page().Content.(templates.MessageCode); page.Address != "a…n@e….com" || !page.Sent {
		t.Errorf("the page shows %+v", page)
	}
	if bytes.Contains(m.turn.State, []byte(m.code())) {
		t.Error("the question keeps the code")
	}
	m.expect(m.answer("code", m.wrong()), factors.OutcomeRefused, factors.Wrong)
	spaced := m.code()[:4] + " " + m.code()[4:]
	v := m.answer("code", spaced)
	if m.expect(v, factors.OutcomeAccepted, ""); v.CredentialID != "new" {
		t.Errorf("credential %q answered", v.CredentialID)
	}
}

// TestM01CodesBelongToTheirQuestion has the code of one question be no good for
// another, whose seed or reference differs.
func TestM01CodesBelongToTheirQuestion(t *testing.T) {
	m, other := newMailed(t, false), newMailed(t, false)
	if m.code() == other.code() {
		t.Error("two questions have one code")
	}
	code := m.code()
	m.asking.Ref = "r2"
	m.expect(m.answer("code", code), factors.OutcomeRefused, factors.Wrong)
}

func TestM01FiveGuesses(t *testing.T) {
	m := newMailed(t, false)
	for i := range mostGuesses {
		if i == 3 { // guesses between messages count together
			m.now = m.now.Add(patience)
			m.expect(m.again(), factors.OutcomePending, "")
		}
		v := m.answer("code", m.wrong())
		m.expect(v, factors.OutcomeRefused, factors.Wrong)
		if v.Closes != (i == mostGuesses-1) {
			t.Errorf("guess %d closes the question: %t", i+1, v.Closes)
		}
	}
	for _, malformed := range []string{"", "1234567", "123456789", "1234567x", "+1234567"} {
		if reads, err := m.factor.Reads(nil, factors.Answer{"code": malformed}); reads || err != nil {
			t.Errorf("%q reads as a code: %t, %v", malformed, reads, err)
		}
	}
}

func TestM01ACodeLastsTenMinutes(t *testing.T) {
	m := newMailed(t, false)
	code := m.code()
	m.now = noon.Add(Lifetime - time.Microsecond)
	m.expect(m.answer("code", code), factors.OutcomeAccepted, "")
	m.now = noon.Add(Lifetime)
	v := m.answer("code", code)
	m.expect(v, factors.OutcomeRefused, factors.Expired)
	if _, open, err := m.ceremony.(factors.Composer).Compose(t.Context(), m.asking, m.turn.State); open || err != nil {
		t.Errorf("it still leaves: %t, %v", open, err)
	}
}

// TestFurtherMessages repeats the code while half of its time is left, makes a new
// one after that, and ends with the third.
func TestFurtherMessages(t *testing.T) {
	m := newMailed(t, false)
	first := m.code()
	v := m.again()
	if m.expect(v, factors.OutcomeRefused, factors.TooSoon); v.RetryAfter != patience {
		t.Errorf("it can be asked again in %v", v.RetryAfter)
	}
	if again := m.page().Again; again == nil || again.Left != mostAgain || !again.At.Equal(noon.Add(patience)) {
		t.Errorf("the page says %+v", again)
	}
	m.now = noon.Add(repeatable)
	m.expect(m.again(), factors.OutcomePending, "")
	if m.code() != first || !m.turn.Send {
		t.Error("the code wasn't repeated")
	}
	m.now = noon.Add(repeatable + patience)
	m.expect(m.again(), factors.OutcomePending, "")
	second := m.code()
	if second == first || !m.turn.Until.Equal(m.now.Add(Lifetime)) {
		t.Error("there is no new code")
	}
	m.expect(m.answer("code", first), factors.OutcomeRefused, factors.Wrong)
	m.now = m.now.Add(patience)
	m.expect(m.again(), factors.OutcomePending, "")
	m.now = m.now.Add(patience)
	m.expect(m.again(), factors.OutcomeRefused, factors.TooOften)
	if m.page().Again != nil {
		t.Error("the page offers a further one")
	}
	m.expect(m.answer("code", second), factors.OutcomeAccepted, "")
}

// TestNothingIsAskedYet shows where a code would go.
func TestNothingIsAskedYet(t *testing.T) {
	m := newMailed(t, false)
	page, err := m.ceremony.Resume(t.Context(), m.asking, nil)
	if err != nil || page.Content != (templates.MessageCode{Address: "a…n@e….com", Digits: 8, Minutes: 10}) {
		t.Errorf("the page shows %+v, %v", page, err)
	}
}

func TestEnrolmentInTwoSteps(t *testing.T) {
	m := newMailed(t, true)
	if m.turn.Send || !m.turn.Until.IsZero() {
		t.Errorf("something is sent before there is an address: %+v", m.turn)
	}
	m.expect(m.answer("address", "nobody"), factors.OutcomeRefused, factors.Malformed)
	m.expect(m.answer("code", "12345678"), factors.OutcomeRefused, factors.Malformed)
	m.now = m.now.Add(20 * time.Minute) // to look for the address takes its time
	m.expect(m.answer("address", " Ada@Example.com "), factors.OutcomePending, "")
	if to := m.letter().To; to != "ada@example.com" || !m.turn.Send {
		t.Errorf("the code is sent to %q", to)
	}
	if content := m.letter().Content.(templates.CodeMail); !content.Adding || content.Name != "" {
		t.Errorf("the mail to somebody who may be a stranger shows %+v", content)
	}
	if sent := m.page().Content.(templates.MessageEnrolment).Sent; sent == nil || sent.Address != "ada@example.com" {
		t.Errorf("the page shows %+v", sent)
	}
	mistyped := m.code()
	m.expect(m.answer("address", "ada@example.org"), factors.OutcomeRefused, factors.TooSoon)
	m.now = m.now.Add(patience)
	m.expect(m.answer("address", "ada@example.org"), factors.OutcomePending, "")
	if m.letter().To != "ada@example.org" || m.code() == mistyped {
		t.Error("the other address gets the code of the first")
	}
	m.expect(m.answer("code", mistyped), factors.OutcomeRefused, factors.Wrong)
	v := m.answer("code", m.code())
	m.expect(v, factors.OutcomeAccepted, "")
	if kept, err := parseSecret(v.Made.Secret); err != nil || kept.Address != "ada@example.org" || v.Made.Name != "a…@e….org" {
		t.Errorf("what was made is %+v, %v", v.Made, err)
	}
}

// TestAnAddressThatIsGone has the credential be removed before the message leaves.
func TestAnAddressThatIsGone(t *testing.T) {
	m := newMailed(t, false)
	m.asking.Credentials = nil
	if _, open, err := m.ceremony.(factors.Composer).Compose(t.Context(), m.asking, m.turn.State); open || err != nil {
		t.Errorf("it leaves: %t, %v", open, err)
	}
}

func TestMask(t *testing.T) {
	for address, want := range map[string]string{
		"alice@example.com": "a…e@e….com", "bob@mail.example.co.uk": "b…@m….uk", "ä@b": "ä…@b…", "zoë.müller@x.de": "z…r@x….de",
	} {
		if got := maskEmail(address); got != want {
			t.Errorf("%s is shown as %s, want %s", address, got, want)
		}
	}
}

// TestNothingPartial has randomness fail, and what was kept be damaged.
func TestNothingPartial(t *testing.T) {
	broken := NewEmail(time.Now, iotest.ErrReader(errors.New("no randomness")))
	if _, err := broken.Proving().Begin(t.Context(), factors.Asking{}); err == nil {
		t.Error("a question without a seed")
	}
	m := newMailed(t, false)
	for _, state := range []string{"", "{}", `{"seed":"AAAA"}`, "[]"} {
		if _, err := m.ceremony.Check(t.Context(), m.asking, []byte(state), factors.Answer{"code": "12345678"}); err == nil {
			t.Errorf("%q was read", state)
		}
	}
	if strings.Contains(m.code(), " ") {
		t.Error("the code has a space")
	}
}

func FuzzReadCode(f *testing.F) {
	for _, seed := range []string{"12345678", "1234 5678", " 1234\u00a05678\n", "１２３４５６７８", "-1234567"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		code, ok := readCode(typed)
		if ok && len(code) != digits || !ok && code != "" {
			t.Errorf("%q is read as %q, %t", typed, code, ok)
		}
	})
}
