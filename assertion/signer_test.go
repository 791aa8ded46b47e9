package assertion_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/portcullis-mfa/portcullis/assertion"
	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/keys"
	"github.com/portcullis-mfa/portcullis/store"
)

const (
	portal = "https://login.example.com"
	app    = "https://wiki.example.com"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// bench is a signer over real keys, at a time that the test sets.
type bench struct {
	*assertion.Signer
	keys *keys.Set
	now  time.Time
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{now: start}
	var err error
	b.keys, err = keys.Open(t.Context(), keys.FileStorage(filepath.Join(t.TempDir(), "keys.json")), rand.Reader, b.clock, true)
	must(t, err)
	b.Signer = assertion.NewSigner(assertion.Config{Issuer: portal, Keys: b.keys, Clock: b.clock, Weights: weights(), Methods: shownBy()})
	return b
}

func (b *bench) clock() time.Time { return b.now }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (b *bench) token(t testing.TB, subject assertion.Subject, audience string) string {
	t.Helper()
	token, err := b.Token(subject, audience)
	must(t, err)
	return token
}

// ada has shown a password and a code a minute ago.
func ada() assertion.Subject {
	return assertion.Subject{
		SignOn: "sign-on of ada",
		User: store.User{
			ID: "id of ada", Name: "ada", DisplayName: "Ada <Lovelace> & Söhne", Email: "ada@example.com",
			Groups: []string{"admins", "engineers"}, Status: store.UserActive, Version: 7,
		},
		Proofs: []assurance.Proof{
			{Factor: assurance.Password, At: start.Add(-2 * time.Minute)},
			{Factor: assurance.TOTP, At: start.Add(-time.Minute)},
		},
		Expires: start.Add(12 * time.Hour),
	}
}

// part reads one of a token's three parts, as RFC 7515 §3.1 has it.
func part(t testing.TB, token string, index int) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts: %s", len(parts), token)
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(parts[index])
	must(t, err)
	var fields map[string]any
	must(t, json.Unmarshal(raw, &fields))
	return fields
}

func claimsOf(t testing.TB, token string) map[string]any { return part(t, token, 1) }

