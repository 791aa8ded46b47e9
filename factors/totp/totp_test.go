package totp

import (
	"bytes"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/pquerna/otp"

	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/factors/factortest"
	"github.com/portcullis-mfa/portcullis/templates"
)

// noon is the beginning of a step of every period that the tests use.
var noon = time.Date(2025, 6, 19, 12, 0, 0, 0, time.UTC)

var alice = factors.Subject{UserID: "u1", Name: "alice@example.com"}

// phone is an authenticator that shares no code with the factor.
type phone struct {
	t      *testing.T
	key    string
	mode   string
	digits int
	period time.Duration
}

func newPhone(t *testing.T, page templates.TOTPEnrolment, algorithm string) phone {
	t.Helper()
	if _, err := exec.LookPath("oathtool"); err != nil {
		t.Skip("NOT TESTED: oathtool, the independent authenticator, is not installed (Debian package oathtool)")
	}
	return phone{t, strings.ReplaceAll(page.Key, " ", ""), strings.ToLower(algorithm), page.Digits, time.Duration(page.Period) * time.Second}
}

// shows returns what the phone shows at the given time of its own clock.
func (p phone) shows(at time.Time) string {
	p.t.Helper()
	command := exec.Command("oathtool", "--totp="+p.mode, "--base32",
		fmt.Sprintf("--digits=%d", p.digits),
		fmt.Sprintf("--time-step-size=%ds", int(p.period.Seconds())),
		"--now="+at.UTC().Format("2006-01-02 15:04:05 UTC"), "-")
	command.Stdin = strings.NewReader(p.key)
	shown, err := command.Output()
	if err != nil {
		p.t.Fatalf("oathtool: %v", err)
	}
	return strings.TrimSpace(string(shown))
}

// predictable makes the same secrets at each run: by chance, codes of two
// steps would be equal now and then.
func predictable() io.Reader { return mathrand.NewChaCha8([32]byte{'t', 'o', 't', 'p'}) }

// account is one person's credential as a flow would keep it.
type account struct {
	t      *testing.T
	factor *Factor
	phone  phone
	now    time.Time
	secret []byte
}

// enrol sets up a credential whose enrolment used the code of two steps ago.
func enrol(t *testing.T, config Config) *account {
	t.Helper()
	a := &account{t: t}
	config.Issuer = "Example"
	var err error
	if a.factor, err = New(config, func() time.Time { return a.now }, predictable()); err != nil {
		t.Fatal(err)
	}
	config = a.factor.config
	ceremony, err := factortest.Begun(t.Context(), a.factor.Enrolling(), factors.Asking{Who: alice})
	if err != nil {
		t.Fatal(err)
	}
	a.phone = newPhone(t, ceremony.Page.(templates.TOTPEnrolment), config.Algorithm)
	a.now = noon.Add(-2 * config.Period)
	enrolment, err := a.factor.Enrolling().Check(t.Context(), factors.Asking{Who: alice}, ceremony.State, factors.Answer{"code": a.phone.shows(a.now)})
	if err != nil || !enrolment.Accepted() {
		t.Fatalf("enrolment: %+v, %v", enrolment, err)
	}
	a.secret, a.now = enrolment.Made.Secret, noon
	return a
}

// copied returns an account that shares nothing that changes.
func (a *account) copied() *account {
	a.t.Helper()
	c := *a
	var err error
	if c.factor, err = New(a.factor.config, func() time.Time { return c.now }, predictable()); err != nil {
		a.t.Fatal(err)
	}
	return &c
}

// at sets the server's clock to a step after noon.
func (a *account) at(step int) *account {
	a.now = noon.Add(time.Duration(step) * a.phone.period)
	return a
}

// code is what the phone shows in a step after noon.
func (a *account) code(step int) string {
	return a.phone.shows(noon.Add(time.Duration(step) * a.phone.period))
}

func (a *account) credential() factors.Credential {
	return factors.Credential{ID: "c1", Secret: a.secret}
}

