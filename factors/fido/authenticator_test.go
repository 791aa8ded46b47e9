package fido

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"
	"github.com/go-webauthn/webauthn/protocol/webauthncbor"

	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/factors/factortest"
	"github.com/portcullis-mfa/portcullis/templates"
)

var (
	noon  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	alice = factors.Subject{UserID: "MfAl1c3-random", Name: "alice", DisplayName: "Alice Young"}
	bob   = factors.Subject{UserID: "MfB0b-random", Name: "bob"}
	site  = virtualwebauthn.RelyingParty{ID: "login.example.com", Name: "Example", Origin: "https://login.example.com"}
)

// desk is the factor at a time of its own.
type desk struct {
	t      testing.TB
	factor *Factor
	now    time.Time
}

func newDesk(t testing.TB, change ...func(*Config)) *desk {
	t.Helper()
	d := &desk{t: t, now: noon}
	config := Config{RPID: site.ID, Origins: []string{site.Origin}, Brand: "Example"}
	for _, c := range change {
		c(&config)
	}
	var err error
	if d.factor, err = New(config, func() time.Time { return d.now }, rand.Reader); err != nil {
		t.Fatal(err)
	}
	return d
}

// key is an authenticator by others with the one key in it, and the row that
// was made of that.
type key struct {
	device virtualwebauthn.Authenticator
	virtualwebauthn.Credential
	row factors.Credential
}

// newKey makes a key. The virtual authenticator drops leading zeros of
// coordinates, which no other does, so such keys are passed over.
func newKey(kind virtualwebauthn.KeyType, options virtualwebauthn.AuthenticatorOptions) *key {
	for {
		k := &key{device: virtualwebauthn.NewAuthenticatorWithOptions(options), Credential: virtualwebauthn.NewCredential(kind)}
		if kind != virtualwebauthn.KeyTypeEC2 || len(k.Key.AttestationData()) == 77 {
			return k
		}
	}
}

// begin begins an enrolment, and returns what the browser is asked.
func (d *desk) begin(who factors.Subject, existing ...factors.Credential) (asked, state []byte) {
	d.t.Helper()
	ceremony, err := factortest.Begun(d.t.Context(), d.factor.Enrolling(), factors.Asking{Who: who, Credentials: existing})
	if err != nil {
		d.t.Fatal(err)
	}
	return []byte(ceremony.Page.(templates.FIDOCeremony).Options), ceremony.State
}

// challenge begins a challenge.
func (d *desk) challenge(who factors.Subject, credentials ...factors.Credential) (asked, state []byte) {
	d.t.Helper()
	ceremony, err := factortest.Begun(d.t.Context(), d.factor.Proving(), factors.Asking{Who: who, Credentials: credentials})
	if err != nil {
		d.t.Fatal(err)
	}
	return []byte(ceremony.Page.(templates.FIDOCeremony).Options), ceremony.State
}

// create has a key answer an enrolment.
func (k *key) create(t testing.TB, at virtualwebauthn.RelyingParty, asked []byte) string {
	t.Helper()
	options, err := virtualwebauthn.ParseAttestationOptions(string(asked))
	if err != nil {
		t.Fatal(err)
	}
	return virtualwebauthn.CreateAttestationResponse(at, k.device, k.Credential, *options)
}

// get has a key answer a challenge.
func (k *key) get(t testing.TB, at virtualwebauthn.RelyingParty, asked []byte) string {
	t.Helper()
	options, err := virtualwebauthn.ParseAssertionOptions(string(asked))
	if err != nil {
		t.Fatal(err)
	}
	return virtualwebauthn.CreateAssertionResponse(at, k.device, k.Credential, *options)
}

func answered(credential string) factors.Answer { return factors.Answer{"credential": credential} }

func (d *desk) checkEnrolment(who factors.Subject, state []byte, credential string) factors.Verdict {
	d.t.Helper()
	enrolment, err := d.factor.Enrolling().Check(d.t.Context(), factors.Asking{Who: who}, state, answered(credential))
	if err != nil {
		d.t.Fatal(err)
	}
	return enrolment
}

func (d *desk) check(who factors.Subject, state []byte, credential string, rows ...factors.Credential) factors.Verdict {
	d.t.Helper()
	verdict, err := d.factor.Proving().Check(d.t.Context(), factors.Asking{Who: who, Credentials: rows}, state, answered(credential))
	if err != nil {
		d.t.Fatal(err)
	}
	return verdict
}

// enrol gives somebody a key.
func (d *desk) enrol(who factors.Subject, k *key) *key {
	d.t.Helper()
	asked, state := d.begin(who)
	return d.keep(k, d.checkEnrolment(who, state, k.create(d.t, site, asked)))
}

func (d *desk) keep(k *key, enrolment factors.Verdict) *key {
	d.t.Helper()
	if !enrolment.Accepted() || enrolment.Made.Name == "" || enrolment.Made.Secret == nil {
		d.t.Fatalf("enrolling: %+v", enrolment)
	}
	k.row = factors.Credential{ID: "row of " + enrolment.Made.Unique, Secret: enrolment.Made.Secret, Created: d.now}
	return k
}

// show has somebody's key answer a challenge, and keeps what is to be kept.
func (d *desk) show(who factors.Subject, k *key) factors.Verdict {
	d.t.Helper()
	asked, state := d.challenge(who, k.row)
	verdict := d.check(who, state, k.get(d.t, site, asked), k.row)
	if verdict.Secret != nil {
		k.row.Secret = verdict.Secret
	}
	return verdict
}