func TestWhatATokenSays(t *testing.T) {
	b := newBench(t)
	token := b.token(t, ada(), app)
	id, _ := b.keys.AssertionKey()
	if header := part(t, token, 0); !reflect.DeepEqual(header, map[string]any{"alg": "ES256", "typ": "JWT", "kid": id}) {
		t.Errorf("header: %v", header)
	}
	want := map[string]any{
		"iss": portal, "aud": app, "sub": "id of ada", "preferred_username": "ada",
		"name": "Ada <Lovelace> & Söhne", "email": "ada@example.com", "groups": []any{"admins", "engineers"},
		"amr": []any{"pwd", "otp", "mfa"}, "acr": "multi",
		"auth_time": float64(start.Add(-time.Minute).Unix()),
		"iat":       float64(start.Unix()), "exp": float64(start.Add(5 * time.Minute).Unix()),
	}
	if got := claimsOf(t, token); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// TestAProgramHasNotSignedIn has an access token speak for a program: nobody has
// proved anything, and two programs of one owner are told apart.
func TestAProgramHasNotSignedIn(t *testing.T) {
	b := newBench(t)
	subject := ada()
	subject.SignOn, subject.Proofs = "", nil
	for _, program := range []string{"t1", "t2"} {
		subject.Program = program
		got := claimsOf(t, b.token(t, subject, app))
		if got["acr"] != "token" || !reflect.DeepEqual(got["amr"], []any{"token"}) || got["client_id"] != program {
			t.Errorf("the token of %s says %v", program, got)
		}
		if at, ok := got["auth_time"]; ok {
			t.Errorf("somebody signed in at %v", at)
		}
	}
}

func TestWhatNobodyHasIsLeftOut(t *testing.T) {
	subject := ada()
	subject.User = store.User{ID: "id", Name: "ben"}
	subject.Proofs = nil
	got := claimsOf(t, newBench(t).token(t, subject, app))
	for _, absent := range []string{"name", "email", "auth_time"} {
		if value, ok := got[absent]; ok {
			t.Errorf("%s is %v", absent, value)
		}
	}
	for _, empty := range []string{"groups", "amr"} {
		if list, ok := got[empty].([]any); !ok || len(list) != 0 {
			t.Errorf("%s is %v", empty, got[empty])
		}
	}
}

func TestMethods(t *testing.T) {
	at := func(f assurance.Factor, minutesAgo int) assurance.Proof {
		return assurance.Proof{Factor: f, At: start.Add(time.Duration(-minutesAgo) * time.Minute)}
	}
	remembered := assurance.Proof{Factor: assurance.TOTP, At: start, Remembered: true}
	verified := at(assurance.FIDO, 1)
	verified.UserVerified = true
	tests := []struct {
		name     string
		proofs   []assurance.Proof
		off      assurance.Factor // not configured
		amr, acr string
		minutes  int // ago; -1: never
	}{
		{"password", []assurance.Proof{at(assurance.Password, 3)}, "", "pwd", "single", 3},
		{"and a code, in any order", []assurance.Proof{at(assurance.TOTP, 5), at(assurance.Password, 9)}, "", "pwd otp mfa", "multi", 5},
		{"backup code", []assurance.Proof{at(assurance.Password, 3), at(assurance.BackupCode, 2)}, "", "pwd otp mfa", "multi", 2},
		{"mail", []assurance.Proof{at(assurance.Password, 3), at(assurance.Email, 2)}, "", "pwd otp mfa", "multi", 2},
		{"text message", []assurance.Proof{at(assurance.Password, 3), at(assurance.SMS, 2)}, "", "pwd sms mfa", "multi", 2},
		{"push", []assurance.Proof{at(assurance.Password, 3), at(assurance.Push, 2)}, "", "pwd swk user mfa", "multi", 2},
		{"security key", []assurance.Proof{at(assurance.Password, 3), at(assurance.FIDO, 2)}, "", "pwd hwk user mfa", "phishing_resistant", 2},
		{"passkey alone", []assurance.Proof{verified}, "", "hwk user mfa", "phishing_resistant", 1},
		{"certificate alone", []assurance.Proof{at(assurance.Certificate, 4)}, "", "swk", "device", 4},
		{"certificate and password", []assurance.Proof{at(assurance.Certificate, 4), at(assurance.Password, 6)}, "", "pwd swk mfa", "multi", 6},
		{"all at once", []assurance.Proof{
			at(assurance.Password, 9), at(assurance.TOTP, 8), at(assurance.FIDO, 7), at(assurance.Push, 6), at(assurance.BackupCode, 5),
			at(assurance.Email, 4), at(assurance.SMS, 3), at(assurance.Certificate, 2), at(assurance.Certificate, 1),
		}, "", "pwd otp sms hwk swk user mfa", "phishing_resistant", 3},
		{"a remembered browser stands in", []assurance.Proof{at(assurance.Password, 3), remembered}, "", "pwd", "multi", 3},
		{"and another factor was shown", []assurance.Proof{at(assurance.Password, 3), remembered, at(assurance.SMS, 2)}, "", "pwd sms mfa", "multi", 2},
		{"a factor that is switched off", []assurance.Proof{at(assurance.Password, 3), at(assurance.TOTP, 1)}, assurance.TOTP, "pwd", "single", 3},
		{"nothing counts", []assurance.Proof{at(assurance.Password, 3)}, assurance.Password, "", "none", -1},
		{"a factor that nobody knows", []assurance.Proof{at("palm", 3)}, "", "", "none", -1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			delete(b.Weights, test.off)
			subject := ada()
			subject.Proofs = test.proofs
			got := claimsOf(t, b.token(t, subject, app))
			amr := strings.Trim(fmt.Sprint(got["amr"]), "[]")
			if amr != test.amr || got["acr"] != test.acr {
				t.Errorf("amr %q, acr %q; want %q, %q", amr, got["acr"], test.amr, test.acr)
			}
			var want any
			if test.minutes >= 0 {
				want = float64(start.Add(time.Duration(-test.minutes) * time.Minute).Unix())
			}
			if got["auth_time"] != want {
				t.Errorf("auth_time %v, want %v", got["auth_time"], want)
			}
		})
	}
}

// One token serves until it has less than a minute left, and none outlives its
// session.
func TestTimes(t *testing.T) {
	for _, test := range []struct {
		after time.Duration
		same  bool
	}{
		{0, true}, {4 * time.Minute, true}, {4*time.Minute + time.Millisecond, false}, {time.Hour, false},
		{-time.Millisecond, false}, {-24 * time.Hour, false},
	} {
		b := newBench(t)
		first := b.token(t, ada(), app)
		b.now = start.Add(test.after)
		token := b.token(t, ada(), app)
		if same := token == first; same != test.same {
			t.Errorf("after %v: the same is %v", test.after, same)
		}
		checkTimes(t, claimsOf(t, token), b.now, ada().Expires)
	}
}

