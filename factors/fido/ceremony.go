package fido

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/templates"
)

// ceremony is what is kept at the server of a challenge until its answer comes.
type ceremony struct {
	Type    protocol.CeremonyType `json:"type"`
	Session webauthn.SessionData  `json:"session"`
	Expires time.Time             `json:"expires"`
	// Options are what the browser is asked.
	Options json.RawMessage `json:"options"`
}

// begun keeps what a browser is asked, and what its answer is held against.
func (f *Factor) begun(kind protocol.CeremonyType, options any, session *webauthn.SessionData) (factors.Turn, error) {
	asked, err := json.Marshal(options)
	if err != nil {
		return factors.Turn{}, fmt.Errorf("writing WebAuthn options: %w", err)
	}
	until := f.clock().Add(Patience)
	state, err := json.Marshal(ceremony{Type: kind, Session: *session, Expires: until, Options: asked})
	if err != nil {
		return factors.Turn{}, fmt.Errorf("writing a WebAuthn ceremony: %w", err)
	}
	return factors.Turn{State: state, Until: until}, nil
}

// resume returns the page of a ceremony.
func (f *Factor) resume(kind protocol.CeremonyType, state []byte) (factors.Page, error) {
	begun, open, err := f.open(kind, state)
	if err != nil {
		return factors.Page{}, err
	}
	if !open {
		return factors.Page{}, factors.ErrOver
	}
	return factors.Page{Content: templates.FIDOCeremony{Options: string(begun.Options)}}, nil
}

// open reads the state of a ceremony, and reports whether it waits for an
// answer still: there may be none, it may have waited too long, or keys may be
// bound to another RP ID by now. A challenge to show a key enrols none, and the
// other way around.
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
	return begun, f.clock().Before(begun.Expires) && begun.Session.RelyingPartyID == f.Realm(), nil
}

// leaveOut takes out of those that may answer what isn't among the keys any more:
// one may have been removed since, and the others answer yet. It reports whether
// somebody still may.
func (c *ceremony) leaveOut(keys []webauthn.Credential) bool {
	asked := c.Session.AllowedCredentialIDs
	if len(asked) == 0 {
		return true // whoever is there
	}
	c.Session.AllowedCredentialIDs = slices.DeleteFunc(asked, func(id []byte) bool {
		return !slices.ContainsFunc(keys, func(k webauthn.Credential) bool { return bytes.Equal(k.ID, id) })
	})
	return len(c.Session.AllowedCredentialIDs) > 0
}

// maxAnswer bounds what a browser may answer, in bytes. Keys that sign with RSA
// and prove where they were made come to about 10 KiB.
const maxAnswer = 32 << 10

// parse reads answer "credential".
func parse[T any](answer factors.Answer, read func([]byte) (*T, error)) (*T, error) {
	given := answer["credential"]
	if given == "" || len(given) > maxAnswer {
		return nil, fmt.Errorf("the answer has %d bytes instead of 1 to %d", len(given), maxAnswer)
	}
	if err := checkSpelling([]byte(given)); err != nil {
		return nil, err
	}
	return read([]byte(given))
}

// maxExplanation bounds what is told of a refusal, in bytes.
const maxExplanation = 1 << 10

// explained says all that go-webauthn has to say of a refusal: what was wrong,
// and what was found in the place of what. Answers hold no secrets, and the
// challenge that it quotes was spent by the answer.
func explained(err error) error {
	var said []string
	for failed := new(protocol.Error); errors.As(err, &failed); err = failed.Err {
		said = append(said, failed.Type, failed.Details, failed.DevInfo)
	}
	if err != nil {
		said = append(said, err.Error())
	}
	said = slices.Compact(slices.DeleteFunc(said, func(s string) bool { return s == "" }))
	text := strings.Join(said, ": ")
	return errors.New(strings.ToValidUTF8(text[:min(len(text), maxExplanation)], "?"))
}
