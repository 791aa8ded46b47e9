package fido

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"slices"
	"testing"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/portcullis-mfa/portcullis/factors"
)

// step is something that a relying party has to verify (WebAuthn Level 3 §7.1,
// §7.2), with an input for which that alone fails. The input passes before it
// is spoiled, and where it is the party's expectation that it disappoints, it
// passes once just that is expected.
type step struct {
	// The numbers of the step; 0: there is none.
	registering, verifying int
	says                   string
	// asks changes what the party asks for before anything is answered, and how
	// the key is.
	asks func(*party, *forger)
	// attested has the key answer with an attestation of its own.
	attested bool
	// spoil changes what is signed, and tamper what was signed; either will do.
	spoil  func(*party, *forger)
	tamper func(*sent)
	// expect makes the party expect what was spoiled.
	expect func(*party)
	reason factors.Reason
}

// claims has a browser write something else into the client data.
func claims(name string, value any) func(*party, *forger) {
	return func(_ *party, f *forger) { f.client = map[string]any{name: value} }
}

// garbles puts something else in the place of the client data, signed.
func garbles(change func([]byte) []byte) func(*sent) {
	return func(s *sent) {
		s.put("clientDataJSON", change(s.part("clientDataJSON")))
		s.resign()
	}
}

// inFrame is what a browser writes in a frame on the page of another.
func inFrame() map[string]any {
	return map[string]any{"crossOrigin": true, "topOrigin": "https://top.example"}
}

// allowFrames makes the party expect to be in that frame.
func allowFrames(p *party) {
	p.factor.party.Config.RPAllowCrossOrigin = true
	p.factor.party.Config.RPTopOrigins = []string{"https://top.example"}
}

// steps are those that this package takes, or has go-webauthn take.
var steps = slices.Concat(answerSteps, clientDataSteps, authenticatorDataSteps, newKeySteps, signatureSteps)

// anotherChallenge is one that nobody made.
var anotherChallenge = base64URL(bytes.Repeat([]byte("another "), 4))

// answerSteps are about what was sent, and by whose key.
var answerSteps = []step{
	{
		registering: 3, says: "the response is that of a new key", reason: factors.Malformed,
		tamper: func(s *sent) {
			delete(s.response(), "attestationObject")
			s.put("authenticatorData", s.by.authenticatorData(userPresent))
			s.put("signature", []byte("signature"))
		},
	},
	{
		verifying: 3, says: "the response is that of a key that was shown", reason: factors.Malformed,
		tamper: func(s *sent) {
			delete(s.response(), "authenticatorData")
			s.put("attestationObject", []byte("object"))
		},
	},
	{
		registering: 4, verifying: 4, says: "what extensions say can be read", reason: factors.Malformed,
		tamper: func(s *sent) { s.answer["clientExtensionResults"] = "none" },
	},
	{
		verifying: 5, says: "the key is one of those that were asked for", reason: factors.Wrong,
		asks:   func(p *party, _ *forger) { p.knows(p.stranger) },
		spoil:  func(p *party, f *forger) { *f = *p.stranger },
		expect: func(p *party) { p.begun.Session.AllowedCredentialIDs = [][]byte{p.stranger.id} },
	},
	{
		verifying: 6, says: "the account has a key of this id", reason: factors.Wrong,
		asks:  func(p *party, _ *forger) { p.begun.Session.AllowedCredentialIDs = nil },
		spoil: func(p *party, f *forger) { f.id = p.stranger.id },
		expect: func(p *party) {
			p.recorded(func(c *webauthn.Credential) { c.ID = p.stranger.id })
		},
	},
	{
		verifying: 6, says: "the user handle is that of the account", reason: factors.Wrong,
		asks:   func(_ *party, f *forger) { f.handle = []byte(alice.UserID) },
		spoil:  func(_ *party, f *forger) { f.handle = []byte(bob.UserID) },
		expect: func(p *party) { p.who, p.begun.Session.UserID = bob, []byte(bob.UserID) },
	},
	{
		verifying: 6, says: "the account is the one that was asked", reason: factors.Wrong,
		spoil:  func(p *party, _ *forger) { p.who = bob },
		expect: func(p *party) { p.begun.Session.UserID = []byte(bob.UserID) },
	},
	{
		verifying: 7, says: "there is authenticator data", reason: factors.Malformed,
		tamper: func(s *sent) { s.put("authenticatorData", s.part("authenticatorData")[:36]) },
	},
	{
		verifying: 7, says: "there is a signature", reason: factors.Wrong,
		tamper: func(s *sent) { delete(s.response(), "signature") },
	},
}

