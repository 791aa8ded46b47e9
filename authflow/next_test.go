package authflow

import (
	"slices"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/store"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// kindOnly is a factor of which only the kind matters.
type kindOnly struct {
	factors.Factor
	kind assurance.Factor
}

func (k kindOnly) Kind() assurance.Factor { return k.kind }

func (k kindOnly) Traits() factors.Traits {
	switch k.kind {
	case assurance.FIDO:
		return factors.Traits{Weight: assurance.Unphishable, Daily: true, Recalls: true}
	case assurance.BackupCode:
		return factors.Traits{Weight: assurance.Second}
	case assurance.Email:
		return factors.Traits{Weight: assurance.Second, Daily: true, ByMail: true}
	}
	return factors.Traits{Weight: assurance.Second, Daily: true, Recalls: true, Guessable: true}
}

// elsewhere is a factor whose credentials work in one realm alone.
type elsewhere struct{ kindOnly }

func (elsewhere) Realm() string { return "example.com" }

func setOf(kinds ...assurance.Factor) factors.Set {
	var set factors.Set
	for _, k := range kinds {
		set = append(set, kindOnly{kind: k})
	}
	return set
}

// personWith is somebody who has set up these kinds.
func personWith(have []assurance.Factor, set factors.Set) Person {
	who := Person{Have: make(map[assurance.Factor]bool)}
	for _, k := range have {
		who.Have[k] = true
		who.Resistant = who.Resistant || k == assurance.FIDO
	}
	for _, f := range set {
		if who.Have[f.Kind()] {
			who.Usable = append(who.Usable, f.Kind())
		}
	}
	return who
}

func TestNext(t *testing.T) {
	const (
		password = assurance.Password
		totp     = assurance.TOTP
		backup   = assurance.BackupCode
		fido     = assurance.FIDO
	)
	type kinds = []assurance.Factor
	usual := setOf(totp, backup)
	multi := assurance.Requirement{Level: assurance.Multi}
	single := assurance.Requirement{Level: assurance.Single}
	hardened := assurance.Requirement{Level: assurance.PhishingResistant}
	shown := func(age time.Duration, kinds ...assurance.Factor) []assurance.Proof {
		var proofs []assurance.Proof
		for _, k := range kinds {
			proofs = append(proofs, assurance.Proof{Factor: k, At: noon.Add(-age)})
		}
		return proofs
	}
	all := kinds{password, totp, backup}
	for _, c := range []struct {
		what   string
		flow   Flow
		have   kinds
		set    factors.Set
		prefer assurance.Factor
		want   Step
	}{
		{"sign-in, nothing shown", Flow{Kind: SignIn, Ask: multi}, all, usual, "", Step{Kind: StepPassword}},
		{"sign-in, nothing shown, a second factor preferred", Flow{Kind: SignIn, Ask: multi}, all, usual, totp, Step{Kind: StepPassword}},
		{"sign-in, the second factor alone", Flow{Kind: SignIn, Ask: multi, Proofs: shown(0, totp)}, all, usual, "", Step{Kind: StepPassword}},
		{"sign-in, password shown", Flow{Kind: SignIn, Ask: multi, Proofs: shown(0, password)}, all, usual, "", Step{Kind: StepChallenge, Factor: totp, Others: kinds{backup}}},
		{"sign-in, backup code preferred", Flow{Kind: SignIn, Ask: multi, Proofs: shown(0, password)}, all, usual, backup, Step{Kind: StepChallenge, Factor: backup, Others: kinds{totp}}},
		{"sign-in, a factor preferred that isn't set up", Flow{Kind: SignIn, Ask: multi, Proofs: shown(0, password)}, kinds{password, totp}, usual, backup, Step{Kind: StepChallenge, Factor: totp}},
		{"sign-in, the password preferred for second", Flow{Kind: SignIn, Ask: multi, Proofs: shown(0, password)}, all, usual, password, Step{Kind: StepChallenge, Factor: totp, Others: kinds{backup}}},
		{"sign-in, only factors that aren't configured", Flow{Kind: SignIn, Ask: multi, Proofs: shown(0, password)}, kinds{password, fido}, usual, fido, Step{Kind: StepNoFactor}},
		{"sign-in, factorless", Flow{Kind: SignIn, Ask: multi, Proofs: shown(0, password)}, kinds{password}, usual, "", Step{Kind: StepNoFactor}},
		{"sign-in, a set that is empty", Flow{Kind: SignIn, Ask: multi, Proofs: shown(0, password)}, all, nil, "", Step{Kind: StepNoFactor}},
		{"sign-in, all shown", Flow{Kind: SignIn, Ask: multi, Proofs: shown(0, password, totp)}, all, usual, "", Step{Kind: StepGrant}},
		{"sign-in, shown by what is no longer configured", Flow{Kind: SignIn, Ask: multi, Proofs: shown(0, password, fido)}, all, usual, "", Step{Kind: StepChallenge, Factor: totp, Others: kinds{backup}}},
		{"sign-in, all shown, backup codes never saved", Flow{Kind: SignIn, Ask: multi, Proofs: shown(0, password, totp)}, kinds{password, totp}, usual, "", Step{Kind: StepEnrol, Factor: backup}},
		{"sign-in, no backup codes configured", Flow{Kind: SignIn, Ask: multi, Proofs: shown(0, password, totp)}, kinds{password, totp}, setOf(totp), "", Step{Kind: StepGrant}},
		{"sign-in, content with a password", Flow{Kind: SignIn, Ask: single, Proofs: shown(0, password)}, kinds{password, totp}, usual, "", Step{Kind: StepGrant}},
		{"sign-in, a security key asked for and none there", Flow{Kind: SignIn, Ask: hardened, Proofs: shown(0, password)}, all, setOf(totp, fido, backup), "", Step{Kind: StepChallenge, Factor: totp, Others: kinds{backup}}},
		{"sign-in, a security key asked for and none there, all else shown", Flow{Kind: SignIn, Ask: hardened, Proofs: shown(0, password, totp)}, all, setOf(totp, fido, backup), "", Step{Kind: StepGrant}},
		{"sign-in, a fresh security key asked for and none there", Flow{Kind: SignIn, Ask: assurance.Requirement{Level: assurance.PhishingResistant, MaxAge: time.Minute}, Proofs: shown(time.Hour, password, totp)}, all, setOf(totp, fido, backup), "", Step{Kind: StepGrant}},
		{"sign-in, a security key asked for", Flow{Kind: SignIn, Ask: hardened, Proofs: shown(0, password)}, kinds{password, totp, backup, fido}, setOf(fido, totp, backup), totp, Step{Kind: StepChallenge, Factor: fido}},

		{"sign-in, factorless, after the password", Flow{Kind: SignIn, Ask: multi, PasswordMark: "m", Proofs: shown(0, password)}, kinds{password}, usual, "", Step{Kind: StepAccessCode}},
		{"sign-in, an access code where there is a factor", Flow{Kind: SignIn, Ask: multi, PasswordMark: "m", Proofs: shown(0, password)}, all, usual, AccessCode, Step{Kind: StepChallenge, Factor: totp, Others: kinds{backup}}},
		{"sign-in, backup codes alone are left", Flow{Kind: SignIn, Ask: multi, Proofs: shown(0, password, backup)}, kinds{password, backup}, usual, "", Step{Kind: StepEnrol, Factor: totp}},
		{"sign-in, backup codes alone are left, and another kind is wanted", Flow{Kind: SignIn, Ask: multi, Proofs: shown(0, password, backup)}, kinds{password, backup}, setOf(totp, fido, backup), fido, Step{Kind: StepEnrol, Factor: fido, Others: kinds{totp}}},
		{"sign-in, backup codes alone are configured", Flow{Kind: SignIn, Ask: multi, Proofs: shown(0, password, backup)}, kinds{password, backup}, setOf(backup), "", Step{Kind: StepGrant}},

		{"loss, the password comes first", Flow{Kind: SignIn, Ask: multi, Lost: []string{"c"}}, kinds{password, backup}, usual, "", Step{Kind: StepPassword}},
		{"loss, a proof of another flow doesn't count", Flow{Kind: SignIn, Ask: multi, Lost: []string{"c"}, Proofs: shown(0, password, totp)}, kinds{password, backup}, usual, "", Step{Kind: StepPassword}},
		{"loss, what is left is asked for", Flow{Kind: SignIn, Ask: multi, Lost: []string{"c"}, PasswordMark: "m", Proofs: shown(0, password)}, kinds{password, backup}, usual, "", Step{Kind: StepChallenge, Factor: backup, Others: kinds{AccessCode}}},
		{"loss, an access code preferred", Flow{Kind: SignIn, Ask: multi, Lost: []string{"c"}, PasswordMark: "m", Proofs: shown(0, password)}, kinds{password, backup}, usual, AccessCode, Step{Kind: StepAccessCode, Others: kinds{backup}}},
		{"loss, nothing is left", Flow{Kind: SignIn, Ask: multi, Lost: []string{"c"}, PasswordMark: "m", Proofs: shown(0, password)}, kinds{password}, usual, "", Step{Kind: StepAccessCode}},
		{"replacement, by an access code", Flow{Kind: SignIn, Ask: multi, Replacing: totp, PasswordMark: "m", Proofs: shown(0, password)}, kinds{password}, usual, "", Step{Kind: StepEnrol, Factor: totp}},
		{"replacement, by another kind", Flow{Kind: SignIn, Ask: multi, Replacing: totp, PasswordMark: "m", Proofs: shown(0, password, backup)}, kinds{password, backup}, setOf(fido, totp, backup), fido, Step{Kind: StepEnrol, Factor: fido, Others: kinds{totp}}},
		{"replacement, before all else", Flow{Kind: SignIn, Ask: single, Replacing: totp, PasswordMark: "m", Proofs: shown(0, password)}, kinds{password}, usual, "", Step{Kind: StepEnrol, Factor: totp}},

		{"enrolment", Flow{Kind: Enrol, Enrol: totp}, all, usual, backup, Step{Kind: StepEnrol, Factor: totp}},
		{"enrolment, done", Flow{Kind: Enrol, Enrol: totp, Done: true}, all, usual, "", Step{Kind: StepDone}},

		{"step-up, from a password", Flow{Kind: StepUp, Ask: multi, Proofs: shown(time.Hour, password)}, all, usual, "", Step{Kind: StepChallenge, Factor: totp, Others: kinds{backup}}},
		{"step-up, second factor too old", Flow{Kind: StepUp, Ask: assurance.Requirement{Level: assurance.Multi, MaxAge: time.Minute}, Proofs: shown(time.Hour, password, totp)}, all, usual, "", Step{Kind: StepChallenge, Factor: totp, Others: kinds{backup}}},
		{"step-up, second factor fresh, password old", Flow{Kind: StepUp, Ask: assurance.Requirement{Level: assurance.Multi, MaxAge: time.Minute}, Proofs: append(shown(time.Hour, password), shown(0, totp)...)}, all, usual, "", Step{Kind: StepGrant}},
		{"step-up, password too old", Flow{Kind: StepUp, Ask: assurance.Requirement{Level: assurance.Single, MaxAge: time.Minute}, Proofs: shown(time.Hour, password)}, all, usual, "", Step{Kind: StepPassword}},
		{"step-up, a security key asked for", Flow{Kind: StepUp, Ask: hardened, Proofs: shown(time.Hour, password, totp)}, kinds{password, totp, backup, fido}, setOf(totp, fido, backup), totp, Step{Kind: StepChallenge, Factor: fido}},
		{"step-up, a security key asked for and none there", Flow{Kind: StepUp, Ask: hardened, Proofs: shown(time.Hour, password, totp)}, all, setOf(totp, fido, backup), totp, Step{Kind: StepNoFactor}},
		{"step-up doesn't enrol", Flow{Kind: StepUp, Ask: multi, Proofs: shown(0, password, totp)}, kinds{password, totp}, usual, "", Step{Kind: StepGrant}},

		{"set-up, begun", Flow{Kind: SetUp, Ask: multi}, nil, usual, "", Step{Kind: StepAccount, Number: 1, Of: 3}},
		{"set-up, begun, without backup codes", Flow{Kind: SetUp, Ask: multi}, nil, setOf(totp), "", Step{Kind: StepAccount, Number: 1, Of: 2}},
		{"set-up, account chosen", Flow{Kind: SetUp, Ask: multi, Account: new(account)}, nil, usual, "", Step{Kind: StepEnrol, Factor: totp, Number: 2, Of: 3}},
		{"set-up, account chosen, others to choose from", Flow{Kind: SetUp, Ask: multi, Account: new(account)}, nil, setOf(totp, fido, backup), "", Step{Kind: StepEnrol, Factor: totp, Others: kinds{fido}, Number: 2, Of: 3}},
		{"set-up, another chosen", Flow{Kind: SetUp, Ask: multi, Account: new(account)}, nil, setOf(totp, fido, backup), fido, Step{Kind: StepEnrol, Factor: fido, Others: kinds{totp}, Number: 2, Of: 3}},
		{"set-up, backup codes can't be chosen first", Flow{Kind: SetUp, Ask: multi, Account: new(account)}, nil, setOf(totp, fido, backup), backup, Step{Kind: StepEnrol, Factor: totp, Others: kinds{fido}, Number: 2, Of: 3}},
		{"set-up, account chosen, nothing to set up", Flow{Kind: SetUp, Ask: multi, Account: new(account)}, nil, nil, "", Step{Kind: StepNoFactor}},
		{"set-up, backup codes are never the only factor", Flow{Kind: SetUp, Ask: multi, Account: new(account)}, nil, setOf(backup), backup, Step{Kind: StepNoFactor}},
		{"set-up, authenticator confirmed", Flow{Kind: SetUp, Ask: multi, Account: new(account), Proofs: shown(0, password, totp)}, kinds{password, totp}, usual, "", Step{Kind: StepEnrol, Factor: backup, Number: 3, Of: 3}},
		{"set-up, all done", Flow{Kind: SetUp, Ask: multi, Account: new(account), Proofs: shown(0, password, totp)}, all, usual, "", Step{Kind: StepGrant}},
		{"set-up, done without backup codes", Flow{Kind: SetUp, Ask: multi, Account: new(account), Proofs: shown(0, password, totp)}, kinds{password, totp}, setOf(totp), "", Step{Kind: StepGrant}},
	} {
		t.Run(c.what, func(t *testing.T) {
			got := Next(c.flow, personWith(c.have, c.set), c.set, c.prefer, noon)
			if got.Kind != c.want.Kind || got.Factor != c.want.Factor || !slices.Equal(got.Others, c.want.Others) ||
				got.Number != c.want.Number || got.Of != c.want.Of {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestNextAsksForANewPassword(t *testing.T) {
	set := setOf(assurance.TOTP, assurance.BackupCode)
	who := personWith([]assurance.Factor{assurance.Password, assurance.TOTP}, set)
	who.NewPassword = true
	password := assurance.Proof{Factor: assurance.Password, At: noon}
	for what, c := range map[string]struct {
		ask   assurance.Level
		shown []assurance.Proof
		want  StepKind
	}{
		"two factors come first, whatever is asked": {assurance.Single, []assurance.Proof{password}, StepChallenge},
		"after two factors":                         {assurance.Multi, []assurance.Proof{password, {Factor: assurance.TOTP, At: noon}}, StepNewPassword},
	} {
		f := Flow{Kind: SignIn, Ask: assurance.Requirement{Level: c.ask}, PasswordMark: "m", Proofs: c.shown}
		if got := Next(f, who, set, "", noon); got.Kind != c.want {
			t.Errorf("%s: %+v", what, got)
		}
	}
}

func TestWorthOffering(t *testing.T) {
	password, totp := assurance.Proof{Factor: assurance.Password, At: noon}, assurance.Proof{Factor: assurance.TOTP, At: noon}
	asked := assurance.Requirement{Level: assurance.Multi}
	usual := setOf(assurance.TOTP, assurance.FIDO, assurance.BackupCode)
	had := func(kind assurance.Factor) store.Credential {
		return store.Credential{ID: "id of " + string(kind), Kind: kind, State: store.CredentialActive, Created: noon.Add(-time.Nanosecond)}
	}
	for _, c := range []struct {
		what   string
		change func(f *Flow, all *[]store.Credential, set *factors.Set)
		want   bool
	}{
		{"password and code", func(*Flow, *[]store.Credential, *factors.Set) {}, true},
		{"password and backup code", func(f *Flow, _ *[]store.Credential, _ *factors.Set) {
			f.Proofs[1].Factor = assurance.BackupCode
		}, true},
		{"an app that is content with the password", func(f *Flow, _ *[]store.Credential, _ *factors.Set) {
			f.Ask.Level, f.Proofs = assurance.Single, f.Proofs[:1]
		}, false},
		{"an app that opens by a key alone", func(f *Flow, _ *[]store.Credential, _ *factors.Set) {
			f.Ask.Level = assurance.PhishingResistant
		}, false},
		{"a remembered browser stands in", func(f *Flow, _ *[]store.Credential, _ *factors.Set) { f.Proofs[1].Remembered = true }, false},
		{"a shared computer", func(f *Flow, _ *[]store.Credential, _ *factors.Set) { f.Shared = true }, false},
		{"a browser that can't, or has no scripts", func(f *Flow, _ *[]store.Credential, _ *factors.Set) { f.CanPasskey = false }, false},
		{"a step-up", func(f *Flow, _ *[]store.Credential, _ *factors.Set) { f.Kind = StepUp }, false},
		{"a set-up", func(f *Flow, _ *[]store.Credential, _ *factors.Set) { f.Kind = SetUp }, false},
		{"keys aren't configured", func(_ *Flow, _ *[]store.Credential, set *factors.Set) { *set = setOf(assurance.TOTP) }, false},
		{"a key is there", func(_ *Flow, all *[]store.Credential, _ *factors.Set) { *all = append(*all, had(assurance.FIDO)) }, false},
		{"a key is there, and lost", func(_ *Flow, all *[]store.Credential, _ *factors.Set) {
			lost := had(assurance.FIDO)
			lost.State = store.CredentialSuspended
			*all = append(*all, lost)
		}, false},
		{"a key is there, for another RP ID", func(_ *Flow, all *[]store.Credential, set *factors.Set) {
			*set = append(setOf(assurance.TOTP), elsewhere{kindOnly{kind: assurance.FIDO}})
			*all = append(*all, had(assurance.FIDO))
		}, true},
		{"something lost was replaced on the way", func(_ *Flow, all *[]store.Credential, _ *factors.Set) {
			(*all)[1].State = store.CredentialSuspended
			fresh := had(assurance.TOTP)
			fresh.Created = noon
			*all = append(*all, fresh)
		}, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			f := Flow{Kind: SignIn, Ask: asked, CanPasskey: true, Started: noon, Proofs: []assurance.Proof{password, totp}}
			all, set := []store.Credential{had(assurance.Password), had(assurance.TOTP), had(assurance.BackupCode)}, usual
			c.change(&f, &all, &set)
			if got := worthOffering(f, all, set); got != c.want {
				t.Errorf("a passkey is offered: %v", got)
			}
		})
	}
}

// TestJudgedFlowsCantBeSaved holds that what a remembered browser stands in for
// never gets into the store.
func TestJudgedFlowsCantBeSaved(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it was saved")
		}
	}()
	_ = new(Engine).save(t.Context(), nil, &Flow{judged: true})
}

// TestM01MailedInvitations wants no set-up by a mailed link to offer what the reader of
// the mailbox can do.
func TestM01MailedInvitations(t *testing.T) {
	f := Flow{Kind: SetUp, Mailed: true, Account: &account{}}
	with := setOf(assurance.Email, assurance.TOTP, assurance.FIDO)
	step := Next(f, Person{}, with, assurance.Email, noon)
	if step.Factor != assurance.TOTP || slices.Contains(step.Others, assurance.Email) {
		t.Errorf("a mailed invitation leads to %+v", step)
	}
	if step := Next(f, Person{}, setOf(assurance.Email), assurance.Email, noon); step.Kind != StepNoFactor {
		t.Errorf("with codes by e-mail alone, a mailed invitation leads to %+v", step)
	}
	f.Mailed = false
	if step := Next(f, Person{}, with, assurance.Email, noon); step.Factor != assurance.Email {
		t.Errorf("another invitation leads to %+v", step)
	}
}
