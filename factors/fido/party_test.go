package fido

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/portcullis-mfa/portcullis/factors"
)

// party is who asks, what for and whom.
type party struct {
	*desk
	who   factors.Subject
	begun ceremony
	rows  []factors.Credential
	// stranger is a key that isn't known, and weak one of an algorithm that
	// isn't offered.
	stranger, weak *forger
}

func newParty(t testing.TB) *party {
	t.Helper()
	p := &party{desk: newDesk(t), who: alice, stranger: forge(t, algES256), weak: forge(t, algES512)}
	p.stranger.id = []byte("the id of another")
	return p
}

// open reads the state that the party keeps.
func (p *party) open(state []byte) {
	p.t.Helper()
	if err := json.Unmarshal(state, &p.begun); err != nil {
		p.t.Fatal(err)
	}
}

// register holds an answer against what the party expects of a new key.
func (p *party) register(answer string) factors.Verdict {
	p.t.Helper()
	return p.checkEnrolment(p.who, encoded(p.t, p.begun), answer)
}

// verify holds an answer against what the party expects of one that it knows.
func (p *party) verify(answer string) factors.Verdict {
	p.t.Helper()
	return p.check(p.who, encoded(p.t, p.begun), answer, p.rows...)
}

// recorded changes what is kept of the first key.
func (p *party) recorded(change func(*webauthn.Credential)) {
	p.t.Helper()
	record, err := unmarshal(p.rows[0].Secret)
	if err != nil {
		p.t.Fatal(err)
	}
	change(&record)
	p.rows[0].Secret = encoded(p.t, record)
}

// knows gives the person one more key.
func (p *party) knows(f *forger) {
	p.t.Helper()
	asked, state := p.begin(alice)
	p.rows = append(p.rows, p.keep(new(key), p.checkEnrolment(alice, state, f.create(p.t, asked))).row)
}

// sent is an answer on its way.
type sent struct {
	t      testing.TB
	by     *forger
	answer map[string]any
}

func onItsWay(t testing.TB, by *forger, answer string) *sent {
	t.Helper()
	s := &sent{t: t, by: by}
	if err := json.Unmarshal([]byte(answer), &s.answer); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *sent) response() map[string]any { return s.answer["response"].(map[string]any) }

// part returns a part of the response.
func (s *sent) part(name string) []byte {
	s.t.Helper()
	content, err := base64.RawURLEncoding.DecodeString(s.response()[name].(string))
	if err != nil {
		s.t.Fatal(err)
	}
	return content
}

func (s *sent) put(name string, content []byte) { s.response()[name] = base64URL(content) }

// signed is what an assertion, or an attestation of a key's own, signs.
func (s *sent) signed(authenticatorData []byte) []byte {
	s.t.Helper()
	sum := sha256.Sum256(s.part("clientDataJSON"))
	return append(bytes.Clone(authenticatorData), sum[:]...)
}

// resign signs the answer as it is, if it has a signature.
func (s *sent) resign() {
	s.t.Helper()
	if _, is := s.response()["signature"]; is {
		s.put("signature", s.by.sign(s.signed(s.part("authenticatorData"))))
	}
}

// restate changes the attestation object.
func (s *sent) restate(change func(object map[string]any)) {
	s.t.Helper()
	var object map[string]any
	if err := webauthncbor.Unmarshal(s.part("attestationObject"), &object); err != nil {
		s.t.Fatal(err)
	}
	change(object)
	content, err := webauthncbor.Marshal(object)
	if err != nil {
		s.t.Fatal(err)
	}
	s.put("attestationObject", content)
}

// attest puts an attestation by the key itself (§6.5.4, §8.2) into the answer.
func (s *sent) attest() {
	s.t.Helper()
	s.restate(func(object map[string]any) {
		signature := s.by.sign(s.signed(object["authData"].([]byte)))
		object["fmt"], object["attStmt"] = "packed", map[string]any{"alg": s.by.cose[3], "sig": signature}
	})
}

func (s *sent) encoded() string { return string(encoded(s.t, s.answer)) }