// submit checks a code and keeps the new secret, as a flow does.
func (a *account) submit(code string) factors.Verdict {
	a.t.Helper()
	verdict, err := a.factor.Proving().Check(a.t.Context(), factors.Asking{Who: alice, Credentials: []factors.Credential{a.credential()}}, nil, factors.Answer{"code": code})
	if err != nil {
		a.t.Fatal(err)
	}
	if verdict.Secret != nil {
		a.secret = verdict.Secret
	}
	return verdict
}

func (a *account) expect(what, code string, accepted bool, reason factors.Reason) {
	a.t.Helper()
	if got := a.submit(code); got.Accepted() != accepted || got.Reason != reason {
		a.t.Errorf("%s: accepted %v, reason %q; want %v, %q", what, got.Accepted(), got.Reason, accepted, reason)
	}
}

var everyConfig = []Config{
	{},
	{Digits: 8},
	{Algorithm: "SHA256"},
	{Algorithm: "SHA256", Digits: 8, Period: 60 * time.Second},
	{Algorithm: "SHA512", Period: 15 * time.Second},
	{Algorithm: "SHA512", Digits: 8, Period: 120 * time.Second},
}

// O02: only the current step and one to each side.
func TestSteps(t *testing.T) {
	for _, config := range everyConfig {
		t.Run(fmt.Sprintf("%s %d %v", config.Algorithm, config.Digits, config.Period), func(t *testing.T) {
			enrolled := enrol(t, config)
			for step := -12; step <= 12; step++ {
				a := enrolled.copied()
				verdict := a.submit(a.code(step))
				switch {
				case step >= -1 && step <= 1:
					if !verdict.Accepted() || verdict.CredentialID != "c1" || verdict.Secret == nil {
						t.Errorf("step %+d: %+v", step, verdict)
					}
				case step < -2 && step >= -10, step == -2: // as old as the enrolment, or older
					if verdict.Accepted() || verdict.Reason != factors.Used || verdict.Secret != nil {
						t.Errorf("step %+d: %+v", step, verdict)
					}
				case step > 1 && step <= 10:
					drift := time.Duration(step) * a.phone.period
					if verdict.Accepted() || verdict.Reason != factors.Drifting || verdict.Drift != drift || verdict.Secret == nil {
						t.Errorf("step %+d: %+v", step, verdict)
					}
				default:
					if verdict.Accepted() || verdict.Reason != factors.Wrong || verdict.Secret != nil || verdict.CredentialID != "" {
						t.Errorf("step %+d: %+v", step, verdict)
					}
				}
			}
		})
	}
}

// O02 on a phone whose clock is slow, where the enrolment lies far back.
func TestSlowClockIsToldNotAccepted(t *testing.T) {
	enrolled := enrol(t, Config{})
	for step := -12; step <= -2; step++ {
		a := enrolled.copied()
		a.at(100)
		verdict := a.submit(a.code(100 + step))
		if verdict.Accepted() {
			t.Errorf("step %+d was accepted", step)
		}
		if step < -10 {
			if verdict.Reason != factors.Wrong {
				t.Errorf("step %+d: %+v", step, verdict)
			}
		} else if verdict.Reason != factors.Drifting || verdict.Drift != time.Duration(step)*30*time.Second {
			t.Errorf("step %+d: %+v", step, verdict)
		}
	}
}

func TestStepsDieOnceAccepted(t *testing.T) {
	a := enrol(t, Config{})
	a.expect("current", a.code(0), true, "")
	a.expect("the same again", a.code(0), false, factors.Used)
	a.expect("older, never used", a.code(-1), false, factors.Used)
	a.expect("next", a.code(1), true, "")
	a.at(1).expect("the same a step later", a.code(1), false, factors.Used)
	a.at(2).expect("the same two steps later", a.code(1), false, factors.Used)
	a.expect("then the next", a.code(2), true, "")
}

// X05: a clock that is set back revives nothing.
func TestClockSetBack(t *testing.T) {
	a := enrol(t, Config{})
	a.at(20).expect("before", a.code(20), true, "")
	a.at(5).expect("an older step", a.code(5), false, factors.Used)
	a.at(19).expect("one step older", a.code(19), false, factors.Used)
	a.at(20).expect("the same step", a.code(20), false, factors.Used)
	a.at(21).expect("the next", a.code(21), true, "")
}

