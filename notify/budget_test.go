package notify_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/notify"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/store/sqlite"
)

// mailroom queues messages about questions at a time of the test's.
type mailroom struct {
	t         *testing.T
	now       time.Time
	db        *sqlite.DB
	questions *notify.Questions
	queued    int
}

func newMailroom(t *testing.T) *mailroom {
	t.Helper()
	o, db := newOutbox(t, &post{})
	m := &mailroom{t: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), db: db}
	o.Clock = func() time.Time { return m.now }
	m.questions = &notify.Questions{Outbox: o, Limits: map[assurance.Factor]notify.Limits{
		assurance.Email: {InAll: 2000, Unknown: notify.Rate{Hour: 5, Day: 15}, Known: notify.Rate{Hour: 10, Day: 30}},
		assurance.SMS:   {InAll: 100, Unknown: notify.Rate{Hour: 3, Day: 8}, Known: notify.Rate{Hour: 3, Day: 8}},
	}}
	return m
}

func (m *mailroom) user(id string) {
	m.t.Helper()
	if err := m.db.CreateUser(m.t.Context(), store.User{ID: id, Name: id, Status: store.UserActive, Created: m.now}); err != nil {
		m.t.Fatal(err)
	}
}

// queue queues one message, and returns how long to wait where it was refused. Each
// person is in a network of their own.
func (m *mailroom) queue(owner string, known bool) (wait time.Duration, taken bool) {
	m.t.Helper()
	return m.ask(ceremony.Question{Owner: owner, Kind: assurance.Email, Scene: factors.Scene{Known: known, Address: addressOf(owner)}})
}

// addressOf is the address of a browser in a network of its own.
func addressOf(owner string) string {
	sum := sha256.Sum256([]byte(owner))
	return netip.AddrFrom4([4]byte(sum[:4])).String()
}

// ask queues a message about a question.
func (m *mailroom) ask(q ceremony.Question) (wait time.Duration, taken bool) {
	m.t.Helper()
	m.queued++
	err := m.db.Atomically(m.t.Context(), func(tx store.Tx) error {
		q.Ref = fmt.Sprint("r", m.queued)
		return m.questions.Queue(context.WithoutCancel(m.t.Context()), tx, q)
	})
	refused := new(factors.Refused)
	switch {
	case errors.As(err, &refused) && refused.Reason == factors.TooOften:
		return refused.RetryAfter, false
	case err != nil:
		m.t.Fatal(err)
	}
	return 0, true
}

// takes queues as many as are taken, up to most.
func (m *mailroom) takes(owner string, known bool, most int) int {
	for n := range most {
		if _, taken := m.queue(owner, known); !taken {
			return n
		}
	}
	return most
}

func (m *mailroom) expect(what string, got, want int) {
	m.t.Helper()
	if got != want {
		m.t.Errorf("%s: %d messages are taken, want %d", what, got, want)
	}
}

// TestM01BudgetsOfAPerson holds what somebody gets, exact to one, and that whoever
// knows the password takes nothing from the owner.
func TestM01BudgetsOfAPerson(t *testing.T) {
	m := newMailroom(t)
	m.user("ada")
	m.user("ben")
	m.expect("a thief", m.takes("ada", false, 100), 5)
	if wait, _ := m.queue("ada", false); wait != time.Hour {
		t.Errorf("the thief can ask again in %v", wait)
	}
	m.expect("the owner's browser", m.takes("ada", true, 100), 10)
	m.expect("somebody else", m.takes("ben", false, 100), 5)
	m.now = m.now.Add(time.Hour - time.Microsecond)
	m.expect("too early", m.takes("ada", false, 100), 0)
	m.now = m.now.Add(time.Microsecond)
	m.expect("an hour later", m.takes("ada", false, 100), 5)
	m.now = m.now.Add(time.Hour)
	m.expect("two hours later", m.takes("ada", false, 100), 5)
	m.now = m.now.Add(time.Hour)
	m.expect("once the day's are used up", m.takes("ada", false, 100), 0)
	m.now = m.now.Add(21 * time.Hour)
	m.expect("a day later", m.takes("ada", false, 100), 5)
}

// TestM01AFloodLeavesRoom has a stranger ask in many names: who is known gets
// codes all the same.
func TestM01AFloodLeavesRoom(t *testing.T) {
	m := newMailroom(t)
	taken := 0
	for i := range 300 {
		owner := fmt.Sprint("user", i)
		m.user(owner)
		taken += m.takes(owner, false, 5)
	}
	m.expect("strangers", taken, 1400)
	m.expect("a known browser", m.takes("user7", true, 100), 10)
}

