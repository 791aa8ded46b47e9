package identity

import (
	"fmt"

	"golang.org/x/crypto/argon2"
)

// Task is the costly part of hashing or verifying a password. It has all that it
// depends on, so that another process can do it.
type Task struct {
	// Imported is a hash from another program, and Password what is checked against it.
	// If the password is right, nothing else is done. Empty: only the tag is computed.
	Imported, Password string
	// Input, Salt and Params are what argon2id (RFC 9106) computes the tag from.
	Input, Salt []byte
	Params      Params
}

// Outcome is the result of a Task.
type Outcome struct {
	Matches bool   // the password matches the imported hash
	Tag     []byte // empty if it does
}

// Worker does tasks outside this process. Any error means that a task wasn't done, so
// that this process has to do it. It is safe for concurrent use.
type Worker interface {
	Do(task Task) (Outcome, error)
}

// Do does the task in this process. It fails if the imported hash can't be read.
func (t Task) Do() (Outcome, error) {
	if t.Imported != "" {
		digest, err := decodeImported(t.Imported)
		if err != nil {
			return Outcome{}, fmt.Errorf("reading an imported hash: %w", err)
		}
		if t.Password != "" && digest.MatchBytes([]byte(t.Password)) {
			return Outcome{Matches: true}, nil
		}
	}
	return Outcome{Tag: argon2.IDKey(t.Input, t.Salt, t.Params.Passes, t.Params.Memory, t.Params.Parallelism, tagBytes)}, nil
}