// X05: a clock that was ahead, and is right again, keeps nobody out for longer
// than two codes take, and no code counts twice for it.
func TestClockThatWasAhead(t *testing.T) {
	for name, ahead := range map[string]int{"an hour": 120, "a day": 2880, "a year": 365 * 2880} {
		t.Run(name, func(t *testing.T) {
			a := enrol(t, Config{})
			a.expect("before", a.code(0), true, "")
			a.at(ahead).expect("ahead", a.code(ahead), true, "")
			a.at(1).expect("back", a.code(1), false, factors.Used)
			a.at(1).expect("the one of before", a.code(0), false, factors.Used)
			a.at(1).expect("one step ahead", a.code(2), false, factors.Used)
			a.at(2).expect("the one that was next", a.code(2), false, factors.Used)
			a.at(3).expect("two steps later", a.code(3), true, "")
			a.expect("the same again", a.code(3), false, factors.Used)
			a.at(ahead).expect("when the time has come", a.code(ahead), false, factors.Used)
			a.at(ahead+1).expect("and after it", a.code(ahead+1), true, "")
		})
	}
	t.Run("wrong codes correct nothing", func(t *testing.T) {
		a := enrol(t, Config{})
		a.at(2880).expect("ahead", a.code(2880), true, "")
		if verdict := a.at(1).submit("000000"); verdict.Secret != nil || verdict.Reason != factors.Wrong {
			t.Errorf("%+v", verdict)
		}
	})
}

// Who is told that a code belongs to the future knows that it is genuine; it
// must not work when its time comes.
func TestToldStepsAreDead(t *testing.T) {
	t.Run("when their time comes", func(t *testing.T) {
		a := enrol(t, Config{})
		a.expect("told", a.code(5), false, factors.Drifting)
		a.at(4).expect("one before its time", a.code(5), false, factors.Used)
		a.at(5).expect("at its time", a.code(5), false, factors.Used)
		a.at(6).expect("one after its time", a.code(5), false, factors.Used)
		a.at(5).expect("its neighbour", a.code(6), true, "")
	})
	t.Run("told twice", func(t *testing.T) {
		a := enrol(t, Config{})
		a.expect("first", a.code(5), false, factors.Drifting)
		again := a.submit(a.code(5))
		if again.Reason != factors.Drifting || again.Drift != 150*time.Second || again.Secret != nil {
			t.Errorf("again: %+v", again)
		}
	})
	t.Run("when others were told or accepted since", func(t *testing.T) {
		a := enrol(t, Config{})
		for _, step := range []int{7, 3, 10, 5} {
			a.expect("told", a.code(step), false, factors.Drifting)
		}
		a.expect("the current one", a.code(0), true, "")
		a.at(3).expect("3", a.code(3), false, factors.Used)
		a.expect("4", a.code(4), true, "")
		a.at(7).expect("5", a.code(5), false, factors.Drifting)
		a.expect("7", a.code(7), false, factors.Used)
		a.at(10).expect("10", a.code(10), false, factors.Used)
		a.expect("11", a.code(11), true, "")
	})
	t.Run("when the clock is set back after they were forgotten", func(t *testing.T) {
		a := enrol(t, Config{})
		a.expect("told", a.code(5), false, factors.Drifting)
		a.at(30).expect("told much later", a.code(35), false, factors.Drifting)
		a.at(5).expect("the first, its time come again", a.code(5), false, factors.Used)
	})
	t.Run("when a slow server is set right", func(t *testing.T) {
		a := enrol(t, Config{})
		a.at(100).expect("told", a.code(96), false, factors.Drifting)
		a.at(96).expect("its time come", a.code(96), false, factors.Used)
		a.expect("the next", a.code(97), true, "")
	})
}

