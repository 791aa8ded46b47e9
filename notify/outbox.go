package notify

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/store"
)

// Limits of an outbox.
const (
	// prompt is how many messages are sent at the same time. A message that has taken
	// longer than hanging leaves its place to another one, so that a server that hangs
	// delays only its own messages.
	prompt  = 8
	hanging = time.Second
	// most is how many are sent at the same time, including those that take longer.
	most = 64
	// lease is for how long a message is claimed; an attempt takes less.
	lease = time.Minute
	// attempt is how long one attempt may take.
	attempt = 20 * time.Second
	// lookout is how often the outbox looks for what is due, besides being woken.
	lookout = 5 * time.Second
	// farewell is how long what is being sent has when the outbox closes.
	farewell = 3 * time.Second
)

// codeTries are the waits before each attempt at a code, after which it is given
// up; otherTries those of all the rest.
var (
	codeTries  = []time.Duration{0, 10 * time.Second, 30 * time.Second, 90 * time.Second, 4 * time.Minute}
	otherTries = []time.Duration{0, time.Minute, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 6 * time.Hour, 14 * time.Hour}
)

// Store is what an Outbox needs of the store.
type Store interface {
	ClaimMessages(ctx context.Context, now, until time.Time, most int) ([]store.Message, error)
	UpdateMessage(ctx context.Context, m store.Message) error
	NewestMessage(ctx context.Context, purpose, ref string) (store.Message, error)
}

// Queuer stores a message in a transaction.
type Queuer interface {
	QueueMessage(ctx context.Context, m store.Message) error
}

// Route writes and hands over the messages of one purpose.
type Route interface {
	// Send returns ErrVoid if the message is no longer needed, and a *Failure if it
	// couldn't hand the message over. Later attempts have the same id, so that a
	// recipient can recognize duplicates.
	Send(ctx context.Context, m store.Message) error
}

// Costly is a Route some of whose messages cost money, so that none is sent a second time
// automatically.
type Costly interface {
	// Costs reports whether a message does.
	Costs(m store.Message) bool
}

// begun is the code of a failure that is none: a costly message may just be leaving. Where
// it stays, the sender died, and nobody knows whether the message arrived.
const begun = "begun"

// Settings configure an Outbox. All fields are required.
type Settings struct {
	Store  Store
	Clock  func() time.Time
	Random io.Reader
	Logger *zap.Logger
	// Routes are by purpose.
	Routes map[string]Route
}

// Outbox sends queued messages. It is safe for concurrent use.
type Outbox struct {
	Settings
	woken chan struct{}
	// trouble is what attempts have failed with since the last that succeeded; nil: nothing.
	trouble atomic.Pointer[Trouble]
}

// Trouble says that attempts at messages fail.
type Trouble struct {
	Since time.Time // the first of them
	Code  string    // of the newest
}

// New returns an Outbox. It sends nothing until it is run.
func New(s Settings) *Outbox { return &Outbox{Settings: s, woken: make(chan struct{}, 1)} }

// Trouble returns what attempts have failed with since the last that succeeded. It
// reports false if the newest succeeded, or if there were none.
func (o *Outbox) Trouble() (Trouble, bool) {
	if t := o.trouble.Load(); t != nil {
		return *t, true
	}
	return Trouble{}, false
}

// note remembers whether an attempt failed. A message that only its recipient's server
// refuses for good says nothing about the others.
func (o *Outbox) note(err error) {
	var failure *Failure
	switch {
	case err == nil:
		o.trouble.Store(nil)
	case errors.Is(err, ErrVoid):
	case errors.As(err, &failure) && failure.Permanent:
	default:
		now := Trouble{Since: o.Clock(), Code: failureOf(err).Code}
		if before := o.trouble.Load(); before != nil {
			now.Since = before.Since
		}
		o.trouble.Store(&now)
	}
}

// Queue stores a message in the transaction that makes it necessary. The message is
// due from now on, unless it says later, and expires when its patience is over then.
func (o *Outbox) Queue(ctx context.Context, tx Queuer, m store.Message, patience time.Duration) error {
	id, err := NewID(o.Random)
	if err != nil {
		return err
	}
	m.ID, m.State = id, store.MessageWaiting
	m.Queued = o.Clock()
	if m.Due.IsZero() {
		m.Due = m.Queued
	}
	m.Expires = m.Due.Add(patience)
	return tx.QueueMessage(ctx, m)
}

// NewID makes the id of a message.
func NewID(random io.Reader) (string, error) {
	id := make([]byte, 16)
	if _, err := io.ReadFull(random, id); err != nil {
		return "", fmt.Errorf("making the id of a message: %w", err)
	}
	return hex.EncodeToString(id), nil
}

