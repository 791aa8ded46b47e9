// Package fido is the factor of security keys and passkeys: public key
// credentials as of W3C Web Authentication Level 3.
//
// The cryptography and most steps of §7.1 and §7.2 are done by go-webauthn;
// this package says what is asked for, holds each answer against the one
// challenge that it belongs to, and decides what a signature counter that went
// back means. What the specification leaves to whoever keeps the records (a
// credential id is nobody else's, a challenge is answered once) it hands on by
// the contract of package factors.
//
// The package must not know how secrets are sealed, where they are kept, how
// failures are counted, or how browsers are spoken to: what they are to be
// asked is JSON, and so is what they answer.
package fido

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/factors"
)

const (
	// Patience is how long a challenge can be answered.
	Patience = 5 * time.Minute
	// challengeBytes is twice of what §13.4.3 asks for at least.
	challengeBytes = 32
	// credentialName is what a new credential is called until its owner names it.
	credentialName = "Security key or passkey"
)

// algorithms are those that new credentials may sign with, most wanted first.
var algorithms = []webauthncose.COSEAlgorithmIdentifier{
	webauthncose.AlgEdDSA, webauthncose.AlgES256, webauthncose.AlgES384, webauthncose.AlgRS256,
}

// Config says whom credentials are for.
type Config struct {
	// RPID is the host, or a parent domain of it, that credentials are bound to.
	RPID string
	// Origins are those that answers may come from by themselves: within the RP
	// ID, unless they are among the related ones.
	Origins []string
	// Related are further ones, which the host of the RP ID names to browsers;
	// see RelatedOrigins.
	Related []string
	// Brand is what authenticators may call the place.
	Brand string
	// Lenient accepts keys whose signature counter didn't rise, too.
	Lenient bool
	// Attestation says which authenticators may be enrolled; nil: all, whether
	// or not they prove what they are.
	Attestation *Attestation
	// Explain is told why an answer was refused, for operators who look for a
	// fault: nothing in it is secret, and strangers wrote some of it. May be nil.
	Explain func(doing string, why error)
}

// Factor is the factor "fido".
type Factor struct {
	party       *webauthn.WebAuthn
	lenient     bool
	attestation *Attestation // nil: none is asked for
	explain     func(doing string, why error)
	clock       func() time.Time
	random      io.Reader
}

var (
	_ factors.Factor    = (*Factor)(nil)
	_ factors.Describer = (*Factor)(nil)
	_ factors.Bound     = (*Factor)(nil)
	_ factors.Announcer = (*Factor)(nil)
)

// New returns the factor, or an error that says why browsers would refuse.
func New(config Config, clock func() time.Time, random io.Reader) (*Factor, error) {
	if err := config.checkPlaces(); err != nil {
		return nil, err
	}
	settings := &webauthn.Config{
		RPID: config.RPID, RPOrigins: slices.Concat(config.Origins, config.Related), RPDisplayName: config.Brand,
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey:        protocol.ResidentKeyRequirementPreferred,
			RequireResidentKey: protocol.ResidentKeyNotRequired(),
			UserVerification:   protocol.VerificationPreferred,
		},
		// Browsers are told; what counts is the time that each ceremony keeps.
		Timeouts: webauthn.TimeoutsConfig{
			Login:        webauthn.TimeoutConfig{Timeout: Patience},
			Registration: webauthn.TimeoutConfig{Timeout: Patience},
		},
		// Password managers tell of extensions that nobody asked for, and none
		// of what they tell is used (§7.1 and §7.2 leave the choice).
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore,
	}
	if config.Attestation != nil {
		if err := config.Attestation.configure(settings); err != nil {
			return nil, err
		}
	}
	party, err := webauthn.New(settings)
	if err != nil {
		return nil, err
	}
	if config.Explain == nil {
		config.Explain = func(string, error) {}
	}
	return &Factor{
		party: party, lenient: config.Lenient, attestation: config.Attestation, explain: config.Explain,
		clock: clock, random: random,
	}, nil
}

// Kind returns assurance.FIDO.
func (f *Factor) Kind() assurance.Factor { return assurance.FIDO }

// Realm returns the RP ID: browsers show no key to another.
func (f *Factor) Realm() string { return f.party.Config.RPID }

// Most returns 10: more would make the lists long that browsers are given.
func (f *Factor) Most() int { return 10 }

// Traits implements factors.Factor. A signature can't be guessed.
func (f *Factor) Traits() factors.Traits {
	// User presence is always verified (WebAuthn §7.2).
	return factors.Traits{Weight: assurance.Unphishable, Daily: true, Recalls: true, Rank: 1, Vouches: 1, AMR: []string{"hwk", "user"}}
}