func checkTimes(t testing.TB, got map[string]any, now, end time.Time) {
	t.Helper()
	issued, expires := int64(got["iat"].(float64)), int64(got["exp"].(float64))
	if issued > now.Unix() || expires-issued > 300 || expires > end.Unix() || expires <= now.Unix() {
		t.Errorf("issued %d, expires %d, now %d, the session ends %d", issued, expires, now.Unix(), end.Unix())
	}
	if left := expires - now.Unix(); left < 60 && expires != end.Unix() {
		t.Errorf("only %d s are left", left)
	}
}

func TestTheEndOfASession(t *testing.T) {
	b := newBench(t)
	subject := ada()
	subject.Expires = start.Add(90*time.Second + 500*time.Millisecond)
	first := b.token(t, subject, app)
	checkTimes(t, claimsOf(t, first), b.now, subject.Expires)
	b.now = start.Add(80 * time.Second)
	if b.token(t, subject, app) != first {
		t.Error("a token that can't be renewed is made again")
	}
	shorter := subject
	shorter.Expires = start.Add(85 * time.Second)
	checkTimes(t, claimsOf(t, b.token(t, shorter, app)), b.now, shorter.Expires)
	for _, late := range []time.Duration{90 * time.Second, 91 * time.Second, 24 * time.Hour} {
		b.now = start.Add(late)
		if token, err := b.Token(subject, app); err == nil || token != "" {
			t.Errorf("after %v: %q, %v", late, token, err)
		}
	}
	subject.Expires = time.Time{}
	if _, err := b.Token(subject, app); err == nil {
		t.Error("a session without an end got a token")
	}
}

// A token tells of the groups that are chosen, and of none where none is.
func TestGroupsAreChosen(t *testing.T) {
	b := newBench(t)
	for filter, want := range map[string]string{"": "[admins engineers]", "admins": "[admins]", "nobody": "[]"} {
		subject := ada()
		if filter != "" {
			subject.Groups = assertion.Groups{Filter: filter, Tells: func(group string) bool { return group == filter }}
		}
		if got := fmt.Sprint(claimsOf(t, b.token(t, subject, app))["groups"]); got != want {
			t.Errorf("%q: the token tells of %s", filter, got)
		}
	}
}

// Whatever a token says, another one is made when it changes.
func TestNoOldTokenAfterAChange(t *testing.T) {
	changes := map[string]func(*bench, *assertion.Subject, *string){
		"profile": func(_ *bench, s *assertion.Subject, _ *string) { s.User.Version++; s.User.Groups = nil },
		"user":    func(_ *bench, s *assertion.Subject, _ *string) { s.User.ID = "id of ben" },
		"groups": func(_ *bench, s *assertion.Subject, _ *string) {
			s.Groups = assertion.Groups{Filter: "none", Tells: func(string) bool { return false }}
		},
		"sign-on": func(_ *bench, s *assertion.Subject, _ *string) { s.SignOn = "another" },
		"app":     func(_ *bench, _ *assertion.Subject, a *string) { *a = "https://git.example.com" },
		"step-up": func(_ *bench, s *assertion.Subject, _ *string) { s.Proofs[1].At = start },
		"factor":  func(_ *bench, s *assertion.Subject, _ *string) { s.Proofs[1].Factor = assurance.SMS },
		"less":    func(_ *bench, s *assertion.Subject, _ *string) { s.Proofs = s.Proofs[:1] },
		"disabled": func(b *bench, _ *assertion.Subject, _ *string) {
			delete(b.Weights, assurance.TOTP)
		},
		"sooner": func(_ *bench, s *assertion.Subject, _ *string) { s.Expires = start.Add(2 * time.Minute) },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			subject, audience := ada(), app
			before := b.token(t, subject, audience)
			if b.token(t, ada(), audience) != before {
				t.Fatal("nothing is remembered")
			}
			change(b, &subject, &audience)
			if b.token(t, subject, audience) == before {
				t.Error("the old token is given out")
			}
			if name != "sooner" && b.token(t, ada(), app) != before && name != "disabled" {
				t.Error("the other one is forgotten")
			}
		})
	}
}

func TestRotation(t *testing.T) {
	b := newBench(t)
	kid := func() string { return part(t, b.token(t, ada(), app), 0)["kid"].(string) }
	published := func() []string {
		var ids []string
		for _, key := range jwks(t, b) {
			ids = append(ids, key["kid"].(string))
		}
		return ids
	}
	old := kid()
	must(t, b.keys.Rotate(t.Context()))
	if kid() != old || len(published()) != 2 {
		t.Errorf("a new key signs at once, or isn't published: %v", published())
	}
	b.now = start.Add(5 * time.Minute)
	must(t, b.keys.Refresh(t.Context()))
	if kid() == old || !slices.Contains(published(), old) || !slices.Contains(published(), kid()) {
		t.Errorf("%s signs after %s, %v are published", kid(), old, published())
	}
	b.now = start.Add(2 * time.Hour)
	must(t, b.keys.Refresh(t.Context()))
	if got := published(); !slices.Equal(got, []string{kid()}) {
		t.Errorf("published: %v", got)
	}
}

