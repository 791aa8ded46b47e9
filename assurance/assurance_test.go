package assurance

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var noon = time.Date(2025, 6, 19, 12, 0, 0, 0, time.UTC)

// proof is one that was shown some time before noon.
func proof(f Factor, ago time.Duration) Proof { return Proof{Factor: f, At: noon.Add(-ago)} }

func verified(p Proof) Proof { p.UserVerified = true; return p }
func held(p Proof) Proof     { p.HeldToMulti = true; return p }

// remembered is a proof for which a browser stands in.
func remembered(p Proof) Proof { p.Remembered = true; return p }

// weights are those of all factors that there are.
var weights = Weights{
	Password: First, Certificate: Machine, FIDO: Unphishable,
	TOTP: Second, Push: Second, BackupCode: Second,
	Email: Second, SMS: Second,
}

func TestOf(t *testing.T) {
	password, totp, fido, device := proof(Password, 0), proof(TOTP, 0), proof(FIDO, 0), proof(Certificate, 0)
	for _, test := range []struct {
		name   string
		proofs []Proof
		want   Level
	}{
		{"nothing", nil, None},
		{"a password", []Proof{password}, Single},
		{"a code alone", []Proof{totp}, None},
		{"a backup code alone", []Proof{proof(BackupCode, 0)}, None},
		{"two codes without a password", []Proof{totp, proof(BackupCode, 0)}, None},
		{"password and code", []Proof{password, totp}, Multi},
		{"the order doesn't count", []Proof{totp, password}, Multi},
		{"password and backup code", []Proof{password, proof(BackupCode, 0)}, Multi},
		{"password and key", []Proof{password, fido}, PhishingResistant},
		{"a key that checked who holds it", []Proof{verified(fido)}, PhishingResistant},
		{"a key that didn't", []Proof{fido}, None},
		{"password and a key in place of a lost one", []Proof{password, held(verified(fido))}, Multi},
		{"a key in place of a lost one, alone", []Proof{held(verified(fido))}, None},
		{"a device", []Proof{device}, Device},
		{"a device and a password", []Proof{device, password}, Multi},
		{"a factor that nobody knows", []Proof{password, proof("", 0)}, Single},
		{"a remembered code", []Proof{remembered(totp)}, None},
		{"password and a remembered code", []Proof{password, remembered(totp)}, Multi},
		{"password and a remembered backup code", []Proof{password, remembered(proof(BackupCode, 0))}, Multi},
		{"password and a remembered key", []Proof{password, remembered(verified(fido))}, Multi},
		{"a remembered key that checked who holds it, alone", []Proof{remembered(verified(fido))}, None},
		{"password, a remembered code and a key", []Proof{password, remembered(totp), fido}, PhishingResistant},
		{"password and a remembered device", []Proof{password, remembered(device)}, Multi},
		{"a remembered device", []Proof{remembered(device)}, None},
		{"a remembered device and a remembered code", []Proof{remembered(device), remembered(totp)}, None},
		{"a device and a remembered code", []Proof{device, remembered(totp)}, Device},
		{"a remembered password", []Proof{remembered(password)}, None},
		{"a remembered password and a code", []Proof{remembered(password), totp}, None},
		{"password and a remembered password", []Proof{password, remembered(password)}, Single},
		{"password and a remembered factor that nobody knows", []Proof{password, remembered(proof("", 0))}, Single},
	} {
		if got := Of(test.proofs, weights); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestFactorsThatAreNotConfiguredCountForNothing(t *testing.T) {
	proofs := []Proof{proof(Password, 0), proof(TOTP, 0)}
	alone := Weights{Password: First}
	if got := Of(proofs, alone); got != Single {
		t.Errorf("without TOTP: %v", got)
	}
	ask := Requirement{Level: Multi, MaxAge: time.Minute}
	if got := ask.Missing(proofs, noon, alone); got != NeedSecond {
		t.Errorf("without TOTP: %v is missing", got)
	}
}

func TestMissing(t *testing.T) {
	for _, test := range []struct {
		name   string
		ask    Requirement
		proofs []Proof
		want   Need
	}{
		{"multi of nobody", Requirement{Level: Multi}, nil, NeedPassword},
		{"multi after the password", Requirement{Level: Multi}, []Proof{proof(Password, 0)}, NeedSecond},
		{"multi", Requirement{Level: Multi}, []Proof{proof(Password, 0), proof(TOTP, 0)}, Nothing},
		{"multi of a device", Requirement{Level: Multi}, []Proof{proof(Certificate, 0)}, NeedPassword},
		{"multi of a device and a password", Requirement{Level: Multi}, []Proof{proof(Password, 0), proof(Certificate, 0)}, NeedSecond},
		{"multi of a device that adds up", Requirement{Level: Multi, Certificate: CertificateAdded}, []Proof{proof(Certificate, 0)}, NeedPassword},
		{"multi of a device that adds up and a password", Requirement{Level: Multi, Certificate: CertificateAdded},
			[]Proof{proof(Password, 0), proof(Certificate, 0)}, Nothing},
		{"single of a device that adds up", Requirement{Level: Single, Certificate: CertificateAdded}, []Proof{proof(Certificate, 0)}, NeedPassword},
		{"phishing-resistant of a device that adds up", Requirement{Level: PhishingResistant, Certificate: CertificateAdded},
			[]Proof{proof(Password, 0), proof(Certificate, 0)}, NeedResistant},
		{"multi, second factor old, a device fresh", Requirement{Level: Multi, MaxAge: time.Minute, Certificate: CertificateAdded},
			[]Proof{proof(Password, 0), proof(TOTP, time.Hour), proof(Certificate, 0)}, NeedSecond},
		{"a device that does", Requirement{Level: Multi, Certificate: CertificateAlone}, []Proof{proof(Certificate, 0)}, Nothing},
		{"a device that would do, and isn't there", Requirement{Level: Multi, Certificate: CertificateAlone}, []Proof{proof(Password, 0)}, NeedSecond},
		{"a device that would do, remembered", Requirement{Level: Multi, Certificate: CertificateAlone},
			[]Proof{remembered(proof(Certificate, 0))}, NeedPassword},
		{"a device that would do but for the age", Requirement{Level: Multi, MaxAge: time.Minute, Certificate: CertificateAlone},
			[]Proof{proof(Certificate, 0)}, NeedPassword},
		{"single of multi", Requirement{Level: Single}, []Proof{proof(Password, 0), proof(TOTP, 0)}, Nothing},
		{"phishing-resistant of nobody", Requirement{Level: PhishingResistant}, nil, NeedPassword},
		{"phishing-resistant of multi", Requirement{Level: PhishingResistant}, []Proof{proof(Password, 0), proof(TOTP, 0)}, NeedResistant},
		{"multi, second factor fresh, password old", Requirement{Level: Multi, MaxAge: time.Minute},
			[]Proof{proof(Password, time.Hour), proof(TOTP, time.Minute)}, Nothing},
		{"multi, second factor old, password fresh", Requirement{Level: Multi, MaxAge: time.Minute},
			[]Proof{proof(Password, 0), proof(TOTP, time.Minute+1)}, NeedSecond},
		{"multi, newest second factor decides", Requirement{Level: Multi, MaxAge: time.Minute},
			[]Proof{proof(Password, time.Hour), proof(TOTP, time.Hour), proof(BackupCode, 0)}, Nothing},
		{"X05 multi, second factor of another node's clock", Requirement{Level: Multi, MaxAge: time.Hour},
			[]Proof{proof(Password, 0), proof(TOTP, -time.Minute)}, Nothing},
		{"X05 multi, second factor from before the clock was set back", Requirement{Level: Multi, MaxAge: time.Hour},
			[]Proof{proof(Password, 0), proof(TOTP, -2*time.Minute)}, NeedSecond},
		{"single, password old, code fresh", Requirement{Level: Single, MaxAge: time.Minute},
			[]Proof{proof(Password, time.Hour), proof(TOTP, 0)}, NeedPassword},
		{"phishing-resistant, key old, code fresh", Requirement{Level: PhishingResistant, MaxAge: time.Minute},
			[]Proof{proof(Password, 0), proof(FIDO, time.Hour), proof(TOTP, 0)}, NeedResistant},
		{"phishing-resistant, a fresh key in place of a lost one", Requirement{Level: PhishingResistant, MaxAge: time.Minute},
			[]Proof{verified(proof(FIDO, time.Hour)), held(proof(FIDO, 0))}, NeedResistant},
		{"multi in a remembered browser", Requirement{Level: Multi}, []Proof{proof(Password, 0), remembered(proof(TOTP, 0))}, Nothing},
		{"multi in a remembered browser, of no password", Requirement{Level: Multi}, []Proof{remembered(proof(TOTP, 0))}, NeedPassword},
		{"fresh multi in a remembered browser", Requirement{Level: Multi, MaxAge: time.Hour},
			[]Proof{proof(Password, 0), remembered(proof(TOTP, 0))}, NeedSecond},
		{"fresh multi in a remembered browser, code shown since", Requirement{Level: Multi, MaxAge: time.Hour},
			[]Proof{proof(Password, 0), remembered(proof(BackupCode, 0)), proof(TOTP, time.Hour)}, Nothing},
		{"phishing-resistant in a browser remembered for a key", Requirement{Level: PhishingResistant},
			[]Proof{proof(Password, 0), remembered(verified(proof(FIDO, 0)))}, NeedResistant},
		{"fresh and phishing-resistant, the key only remembered", Requirement{Level: PhishingResistant, MaxAge: time.Hour},
			[]Proof{verified(proof(FIDO, 2*time.Hour)), remembered(verified(proof(FIDO, 0)))}, NeedResistant},
		{"single with a remembered password", Requirement{Level: Single, MaxAge: time.Hour},
			[]Proof{proof(Password, 2*time.Hour), remembered(proof(Password, 0))}, NeedPassword},
	} {
		if got := test.ask.Missing(test.proofs, noon, weights); got != test.want {
			t.Errorf("%s: %v is missing, want %v", test.name, got, test.want)
		}
	}
}

// TestMissingEnds shows that giving what is asked for ends: no requirement
// asks for ever, and what satisfies it reaches its level.
func TestMissingEnds(t *testing.T) {
	answer := map[Need]Proof{
		NeedPassword: proof(Password, 0), NeedSecond: proof(TOTP, 0), NeedResistant: verified(proof(FIDO, 0)),
	}
	rapid.Check(t, func(t *rapid.T) {
		ask := Requirement{
			Level:       rapid.SampledFrom([]Level{Single, Multi, PhishingResistant}).Draw(t, "level"),
			MaxAge:      time.Duration(rapid.IntRange(0, 100).Draw(t, "max age")) * time.Second,
			Certificate: rapid.SampledFrom([]CertificateUse{CertificateIgnored, CertificateAdded}).Draw(t, "certificate"),
		}
		var proofs []Proof
		for _, f := range rapid.SliceOf(rapid.SampledFrom([]Factor{Password, TOTP, FIDO, BackupCode, Certificate})).Draw(t, "shown") {
			p := proof(f, time.Duration(rapid.IntRange(0, 200).Draw(t, "age"))*time.Second)
			p.Remembered = rapid.Bool().Draw(t, "remembered")
			proofs = append(proofs, p)
		}
		for range 4 {
			need := ask.Missing(proofs, noon, weights)
			if need == Nothing {
				if got := Of(proofs, weights); got < ask.Level {
					t.Fatalf("%v satisfies %v", got, ask)
				}
				return
			}
			proofs = Add(proofs, answer[need])
		}
		t.Fatalf("%+v still asks after %v", ask, proofs)
	})
}

func TestAddKeepsTheNewestOfEachFactorAndChangesNothing(t *testing.T) {
	before := []Proof{proof(Password, time.Hour), proof(TOTP, time.Hour)}
	kept := slices.Clone(before)
	after := Add(before, proof(TOTP, 0))
	if !slices.Equal(before, kept) {
		t.Errorf("the given proofs changed: %v", before)
	}
	if want := []Proof{proof(Password, time.Hour), proof(TOTP, 0)}; !slices.Equal(after, want) {
		t.Errorf("%v, want %v", after, want)
	}
}

// TestAddKeepsTheBetterProof has two step-ups of one sign-on at once: the one
// that began with older proofs takes nothing away from the other.
func TestAddKeepsTheBetterProof(t *testing.T) {
	for _, test := range []struct {
		name             string
		had, added, want Proof
	}{
		{"an older one", proof(TOTP, 0), proof(TOTP, time.Hour), proof(TOTP, 0)},
		{"a remembered one", proof(TOTP, time.Hour), remembered(proof(TOTP, 0)), proof(TOTP, time.Hour)},
		{"one that was shown", remembered(proof(TOTP, 0)), proof(TOTP, time.Hour), proof(TOTP, time.Hour)},
		{"a newer remembered one", remembered(proof(TOTP, time.Hour)), remembered(proof(TOTP, 0)), remembered(proof(TOTP, 0))},
	} {
		if got := Add([]Proof{test.had}, test.added); !slices.Equal(got, []Proof{test.want}) {
			t.Errorf("adding %s: %v", test.name, got)
		}
	}
}

func TestShown(t *testing.T) {
	proofs := []Proof{remembered(proof(TOTP, 0)), proof(Password, 0), remembered(proof(FIDO, 0))}
	kept := slices.Clone(proofs)
	if got := Shown(proofs); !slices.Equal(got, []Proof{proof(Password, 0)}) {
		t.Errorf("shown: %v", got)
	}
	if !slices.Equal(proofs, kept) {
		t.Errorf("the given proofs changed: %v", proofs)
	}
}

func TestParseLevel(t *testing.T) {
	for _, level := range []Level{Device, Single, Multi, PhishingResistant} {
		if got, err := ParseLevel(level.String()); err != nil || got != level {
			t.Errorf("%s: %v, %v", level, got, err)
		}
	}
	for _, written := range []string{"", "none", "Multi", "mfa", "2"} {
		if got, err := ParseLevel(written); err == nil || !strings.Contains(err.Error(), "multi") {
			t.Errorf("%q: %v, %v", written, got, err)
		}
	}
	if got := Level(9).String(); got != "level(9)" {
		t.Errorf("an unknown level is %q", got)
	}
}