func (d *desk) expectRefused(what string, got factors.Verdict, reason factors.Reason) {
	d.t.Helper()
	if got.Accepted() || got.Reason != reason || got.Secret != nil {
		d.t.Errorf("%s: %+v, want a refusal as %s", what, got, reason)
	}
}

func (d *desk) expectNotEnrolled(what string, got factors.Verdict, reason factors.Reason) {
	d.t.Helper()
	if got.Accepted() || got.Reason != reason || got.Secret != nil || (got.Made.Unique != "") != got.Barred || !got.Closes {
		d.t.Errorf("%s: %+v, want a refusal as %s that spends the challenge", what, got, reason)
	}
}

// forger makes answers that no authenticator would.
type forger struct {
	id        []byte
	cose      map[int]any
	sign      func(signed []byte) []byte
	flags     byte
	counter   uint32
	rpID      string
	client    map[string]any // in place of what a browser writes
	trailing  []byte         // behind the authenticator data
	trailsAll []byte         // behind the attestation object
	handle    []byte
}

const (
	userPresent, userVerified, backupEligible, backupState, attested, extended byte = 1, 4, 8, 16, 64, 128

	algES256, algEdDSA, algES384, algES512, algRS256, algPS256 = -7, -8, -35, -36, -257, -37
)

// forge makes a forger that signs as algorithms do.
func forge(t testing.TB, algorithm int) *forger {
	t.Helper()
	f := &forger{id: []byte("a credential id"), flags: userPresent | userVerified, rpID: site.ID}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	curves := map[int]elliptic.Curve{algES256: elliptic.P256(), algES384: elliptic.P384(), algES512: elliptic.P521()}
	hashes := map[int]crypto.Hash{algES256: crypto.SHA256, algES384: crypto.SHA384, algES512: crypto.SHA512}
	switch algorithm {
	case algEdDSA:
		public, private, err := ed25519.GenerateKey(rand.Reader)
		must(err)
		f.cose = map[int]any{1: 1, 3: algorithm, -1: 6, -2: []byte(public)}
		f.sign = func(signed []byte) []byte { return ed25519.Sign(private, signed) }
	case algRS256, algPS256:
		private, err := rsa.GenerateKey(rand.Reader, 2048)
		must(err)
		f.cose = map[int]any{1: 3, 3: algorithm, -1: private.N.Bytes(), -2: []byte{1, 0, 1}}
		f.sign = func(signed []byte) []byte {
			sum := sha256.Sum256(signed)
			signature, err := private.Sign(rand.Reader, sum[:], crypto.SHA256)
			must(err)
			return signature
		}
	default:
		private, err := ecdsa.GenerateKey(curves[algorithm], rand.Reader)
		must(err)
		point, err := private.PublicKey.Bytes()
		must(err)
		half := len(point) / 2
		f.cose = map[int]any{1: 2, 3: algorithm, -1: map[int]int{algES256: 1, algES384: 2, algES512: 3}[algorithm], -2: point[1 : 1+half], -3: point[1+half:]}
		f.sign = func(signed []byte) []byte {
			digest := hashes[algorithm].New()
			digest.Write(signed)
			signature, err := private.Sign(rand.Reader, digest.Sum(nil), hashes[algorithm])
			must(err)
			return signature
		}
	}
	return f
}

func (f *forger) authenticatorData(flags byte) []byte {
	sum := sha256.Sum256([]byte(f.rpID))
	return binary.BigEndian.AppendUint32(append(sum[:], flags), f.counter)
}

func (f *forger) clientData(t testing.TB, kind string, asked []byte) []byte {
	t.Helper()
	var options struct {
		Challenge string `json:"challenge"`
	}
	if err := json.Unmarshal(asked, &options); err != nil {
		t.Fatal(err)
	}
	client := map[string]any{"type": kind, "challenge": options.Challenge, "origin": site.Origin, "crossOrigin": false}
	maps.Copy(client, f.client)
	return encoded(t, client)
}

func (f *forger) answer(t testing.TB, response map[string]any) string {
	t.Helper()
	id := base64.RawURLEncoding.EncodeToString(f.id)
	return string(encoded(t, map[string]any{"id": id, "rawId": id, "type": "public-key", "response": response, "clientExtensionResults": map[string]any{}}))
}

func (f *forger) create(t testing.TB, asked []byte) string {
	t.Helper()
	cose, err := webauthncbor.Marshal(f.cose)
	if err != nil {
		t.Fatal(err)
	}
	data := append(f.authenticatorData(f.flags|attested), make([]byte, 16)...)
	data = append(binary.BigEndian.AppendUint16(data, uint16(len(f.id))), f.id...)
	data = append(append(data, cose...), f.trailing...)
	object, err := webauthncbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": data})
	if err != nil {
		t.Fatal(err)
	}
	return f.answer(t, map[string]any{
		"clientDataJSON":    base64URL(f.clientData(t, "webauthn.create", asked)),
		"attestationObject": base64URL(append(object, f.trailsAll...)),
	})
}

func (f *forger) get(t testing.TB, asked []byte) string {
	t.Helper()
	client := f.clientData(t, "webauthn.get", asked)
	data := append(f.authenticatorData(f.flags), f.trailing...)
	sum := sha256.Sum256(client)
	response := map[string]any{
		"clientDataJSON": base64URL(client), "authenticatorData": base64URL(data),
		"signature": base64URL(f.sign(append(data, sum[:]...))),
	}
	if f.handle != nil {
		response["userHandle"] = base64URL(f.handle)
	}
	return f.answer(t, response)
}

func base64URL(content []byte) string { return base64.RawURLEncoding.EncodeToString(content) }

func encoded(t testing.TB, value any) []byte {
	t.Helper()
	content, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