func jwks(t testing.TB, b *bench) []map[string]any {
	t.Helper()
	raw, err := b.JWKS()
	must(t, err)
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	must(t, json.Unmarshal(raw, &set))
	return set.Keys
}

// Only what RFC 7518 §6.2.1 calls public is published: no "d".
func TestOnlyPublicKeysArePublished(t *testing.T) {
	b := newBench(t)
	must(t, b.keys.Rotate(t.Context()))
	all := jwks(t, b)
	if len(all) != 2 {
		t.Fatalf("%d keys", len(all))
	}
	for _, key := range all {
		names := slices.Sorted(func(yield func(string) bool) {
			for name := range key {
				if !yield(name) {
					return
				}
			}
		})
		if !slices.Equal(names, []string{"alg", "crv", "kid", "kty", "use", "x", "y"}) {
			t.Errorf("published: %v", names)
		}
		if key["kty"] != "EC" || key["crv"] != "P-256" || key["alg"] != "ES256" || key["use"] != "sig" {
			t.Errorf("published: %v", key)
		}
	}
}

// verifier verifies a token as an app would, by Node's crypto: nothing of it is
// ours, or go-jose's.
const verifier = `
const crypto = require('crypto');
const {token, jwks} = JSON.parse(require('fs').readFileSync(0));
const [head, body, signature] = token.split('.');
const header = JSON.parse(Buffer.from(head, 'base64url'));
const jwk = jwks.keys.find(k => k.kid === header.kid);
const good = header.alg === 'ES256' && jwk !== undefined && crypto.verify('sha256', Buffer.from(head + '.' + body),
	{key: crypto.createPublicKey({key: jwk, format: 'jwk'}), dsaEncoding: 'ieee-p1363'}, Buffer.from(signature, 'base64url'));
process.stdout.write(JSON.stringify({good, claims: JSON.parse(Buffer.from(body, 'base64url'))}));
`

