package otpmessage

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/portcullis-mfa/portcullis/factors"
)

// seedSize is the size of a seed in bytes.
const seedSize = 32

// question is what is kept of one.
type question struct {
	// Seed is what its codes are derived from.
	Seed []byte `json:"seed"`
	// Number is which of its codes counts, made at Made.
	Number int       `json:"number"`
	Made   time.Time `json:"made,omitzero"`
	// Sent is when the newest message was asked for, and Again how many there
	// were but the first.
	Sent  time.Time `json:"sent,omitzero"`
	Again int       `json:"again,omitempty"`
	// Wrong counts wrong codes.
	Wrong int `json:"wrong,omitempty"`
	// Address is where codes go, of an enrolment.
	Address string `json:"address,omitempty"`
}

// newQuestion is one whose first message is asked for now.
func (f *Factor) newQuestion() (question, error) {
	seed := make([]byte, seedSize)
	if _, err := io.ReadFull(f.random, seed); err != nil {
		return question{}, fmt.Errorf("making the seed of a code: %w", err)
	}
	now := f.clock()
	return question{Seed: seed, Made: now, Sent: now}, nil
}

func parseQuestion(state []byte) (q question, err error) {
	if err := json.Unmarshal(state, &q); err != nil {
		return question{}, fmt.Errorf("reading what was kept of a code that was sent: %w", err)
	}
	if len(q.Seed) != seedSize {
		return question{}, fmt.Errorf("a code that was sent has a seed of %d bytes", len(q.Seed))
	}
	return q, nil
}

func (q question) turn() (factors.Turn, error) {
	state, err := json.Marshal(q)
	if err != nil {
		return factors.Turn{}, fmt.Errorf("writing what is kept of a code that was sent: %w", err)
	}
	return factors.Turn{State: state, Until: q.until()}, nil
}

// until is when the code doesn't count any more; zero: there is none yet.
func (q question) until() time.Time {
	if q.Made.IsZero() {
		return time.Time{}
	}
	return q.Made.Add(Lifetime)
}

// mayAgain says when there may be a further message; nil: there were enough.
func (q question) mayAgain() *factors.Again {
	if q.Again >= mostAgain {
		return nil
	}
	return &factors.Again{At: q.Sent.Add(patience), Left: mostAgain - q.Again}
}

// refusal is the verdict on the wish for a further message, if there is none.
func (q question) refusal(at time.Time) (factors.Verdict, bool) {
	again := q.mayAgain()
	switch {
	case again == nil:
		return factors.Verdict{Reason: factors.TooOften}, true
	case at.Before(again.At):
		return factors.Verdict{Reason: factors.TooSoon, RetryAfter: again.At.Sub(at)}, true
	}
	return factors.Verdict{}, false
}

// further is the question with one more message at a time.
func (q question) further(at time.Time) question {
	q.Again++
	q.Sent = at
	if at.After(q.Made.Add(Lifetime - repeatable)) {
		return q.renewed(at)
	}
	return q
}

// renewed is the question with another code.
func (q question) renewed(at time.Time) question {
	q.Number++
	q.Made = at
	return q
}

// code is the code that counts. The last digits of a number of 64 bits are as
// good as evenly spread.
func (q question) code(ref string) string {
	mac := hmac.New(sha256.New, q.Seed)
	fmt.Fprintf(mac, "portcullis-message-code-v1\x00%s\x00%d", ref, q.Number)
	n := binary.BigEndian.Uint64(mac.Sum(nil)) % codes
	return fmt.Sprintf("%0*d", digits, n)
}

// isCode compares without telling by its time how much of a code is right.
func (q question) isCode(ref, code string) bool {
	return subtle.ConstantTimeCompare([]byte(q.code(ref)), []byte(code)) == 1
}

// secret is what a credential keeps.
type secret struct {
	Address string `json:"address"`
}

func (s secret) marshal() ([]byte, error) {
	written, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("writing an address for codes: %w", err)
	}
	return written, nil
}

func parseSecret(written []byte) (s secret, err error) {
	if err := json.Unmarshal(written, &s); err != nil {
		return secret{}, fmt.Errorf("reading an address for codes: %w", err)
	}
	if s.Address == "" {
		return secret{}, fmt.Errorf("an address for codes is empty")
	}
	return s, nil
}
