package fido

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/portcullis-mfa/portcullis/factors"
)

// ceremony is what is kept at the server of a challenge until its answer comes.
type ceremony struct {
	Type    protocol.CeremonyType `json:"type"`
	Session webauthn.SessionData  `json:"session"`
	Expires time.Time             `json:"expires"`
}

// begun puts what a browser is asked on the page, and what its answer is held
// against into the state.
func (f *Factor) begun(kind protocol.CeremonyType, options any, session *webauthn.SessionData) (factors.Ceremony, error) {
	asked, err := json.Marshal(options)
	if err != nil {
		return factors.Ceremony{}, fmt.Errorf("writing WebAuthn options: %w", err)
	}
	state, err := json.Marshal(ceremony{Type: kind, Session: *session, Expires: f.clock().Add(Patience)})
	if err != nil {
		return factors.Ceremony{}, fmt.Errorf("writing a WebAuthn ceremony: %w", err)
	}
	return factors.Ceremony{State: state, Page: page(asked)}, nil
}

// open reads the state of a ceremony, and reports whether it waits for an
// answer still: there may be none, or it may have waited too long. A challenge
// to show a key enrols none, and the other way around.
func (f *Factor) open(kind protocol.CeremonyType, state []byte) (ceremony, bool, error) {
	if len(state) == 0 {
		return ceremony{}, false, nil
	}
	var begun ceremony
	if err := json.Unmarshal(state, &begun); err != nil {
		return ceremony{}, false, fmt.Errorf("reading a WebAuthn ceremony: %w", err)
	}
	if begun.Type != kind {
		return ceremony{}, false, fmt.Errorf("reading a WebAuthn ceremony: it is a %s, not a %s", begun.Type, kind)
	}
	return begun, f.clock().Before(begun.Expires), nil
}

// maxAnswer bounds what a browser may answer, in bytes. Keys that sign with RSA
// and prove where they were made come to about 10 KiB.
const maxAnswer = 32 << 10

// parse reads answer "credential", if it can be read.
func parse[T any](answer factors.Answer, read func([]byte) (*T, error)) (*T, bool) {
	given := answer["credential"]
	if given == "" || len(given) > maxAnswer {
		return nil, false
	}
	parsed, err := read([]byte(given))
	return parsed, err == nil
}
