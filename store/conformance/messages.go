package conformance

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

var messageTests = []test{
	{"come back as queued", messagesComeBack},
	{"belong to somebody who is there", messagesOfUnknown},
	{"leave by lane, then as they are due", messagesInOrder},
	{"leave between their times, one at a time", messagesClaimed},
	{"are claimed by exactly one", messagesClaimRace},
	{"update is a compare-and-set", messagesUpdate},
	{"the newest about a thing is found", messagesNewest},
	{"of a user are voided, and go with them", messagesOfUser},
	{"are queued in a transaction or not at all", messagesInTransactions},
	{"go once they have expired", messagesSwept},
}

// aMessage is one that is due at noon, for an hour.
func aMessage(id string) store.Message {
	return store.Message{
		ID: id, Purpose: "question", Ref: "about " + id, Queued: noon, Due: noon, Expires: noon.Add(time.Hour),
		State: store.MessageWaiting,
	}
}

func (f fixture) queue(t *testing.T, m store.Message) store.Message {
	t.Helper()
	must(t, f.QueueMessage(f.ctx, m))
	m.Version = 1
	return m
}

func messagesComeBack(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	full := aMessage("m1")
	full.Lane, full.Purpose, full.Ref, full.UserID, full.Data = store.LaneBulk, awkward, awkward, "u1", anyBytes()
	full.Claimed, full.Attempts, full.State, full.Failure = noon.Add(time.Minute), 3, store.MessageFailed, awkward
	full.Due = noon.Add(time.Second)
	full = f.queue(t, full)
	bare := f.queue(t, aMessage("m2"))
	wantEqual(t, "full", get(f.NewestMessage(f.ctx, awkward, awkward))(t), full)
	wantEqual(t, "bare", get(f.NewestMessage(f.ctx, "question", "about m2"))(t), bare)
	wantError(t, f.QueueMessage(f.ctx, aMessage("m2")), store.ErrConflict)
}

func messagesOfUnknown(t *testing.T, f fixture) {
	m := aMessage("m1")
	m.UserID = "nobody"
	wantError(t, f.QueueMessage(f.ctx, m), store.ErrNotFound)
	_, err := f.NewestMessage(f.ctx, m.Purpose, m.Ref)
	wantError(t, err, store.ErrNotFound)
}

// claim claims messages at a time for a minute, and returns their ids.
func (f fixture) claim(t *testing.T, at time.Time, most int) []string {
	t.Helper()
	var ids []string
	for _, m := range get(f.ClaimMessages(f.ctx, at, at.Add(time.Minute), most))(t) {
		if !m.Claimed.Equal(at.Add(time.Minute)) {
			t.Errorf("message %s is claimed until %v", m.ID, m.Claimed)
		}
		ids = append(ids, m.ID)
	}
	return ids
}

func messagesInOrder(t *testing.T, f fixture) {
	for i, lane := range []store.Lane{store.LaneBulk, store.LaneCodes, store.LaneNotices, store.LaneCodes, store.LaneCritical} {
		m := aMessage(fmt.Sprint("m", i))
		m.Lane, m.Due = lane, noon.Add(-time.Duration(i)*time.Second)
		f.queue(t, m)
	}
	wantEqual(t, "the first three", f.claim(t, noon, 3), []string{"m3", "m1", "m4"})
	wantEqual(t, "the others", f.claim(t, noon, 3), []string{"m2", "m0"})
}

func messagesClaimed(t *testing.T, f fixture) {
	f.queue(t, aMessage("m1"))
	settled := aMessage("m2")
	settled.State = store.MessageHandedOver
	f.queue(t, settled)
	at := func(after time.Duration, want ...string) {
		t.Helper()
		wantEqual(t, fmt.Sprint("after ", after), f.claim(t, noon.Add(after), 9), want)
	}
	at(-time.Microsecond)
	at(0, "m1")
	at(time.Minute - time.Microsecond)
	at(time.Minute, "m1")
	at(time.Hour-time.Microsecond, "m1")
	at(time.Hour + time.Minute)
}

func messagesClaimRace(t *testing.T, f fixture) {
	f.queue(t, aMessage("m1"))
	errNone := errors.New("nothing to claim")
	wantOneWinner(t, race(50, func(int) error {
		claimed, err := f.ClaimMessages(f.ctx, noon, noon.Add(time.Minute), 5)
		if err == nil && len(claimed) == 0 {
			err = errNone
		}
		return err
	}), errNone)
}

