package authflow

import (
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/factors"
)

// StepKind says what a step asks for.
type StepKind string

// The steps.
const (
	StepAccount   StepKind = "account"   // choose name and password
	StepPassword  StepKind = "password"  // the password, first or again
	StepChallenge StepKind = "challenge" // a second factor that is set up
	StepEnrol     StepKind = "enrol"     // a factor that is to be set up
	StepNoFactor  StepKind = "no_factor" // nothing that is set up would do
	StepGrant     StepKind = "grant"     // all is shown
)

// Step is what comes next in a flow.
type Step struct {
	Kind   StepKind
	Factor assurance.Factor   // of a challenge or enrolment
	Others []assurance.Factor // other second factors that would do
	// Number and Of count the steps of a set-up.
	Number, Of int
}

// Next decides what comes next: a pure function of the flow, the kinds of
// factor that the user has set up, and the factors that are configured.
// prefer names the second factor that the person chose, if any.
func Next(f Flow, have map[assurance.Factor]bool, set factors.Set, prefer assurance.Factor, now time.Time) Step {
	if f.Kind == SetUp {
		return nextOfSetUp(f, have, set)
	}
	switch f.Ask.Missing(f.Proofs, now, set.Enabled) {
	case assurance.NeedPassword:
		return Step{Kind: StepPassword}
	case assurance.NeedSecond:
		return challenge(usable(have, set, func(k assurance.Factor) bool { return k.IsSecond() }), prefer)
	case assurance.NeedFIDO:
		return challenge(usable(have, set, func(k assurance.Factor) bool { return k == assurance.FIDO }), prefer)
	}
	// Whoever broke off the set-up before the backup codes were saved is asked
	// again at the next sign-in that shows two factors.
	if f.Kind == SignIn && assurance.Of(assurance.Shown(f.Proofs), set.Enabled) >= assurance.Multi && lacksBackupCodes(have, set) {
		return Step{Kind: StepEnrol, Factor: assurance.BackupCode}
	}
	return Step{Kind: StepGrant}
}

func nextOfSetUp(f Flow, have map[assurance.Factor]bool, set factors.Set) Step {
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
		return Step{Kind: StepEnrol, Factor: first, Number: 2, Of: of}
	case lacksBackupCodes(have, set):
		return Step{Kind: StepEnrol, Factor: assurance.BackupCode, Number: 3, Of: of}
	}
	return Step{Kind: StepGrant}
}

// firstSecondFactor returns the recommended second factor; backup codes stand
// beside one and are never the only one.
func firstSecondFactor(set factors.Set) assurance.Factor {
	for _, f := range set {
		if f.Kind() != assurance.BackupCode {
			return f.Kind()
		}
	}
	return ""
}

func lacksBackupCodes(have map[assurance.Factor]bool, set factors.Set) bool {
	return set.Enabled(assurance.BackupCode) && !have[assurance.BackupCode]
}

// usable returns the configured factors that the user has and that suit, in
// the order of recommendation.
func usable(have map[assurance.Factor]bool, set factors.Set, suits func(assurance.Factor) bool) []assurance.Factor {
	var kinds []assurance.Factor
	for _, f := range set {
		if have[f.Kind()] && suits(f.Kind()) {
			kinds = append(kinds, f.Kind())
		}
	}
	return kinds
}

func challenge(kinds []assurance.Factor, prefer assurance.Factor) Step {
	if len(kinds) == 0 {
		return Step{Kind: StepNoFactor}
	}
	chosen := kinds[0]
	if slices.Contains(kinds, prefer) {
		chosen = prefer
	}
	others := slices.DeleteFunc(kinds, func(k assurance.Factor) bool { return k == chosen })
	return Step{Kind: StepChallenge, Factor: chosen, Others: others}
}
