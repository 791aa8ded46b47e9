package guess

import (
	"context"
	"errors"
	"fmt"

	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/netblock"
)

// ErrBusy says that too many people sign in at this moment.
var ErrBusy = identity.ErrBusy

// Enter takes a place among those who wait for a password to be hashed, as a
// stranger or as somebody known; whoever is signed in is known. It returns
// *Slowed where the attempt isn't to be looked at, and an error that
// is ErrBusy where no place is left, which is counted for the address.
// Neither costs the store a write.
func (l *Limiter) Enter(ctx context.Context, a Attempt, signedIn bool) (context.Context, func(), error) {
	c, err := l.counts(ctx, l.Store, a)
	if err != nil {
		return nil, nil, fmt.Errorf("reading counts of attempts: %w", err)
	}
	if slowed := l.decide(c, a); slowed != nil && !c.setBack {
		l.noteSlowed(a, c.account.Failures)
		return nil, nil, slowed
	}
	entered, leave, err := l.Queue.Enter(ctx, l.turn(a, c, signedIn))
	if errors.Is(err, ErrBusy) {
		for _, source := range c.sources {
			l.turnedAway.add(source.Key)
		}
	}
	return entered, leave, err
}

// turn says among whom an attempt waits, and how soon it is its turn.
func (l *Limiter) turn(a Attempt, c counts, signedIn bool) identity.Turn {
	if a.isKnown() || signedIn {
		return identity.Turn{Known: true, Sharer: a.User.ID}
	}
	turn := identity.Turn{Sharer: netblock.Holder(a.Address), Network: netblock.Network(a.Address)}
	turn.Since = l.turnedAway.since(turn.Sharer)
	for i, source := range c.sources {
		if i == 0 {
			turn.Failures += source.Failures
		} else {
			turn.Failures += source.Failures / networkWeight
		}
	}
	return turn
}

// WaitingFor has what is hashed for somebody share one claim to the queue. They
// have shown something already, so they don't wait among strangers.
func WaitingFor(ctx context.Context, sharer string) context.Context {
	return identity.As(ctx, identity.Turn{Known: true, Sharer: sharer})
}

// Waiting is WaitingFor whoever makes an attempt. A browser that nobody knows may
// be a thief's, who must not wait in the owner's name.
func (a Attempt) Waiting(ctx context.Context) context.Context {
	if a.isKnown() {
		return WaitingFor(ctx, a.User.ID)
	}
	return identity.As(ctx, identity.Turn{
		Known: true, Sharer: netblock.Holder(a.Address), Network: netblock.Network(a.Address),
	})
}