// countTaken asks until a question is refused, or most are taken.
func (m *mailroom) countTaken(most int, question func(i int) ceremony.Question) int {
	m.t.Helper()
	for i := range most {
		if _, taken := m.ask(question(i)); !taken {
			return i
		}
	}
	return most
}

// TestM01BudgetsOfTextMessages holds those exact to one, and apart from mail.
func TestM01BudgetsOfTextMessages(t *testing.T) {
	m := newMailroom(t)
	m.user("ada")
	of := func(known bool) func(int) ceremony.Question {
		return func(int) ceremony.Question {
			return ceremony.Question{Owner: "ada", Kind: assurance.SMS, Scene: factors.Scene{Known: known, Address: "192.0.2.1"}}
		}
	}
	m.expect("mail", m.takes("ada", false, 100), 5)
	m.expect("a thief", m.countTaken(100, of(false)), 3)
	m.expect("the owner", m.countTaken(100, of(true)), 3)
	for hour, want := range []int{3, 2, 0} {
		m.now = m.now.Add(time.Hour)
		m.expect(fmt.Sprint("after ", hour+1, " hours"), m.countTaken(100, of(false)), want)
	}
}

// TestM01BudgetsOfAnAddress has many people's codes go to one mailbox, and one person
// name many.
func TestM01BudgetsOfAnAddress(t *testing.T) {
	m := newMailroom(t)
	person := func(i int) string {
		id := fmt.Sprint("user", i)
		if _, err := m.db.UserByID(t.Context(), id); err != nil {
			m.user(id)
		}
		return id
	}
	one := func(i int) ceremony.Question {
		return ceremony.Question{Owner: person(i), Kind: assurance.Email, Recipient: "eve@example.com", NewRecipient: true, Scene: factors.Scene{Known: true}}
	}
	for hour, want := range []int{10, 10, 10, 0} {
		m.expect(fmt.Sprint("one mailbox, hour ", hour), m.countTaken(100, func(i int) ceremony.Question { return one(100*hour + i) }), want)
		m.now = m.now.Add(time.Hour)
	}
	m.expect("one person", m.countTaken(100, func(i int) ceremony.Question {
		return ceremony.Question{
			Owner: person(999), Kind: assurance.Email, Recipient: fmt.Sprint(i, "@example.com"), NewRecipient: true, Scene: factors.Scene{Known: true},
		}
	}), 3)
}

// TestM01OneNetworkTakesHalf has a stranger ask in many names from one network: half
// of what is there for strangers stays for others.
func TestM01OneNetworkTakesHalf(t *testing.T) {
	m := newMailroom(t)
	from := func(network string) func(i int) ceremony.Question {
		return func(i int) ceremony.Question {
			owner := fmt.Sprint(network, i)
			m.user(owner)
			return ceremony.Question{Owner: owner, Kind: assurance.SMS, Scene: factors.Scene{Address: fmt.Sprint(network, i)}}
		}
	}
	m.expect("one network", m.countTaken(100, from("192.0.2.")), 35)
	m.expect("another", m.countTaken(100, from("198.51.100.")), 35)
	m.expect("a third", m.countTaken(100, from("203.0.113.")), 0)
	m.user("ada")
	m.expect("known browsers", m.countTaken(100, func(i int) ceremony.Question {
		owner := fmt.Sprint("known", i)
		m.user(owner)
		return ceremony.Question{Owner: owner, Kind: assurance.SMS, Scene: factors.Scene{Known: true}}
	}), 30)
}

// TestHalfIsTold wants one warning to the operator, as half of what may leave has left.
func TestHalfIsTold(t *testing.T) {
	m := newMailroom(t)
	told, logs := observer.New(zap.WarnLevel)
	m.questions.Outbox.Logger = zap.New(told)
	m.countTaken(60, func(i int) ceremony.Question {
		owner := fmt.Sprint("user", i)
		m.user(owner)
		before := logs.Len()
		m.questions.Wake()
		if logs.Len() != before && i != 50 {
			t.Errorf("it is told after %d messages", i)
		}
		return ceremony.Question{Owner: owner, Kind: assurance.SMS, Scene: factors.Scene{Known: true}}
	})
	if logs.Len() != 1 {
		t.Errorf("it is told %d times", logs.Len())
	}
}