func TestAnotherImplementationVerifies(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("Node isn't installed, whose crypto verifies tokens here")
	}
	b := newBench(t)
	older := b.token(t, ada(), app)
	oldKeys, err := b.JWKS()
	must(t, err)
	must(t, b.keys.Rotate(t.Context()))
	b.now = start.Add(5 * time.Minute)
	must(t, b.keys.Refresh(t.Context()))
	newer := b.token(t, ada(), app)
	published, err := b.JWKS()
	must(t, err)
	parts := strings.Split(newer, ".")
	forged := base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"id of ben"}`))
	for name, test := range map[string]struct {
		token string
		jwks  []byte
		good  bool
	}{
		"by the key that signs":             {newer, published, true},
		"by the key that signed":            {older, published, true},
		"by a key that isn't published yet": {newer, oldKeys, false},
		"altered":                           {parts[0] + "." + forged + "." + parts[2], published, false},
		"another's signature":               {parts[0] + "." + parts[1] + "." + strings.Split(older, ".")[2], published, false},
	} {
		t.Run(name, func(t *testing.T) {
			input, err := json.Marshal(map[string]any{"token": test.token, "jwks": json.RawMessage(test.jwks)})
			must(t, err)
			command := exec.Command(node, "-e", verifier)
			command.Stdin = strings.NewReader(string(input))
			output, err := command.Output()
			must(t, err)
			var said struct {
				Good   bool           `json:"good"`
				Claims map[string]any `json:"claims"`
			}
			must(t, json.Unmarshal(output, &said))
			if said.Good != test.good {
				t.Errorf("verified: %v", said.Good)
			}
			if test.good && said.Claims["name"] != "Ada <Lovelace> & Söhne" {
				t.Errorf("it read %v", said.Claims)
			}
		})
	}
}

func TestATokenThatIsThereCostsNothing(t *testing.T) {
	b := newBench(t)
	delete(b.Weights, assurance.SMS)
	subject := ada()
	b.token(t, subject, app)
	allocations := testing.AllocsPerRun(1000, func() {
		if _, err := b.Token(subject, app); err != nil {
			t.Fatal(err)
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}

func TestConcurrentUse(t *testing.T) {
	b := newBench(t)
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			subject := ada()
			for j := range 50 {
				subject.User.Version = int64((i + j) % 3)
				if _, err := b.Token(subject, app); err != nil {
					t.Error(err)
				}
				if _, err := b.JWKS(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
}

// TestTokensKeepTheirPromises lets time pass and things change in any order:
// each token says what holds when it's given out, and its key is published.
func TestTokensKeepTheirPromises(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		b := &bench{now: start}
		set, err := keys.Open(t.Context(), keys.FileStorage(fmt.Sprint(path, run)), rand.Reader, b.clock, true)
		if err != nil {
			t.Fatal(err)
		}
		b.Signer = assertion.NewSigner(assertion.Config{Issuer: portal, Keys: set, Clock: b.clock, Weights: weights(), Methods: shownBy()})
		subject := ada()
		t.Repeat(map[string]func(*rapid.T){
			"time": func(t *rapid.T) {
				b.now = b.now.Add(time.Duration(rapid.IntRange(0, 400_000).Draw(t, "milliseconds")) * time.Millisecond)
				if err := set.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
			},
			"rotation": func(t *rapid.T) { _ = set.Rotate(t.Context()) }, // or too soon
			"profile": func(t *rapid.T) {
				subject.User.Version++
				subject.User.Name = fmt.Sprint("ada", subject.User.Version)
			},
			"step-up": func(t *rapid.T) { subject.Proofs[1].At = b.now },
			"sign-on": func(t *rapid.T) {
				subject.SignOn += "'"
				subject.Expires = b.now.Add(time.Duration(rapid.IntRange(1, 30).Draw(t, "minutes")) * time.Minute)
			},
			"": func(t *rapid.T) {
				token, err := b.Token(subject, app)
				if over := !b.now.Before(subject.Expires.Truncate(time.Second)); over != (err != nil) {
					t.Fatalf("the session is over: %v, and %v", over, err)
				} else if over {
					return
				}
				checkPromises(t, token, b.now, subject, set.AssertionKeys())
			},
		})
	})
}

func checkPromises(t *rapid.T, token string, now time.Time, subject assertion.Subject, published map[string]*ecdsa.PublicKey) {
	var fields [2]map[string]any
	for i, encoded := range strings.Split(token, ".")[:2] {
		raw, err := base64.RawURLEncoding.DecodeString(encoded)
		if err == nil {
			err = json.Unmarshal(raw, &fields[i])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	header, got := fields[0], fields[1]
	if published[header["kid"].(string)] == nil {
		t.Fatalf("signed by %v, which isn't published", header["kid"])
	}
	if got["preferred_username"] != subject.User.Name || got["auth_time"] != float64(max(subject.Proofs[0].At.Unix(), subject.Proofs[1].At.Unix())) {
		t.Fatalf("an old token: %v", got)
	}
	issued, expires := int64(got["iat"].(float64)), int64(got["exp"].(float64))
	if issued > now.Unix() || expires-issued > 300 || expires > subject.Expires.Unix() || time.Unix(expires, 0).Sub(now) < time.Minute && expires != subject.Expires.Unix() {
		t.Fatalf("issued %d, expires %d, now %v, the session ends %v", issued, expires, now, subject.Expires)
	}
}

func BenchmarkRemembered(b *testing.B) {
	signer := newBench(b)
	subject := ada()
	signer.token(b, subject, app)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = signer.Token(subject, app)
	}
}

func BenchmarkSigned(b *testing.B) {
	signer := newBench(b)
	subject := ada()
	b.ReportAllocs()
	for b.Loop() {
		subject.User.Version++
		_, _ = signer.Token(subject, app)
	}
}

// weights are those of all factors that there are.
func weights() assurance.Weights {
	return assurance.Weights{
		assurance.Password: assurance.First, assurance.Certificate: assurance.Machine, assurance.FIDO: assurance.Unphishable,
		assurance.TOTP: assurance.Second, assurance.Push: assurance.Second, assurance.BackupCode: assurance.Second,
		assurance.Email: assurance.Second, assurance.SMS: assurance.Second,
	}
}

// shownBy is how all factors that there are are shown.
func shownBy() map[assurance.Factor][]string {
	return map[assurance.Factor][]string{
		assurance.Password: {"pwd"}, assurance.Certificate: {"swk"}, assurance.FIDO: {"hwk", "user"}, assurance.TOTP: {"otp"},
		assurance.Push: {"swk", "user"}, assurance.BackupCode: {"otp"}, assurance.Email: {"otp"}, assurance.SMS: {"sms"},
	}
}
