package notify

import (
	"errors"
	"fmt"
)

// ErrVoid says that there is nothing to send any more: the question was answered,
// or the credential removed.
var ErrVoid = errors.New("there is nothing to send any more")

// Unknown is the code of a failure after which the message may have been taken all
// the same.
const Unknown = "unknown"

// Failure says why a message couldn't be handed over. It names neither the
// address nor anything of the message, so it can be logged.
type Failure struct {
	// Code says in one word what failed, such as connect, tls or recipient.
	Code string
	// Status is what the server answered, such as "450 4.2.0"; empty: it didn't.
	Status string
	// Permanent says that trying again makes no sense.
	Permanent bool
	// Err is what a person who runs the server wants to know besides; it may be
	// nil.
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