// Reads reports whether there is an answer "credential" at all.
func (f *Factor) Reads(_ []factors.Credential, answer factors.Answer) (bool, error) {
	return answer["credential"] != "", nil
}

// Proving asks for an assertion by one of somebody's keys.
func (f *Factor) Proving() factors.Ceremony { return proving{f} }

// Enrolling asks for a new key.
func (f *Factor) Enrolling() factors.Ceremony { return enrolling{f} }

type proving struct{ *Factor }

// Begin makes a challenge that any of the credentials can answer.
func (f proving) Begin(_ context.Context, a factors.Asking) (factors.Turn, error) {
	owner, err := ownerOf(a.Who, a.Credentials)
	if err != nil {
		return factors.Turn{}, err
	}
	challenge, err := f.challenge()
	if err != nil {
		return factors.Turn{}, err
	}
	asked, session, err := f.party.BeginLogin(owner, webauthn.WithChallenge(challenge))
	if err != nil {
		return factors.Turn{}, fmt.Errorf("asking for a key: %w", err)
	}
	return f.begun(protocol.AssertCeremony, asked.Response, session)
}

func (f *Factor) challenge() ([]byte, error) {
	challenge := make([]byte, challengeBytes)
	if _, err := io.ReadFull(f.random, challenge); err != nil {
		return nil, fmt.Errorf("making a WebAuthn challenge: %w", err)
	}
	return challenge, nil
}

// Resume shows what the browser is asked.
func (f proving) Resume(_ context.Context, _ factors.Asking, state []byte) (factors.Page, error) {
	return f.resume(protocol.AssertCeremony, state)
}

// Check decides on answer "credential", the JSON of an assertion (§7.2). Right or
// wrong, the challenge is spent (§13.4.3).
func (f proving) Check(_ context.Context, a factors.Asking, state []byte, answer factors.Answer) (factors.Verdict, error) {
	return f.check(protocol.AssertCeremony, a, state, answer, func(o owner, s webauthn.SessionData, answered *protocol.ParsedCredentialAssertionData) (*webauthn.Credential, error) {
		return f.party.ValidateLogin(o, s, answered)
	})
}

// validate verifies an assertion and returns the credential that made it, with
// what the assertion changes of it.
type validate func(owner, webauthn.SessionData, *protocol.ParsedCredentialAssertionData) (*webauthn.Credential, error)

// check decides on an assertion for a ceremony of the kind.
func (f *Factor) check(kind protocol.CeremonyType, a factors.Asking, state []byte, answer factors.Answer, valid validate) (factors.Verdict, error) {
	owner, err := ownerOf(a.Who, a.Credentials)
	if err != nil {
		return factors.Verdict{}, err
	}
	begun, open, err := f.open(kind, state)
	switch {
	case err != nil:
		return factors.Verdict{}, err
	case !open:
		return refused(factors.Expired), nil
	}
	answered, err := parse(answer, protocol.ParseCredentialRequestResponseBytes)
	if err != nil {
		f.explain("reading what a key has shown", explained(err))
		return refused(factors.Malformed), nil
	}
	if !begun.leaveOut(owner.keys) {
		return refused(factors.Wrong), nil
	}
	key, err := valid(owner, begun.Session, answered)
	if err == nil {
		err = f.checkOrigin(answered.Response.CollectedClientData)
	}
	if err != nil {
		f.explain("checking what a key has shown", explained(err))
		return refused(factors.Wrong), nil
	}
	i := slices.IndexFunc(owner.keys, func(k webauthn.Credential) bool { return bytes.Equal(k.ID, key.ID) })
	return f.verdict(key, answered.Response.AuthenticatorData, a.Credentials[i])
}

// refused is a refusal that spends its challenge.
func refused(reason factors.Reason) factors.Verdict {
	return factors.Verdict{Reason: reason, Closes: true}
}

// verdict decides on an assertion whose signature is right: the signature
// counter, if the authenticator has one, must have risen (§6.1.1, §7.2).
func (f *Factor) verdict(key *webauthn.Credential, shown protocol.AuthenticatorData, row factors.Credential) (factors.Verdict, error) {
	v := factors.Verdict{Outcome: factors.OutcomeAccepted, CredentialID: row.ID, UserVerified: shown.Flags.HasUserVerified()}
	if key.Authenticator.CloneWarning {
		v.Note = factors.CounterWentBack
		if !f.lenient {
			v.Outcome, v.Closes, v.UserVerified, v.Reason = factors.OutcomeRefused, true, false, factors.Cloned
			return v, nil
		}
		// From now on this counter counts, so that it is told of once.
		key.Authenticator.CloneWarning, key.Authenticator.SignCount = false, shown.Counter
	}
	secret, err := marshal(key)
	if err != nil {
		return factors.Verdict{}, err
	}
	if !bytes.Equal(secret, row.Secret) {
		v.Secret = secret
	}
	return v, nil
}