// clientDataSteps are about what the browser wrote down.
var clientDataSteps = []step{
	{
		// No browser writes one (§5.8.1.1), so nobody is shut out.
		registering: 5, verifying: 8, says: "the client data is text, without a byte order mark", reason: factors.Malformed,
		tamper: garbles(func(text []byte) []byte { return append([]byte("\ufeff"), text...) }),
	},
	{
		registering: 6, verifying: 9, says: "the client data is JSON", reason: factors.Malformed,
		tamper: garbles(func(text []byte) []byte { return text[:len(text)-1] }),
	},
	{
		registering: 6, verifying: 9, says: "the client data is an object", reason: factors.Malformed,
		tamper: garbles(func(text []byte) []byte { return []byte("[" + string(text) + "]") }),
	},
	{
		registering: 7, verifying: 10, says: "the type is that of the ceremony", reason: factors.Wrong,
		spoil: claims("type", "payment.get"),
	},
	{registering: 7, says: "a key that is shown isn't a new one", reason: factors.Wrong, spoil: claims("type", "webauthn.get")},
	{verifying: 10, says: "a new key isn't one that is shown", reason: factors.Wrong, spoil: claims("type", "webauthn.create")},
	{
		registering: 8, verifying: 11, says: "the challenge is the open one", reason: factors.Wrong,
		spoil:  claims("challenge", anotherChallenge),
		expect: func(p *party) { p.begun.Session.Challenge = anotherChallenge },
	},
	{
		registering: 9, verifying: 12, says: "the origin is the portal's", reason: factors.Wrong,
		spoil:  claims("origin", "https://wiki.example.com"),
		expect: func(p *party) { p.factor.party.Config.RPOrigins = []string{"https://wiki.example.com"} },
	},
	{
		registering: 10, verifying: 13, says: "the portal is in no frame of another origin", reason: factors.Wrong,
		spoil: claims("crossOrigin", true), expect: allowFrames,
	},
	{
		registering: 11, verifying: 14, says: "there is no page around the portal", reason: factors.Wrong,
		spoil: func(_ *party, f *forger) { f.client = inFrame() }, expect: allowFrames,
	},
	{
		registering: 11, verifying: 14, says: "what has a page around it is in a frame", reason: factors.Wrong,
		asks: func(p *party, f *forger) {
			allowFrames(p)
			f.client = inFrame()
		},
		spoil: func(_ *party, f *forger) { f.client["crossOrigin"] = false },
	},
	{
		registering: 11, verifying: 14, says: "a page around the portal is the expected one", reason: factors.Wrong,
		asks: func(p *party, f *forger) {
			allowFrames(p)
			f.client = inFrame()
		},
		spoil:  func(_ *party, f *forger) { f.client["topOrigin"] = "https://evil.example" },
		expect: func(p *party) { p.factor.party.Config.RPTopOrigins = []string{"https://evil.example"} },
	},
}

// authenticatorDataSteps are about what the key tells of itself and its user.
var authenticatorDataSteps = []step{
	{
		registering: 14, verifying: 15, says: "the key is bound to the RP ID", reason: factors.Wrong,
		spoil: func(_ *party, f *forger) { f.rpID = "example.com" },
		expect: func(p *party) {
			p.begun.Session.RelyingPartyID, p.factor.party.Config.RPID = "example.com", "example.com"
		},
	},
	{
		registering: 15, verifying: 16, says: "somebody is present", reason: factors.Wrong,
		spoil: func(_ *party, f *forger) { f.flags &^= userPresent },
	},
	{
		registering: 16, verifying: 17, says: "the user is verified, where that is required", reason: factors.Wrong,
		asks:   func(p *party, _ *forger) { p.begun.Session.UserVerification = protocol.VerificationRequired },
		spoil:  func(_ *party, f *forger) { f.flags &^= userVerified },
		expect: func(p *party) { p.begun.Session.UserVerification = protocol.VerificationPreferred },
	},
	{
		registering: 17, verifying: 18, says: "only what can be backed up is", reason: factors.Wrong,
		spoil: func(_ *party, f *forger) { f.flags |= backupState },
	},
	{
		verifying: 19, says: "what couldn't be backed up can't be", reason: factors.Wrong,
		spoil: func(_ *party, f *forger) { f.flags |= backupEligible },
		expect: func(p *party) {
			p.recorded(func(c *webauthn.Credential) { c.Flags.BackupEligible = true })
		},
	},
	{
		verifying: 19, says: "what could be backed up can be", reason: factors.Wrong,
		asks: func(p *party, f *forger) {
			f.flags |= backupEligible
			p.recorded(func(c *webauthn.Credential) { c.Flags.BackupEligible = true })
		},
		spoil: func(_ *party, f *forger) { f.flags &^= backupEligible },
		expect: func(p *party) {
			p.recorded(func(c *webauthn.Credential) { c.Flags.BackupEligible = false })
		},
	},
	{
		// Those that can be read are let be, though nobody asked for them.
		registering: 28, verifying: 23, says: "what extensions of the key say can be read", reason: factors.Malformed,
		asks: func(_ *party, f *forger) {
			f.flags |= extended
			f.trailing = []byte{0xa1, 0x6b, 'c', 'r', 'e', 'd', 'P', 'r', 'o', 't', 'e', 'c', 't', 0x02}
		},
		spoil: func(_ *party, f *forger) { f.trailing = f.trailing[:len(f.trailing)-1] },
	},
}

