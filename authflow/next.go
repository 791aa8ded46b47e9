package authflow

import (
	"maps"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/factors"
)

// StepKind says what a step asks for.
type StepKind string

// The steps.
const (
	StepAccount     StepKind = "account"      // choose name and password
	StepPassword    StepKind = "password"     // the password, first or again
	StepChallenge   StepKind = "challenge"    // a second factor that is set up
	StepAccessCode  StepKind = "access_code"  // a code from an administrator
	StepEnrol       StepKind = "enrol"        // a factor that is to be set up
	StepNewPassword StepKind = "new_password" // another password is to be chosen
	StepNoFactor    StepKind = "no_factor"    // nothing that is set up would do
	StepGrant       StepKind = "grant"        // all is shown
	StepDone        StepKind = "done"         // an enrolment has finished
)

// AccessCode stands, where a person chooses among second factors, for the code
// that an administrator gave them. It is no factor: it serves to enrol one.
const AccessCode assurance.Factor = "access_code"

// Step is what comes next in a flow.
type Step struct {
	Kind   StepKind
	Factor assurance.Factor // of a challenge or enrolment
	// Others are what would do instead: of a challenge other second factors,
	// and AccessCode where one may be given; of an enrolment other kinds.
	Others []assurance.Factor
	// Resistant says of a challenge that what is held to multi won't do.
	Resistant bool
	// Number and Of count the steps of a set-up.
	Number, Of int
}

// Person is what the next step depends on of the user.
type Person struct {
	// Have are the kinds of factor that are set up.
	Have map[assurance.Factor]bool
	// Usable are the kinds of second factor that can be asked for, in the order
	// in which they are offered.
	Usable []assurance.Factor
	// Resistant says that they have a FIDO credential that counts as
	// phishing-resistant.
	Resistant bool
	// Passwordless says that such a credential is enough without the password,
	// where it verifies the user.
	Passwordless bool
	// NewPassword says that the password has to be replaced.
	NewPassword bool
}

// Next decides what comes next: a pure function of the flow, the person, and
// the factors that are configured. prefer names the factor that the person
// chose, if any.
func Next(f Flow, who Person, set factors.Set, prefer assurance.Factor, now time.Time) Step {
	switch f.Kind {
	case SetUp:
		return nextOfSetUp(f, who, set, prefer)
	case Enrol:
		if f.Done {
			return Step{Kind: StepDone}
		}
		return Step{Kind: StepEnrol, Factor: f.Enrol}
	}
	if len(f.Lost) > 0 {
		return nextOfLoss(f, who, prefer)
	}
	if f.Replacing != "" {
		return replacement(f.Replacing, set, prefer)
	}
	switch f.ask(who).Missing(f.Proofs, now, set.Enabled) {
	case assurance.NeedPassword:
		if keyComesFirst(f, who) {
			return keyStep
		}
		return Step{Kind: StepPassword}
	case assurance.NeedSecond:
		return challenge(f, who, prefer)
	case assurance.NeedFIDO:
		return key(f, who, set, prefer, now)
	}
	if f.Kind == SignIn && assurance.Of(assurance.Shown(f.Proofs), set.Enabled) >= assurance.Multi {
		return mending(who, set, prefer)
	}
	return Step{Kind: StepGrant}
}

// key asks for a security key or passkey. Whoever signs in and has none that
// counts shows what they have: so they are in, though not where they wanted to
// go, and can set one up.
func key(f Flow, who Person, set factors.Set, prefer assurance.Factor, now time.Time) Step {
	switch {
	case who.Resistant:
		return keyStep
	case f.Kind == SignIn:
		f.Ask = assurance.Requirement{Level: assurance.Multi, Certificate: f.Ask.Certificate}
		return Next(f, who, set, prefer, now)
	}
	return Step{Kind: StepNoFactor}
}

// keyStep asks for a security key or passkey that counts as phishing-resistant.
var keyStep = Step{Kind: StepChallenge, Factor: assurance.FIDO, Resistant: true}

// keyComesFirst reports whether a step-up asks for a key ahead of the password,
// since it may then do without: whoever was let in by a certificate has shown
// neither. One that verifies nobody is asked for once, and the password then.
func keyComesFirst(f Flow, who Person) bool {
	return f.Kind == StepUp && f.Ask.Level == assurance.PhishingResistant && who.Resistant && who.Passwordless &&
		!slices.ContainsFunc(f.Proofs, func(p assurance.Proof) bool { return p.Factor == assurance.FIDO && !p.HeldToMulti })
}

