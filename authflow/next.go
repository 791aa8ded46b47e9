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
// that an administrator gave them. It isn't a factor: it is for enrolling one.
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
	case Reset:
		return nextOfReset(f, who, set, prefer)
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
	switch f.ask(who).Missing(f.Proofs, now, set.Weights()) {
	case assurance.NeedPassword:
		if resistantComesFirst(f, who, set) {
			return resistantStep(set)
		}
		return Step{Kind: StepPassword}
	case assurance.NeedSecond:
		return challenge(f, who, prefer)
	case assurance.NeedResistant:
		return resistant(f, who, set, prefer, now)
	}
	if f.Kind == SignIn && assurance.Of(assurance.Shown(f.Proofs), set.Weights()) >= assurance.Multi {
		return mending(who, set, prefer)
	}
	return Step{Kind: StepGrant}
}

// resistant asks for what resists phishing. Whoever signs in and has nothing of
// that kind shows what they have: so they are in, though not where they wanted
// to go, and can set one up.
func resistant(f Flow, who Person, set factors.Set, prefer assurance.Factor, now time.Time) Step {
	switch {
	case who.Resistant:
		return resistantStep(set)
	case f.Kind == SignIn:
		f.Ask = assurance.Requirement{Level: assurance.Multi, Certificate: f.Ask.Certificate}
		return Next(f, who, set, prefer, now)
	}
	return Step{Kind: StepNoFactor}
}

// resistantStep asks for a credential that counts as phishing-resistant.
func resistantStep(set factors.Set) Step {
	return Step{Kind: StepChallenge, Factor: set.First(isResistant), Resistant: true}
}

// resistantComesFirst reports whether a step-up asks for what resists phishing
// ahead of the password, since it may then do without: whoever was let in by a
// certificate has shown neither. One that verifies nobody is asked for once, and
// the password then.
func resistantComesFirst(f Flow, who Person, set factors.Set) bool {
	return f.Kind == StepUp && f.Ask.Level == assurance.PhishingResistant && who.Resistant && who.Passwordless &&
		!slices.ContainsFunc(f.Proofs, func(p assurance.Proof) bool { return isResistant(set.Traits(p.Factor)) && !p.HeldToMulti })
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
	first := set.First(isDaily)
	switch {
	case who.NewPassword:
		return Step{Kind: StepNewPassword}
	case first != "" && !slices.ContainsFunc(set, func(f factors.Factor) bool { return f.Traits().Daily && who.Have[f.Kind()] }):
		return replacement(first, set, prefer)
	}
	if lacking := standbys(set, who.lacks); len(lacking) > 0 {
		return Step{Kind: StepEnrol, Factor: lacking[0]}
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
		if f.Traits().Daily {
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
	if f.Mailed {
		set = withoutMail(set)
	}
	of := 2 + len(standbys(set, func(assurance.Factor) bool { return true }))
	lacking := standbys(set, who.lacks)
	switch {
	case f.Account == nil:
		return Step{Kind: StepAccount, Number: 1, Of: of}
	case len(f.Proofs) == 0:
		first := set.First(isDaily)
		if first == "" {
			return Step{Kind: StepNoFactor}
		}
		step := replacement(first, set, prefer)
		step.Number, step.Of = 2, of
		return step
	case len(lacking) > 0:
		return Step{Kind: StepEnrol, Factor: lacking[0], Number: of - len(lacking) + 1, Of: of}
	}
	return Step{Kind: StepGrant}
}

// withoutMail returns the factors whose answers can't be read in a mailbox.
func withoutMail(set factors.Set) factors.Set {
	return slices.DeleteFunc(slices.Clone(set), func(f factors.Factor) bool { return f.Traits().ByMail })
}

// isDaily is of factors that may be somebody's only second one.
func isDaily(t factors.Traits) bool { return t.Daily }

// isResistant is of factors whose proofs count as phishing-resistant.
func isResistant(t factors.Traits) bool { return t.Weight == assurance.Unphishable }

// standbys lists the kinds that stand by for need, and are meant.
func standbys(set factors.Set, meant func(assurance.Factor) bool) []assurance.Factor {
	var kinds []assurance.Factor
	for _, f := range set {
		if !f.Traits().Daily && meant(f.Kind()) {
			kinds = append(kinds, f.Kind())
		}
	}
	return kinds
}

// lacks reports whether somebody hasn't set up a kind.
func (p Person) lacks(kind assurance.Factor) bool { return !p.Have[kind] }

// challenge asks for one of the second factors that somebody can use. Whoever
// signs in and has none set up can be helped by an administrator's code.
func challenge(f Flow, who Person, prefer assurance.Factor) Step {
	switch {
	case len(who.Usable) > 0:
		return chosen(who.Usable, prefer)
	case f.Kind == SignIn && f.PasswordMark != "" && !slices.ContainsFunc(have(who), isSecondKind):
		return Step{Kind: StepAccessCode}
	}
	return Step{Kind: StepNoFactor}
}

// isSecondKind reports whether a kind that is set up is a second factor.
func isSecondKind(kind assurance.Factor) bool { return kind != assurance.Password }

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