// newKeySteps are about a key that isn't known yet.
var newKeySteps = []step{
	{
		registering: 12, says: "the attestation is about this very client data", reason: factors.Wrong, attested: true,
		tamper: func(s *sent) { s.put("clientDataJSON", append(s.part("clientDataJSON"), ' ')) },
	},
	{
		registering: 13, says: "the attestation object can be read", reason: factors.Malformed,
		tamper: func(s *sent) {
			object := s.part("attestationObject")
			s.put("attestationObject", object[:len(object)-1])
		},
	},
	{
		registering: 13, says: "nothing is behind the attestation object", reason: factors.Malformed,
		tamper: func(s *sent) { s.put("attestationObject", append(s.part("attestationObject"), 0xf6)) },
	},
	{
		registering: 13, says: "the authenticator data tells of a key", reason: factors.Malformed,
		tamper: func(s *sent) {
			s.restate(func(object map[string]any) { object["authData"] = s.by.authenticatorData(userPresent) })
		},
	},
	{
		registering: 20, says: "the algorithm was offered", reason: factors.Wrong,
		spoil: func(p *party, f *forger) { f.cose, f.sign = p.weak.cose, p.weak.sign },
		expect: func(p *party) {
			p.begun.Session.CredParams = append(p.begun.Session.CredParams, protocol.CredentialParameter{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgES512})
		},
	},
	{
		registering: 21, says: "there is such a format of attestations", reason: factors.Wrong, attested: true,
		tamper: func(s *sent) { s.restate(func(object map[string]any) { object["fmt"] = "Packed" }) },
	},
	{
		registering: 22, says: "the attestation is signed", reason: factors.Wrong, attested: true,
		tamper: func(s *sent) {
			s.restate(func(object map[string]any) {
				object["attStmt"].(map[any]any)["sig"] = s.by.sign([]byte("something else"))
			})
		},
	},
	{
		registering: 22, says: "the attestation is of the key's algorithm", reason: factors.Wrong, attested: true,
		tamper: func(s *sent) {
			s.restate(func(object map[string]any) { object["attStmt"].(map[any]any)["alg"] = algES384 })
		},
	},
	{
		registering: 22, says: "without an attestation there is no statement", reason: factors.Wrong, attested: true,
		tamper: func(s *sent) { s.restate(func(object map[string]any) { object["fmt"] = "none" }) },
	},
	{
		registering: 25, says: "the id has 1023 bytes at most", reason: factors.Malformed,
		asks:  func(_ *party, f *forger) { f.id = make([]byte, 1023) },
		spoil: func(_ *party, f *forger) { f.id = make([]byte, 1024) },
	},
	{
		registering: 27, says: "the id is the one that the key tells", reason: factors.Wrong,
		tamper: func(s *sent) {
			id := base64URL([]byte("the id of another"))
			s.answer["id"], s.answer["rawId"] = id, id
		},
	},
	{
		registering: 27, says: "the public key can be used", reason: factors.Wrong,
		spoil: func(_ *party, f *forger) { f.cose[-3] = make([]byte, 32) },
	},
	{
		registering: 29, says: "the account is the one that was asked", reason: factors.Wrong,
		spoil:  func(p *party, _ *forger) { p.who = bob },
		expect: func(p *party) { p.begun.Session.UserID = []byte(bob.UserID) },
	},
}

