package notify

import (
	"errors"
	"fmt"
	"time"
)

// ErrVoid says that a message is no longer needed: its question was answered, or its
// credential removed.
var ErrVoid = errors.New("there is nothing to send any more")

// Unknown is the code of a failure after which the server may still have accepted
// the message.
const Unknown = "unknown"

// Failure says why a message couldn't be handed over. It contains neither the
// address nor any part of the message, so it can be logged.
type Failure struct {
	// Code says in one word what failed, such as connect, tls or recipient.
	Code string
	// Status is the server's answer, such as "450 4.2.0"; empty: there was none.
	Status string
	// Permanent says that trying again is pointless.
	Permanent bool
	// Once says that one further attempt is enough: each may cost money.
	Once bool
	// After is how long the server wants to be left alone; 0: it doesn't say.
	After time.Duration
	// Err tells operators more; it may be nil.
	Err error
}

func (f *Failure) Error() string {
	text := "the message couldn't be handed over (" + f.Code + ")"
	if f.Status != "" {
		text += ": the server answered " + f.Status
	}
	if f.Err != nil {
		text += fmt.Sprintf(": %v", f.Err)
	}
	return text
}

func (f *Failure) Unwrap() error { return f.Err }

// failureOf returns what a route failed by. What isn't a Failure is a fault of
// ours, and may pass.
func failureOf(err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	return &Failure{Code: "internal", Err: err}
}
