package fido

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/descope/virtualwebauthn"

	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/factors/factortest"
	"github.com/portcullis-mfa/portcullis/templates"
)

type deviceOptions = virtualwebauthn.AuthenticatorOptions

func TestKeysAreEnrolledAndShown(t *testing.T) {
	for what, c := range map[string]struct {
		kind     virtualwebauthn.KeyType
		options  deviceOptions
		verified bool
		form     string
	}{
		"security key":             {virtualwebauthn.KeyTypeEC2, deviceOptions{UserNotVerified: true}, false, SecurityKey},
		"security key with PIN":    {virtualwebauthn.KeyTypeEC2, deviceOptions{}, true, SecurityKey},
		"computer":                 {virtualwebauthn.KeyTypeRSA, deviceOptions{}, true, SecurityKey},
		"passkey, not backed up":   {virtualwebauthn.KeyTypeEC2, deviceOptions{BackupEligible: true}, true, SyncedPasskey},
		"passkey, backed up":       {virtualwebauthn.KeyTypeEC2, deviceOptions{BackupEligible: true, BackupState: true}, true, SyncedPasskey},
		"passkey with user handle": {virtualwebauthn.KeyTypeEC2, deviceOptions{UserHandle: []byte(alice.UserID)}, true, SecurityKey},
		"with a counter from zero": {virtualwebauthn.KeyTypeEC2, deviceOptions{}, true, SecurityKey},
	} {
		t.Run(what, func(t *testing.T) {
			d := newDesk(t)
			k := d.enrol(alice, newKey(c.kind, c.options))
			for range 2 {
				got := d.show(alice, k)
				if !got.Accepted() || got.CredentialID != k.row.ID || got.UserVerified != c.verified || got.Note != "" {
					t.Errorf("%+v", got)
				}
				if got.Secret != nil {
					t.Error("nothing changed, and there is a new secret")
				}
			}
			details, err := d.factor.Details(k.row)
			if err != nil || details.Form != c.form {
				t.Errorf("%+v, %v", details, err)
			}
		})
	}
}

func TestOneOfSeveralKeys(t *testing.T) {
	d := newDesk(t)
	one, two := d.enrol(alice, newKey(virtualwebauthn.KeyTypeEC2, deviceOptions{})), d.enrol(alice, newKey(virtualwebauthn.KeyTypeEC2, deviceOptions{}))
	asked, state := d.challenge(alice, one.row, two.row)
	if got := d.check(alice, state, two.get(t, site, asked), one.row, two.row); !got.Accepted() || got.CredentialID != two.row.ID {
		t.Errorf("%+v", got)
	}
}

// TestKeyRemovedMeanwhile answers a challenge of two keys, of which one is gone
// by then.
func TestKeyRemovedMeanwhile(t *testing.T) {
	d := newDesk(t)
	one, two := d.enrol(alice, newKey(virtualwebauthn.KeyTypeEC2, deviceOptions{})), d.enrol(alice, newKey(virtualwebauthn.KeyTypeEC2, deviceOptions{}))
	asked, state := d.challenge(alice, one.row, two.row)
	if got := d.check(alice, state, two.get(t, site, asked), two.row); !got.Accepted() || got.CredentialID != two.row.ID {
		t.Errorf("the one that is left: %+v", got)
	}
	d.expectRefused("the one that is gone", d.check(alice, state, one.get(t, site, asked), two.row), factors.Wrong)
	asked, state = d.challenge(alice, one.row)
	d.expectRefused("one that wasn't asked for", d.check(alice, state, two.get(t, site, asked), two.row), factors.Wrong)
}