// signatureSteps are about a key that is.
var signatureSteps = []step{
	{
		verifying: 20, says: "the signature is about this very client data", reason: factors.Wrong,
		tamper: func(s *sent) { s.put("clientDataJSON", append(s.part("clientDataJSON"), ' ')) },
	},
	{
		verifying: 21, says: "the signature is about this very authenticator data", reason: factors.Wrong,
		tamper: func(s *sent) {
			data := s.part("authenticatorData")
			data[36]++
			s.put("authenticatorData", data)
		},
	},
	{
		verifying: 21, says: "the signature is by the key", reason: factors.Wrong,
		spoil: func(p *party, f *forger) { f.sign = p.stranger.sign },
		expect: func(p *party) {
			p.recorded(func(c *webauthn.Credential) {
				c.PublicKey, _ = webauthncbor.Marshal(p.stranger.cose)
			})
		},
	},
	{
		verifying: 21, says: "the signature is of the key's algorithm", reason: factors.Wrong,
		spoil: func(p *party, f *forger) { f.sign = p.weak.sign },
		expect: func(p *party) {
			p.recorded(func(c *webauthn.Credential) { c.PublicKey, _ = webauthncbor.Marshal(p.weak.cose) })
		},
	},
	{
		verifying: 22, says: "the counter has risen", reason: factors.Cloned,
		asks: func(p *party, f *forger) {
			f.counter = 6
			p.recorded(func(c *webauthn.Credential) { c.Authenticator.SignCount = 5 })
		},
		spoil: func(_ *party, f *forger) { f.counter = 5 },
		expect: func(p *party) {
			p.recorded(func(c *webauthn.Credential) { c.Authenticator.SignCount = 4 })
		},
	},
}

// elsewhere are the steps that others take, or that can't fail by themselves,
// and the tests that hold them.
var elsewhere = []struct {
	registering, verifying int
	says, file, test       string
}{
	{1, 1, "browsers are asked what is wanted", "fido_test.go", "TestWhatBrowsersAreAsked"},
	{2, 2, "what goes wrong at the key is told", "../../test/browser_fido_test.go", "testKeyTroubles"},
	{8, 11, "a challenge is answered once", "../../authflow/fido_test.go", "TestK01AChallengeIsAnsweredOnce"},
	{8, 11, "a challenge can be answered for five minutes", "fido_test.go", "TestK01Challenges"},
	{18, 0, "what can be backed up is told from what can't", "steps_test.go", "TestWhatIsRecorded"},
	{19, 0, "what is backed up is recorded", "steps_test.go", "TestWhatIsRecorded"},
	{23, 0, "none is asked for, so none is trusted", "vectors_test.go", "TestSpecificationVectors"},
	{24, 0, "none is asked for, so none is trusted", "vectors_test.go", "TestSpecificationVectors"},
	{26, 0, "an id is nobody else's", "../../authflow/fido_test.go", "TestF05AKeyBelongsToOnePerson"},
	{27, 0, "what is recorded", "steps_test.go", "TestWhatIsRecorded"},
	{28, 23, "extensions that nobody asked for are let be", "fido_test.go", "TestUnrequestedExtensions"},
	{29, 0, "the key is kept in the account", "../../authflow/fido_test.go", "TestKeysGiveTheHighestAssurance"},
	{0, 1, "whoever is there is asked", "discover_test.go", "TestWhoeverIsThereIsAsked"},
	{0, 6, "who wasn't named before is told by the user handle", "discover_test.go", "TestPasskeysTellWhoseTheyAre"},
	{0, 11, "a question to whoever is there is answered once", "../../authflow/passkey_test.go", "TestK01QuestionsAreAnsweredOnce"},
	{0, 17, "a passkey alone must verify its user", "../../authflow/passkey_test.go", "TestK02PasskeysMustVerify"},
	{0, 22, "a counter that went back is an event", "../../authflow/fido_test.go", "TestK03ACopiedKeyIsAnEvent"},
	{0, 24, "what changes in the record", "steps_test.go", "TestWhatIsRecorded"},
	{0, 25, "who has shown a key is in", "../../authflow/fido_test.go", "TestKeysGiveTheHighestAssurance"},
}

// TestStepsOfRegistering takes each step of §7.1 alone.
func TestStepsOfRegistering(t *testing.T) {
	for _, s := range steps {
		if s.registering == 0 {
			continue
		}
		t.Run(fmt.Sprintf("%d %s", s.registering, s.says), func(t *testing.T) {
			p, f := newParty(t), forge(t, algES256)
			asked, state := p.begin(alice)
			p.open(state)
			refused := factors.Verdict{Reason: s.reason, Closes: true}
			s.take(p, f, func() string { return f.create(t, asked) }, func(answer string) (bool, error) {
				got := p.register(answer)
				return got.Accepted(), partly(got, got.Accepted(), refused)
			})
		})
	}
}