type enrolling struct{ *Factor }

// Begin makes a challenge for a new credential. Authenticators that hold one of
// the existing ones refuse (§5.4, excludeCredentials).
func (f enrolling) Begin(_ context.Context, a factors.Asking) (factors.Turn, error) {
	owner, err := ownerOf(a.Who, a.Credentials)
	if err != nil {
		return factors.Turn{}, err
	}
	challenge, err := f.challenge()
	if err != nil {
		return factors.Turn{}, err
	}
	asked, session, err := f.party.BeginRegistration(owner, func(options *protocol.PublicKeyCredentialCreationOptions) error {
		options.Challenge = challenge
		return nil
	}, webauthn.WithCredentialParameters(parameters()), webauthn.WithExclusions(webauthn.Credentials(owner.keys).CredentialDescriptors()))
	if err != nil {
		return factors.Turn{}, fmt.Errorf("asking for a new key: %w", err)
	}
	return f.begun(protocol.CreateCeremony, asked.Response, session)
}

func parameters() []protocol.CredentialParameter {
	made := make([]protocol.CredentialParameter, len(algorithms))
	for i, algorithm := range algorithms {
		made[i] = protocol.CredentialParameter{Type: protocol.PublicKeyCredentialType, Algorithm: algorithm}
	}
	return made
}

// Resume shows what the browser is asked.
func (f enrolling) Resume(_ context.Context, _ factors.Asking, state []byte) (factors.Page, error) {
	return f.resume(protocol.CreateCeremony, state)
}

// Check accepts answer "credential", the JSON of a new credential, if it is what
// the challenge asked for (§7.1). Right or wrong, the challenge is spent
// (§13.4.3).
func (f enrolling) Check(_ context.Context, a factors.Asking, state []byte, answer factors.Answer) (factors.Verdict, error) {
	begun, open, err := f.open(protocol.CreateCeremony, state)
	switch {
	case err != nil:
		return factors.Verdict{}, err
	case !open:
		return refused(factors.Expired), nil
	}
	answered, err := parse(answer, parseNewKey)
	if err != nil {
		f.explain("reading a new key", explained(err))
		return refused(factors.Malformed), nil
	}
	key, err := f.party.CreateCredential(owner{who: a.Who}, begun.Session, answered)
	if err == nil {
		err = f.checkOrigin(answered.Response.CollectedClientData)
	}
	if verdict, barred := f.barred(answered.Response.AttestationObject, err); barred {
		return verdict, nil
	}
	if err == nil {
		err = checkKey(key.PublicKey)
	}
	if err != nil {
		f.explain("checking a new key", explained(err))
		return refused(factors.Wrong), nil
	}
	key.Transport = known(key.Transport)
	secret, err := marshal(key)
	if err != nil {
		return factors.Verdict{}, err
	}
	return factors.Verdict{
		Outcome: factors.OutcomeAccepted, UserVerified: key.Flags.UserVerified, Model: f.model(key.Authenticator.AAGUID),
		Made: factors.Made{
			Secret: secret, Name: credentialName, Realm: f.Realm(),
			Unique: unique(key.ID), // nobody else's, §7.1
		},
	}, nil
}

// unique is how browsers write a credential id.
func unique(id []byte) string { return base64.RawURLEncoding.EncodeToString(id) }

// errNoUser says that a ceremony is about nobody: an authenticator would keep
// the credential under an empty handle.
var errNoUser = errors.New("a security key is for a user with an id")

// owner is a person as go-webauthn wants to see them.
type owner struct {
	who  factors.Subject
	keys []webauthn.Credential
}

// ownerOf reads the credentials of a person.
func ownerOf(who factors.Subject, credentials []factors.Credential) (owner, error) {
	if who.UserID == "" {
		return owner{}, errNoUser
	}
	made := owner{who: who, keys: make([]webauthn.Credential, len(credentials))}
	for i, c := range credentials {
		var err error
		if made.keys[i], err = unmarshal(c.Secret); err != nil {
			return owner{}, fmt.Errorf("reading credential %s: %w", c.ID, err)
		}
	}
	return made, nil
}

// WebAuthnID is the user handle: the user's id is random and says nothing of
// the person (§14.6.1).
func (o owner) WebAuthnID() []byte { return []byte(o.who.UserID) }

// WebAuthnName is what authenticators list the credential under.
func (o owner) WebAuthnName() string { return o.who.Name }

// WebAuthnDisplayName is how authenticators call the person.
func (o owner) WebAuthnDisplayName() string {
	if o.who.DisplayName == "" {
		return o.who.Name
	}
	return o.who.DisplayName
}

// WebAuthnCredentials are the credentials that may answer.
func (o owner) WebAuthnCredentials() []webauthn.Credential { return o.keys }