// ask is what a flow has to reach. Whoever has to choose another password shows
// two factors first, whatever an app asks for.
func (f Flow) ask(who Person) assurance.Requirement {
	ask := f.Ask
	if who.NewPassword {
		ask.Level = max(ask.Level, assurance.Multi)
	}
	return ask
}

// mending is what a full sign-in still asks for: a new password where one is
// due, and what somebody broke off before it was set up.
func mending(who Person, set factors.Set, prefer assurance.Factor) Step {
	first := firstSecondFactor(set)
	switch {
	case who.NewPassword:
		return Step{Kind: StepNewPassword}
	case first != "" && !slices.ContainsFunc(set, func(f factors.Factor) bool { return factors.IsDaily(f.Kind()) && who.Have[f.Kind()] }):
		return replacement(first, set, prefer)
	case lacksBackupCodes(who, set):
		return Step{Kind: StepEnrol, Factor: assurance.BackupCode}
	}
	return Step{Kind: StepGrant}
}

// nextOfLoss asks for the password in this flow, and then for a second factor
// that isn't lost, or an administrator's code.
func nextOfLoss(f Flow, who Person, prefer assurance.Factor) Step {
	if f.PasswordMark == "" {
		return Step{Kind: StepPassword}
	}
	if prefer == AccessCode || len(who.Usable) == 0 {
		return Step{Kind: StepAccessCode, Others: who.Usable}
	}
	step := chosen(who.Usable, prefer)
	step.Others = append(step.Others, AccessCode)
	return step
}

// replacement has a second factor set up in the place of a lost one, or of none.
func replacement(lost assurance.Factor, set factors.Set, prefer assurance.Factor) Step {
	var kinds []assurance.Factor
	for _, f := range set {
		if factors.IsDaily(f.Kind()) {
			kinds = append(kinds, f.Kind())
		}
	}
	if !slices.Contains(kinds, prefer) {
		prefer = lost
	}
	step := chosen(kinds, prefer)
	if step.Kind == StepChallenge {
		step.Kind = StepEnrol
	}
	return step
}

func nextOfSetUp(f Flow, who Person, set factors.Set, prefer assurance.Factor) Step {
	of := 2
	if set.Enabled(assurance.BackupCode) {
		of = 3
	}
	switch {
	case f.Account == nil:
		return Step{Kind: StepAccount, Number: 1, Of: of}
	case len(f.Proofs) == 0:
		first := firstSecondFactor(set)
		if first == "" {
			return Step{Kind: StepNoFactor}
		}
		step := replacement(first, set, prefer)
		step.Number, step.Of = 2, of
		return step
	case lacksBackupCodes(who, set):
		return Step{Kind: StepEnrol, Factor: assurance.BackupCode, Number: 3, Of: of}
	}
	return Step{Kind: StepGrant}
}

// firstSecondFactor returns the recommended second factor, or none.
func firstSecondFactor(set factors.Set) assurance.Factor {
	for _, f := range set {
		if factors.IsDaily(f.Kind()) {
			return f.Kind()
		}
	}
	return ""
}

func lacksBackupCodes(who Person, set factors.Set) bool {
	return set.Enabled(assurance.BackupCode) && !who.Have[assurance.BackupCode]
}

// challenge asks for one of the second factors that somebody can use. Whoever
// signs in and has none set up can be helped by an administrator's code.
func challenge(f Flow, who Person, prefer assurance.Factor) Step {
	switch {
	case len(who.Usable) > 0:
		return chosen(who.Usable, prefer)
	case f.Kind == SignIn && f.PasswordMark != "" && !slices.ContainsFunc(have(who), assurance.Factor.IsSecond):
		return Step{Kind: StepAccessCode}
	}
	return Step{Kind: StepNoFactor}
}

// have lists the kinds that somebody has set up.
func have(who Person) []assurance.Factor { return slices.Collect(maps.Keys(who.Have)) }

// chosen asks for the preferred one of some kinds, else for the first.
func chosen(kinds []assurance.Factor, prefer assurance.Factor) Step {
	if len(kinds) == 0 {
		return Step{Kind: StepNoFactor}
	}
	if !slices.Contains(kinds, prefer) {
		prefer = kinds[0]
	}
	others := slices.DeleteFunc(slices.Clone(kinds), func(k assurance.Factor) bool { return k == prefer })
	return Step{Kind: StepChallenge, Factor: prefer, Others: others}
}