// TestStepsOfVerifying takes each step of §7.2 alone.
func TestStepsOfVerifying(t *testing.T) {
	for _, s := range steps {
		if s.verifying == 0 {
			continue
		}
		t.Run(fmt.Sprintf("%d %s", s.verifying, s.says), func(t *testing.T) {
			p, f := newParty(t), forge(t, algES256)
			p.knows(f)
			asked, state := p.challenge(alice, p.rows...)
			p.open(state)
			refused := factors.Verdict{Reason: s.reason, Closes: true}
			if s.reason == factors.Cloned {
				refused.CredentialID, refused.Note = p.rows[0].ID, factors.CounterWentBack
			}
			s.take(p, f, func() string { return f.get(t, asked) }, func(answer string) (bool, error) {
				got := p.verify(answer)
				return got.Accepted(), partly(got, got.Accepted(), refused)
			})
		})
	}
}

// partly returns an error if a refusal isn't just that: whatever else it said
// could be taken for part of a proof.
func partly(got any, accepted bool, refused any) error {
	if !accepted && !reflect.DeepEqual(got, refused) {
		return fmt.Errorf("refused with %+v, want %+v", got, refused)
	}
	return nil
}

// take has the party check an answer as it should be, the same spoiled, and
// that again where it is what is expected.
func (s step) take(p *party, f *forger, answer func() string, check func(string) (accepted bool, err error)) {
	p.t.Helper()
	made := func(tamper func(*sent)) string {
		way := onItsWay(p.t, f, answer())
		if s.attested {
			way.attest()
		}
		if tamper != nil {
			tamper(way)
		}
		return way.encoded()
	}
	if s.asks != nil {
		s.asks(p, f)
	}
	if accepted, err := check(made(nil)); !accepted {
		p.t.Fatalf("as it should be, it is refused (%v)", err)
	}
	if s.spoil != nil {
		s.spoil(p, f)
	}
	spoiled := made(s.tamper)
	if accepted, err := check(spoiled); accepted || err != nil {
		p.t.Fatalf("spoiled: accepted %t, %v", accepted, err)
	}
	if s.expect == nil {
		return
	}
	s.expect(p)
	if accepted, err := check(spoiled); !accepted {
		p.t.Errorf("once it is what is expected, it is refused (%v)", err)
	}
}

// TestEveryStepIsTaken holds that no step of either procedure is left out, and
// that the tests exist which are said to hold those that are taken elsewhere.
func TestEveryStepIsTaken(t *testing.T) {
	registering, verifying := map[int]bool{}, map[int]bool{}
	for _, s := range steps {
		registering[s.registering], verifying[s.verifying] = true, true
	}
	for _, e := range elsewhere {
		registering[e.registering], verifying[e.verifying] = true, true
		if !exists(t, e.file, e.test) {
			t.Errorf("%s is said to be held by %s in %s, which isn't there", e.says, e.test, e.file)
		}
	}
	for number := 1; number <= 29; number++ {
		if !registering[number] {
			t.Errorf("step %d of §7.1 isn't taken", number)
		}
	}
	for number := 1; number <= 25; number++ {
		if !verifying[number] {
			t.Errorf("step %d of §7.2 isn't taken", number)
		}
	}
}

// exists reports whether a file has a function.
func exists(t *testing.T, file, name string) bool {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(parsed.Decls, func(d ast.Decl) bool {
		function, is := d.(*ast.FuncDecl)
		return is && function.Name.Name == name
	})
}

// TestWhatIsRecorded holds what is kept of a new key (§7.1 step 27), and what
// of that changes once it is shown (§7.2 step 24).
func TestWhatIsRecorded(t *testing.T) {
	p, f := newParty(t), forge(t, algES256)
	f.flags, f.counter = userPresent|backupEligible, 7
	p.knows(f)
	public, err := webauthncbor.Marshal(f.cose)
	if err != nil {
		t.Fatal(err)
	}
	want := func(counter uint32, backedUp bool) {
		t.Helper()
		p.recorded(func(c *webauthn.Credential) {
			if !bytes.Equal(c.ID, f.id) || !bytes.Equal(c.PublicKey, public) || c.Authenticator.SignCount != counter ||
				!c.Flags.BackupEligible || c.Flags.BackupState != backedUp || c.Flags.UserVerified {
				t.Errorf("recorded is %+v, want the counter %d, backed up: %t", c, counter, backedUp)
			}
		})
	}
	want(7, false)
	// That the user is verified now is told, and isn't recorded: it would take
	// another proof to make a key one that verifies its user.
	f.flags, f.counter = userPresent|userVerified|backupEligible|backupState, 8
	asked, state := p.challenge(alice, p.rows...)
	got := p.check(alice, state, f.get(t, asked), p.rows...)
	if !got.Accepted() || !got.UserVerified {
		t.Fatalf("%+v", got)
	}
	p.rows[0].Secret = got.Secret
	want(8, true)
}