func TestMemoryOfToldStepsIsBounded(t *testing.T) {
	a := enrol(t, Config{})
	// A clock that runs backwards is the worst case: nothing is ever past.
	for step := 5000; step > 0; step -= 10 {
		a.at(step).submit(a.code(step + 5))
		if len(a.secret) > 2000 {
			t.Fatalf("the secret grew to %d bytes", len(a.secret))
		}
	}
	// What had to be forgotten died, but no more than that.
	a.at(4400).expect("once the clock is right again", a.code(4400), true, "")
	// And an honest clock forgets what is past.
	b := enrol(t, Config{})
	for step := range 200 {
		b.at(step).submit(b.code(step + 5))
	}
	s, err := parseSecret(b.secret)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Refused) > 2*lookAround+1 {
		t.Errorf("%d steps remembered", len(s.Refused))
	}
}

func TestFormOfCodes(t *testing.T) {
	enrolled := enrol(t, Config{})
	code := enrolled.code(0)
	fullWidth := strings.Map(func(r rune) rune { return r - '0' + '０' }, code)
	arabic := strings.Map(func(r rune) rune { return r - '0' + '٠' }, code)
	tests := []struct {
		name, code string
		accepted   bool
		reason     factors.Reason
	}{
		{"plain", code, true, ""},
		{"in groups", code[:3] + " " + code[3:], true, ""},
		{"spaces all over", "  " + strings.Join(strings.Split(code, ""), " ") + " ", true, ""},
		{"empty", "", false, factors.Malformed},
		{"spaces alone", "      ", false, factors.Malformed},
		{"5 digits", code[:5], false, factors.Malformed},
		{"7 digits", code + "0", false, factors.Malformed},
		{"leading zero", "0" + code, false, factors.Malformed},
		{"8 digits where 6 are due", code + "00", false, factors.Malformed},
		{"full-width", fullWidth, true, ""},
		{"full-width, of the right size in bytes", "００", false, factors.Malformed},
		{"Arabic digits", arabic, true, ""},
		{"plus sign", "+" + code[1:], false, factors.Malformed},
		{"plus sign before", "+" + code, false, factors.Malformed},
		{"minus sign", "-" + code[1:], false, factors.Malformed},
		{"dash", code[:3] + "-" + code[3:], true, ""},
		{"no-break space", code[:3] + "\u00a0" + code[3:], true, ""},
		{"hexadecimal", "0x" + code[2:], false, factors.Malformed},
		{"exponent", "1e0000", false, factors.Malformed},
		{"NUL", code[:5] + "\x00", false, factors.Malformed},
		{"not UTF-8", code[:5] + "\xff", false, factors.Malformed},
		{"line break", code + "\n", false, factors.Malformed},
		{"very long", strings.Repeat("1", 1<<20), false, factors.Malformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := enrolled.copied()
			a.t = t
			a.expect(test.name, test.code, test.accepted, test.reason)
		})
	}
}

func TestSeveralCredentials(t *testing.T) {
	first, second := enrol(t, Config{}), enrol(t, Config{Algorithm: "SHA256", Digits: 8, Period: time.Minute})
	both := []factors.Credential{{ID: "first", Secret: first.secret}, {ID: "second", Secret: second.secret}}
	check := func(code string) factors.Verdict {
		t.Helper()
		// The factor's own configuration is that of the first alone.
		verdict, err := first.factor.Proving().Check(t.Context(), factors.Asking{Who: alice, Credentials: both}, nil, factors.Answer{"code": code})
		if err != nil {
			t.Fatal(err)
		}
		return verdict
	}
	if got := check(first.code(0)); !got.Accepted() || got.CredentialID != "first" {
		t.Errorf("code of the first: %+v", got)
	}
	got := check(second.code(0))
	if !got.Accepted() || got.CredentialID != "second" {
		t.Errorf("code of the second: %+v", got)
	}
	if s, err := parseSecret(got.Secret); err != nil || s.Algorithm != "SHA256" || s.Digits != 8 || s.Period != 60 {
		t.Errorf("new secret of the second: %v", err)
	}
	if got := check(second.code(4)); got.Reason != factors.Drifting || got.CredentialID != "second" || got.Drift != 4*time.Minute {
		t.Errorf("drift of the second: %+v", got)
	}
	if got := check("1234567"); got.Reason != factors.Malformed {
		t.Errorf("neither length: %+v", got)
	}
	ceremony, err := factortest.Begun(t.Context(), first.factor.Proving(), factors.Asking{Who: alice, Credentials: both})
	if err != nil || ceremony.Page != (templates.TOTPChallenge{Digits: 8, Period: 60}) {
		t.Errorf("page: %+v, %v", ceremony.Page, err)
	}
}

