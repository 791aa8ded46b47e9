package notify_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

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
	m.questions = &notify.Questions{Outbox: o}
	return m
}

func (m *mailroom) user(id string) {
	m.t.Helper()
	if err := m.db.CreateUser(m.t.Context(), store.User{ID: id, Name: id, Status: store.UserActive, Created: m.now}); err != nil {
		m.t.Fatal(err)
	}
}

// queue queues one message, and returns how long to wait where it was refused.
func (m *mailroom) queue(owner string, known bool) (wait time.Duration, taken bool) {
	m.t.Helper()
	m.queued++
	err := m.db.Atomically(m.t.Context(), func(tx store.Tx) error {
		return m.questions.Queue(context.WithoutCancel(m.t.Context()), tx, ceremony.Question{
			Ref: fmt.Sprint("r", m.queued), Owner: owner, Kind: assurance.Email, Scene: factors.Scene{Known: known},
		})
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