// Wake makes the outbox look for messages that are due. It doesn't wait for that.
func (o *Outbox) Wake() {
	select {
	case o.woken <- struct{}{}:
	default:
	}
}

// Run sends messages that are due until the context ends. Messages that are being
// sent at that moment get a few seconds to finish.
func (o *Outbox) Run(ctx context.Context) {
	ticker := time.NewTicker(lookout)
	defer ticker.Stop()
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(farewell, cancel) })
	defer stop()
	leaving := &departures{freed: o.Wake}
	defer leaving.all.Wait()
	for {
		if err := o.sendDue(ctx, sending, leaving); err != nil && ctx.Err() == nil {
			o.Logger.Error("looking for messages to send", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-o.woken:
		case <-ticker.C:
		}
	}
}

// sendDue claims as many messages as there is room for, and begins to send them.
func (o *Outbox) sendDue(ctx, sending context.Context, leaving *departures) error {
	room := leaving.room()
	if room == 0 {
		return nil
	}
	now := o.Clock()
	claimed, err := o.Store.ClaimMessages(ctx, now, now.Add(lease), room)
	if err != nil {
		return err
	}
	leaving.crowded(len(claimed) == room)
	for _, m := range claimed {
		leaving.begin(func() { o.send(sending, m) })
	}
	return nil
}

// send makes one attempt at a message and writes down what came of it.
func (o *Outbox) send(ctx context.Context, m store.Message) {
	m, err := o.begin(ctx, m)
	if err == nil {
		err = o.attempt(ctx, m)
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return // the lease runs out, and somebody else sends it
	}
	o.note(err)
	m = settled(m, err, o.Clock())
	log := o.Logger.With(zap.String("message", m.ID), zap.String("purpose", m.Purpose), zap.Int("attempt", m.Attempts))
	switch m.State {
	case store.MessageHandedOver:
		log.Info("a message was handed over")
	case store.MessageVoid:
		log.Info("a message wasn't needed any more")
	case store.MessageFailed:
		log.Error("a message couldn't be sent", zap.Error(err))
	default:
		log.Warn("a message couldn't be sent, and will be tried again", zap.Time("at", m.Due), zap.Error(err))
	}
	// Whatever became of the context: what is known has to be written down.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	if err := o.Store.UpdateMessage(ctx, m); err != nil {
		log.Error("recording what became of a message", zap.Error(err))
	}
}

// begin notes of a costly message that it is about to leave, or returns the failure of one
// that may have left before.
func (o *Outbox) begin(ctx context.Context, m store.Message) (store.Message, error) {
	costly, ok := o.Routes[m.Purpose].(Costly)
	switch {
	case !ok || !costly.Costs(m):
		return m, nil
	case m.Failure == begun:
		return m, &Failure{Code: Unknown, Permanent: true, Err: errors.New("the process ended while the message was being sent")}
	}
	m.Failure = begun
	if err := o.Store.UpdateMessage(ctx, m); err != nil {
		return m, fmt.Errorf("noting that a message is about to leave: %w", err)
	}
	m.Version++
	return m, nil
}

func (o *Outbox) attempt(ctx context.Context, m store.Message) error {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	route, known := o.Routes[m.Purpose]
	if !known {
		return &Failure{Code: "purpose", Err: fmt.Errorf("nothing sends messages about a %s", m.Purpose)}
	}
	return route.Send(ctx, m)
}

// settled is a message after an attempt at a time.
func settled(m store.Message, err error, at time.Time) store.Message {
	m.Attempts++
	m.Claimed = time.Time{}
	switch {
	case err == nil:
		m.State, m.Failure = store.MessageHandedOver, ""
		return m
	case errors.Is(err, ErrVoid):
		m.State, m.Failure = store.MessageVoid, ""
		return m
	}
	failure := failureOf(err)
	again, more := nextTry(m, failure)
	m.Failure, m.Due = failure.Code, at.Add(again)
	if !more || !m.Due.Before(m.Expires) {
		m.State = store.MessageFailed
	}
	return m
}

// nextTry says how long to wait for the next attempt at a message, whose Failure
// is still the one before, if there is to be one.
func nextTry(m store.Message, f *Failure) (time.Duration, bool) {
	tries := otherTries
	if m.Lane == store.LaneCodes {
		tries = codeTries
	}
	// What may have arrived is sent once more at most: it would annoy, and a
	// server that takes everything and says nothing would be asked for ever.
	if f.Permanent || f.Once && m.Attempts > 1 || f.Code == Unknown && m.Failure == Unknown || m.Attempts >= len(tries) {
		return 0, false
	}
	return max(tries[m.Attempts], f.After), true
}