// A code that one credential would refuse may be right for another.
func TestAcceptedBeatsRefused(t *testing.T) {
	a := enrol(t, Config{})
	fresh := a.secret
	a.expect("spend it", a.code(0), true, "")
	credentials := []factors.Credential{{ID: "spent", Secret: a.secret}, {ID: "fresh", Secret: fresh}}
	for range 2 {
		verdict, err := a.factor.Proving().Check(t.Context(), factors.Asking{Who: alice, Credentials: credentials}, nil, factors.Answer{"code": a.code(0)})
		if err != nil || !verdict.Accepted() || verdict.CredentialID != "fresh" {
			t.Errorf("got %+v, %v", verdict, err)
		}
		slices.Reverse(credentials)
	}
}

// RFC 6238 Appendix B.
func TestStandardVectors(t *testing.T) {
	seed := []byte("1234567890")
	keys := map[string][]byte{
		"SHA1":   bytes.Repeat(seed, 2),
		"SHA256": bytes.Repeat(seed, 4)[:32],
		"SHA512": bytes.Repeat(seed, 7)[:64],
	}
	vectors := []struct {
		unix      int64
		algorithm string
		code      string
	}{
		{59, "SHA1", "94287082"}, {59, "SHA256", "46119246"}, {59, "SHA512", "90693936"},
		{1111111109, "SHA1", "07081804"}, {1111111109, "SHA256", "68084774"}, {1111111109, "SHA512", "25091201"},
		{1111111111, "SHA1", "14050471"}, {1111111111, "SHA256", "67062674"}, {1111111111, "SHA512", "99943326"},
		{1234567890, "SHA1", "89005924"}, {1234567890, "SHA256", "91819424"}, {1234567890, "SHA512", "93441116"},
		{2000000000, "SHA1", "69279037"}, {2000000000, "SHA256", "90698825"}, {2000000000, "SHA512", "38618901"},
		{20000000000, "SHA1", "65353130"}, {20000000000, "SHA256", "77737706"}, {20000000000, "SHA512", "47863826"},
	}
	for _, vector := range vectors {
		factor, err := New(Config{Issuer: "Example"}, func() time.Time { return time.Unix(vector.unix, 0) }, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		written, err := secret{
			Key:       base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(keys[vector.algorithm]),
			Algorithm: vector.algorithm, Digits: 8, Period: 30,
		}.marshal()
		if err != nil {
			t.Fatal(err)
		}
		verdict, err := factor.Proving().Check(t.Context(), factors.Asking{Who: alice, Credentials: []factors.Credential{{ID: "c", Secret: written}}}, nil, factors.Answer{"code": vector.code})
		if err != nil || !verdict.Accepted() {
			t.Errorf("%s at %d: %+v, %v", vector.algorithm, vector.unix, verdict, err)
		}
	}
}

func TestEnrolment(t *testing.T) {
	for _, config := range everyConfig {
		a := enrol(t, config)
		a.at(0)
		ceremony, err := factortest.Begun(t.Context(), a.factor.Enrolling(), factors.Asking{Who: alice})
		if err != nil {
			t.Fatal(err)
		}
		page := ceremony.Page.(templates.TOTPEnrolment)
		a.phone.key = strings.ReplaceAll(page.Key, " ", "")
		resumed, err := factortest.Resumed(t.Context(), a.factor.Enrolling(), factors.Asking{Who: alice}, ceremony.State)
		if err != nil || resumed.Page != ceremony.Page || !bytes.Equal(resumed.State, ceremony.State) {
			t.Errorf("resumed: %v", err)
		}
		for step := -12; step <= 12; step++ {
			got, err := a.factor.Enrolling().Check(t.Context(), factors.Asking{Who: alice}, ceremony.State, factors.Answer{"code": a.code(step)})
			if err != nil {
				t.Fatal(err)
			}
			near, told := step >= -1 && step <= 1, step >= -10 && step <= 10
			switch {
			case near && (!got.Accepted() || got.Made.Secret == nil || got.Made.Name == ""),
				!near && (got.Accepted() || got.Secret != nil),
				!near && told && (got.Reason != factors.Drifting || got.Drift != time.Duration(step)*a.phone.period),
				!told && got.Reason != factors.Wrong:
				t.Errorf("step %+d: %+v", step, got)
			}
		}
		if got, err := a.factor.Enrolling().Check(t.Context(), factors.Asking{Who: alice}, ceremony.State, factors.Answer{"code": "12345"}); err != nil || got.Accepted() || got.Reason != factors.Malformed {
			t.Errorf("5 digits: %+v, %v", got, err)
		}
	}
}

// The code that confirmed the enrolment doesn't sign anybody in.
func TestEnrolmentCodeIsDead(t *testing.T) {
	a := enrol(t, Config{})
	a.at(-2).expect("the enrolment's code", a.code(-2), false, factors.Used)
	a.expect("an older one", a.code(-3), false, factors.Used)
	a.expect("the next", a.code(-1), true, "")
}

func TestProvisioning(t *testing.T) {
	const issuer, name = "Ex & Co/Söhne + 100%", `al:ice?"<b>`
	for _, config := range everyConfig {
		config.Issuer = issuer
		factor, err := New(config, func() time.Time { return noon }, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		ceremony, err := factortest.Begun(t.Context(), factor.Enrolling(), factors.Asking{Who: factors.Subject{Name: name}})
		if err != nil {
			t.Fatal(err)
		}
		page := ceremony.Page.(templates.TOTPEnrolment)
		key, err := otp.NewKeyFromURL(page.URI)
		if err != nil {
			t.Fatalf("%q: %v", page.URI, err)
		}
		want := factor.config
		if key.Type() != "totp" || key.Issuer() != issuer || key.AccountName() != name ||
			key.Algorithm().String() != want.Algorithm || key.Digits().Length() != want.Digits ||
			time.Duration(key.Period())*time.Second != want.Period {
			t.Errorf("%q is read as %q %q %v", page.URI, key.Issuer(), key.AccountName(), key)
		}
		const label = "otpauth://totp/Ex%20%26%20Co%2FS%C3%B6hne%20%2B%20100%25:al%3Aice%3F%22%3Cb%3E?"
		if !strings.HasPrefix(page.URI, label) {
			t.Errorf("%q does not begin with %q", page.URI, label)
		}
		for _, parameter := range []string{"algorithm=", "digits=", "period=", "issuer=Ex%20%26%20Co", "secret="} {
			if !strings.Contains(page.URI, parameter) {
				t.Errorf("%q lacks %q", page.URI, parameter)
			}
		}
		groups := strings.Split(page.Key, " ")
		for i, group := range groups {
			if len(group) != 4 && i < len(groups)-1 {
				t.Errorf("group %q", group)
			}
		}
		if strings.Join(groups, "") != key.Secret() {
			t.Error("key and URI differ")
		}
		raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(key.Secret())
		if sizes := map[string]int{"SHA1": 20, "SHA256": 32, "SHA512": 64}; err != nil || len(raw) != sizes[want.Algorithm] {
			t.Errorf("%s secret of %d bytes, %v", want.Algorithm, len(raw), err)
		}
	}
}

func TestConfig(t *testing.T) {
	tests := []struct {
		name   string
		config Config
		says   string // empty: valid
	}{
		{"defaults", Config{Issuer: "Example"}, ""},
		{"shortest period", Config{Issuer: "Example", Period: 15 * time.Second}, ""},
		{"longest period", Config{Issuer: "Example", Period: 2 * time.Minute}, ""},
		{"no issuer", Config{}, "issuer"},
		{"blank issuer", Config{Issuer: " \t"}, "issuer"},
		{"issuer with a colon", Config{Issuer: "a:b"}, "colon"},
		{"issuer with a line break", Config{Issuer: "a\nb"}, "can't be shown"},
		{"issuer not UTF-8", Config{Issuer: "a\xff"}, "can't be shown"},
		{"long issuer", Config{Issuer: strings.Repeat("ü", 65)}, "64"},
		{"MD5", Config{Issuer: "Example", Algorithm: "MD5"}, "SHA1, SHA256 or SHA512"},
		{"7 digits", Config{Issuer: "Example", Digits: 7}, "6 or 8"},
		{"negative digits", Config{Issuer: "Example", Digits: -6}, "6 or 8"},
		{"14 s", Config{Issuer: "Example", Period: 14 * time.Second}, "15s"},
		{"121 s", Config{Issuer: "Example", Period: 121 * time.Second}, "2m0s"},
		{"half seconds", Config{Issuer: "Example", Period: 30500 * time.Millisecond}, "whole seconds"},
		{"negative period", Config{Issuer: "Example", Period: -30 * time.Second}, "15s"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			factor, err := New(test.config, time.Now, rand.Reader)
			switch {
			case test.says == "" && (err != nil || factor == nil):
				t.Errorf("got %v", err)
			case test.says != "" && (err == nil || factor != nil || !strings.Contains(err.Error(), test.says)):
				t.Errorf("got %v, which does not say %q", err, test.says)
			}
		})
	}
}

func TestCannotTell(t *testing.T) {
	broken := errors.New("no entropy")
	factor, err := New(Config{Issuer: "Example"}, func() time.Time { return noon }, iotest.ErrReader(broken))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := factortest.Begun(t.Context(), factor.Enrolling(), factors.Asking{Who: alice}); !errors.Is(err, broken) {
		t.Errorf("randomness fails: %v", err)
	}
	good := secret{Key: "JBSWY3DPEHPK3PXP", Algorithm: "SHA1", Digits: 6, Period: 30}
	for name, edit := range map[string]func(*secret){
		"key":       func(s *secret) { s.Key = "1!" },
		"no key":    func(s *secret) { s.Key = "" },
		"line feed": func(s *secret) { s.Key = "JBSWY3D\nPEHPK3PXP" },
		"algorithm": func(s *secret) { s.Algorithm = "MD5" },
		"digits":    func(s *secret) { s.Digits = 0 },
		"period":    func(s *secret) { s.Period = 0 },
	} {
		bad := good
		edit(&bad)
		written, err := json.Marshal(bad)
		if err != nil {
			t.Fatal(err)
		}
		for what, content := range map[string][]byte{name: written, "garbage": []byte("garbage"), "nothing": nil} {
			credentials := []factors.Credential{{ID: "c1", Secret: content}}
			_, beginErr := factortest.Begun(t.Context(), factor.Proving(), factors.Asking{Who: alice, Credentials: credentials})
			_, checkErr := factor.Proving().Check(t.Context(), factors.Asking{Who: alice, Credentials: credentials}, nil, factors.Answer{"code": "123456"})
			_, resumeErr := factortest.Resumed(t.Context(), factor.Enrolling(), factors.Asking{Who: alice}, content)
			_, enrolErr := factor.Enrolling().Check(t.Context(), factors.Asking{Who: alice}, content, factors.Answer{"code": "123456"})
			for _, err := range []error{beginErr, checkErr, resumeErr, enrolErr} {
				if err == nil {
					t.Errorf("%s: no error", what)
				} else if strings.Contains(err.Error(), "JBSW") {
					t.Errorf("%s: the error quotes the secret", what)
				}
			}
		}
	}
}

func TestStepsBefore1970(t *testing.T) {
	s := secret{Period: 30}
	for unix, want := range map[int64]int64{-31: -2, -30: -1, -1: -1, 0: 0, 29: 0, 30: 1} {
		if got := s.stepAt(time.Unix(unix, 0)); got != want {
			t.Errorf("%d s lies in step %d, want %d", unix, got, want)
		}
	}
}