func messagesUpdate(t *testing.T, f fixture) {
	known := aMessage("m1")
	known.Data = anyBytes()
	m := f.queue(t, known)
	m.Failure = "busy"
	must(t, f.UpdateMessage(f.ctx, m))
	m.Version = 2
	wantEqual(t, "still waiting", get(f.NewestMessage(f.ctx, m.Purpose, m.Ref))(t), m)
	changed := m
	changed.Due, changed.Claimed, changed.Attempts = noon.Add(time.Second), noon.Add(time.Minute), 2
	changed.State, changed.Failure = store.MessageFailed, "refused"
	changed.Purpose, changed.Ref, changed.Queued, changed.Expires = "other", "other", noon.Add(1), noon.Add(2)
	must(t, f.UpdateMessage(f.ctx, changed))
	want := changed
	want.Purpose, want.Ref, want.Queued, want.Expires, want.Version = m.Purpose, m.Ref, m.Queued, m.Expires, 3
	want.Data = nil
	wantEqual(t, "updated", get(f.NewestMessage(f.ctx, m.Purpose, m.Ref))(t), want)
	wantError(t, f.UpdateMessage(f.ctx, changed), store.ErrConflict)
	wantError(t, f.UpdateMessage(f.ctx, store.Message{ID: "none", Version: 1}), store.ErrNotFound)
}

func messagesNewest(t *testing.T, f fixture) {
	for i, id := range []string{"m3", "m1", "m2"} {
		m := aMessage(id)
		m.Ref, m.Queued = "r", noon.Add(-time.Duration(i)*time.Second)
		f.queue(t, m)
	}
	wantEqual(t, "the newest", get(f.NewestMessage(f.ctx, "question", "r"))(t).ID, "m3")
	for _, absent := range [][2]string{{"question", ""}, {"question", "R"}, {"notice", "r"}, {"", ""}} {
		_, err := f.NewestMessage(f.ctx, absent[0], absent[1])
		wantError(t, err, store.ErrNotFound)
	}
}

func messagesOfUser(t *testing.T, f fixture) {
	f.addUser(t, "u1")
	f.addUser(t, "u2")
	for _, id := range []string{"m1", "m2", "m3"} {
		m := aMessage(id)
		m.UserID, m.Data = map[string]string{"m1": "u1", "m2": "u2"}[id], anyBytes()
		f.queue(t, m)
	}
	handed := aMessage("m4")
	handed.UserID, handed.State = "u1", store.MessageHandedOver
	f.queue(t, handed)
	must(t, f.VoidMessagesOf(f.ctx, "u1"))
	must(t, f.VoidMessagesOf(f.ctx, ""))
	state := func(id string) store.MessageState {
		return get(f.NewestMessage(f.ctx, "question", "about "+id))(t).State
	}
	wantEqual(t, "states", []store.MessageState{state("m1"), state("m2"), state("m3"), state("m4")},
		[]store.MessageState{store.MessageVoid, store.MessageWaiting, store.MessageWaiting, store.MessageHandedOver})
	wantEqual(t, "what is known of a void one", get(f.NewestMessage(f.ctx, "question", "about m1"))(t).Data, []byte(nil))
	must(t, f.DeleteUser(f.ctx, "u1"))
	_, err := f.NewestMessage(f.ctx, "question", "about m1")
	wantError(t, err, store.ErrNotFound)
	wantEqual(t, "who can be sent to", f.claim(t, noon, 9), []string{"m2", "m3"})
}

func messagesInTransactions(t *testing.T, f fixture) {
	wantError(t, f.Atomically(f.ctx, func(tx store.Tx) error {
		return errors.Join(tx.QueueMessage(f.ctx, aMessage("m1")), errRefused)
	}), errRefused)
	wantEqual(t, "after a transaction that failed", f.claim(t, noon, 9), []string(nil))
	must(t, f.Atomically(f.ctx, func(tx store.Tx) error { return tx.QueueMessage(f.ctx, aMessage("m1")) }))
	wantEqual(t, "afterwards", f.claim(t, noon, 9), []string{"m1"})
}

func messagesSwept(t *testing.T, f fixture) {
	f.queue(t, aMessage("m1"))
	left := func() bool {
		_, err := f.NewestMessage(f.ctx, "question", "about m1")
		return !errors.Is(err, store.ErrNotFound)
	}
	var seen []bool
	for _, before := range []time.Time{{}, noon.Add(time.Hour), noon.Add(time.Hour + time.Microsecond)} {
		must(t, f.Sweep(f.ctx, noon.AddDate(1, 0, 0), store.SweepLimits{MessagesBefore: before}))
		seen = append(seen, left())
	}
	if !slices.Equal(seen, []bool{true, true, false}) {
		t.Errorf("there after each sweep: %v", seen)
	}
}
