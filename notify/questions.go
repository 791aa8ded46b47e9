package notify

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/store"
)

// AboutQuestion is the purpose of messages about questions.
const AboutQuestion = "question"

// codePatience is for how long a message with a code is tried: one that arrives
// with less than two of its ten minutes left is of little use.
const codePatience = 8 * time.Minute

// Composer composes what there is to say about a question.
type Composer interface {
	Compose(ctx context.Context, kind assurance.Factor, ref string) (message any, open bool, err error)
}

// Writer writes a letter, hands it over, and returns what the server answered; see
// Route.
type Writer interface {
	Write(ctx context.Context, id string, letter factors.Letter) (answer string, err error)
}

// Unmetered is a Writer whose messages aren't counted here, since whoever puts the
// questions limits them.
type Unmetered interface {
	Unmetered()
}

// Charged is a Writer each of whose messages costs money.
type Charged interface {
	Charged()
}

// Questions queues messages about questions, and is their Route.
type Questions struct {
	Outbox   *Outbox
	Composer Composer
	// Writers are keyed by the kind of factor that a question is about.
	Writers map[assurance.Factor]Writer
	// Limits are keyed likewise. Messages of a kind without limits aren't sent unless its
	// Writer is Unmetered.
	Limits map[assurance.Factor]Limits

	// half is a kind of which half of what may leave has just left.
	half atomic.Pointer[assurance.Factor]
}

// Queue stores a message about a question. It returns *factors.Refused if there have
// been too many.
func (q *Questions) Queue(ctx context.Context, tx store.Tx, about ceremony.Question) error {
	if _, isFree := q.Writers[about.Kind].(Unmetered); !isFree {
		limits := q.Limits[about.Kind]
		left, err := charge(ctx, tx, limits.quotasOf(about), q.Outbox.Clock())
		if err != nil {
			return err
		}
		if left[inAll(about.Kind)] == (limits.InAll+1)/2 {
			q.half.Store(&about.Kind)
		}
	}
	return q.Outbox.Queue(ctx, tx, store.Message{
		Lane: store.LaneCodes, Purpose: AboutQuestion, Ref: about.Ref, UserID: about.Owner, Data: []byte(about.Kind),
	}, codePatience)
}

// Newest returns the newest message about a question, or store.ErrNotFound.
func (q *Questions) Newest(ctx context.Context, ref string) (store.Message, error) {
	return q.Outbox.Store.NewestMessage(ctx, AboutQuestion, ref)
}

// Wake makes the outbox send what was queued, and warns the operator if half of what
// may leave in this hour has left.
func (q *Questions) Wake() {
	if kind := q.half.Swap(nil); kind != nil {
		q.Outbox.Logger.Warn("half of the messages that may be sent in an hour have been sent: somebody may be flooding people with codes, or the limit is too low",
			zap.String("factor", string(*kind)), zap.Int("limit", q.Limits[*kind].InAll))
	}
	q.Outbox.Wake()
}

// Costs implements Costly.
func (q *Questions) Costs(m store.Message) bool {
	_, costs := q.Writers[assurance.Factor(m.Data)].(Charged)
	return costs
}

// Send implements Route.
func (q *Questions) Send(ctx context.Context, m store.Message) error {
	kind := assurance.Factor(m.Data)
	content, open, err := q.Composer.Compose(ctx, kind, m.Ref)
	switch {
	case err != nil:
		return fmt.Errorf("composing a message: %w", err)
	case !open:
		return ErrVoid
	}
	letter, ok := content.(factors.Letter)
	writer, known := q.Writers[kind]
	if !ok || !known {
		return fmt.Errorf("nothing sends a %T about a question of kind %q", content, kind)
	}
	_, err = writer.Write(ctx, m.ID, letter)
	return err
}