// TestAlgorithms holds which signatures new keys may make (WebAuthn §5.8.5).
func TestAlgorithms(t *testing.T) {
	for name, c := range map[string]struct {
		algorithm int
		offered   bool
	}{
		"EdDSA": {algEdDSA, true}, "ES256": {algES256, true}, "ES384": {algES384, true}, "RS256": {algRS256, true},
		"K03 ES512": {algES512, false}, "K03 PS256": {algPS256, false},
	} {
		t.Run(name, func(t *testing.T) {
			d, f := newDesk(t), forge(t, c.algorithm)
			asked, state := d.begin(alice)
			enrolment := d.checkEnrolment(alice, state, f.create(t, asked))
			if !c.offered {
				d.expectNotEnrolled(name, enrolment, factors.Wrong)
				return
			}
			k := d.keep(new(key), enrolment)
			asked, state = d.challenge(alice, k.row)
			if got := d.check(alice, state, f.get(t, asked), k.row); !got.Accepted() {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestWhatBrowsersAreAsked holds both sets of options against the specification
// (WebAuthn §5.4, §5.5).
func TestWhatBrowsersAreAsked(t *testing.T) {
	d := newDesk(t)
	k := d.enrol(alice, newKey(virtualwebauthn.KeyTypeEC2, deviceOptions{}))
	id := base64URL(k.ID)
	asked, _ := d.begin(alice, k.row)
	challenge := expectJSON(t, asked, map[string]any{
		"rp":   map[string]any{"id": "login.example.com", "name": "Example"},
		"user": map[string]any{"id": base64URL([]byte(alice.UserID)), "name": "alice", "displayName": "Alice Young"},
		"pubKeyCredParams": []any{
			map[string]any{"type": "public-key", "alg": -8.0}, map[string]any{"type": "public-key", "alg": -7.0},
			map[string]any{"type": "public-key", "alg": -35.0}, map[string]any{"type": "public-key", "alg": -257.0},
		},
		"timeout":                300000.0,
		"excludeCredentials":     []any{map[string]any{"type": "public-key", "id": id}},
		"authenticatorSelection": map[string]any{"residentKey": "preferred", "requireResidentKey": false, "userVerification": "preferred"},
		"attestation":            "none",
	})
	again, _ := d.begin(alice, k.row)
	if other := expectJSON(t, again, nil); len(challenge) != 43 || other == challenge {
		t.Errorf("the challenges are %q and %q", challenge, other)
	}
	asked, _ = d.challenge(alice, k.row)
	challenge = expectJSON(t, asked, map[string]any{
		"rpId": "login.example.com", "timeout": 300000.0, "userVerification": "preferred",
		"allowCredentials": []any{map[string]any{"type": "public-key", "id": id}},
	})
	again, _ = d.challenge(alice, k.row)
	if other := expectJSON(t, again, nil); len(challenge) != 43 || other == challenge {
		t.Errorf("the challenges are %q and %q", challenge, other)
	}
	asked, _ = d.begin(bob)
	if !bytes.Contains(asked, []byte(`"displayName":"bob"`)) {
		t.Errorf("somebody without another name: %s", asked)
	}
}

// expectJSON compares options but for the challenge, which it returns.
func expectJSON(t *testing.T, got []byte, want map[string]any) string {
	t.Helper()
	var options map[string]any
	if err := json.Unmarshal(got, &options); err != nil {
		t.Fatal(err)
	}
	challenge, _ := options["challenge"].(string)
	delete(options, "challenge")
	if want != nil && !reflect.DeepEqual(options, want) {
		t.Errorf("the browser is asked\n%v, want\n%v", options, want)
	}
	return challenge
}

// TestK01Challenges answers challenges that aren't the open one.
func TestK01Challenges(t *testing.T) {
	d := newDesk(t)
	k := d.enrol(alice, newKey(virtualwebauthn.KeyTypeEC2, deviceOptions{}))
	asked, state := d.challenge(alice, k.row)
	older, _ := d.challenge(alice, k.row)
	d.expectRefused("of another ceremony", d.check(alice, state, k.get(t, site, older), k.row), factors.Wrong)
	d.expectRefused("none is open", d.check(alice, nil, k.get(t, site, asked), k.row), factors.Expired)

	fresh := newKey(virtualwebauthn.KeyTypeEC2, deviceOptions{})
	created, createState := d.begin(alice)
	other, _ := d.begin(alice)
	d.expectNotEnrolled("enrolment, of another ceremony", d.checkEnrolment(alice, createState, fresh.create(t, site, other)), factors.Wrong)
	d.expectNotEnrolled("enrolment, none is open", d.checkEnrolment(alice, nil, fresh.create(t, site, created)), factors.Expired)

	d.now = noon.Add(Patience - time.Second)
	if got := d.check(alice, state, k.get(t, site, asked), k.row); !got.Accepted() {
		t.Errorf("just in time: %+v", got)
	}
	if got := d.checkEnrolment(alice, createState, fresh.create(t, site, created)); !got.Accepted() {
		t.Errorf("enrolment, just in time: %+v", got)
	}
	d.now = noon.Add(Patience)
	d.expectRefused("too late", d.check(alice, state, k.get(t, site, asked), k.row), factors.Expired)
	d.expectNotEnrolled("enrolment, too late", d.checkEnrolment(alice, createState, fresh.create(t, site, created)), factors.Expired)
}

// TestF05CeremoniesMixedUp finishes each ceremony with what belongs to another.
func TestF05CeremoniesMixedUp(t *testing.T) {
	d := newDesk(t)
	hers, his := d.enrol(alice, newKey(virtualwebauthn.KeyTypeEC2, deviceOptions{})), d.enrol(bob, newKey(virtualwebauthn.KeyTypeEC2, deviceOptions{}))
	asked, state := d.challenge(alice, hers.row)
	created, createState := d.begin(alice)
	for what, got := range map[string]factors.Verdict{
		"a registration for an assertion":         d.check(alice, state, hers.create(t, site, asked), hers.row),
		"another's key":                           d.check(alice, state, his.get(t, site, asked), hers.row),
		"another's key, once it is among one's":   d.check(alice, state, his.get(t, site, asked), hers.row, his.row),
		"another's ceremony":                      d.check(bob, state, his.get(t, site, asked), his.row),
		"another's ceremony, with the right key":  d.check(bob, state, hers.get(t, site, asked), hers.row),
		"a key that is gone from among one's own": d.check(alice, state, hers.get(t, site, asked), his.row),
	} {
		if got.Accepted() || got.Reason != factors.Wrong && got.Reason != factors.Malformed {
			t.Errorf("%s: %+v", what, got)
		}
	}
	for what, got := range map[string]factors.Verdict{
		"an assertion for a registration": d.checkEnrolment(alice, createState, hers.get(t, site, created)),
		"another's ceremony":              d.checkEnrolment(bob, createState, hers.create(t, site, created)),
	} {
		if got.Accepted() || got.Secret != nil || !got.Closes {
			t.Errorf("%s: %+v", what, got)
		}
	}
	// The state of the one is never the state of the other, whatever is signed.
	if got, err := d.factor.Proving().Check(t.Context(), factors.Asking{Who: alice, Credentials: []factors.Credential{hers.row}}, createState, answered(hers.get(t, site, created))); err == nil || got.Accepted() {
		t.Errorf("an assertion that answers an enrolment: %+v, %v", got, err)
	}
	fresh := newKey(virtualwebauthn.KeyTypeEC2, deviceOptions{})
	if got, err := d.factor.Enrolling().Check(t.Context(), factors.Asking{Who: alice}, state, answered(fresh.create(t, site, asked))); err == nil || got.Accepted() {
		t.Errorf("a registration that answers a challenge: %+v, %v", got, err)
	}
	handled := forge(t, algES256)
	asked, state = d.begin(alice)
	k := d.keep(new(key), d.checkEnrolment(alice, state, handled.create(t, asked)))
	handled.handle = []byte(bob.UserID)
	asked, state = d.challenge(alice, k.row)
	d.expectRefused("K03 another's user handle", d.check(alice, state, handled.get(t, asked), k.row), factors.Wrong)
}

// TestK02WhereAnswersComeFrom has answers come from other places, and without
// what must be proven.
func TestK02WhereAnswersComeFrom(t *testing.T) {
	for what, change := range map[string]func(f *forger){
		"a sibling":          func(f *forger) { f.client = map[string]any{"origin": "https://wiki.example.com"} },
		"the parent":         func(f *forger) { f.client = map[string]any{"origin": "https://example.com"} },
		"http":               func(f *forger) { f.client = map[string]any{"origin": "http://login.example.com"} },
		"another port":       func(f *forger) { f.client = map[string]any{"origin": "https://login.example.com:8443"} },
		"a suffix":           func(f *forger) { f.client = map[string]any{"origin": "https://login.example.com.evil.example"} },
		"a prefix":           func(f *forger) { f.client = map[string]any{"origin": "https://evil-login.example.com"} },
		"user information":   func(f *forger) { f.client = map[string]any{"origin": "https://login.example.com@evil.example"} },
		"somebody at home":   func(f *forger) { f.client = map[string]any{"origin": "https://evil@login.example.com"} },
		"a path":             func(f *forger) { f.client = map[string]any{"origin": site.Origin + "/evil"} },
		"a slash":            func(f *forger) { f.client = map[string]any{"origin": site.Origin + "/"} },
		"a query":            func(f *forger) { f.client = map[string]any{"origin": site.Origin + "?evil"} },
		"a fragment":         func(f *forger) { f.client = map[string]any{"origin": site.Origin + "#evil"} },
		"the usual port":     func(f *forger) { f.client = map[string]any{"origin": site.Origin + ":443"} },
		"upper case":         func(f *forger) { f.client = map[string]any{"origin": "https://LOGIN.example.com"} },
		"null":               func(f *forger) { f.client = map[string]any{"origin": "null"} },
		"nothing":            func(f *forger) { f.client = map[string]any{"origin": ""} },
		"a frame":            func(f *forger) { f.client = map[string]any{"crossOrigin": true} },
		"a frame elsewhere":  func(f *forger) { f.client = map[string]any{"crossOrigin": true, "topOrigin": "https://evil.example"} },
		"a top of its own":   func(f *forger) { f.client = map[string]any{"topOrigin": site.Origin} },
		"another RP ID":      func(f *forger) { f.rpID = "example.com" },
		"nobody present":     func(f *forger) { f.flags = userVerified },
		"no flag at all":     func(f *forger) { f.flags = 0 },
		"BS without BE":      func(f *forger) { f.flags |= backupState },
		"another type":       func(f *forger) { f.client = map[string]any{"type": "payment.get"} },
		"an empty challenge": func(f *forger) { f.client = map[string]any{"challenge": ""} },
		"trailing data":      func(f *forger) { f.trailing = []byte{0} },
		"trailing CBOR":      func(f *forger) { f.trailing = []byte{0xa1, 1, 2} },
	} {
		t.Run(what, func(t *testing.T) {
			d, honest := newDesk(t), forge(t, algES256)
			asked, state := d.begin(alice)
			k := d.keep(new(key), d.checkEnrolment(alice, state, honest.create(t, asked)))
			change(honest)

			asked, state = d.challenge(alice, k.row)
			got := d.check(alice, state, honest.get(t, asked), k.row)
			if got.Accepted() || got.Reason != factors.Wrong && got.Reason != factors.Malformed {
				t.Errorf("%+v", got)
			}
			asked, state = d.begin(alice)
			enrolment := d.checkEnrolment(alice, state, honest.create(t, asked))
			if enrolment.Accepted() || !enrolment.Closes || enrolment.Reason != factors.Wrong && enrolment.Reason != factors.Malformed {
				t.Errorf("enrolment: %+v", enrolment)
			}
		})
	}
}

// TestK03BackupEligibilityStays holds that what can't be copied stays so
// (WebAuthn §6.1.3).
func TestK03BackupEligibilityStays(t *testing.T) {
	for what, c := range map[string]struct {
		before, after byte
		accepted      bool
	}{
		"backed up later":      {backupEligible, backupEligible | backupState, true},
		"backed up no more":    {backupEligible | backupState, backupEligible, true},
		"eligible all at once": {0, backupEligible, false},
		"eligible no more":     {backupEligible, 0, false},
	} {
		d, f := newDesk(t), forge(t, algES256)
		f.flags = userPresent | c.before
		asked, state := d.begin(alice)
		k := d.keep(new(key), d.checkEnrolment(alice, state, f.create(t, asked)))
		f.flags = userPresent | c.after
		asked, state = d.challenge(alice, k.row)
		got := d.check(alice, state, f.get(t, asked), k.row)
		if got.Accepted() != c.accepted || c.accepted && got.Secret == nil {
			t.Errorf("%s: %+v", what, got)
		}
	}
}

// TestK03Counters shows keys whose signature counter rises, rests and falls.
func TestK03Counters(t *testing.T) {
	for what, c := range map[string]struct {
		before, shown      uint32
		strict, regressing bool
	}{
		"rises":           {5, 6, true, false},
		"leaps":           {5, 5000, true, false},
		"begins to count": {0, 1, true, false},
		"doesn't count":   {0, 0, true, false},
		"rests":           {5, 5, false, true},
		"falls":           {5, 4, false, true},
		"ceases to count": {5, 0, false, true},
		"comes around":    {1<<32 - 1, 1, false, true},
	} {
		for _, lenient := range []bool{false, true} {
			d := newDesk(t, func(c *Config) { c.Lenient = lenient })
			k := newKey(virtualwebauthn.KeyTypeEC2, deviceOptions{})
			k.Counter = c.before
			d.enrol(alice, k)
			before := k.row.Secret
			k.Counter = c.shown
			got := d.show(alice, k)
			if got.Accepted() != (c.strict || lenient) || (got.Note == factors.CounterWentBack) != c.regressing || got.CredentialID != k.row.ID {
				t.Errorf("%s, lenient %t: %+v", what, lenient, got)
			}
			if !got.Accepted() && (got.Reason != factors.Cloned || got.Secret != nil) {
				t.Errorf("%s: %+v", what, got)
			}
			if changes := got.Accepted() && c.before != c.shown; changes == bytes.Equal(before, k.row.Secret) {
				t.Errorf("%s, lenient %t: the counter wasn't kept as it should be", what, lenient)
			}
			// What was refused once is refused again, and what was let pass is
			// told of once.
			if c.shown != 0 {
				k.Counter = c.shown + 1
				if again := d.show(alice, k); lenient && (!again.Accepted() || again.Note != "") {
					t.Errorf("%s, then rises: %+v", what, again)
				}
			}
		}
	}
}

// TestK03Records holds what a new credential may be made of.
func TestK03Records(t *testing.T) {
	for what, c := range map[string]struct {
		change   func(f *forger)
		accepted bool
	}{
		"as it should be":          {func(*forger) {}, true},
		"an id of 1023 bytes":      {func(f *forger) { f.id = make([]byte, 1023) }, true},
		"an id of 1024 bytes":      {func(f *forger) { f.id = make([]byte, 1024) }, false},
		"no id":                    {func(f *forger) { f.id = nil }, false},
		"CBOR behind the object":   {func(f *forger) { f.trailsAll = []byte{0xf6} }, false},
		"a point off the curve":    {func(f *forger) { f.cose[-3] = make([]byte, 32) }, false},
		"a point that is too long": {func(f *forger) { f.cose[-2] = make([]byte, 33) }, false},
		"the wrong curve":          {func(f *forger) { f.cose[-1] = 2 }, false},
		"no curve":                 {func(f *forger) { delete(f.cose, -1) }, false},
		"the wrong kind of key":    {func(f *forger) { f.cose[1] = 3 }, false},
		"no algorithm":             {func(f *forger) { delete(f.cose, 3) }, false},
		"algorithm none":           {func(f *forger) { f.cose[3] = 0 }, false},
	} {
		t.Run(what, func(t *testing.T) {
			d, f := newDesk(t), forge(t, algES256)
			c.change(f)
			asked, state := d.begin(alice)
			got := d.checkEnrolment(alice, state, f.create(t, asked))
			if got.Accepted() {
				// What is enrolled must be fit to be shown.
				k := d.keep(new(key), got)
				asked, state = d.challenge(alice, k.row)
				if shown := d.check(alice, state, f.get(t, asked), k.row); shown.Accepted() != c.accepted {
					t.Errorf("enrolled, and shown: %+v", shown)
				}
				return
			}
			if c.accepted || !got.Closes {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestWhatIsUniqueIsTheCredentialID(t *testing.T) {
	d, k := newDesk(t), newKey(virtualwebauthn.KeyTypeEC2, deviceOptions{})
	for _, who := range []factors.Subject{alice, bob} {
		asked, state := d.begin(who)
		if got := d.checkEnrolment(who, state, k.create(t, site, asked)); got.Made.Unique != base64URL(k.ID) {
			t.Errorf("%+v", got)
		}
	}
}

// TestAnswersOfStrangers sends what is no answer (W04).
func TestAnswersOfStrangers(t *testing.T) {
	d := newDesk(t)
	k := d.enrol(alice, newKey(virtualwebauthn.KeyTypeEC2, deviceOptions{}))
	asked, state := d.challenge(alice, k.row)
	created, createState := d.begin(alice)
	right, made := k.get(t, site, asked), newKey(virtualwebauthn.KeyTypeEC2, deviceOptions{}).create(t, site, created)
	for what, change := range map[string]func(string) string{
		"nothing":                func(string) string { return "" },
		"a blank":                func(string) string { return " " },
		"null":                   func(string) string { return "null" },
		"a list":                 func(string) string { return "[]" },
		"an empty object":        func(string) string { return "{}" },
		"a number":               func(string) string { return "1e999" },
		"half of it":             func(s string) string { return s[:len(s)/2] },
		"twice":                  func(s string) string { return s + s },
		"something behind it":    func(s string) string { return s + "x" },
		"NUL":                    func(s string) string { return s + "\x00" },
		"no UTF-8":               func(s string) string { return "\xff" + s },
		"deeply nested":          func(string) string { return strings.Repeat(`{"response":`, 5000) },
		"padded to over 32 KiB":  func(s string) string { return s + strings.Repeat(" ", maxAnswer+1-len(s)) },
		"a megabyte":             func(string) string { return strings.Repeat("A", 1<<20) },
		"standard base64":        func(s string) string { return strings.ReplaceAll(s, `"rawId":"`, `"rawId":"+/`) },
		"another type":           func(s string) string { return strings.ReplaceAll(s, "public-key", "password") },
		"an id that isn't rawId": func(s string) string { return strings.Replace(s, `"id":"`, `"id":"AAAA`, 1) },
	} {
		d.expectRefused(what, d.check(alice, state, change(right), k.row), factors.Malformed)
		d.expectNotEnrolled(what, d.checkEnrolment(alice, createState, change(made)), factors.Malformed)
	}
	full := right + strings.Repeat(" ", maxAnswer-len(right))
	if got := d.check(alice, state, full, k.row); !got.Accepted() {
		t.Errorf("32 KiB: %+v", got)
	}
	for i := range right {
		flipped := []byte(right)
		flipped[i] ^= 1
		if got := d.check(alice, state, string(flipped), k.row); got.Accepted() && !isSame(t, right, string(flipped)) {
			t.Errorf("byte %d flipped: accepted %s", i, flipped)
		}
	}
}

// isSame reports whether two answers say the same in all that counts: the rest
// of an object is ignored, and so are the last bits of base64 that hold nothing,
// and what pads it.
func isSame(t *testing.T, a, b string) bool {
	t.Helper()
	return slices.EqualFunc(said(a), said(b), bytes.Equal)
}

// said returns what an answer says in all that counts; nil: it can't be read.
func said(answer string) [][]byte {
	var read struct {
		ID, RawID, Type string
		Response        struct{ AuthenticatorData, ClientDataJSON, Signature string }
	}
	if json.Unmarshal([]byte(answer), &read) != nil {
		return nil
	}
	parts := [][]byte{[]byte(read.Type)}
	for _, text := range []string{read.ID, read.RawID, read.Response.AuthenticatorData, read.Response.ClientDataJSON, read.Response.Signature} {
		part, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
		if err != nil {
			return nil
		}
		parts = append(parts, part)
	}
	return parts
}

func TestDetails(t *testing.T) {
	d := newDesk(t)
	for what, c := range map[string]struct {
		said string
		want factors.Details
	}{
		"a security key":          {`"transports":["nfc","usb"]`, factors.Details{Form: SecurityKey, By: []string{"usb", "nfc"}}},
		"a computer":              {`"transports":["internal"]`, factors.Details{Form: DevicePasskey, By: []string{"internal"}}},
		"a phone":                 {`"transports":["hybrid","internal"]`, factors.Details{Form: DevicePasskey, By: []string{"hybrid", "internal"}}},
		"what it was called once": {`"transports":["cable"]`, factors.Details{Form: SecurityKey, By: []string{"hybrid"}}},
		"what there isn't":        {`"transports":["<script>","usb","usb",""]`, factors.Details{Form: SecurityKey, By: []string{"usb"}}},
	} {
		asked, state := d.begin(alice)
		answer := forge(t, algES256).create(t, asked)
		answer = strings.Replace(answer, `"response":{`, `"response":{`+c.said+`,`, 1)
		k := d.keep(new(key), d.checkEnrolment(alice, state, answer))
		got, err := d.factor.Details(k.row)
		if err != nil || got.Form != c.want.Form || !slices.Equal(got.By, c.want.By) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	asked, state := d.begin(alice)
	answer := strings.Replace(forge(t, algES256).create(t, asked), `"type":`, `"authenticatorAttachment":"platform","type":`, 1)
	k := d.keep(new(key), d.checkEnrolment(alice, state, answer))
	if got, err := d.factor.Details(k.row); err != nil || got.Form != DevicePasskey {
		t.Errorf("a platform's: %+v, %v", got, err)
	}
}

// TestUnrequestedExtensions has a browser tell of extensions that nobody asked
// for, as password managers do.
func TestUnrequestedExtensions(t *testing.T) {
	d, f := newDesk(t), forge(t, algES256)
	chatty := func(answer string) string {
		return strings.Replace(answer, `"clientExtensionResults":{}`, `"clientExtensionResults":{"credProps":{"rk":true},"appid":false}`, 1)
	}
	asked, state := d.begin(alice)
	k := d.keep(new(key), d.checkEnrolment(alice, state, chatty(f.create(t, asked))))
	asked, state = d.challenge(alice, k.row)
	if got := d.check(alice, state, chatty(f.get(t, asked)), k.row); !got.Accepted() {
		t.Errorf("%+v", got)
	}
}

// TestAPageShownAgainAsksTheSame has a question be the same however often it is
// shown, and another configuration's be over.
func TestAPageShownAgainAsksTheSame(t *testing.T) {
	d := newDesk(t)
	asked, state := d.begin(alice)
	again, err := factortest.Resumed(t.Context(), d.factor.Enrolling(), factors.Asking{Who: alice}, state)
	if err != nil || again.Page.(templates.FIDOCeremony).Options != string(asked) {
		t.Fatalf("%+v, %v", again.Page, err)
	}
	moved, err := New(Config{RPID: "example.com", Brand: "Example", Origins: []string{site.Origin}}, d.factor.clock, d.factor.random)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := moved.Enrolling().Resume(t.Context(), factors.Asking{Who: alice}, state); !errors.Is(err, factors.ErrOver) {
		t.Errorf("under another RP ID: %v", err)
	}
}

// What cannot be told is an error, never a refusal that counts as an attempt,
// and never a pass.
func TestCannotTell(t *testing.T) {
	d := newDesk(t)
	k := d.enrol(alice, newKey(virtualwebauthn.KeyTypeEC2, deviceOptions{}))
	asked, state := d.challenge(alice, k.row)
	for what, secret := range map[string][]byte{
		"no secret": nil, "no JSON": []byte("{"), "nothing in it": []byte("{}"), "no public key": []byte(`{"id":"AAAA"}`), "a list": []byte("[]"),
	} {
		broken := k.row
		broken.Secret = secret
		if got, err := d.factor.Proving().Check(t.Context(), factors.Asking{Who: alice, Credentials: []factors.Credential{broken}}, state, answered(k.get(t, site, asked))); err == nil || got.Accepted() || got.Reason != "" {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
		if _, err := factortest.Begun(t.Context(), d.factor.Proving(), factors.Asking{Who: alice, Credentials: []factors.Credential{broken}}); err == nil {
			t.Errorf("%s: begun", what)
		}
		if _, err := factortest.Begun(t.Context(), d.factor.Enrolling(), factors.Asking{Who: alice, Credentials: []factors.Credential{broken}}); err == nil {
			t.Errorf("%s: enrolment begun", what)
		}
		if _, err := d.factor.Details(broken); err == nil {
			t.Errorf("%s: described", what)
		}
	}
	if _, err := d.factor.Proving().Check(t.Context(), factors.Asking{Who: alice, Credentials: []factors.Credential{k.row}}, []byte("{"), answered(k.get(t, site, asked))); err == nil {
		t.Error("a damaged ceremony: checked")
	}
	if _, err := d.factor.Enrolling().Check(t.Context(), factors.Asking{Who: alice}, []byte("{"), answered("{}")); err == nil {
		t.Error("a damaged enrolment: checked")
	}
	if _, err := factortest.Begun(t.Context(), d.factor.Proving(), factors.Asking{Who: alice}); err == nil {
		t.Error("without a credential: begun")
	}
	if _, err := factortest.Begun(t.Context(), d.factor.Enrolling(), factors.Asking{Who: factors.Subject{Name: "alice"}}); !errors.Is(err, errNoUser) {
		t.Errorf("for nobody: %v", err)
	}
}

func TestRandomnessFails(t *testing.T) {
	broken := errors.New("no entropy")
	f, err := New(Config{RPID: site.ID, Origins: []string{site.Origin}, Brand: "Example"}, time.Now, iotest.ErrReader(broken))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := factortest.Begun(t.Context(), f.Enrolling(), factors.Asking{Who: alice}); !errors.Is(err, broken) {
		t.Errorf("enrolment: %v", err)
	}
	k := newDesk(t).enrol(alice, newKey(virtualwebauthn.KeyTypeEC2, deviceOptions{}))
	if _, err := factortest.Begun(t.Context(), f.Proving(), factors.Asking{Who: alice, Credentials: []factors.Credential{k.row}}); !errors.Is(err, broken) {
		t.Errorf("challenge: %v", err)
	}
}

func TestConfigurationsThatCannotBe(t *testing.T) {
	for what, config := range map[string]Config{
		"no host":    {Origins: []string{site.Origin}},
		"an address": {RPID: "192.0.2.1", Origins: []string{"https://192.0.2.1"}},
		"a URL":      {RPID: "https://login.example.com", Origins: []string{site.Origin}},
		"no origin":  {RPID: site.ID},
	} {
		if _, err := New(config, time.Now, rand.Reader); err == nil {
			t.Errorf("%s: made", what)
		}
	}
}
