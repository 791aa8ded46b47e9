package authflow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
)

// EnrolWithin is how long adding a credential may take before a fresh check is
// asked for once more.
const EnrolWithin = 15 * time.Minute

// Enrolment begins the enrolment that a flow is at, or resumes it after a
// reload, and returns its page. ErrWrongStep, person.ErrStale, credentials.ErrUnknown
// and ErrFlowGone are definite.
func (e *Engine) Enrolment(ctx context.Context, f Flow, kind assurance.Factor, c person.Client) (Page, error) {
	// Asked for here, too: an authenticator makes what it then can't take back.
	if f.Kind == Enrol {
		err := e.Store.Atomically(ctx, func(tx store.Tx) error {
			_, err := e.stillChanging(ctx, tx, f)
			return err
		})
		if err != nil {
			return Page{}, err
		}
	}
	return e.render(ctx, f, ceremony.Enrolment, kind, c)
}

// enrolling returns the factor that a flow is about to enrol, or ErrWrongStep;
// credentials.ErrUnknown where a reload has taken it out of the configuration since.
func (e *Engine) enrolling(ctx context.Context, f Flow, kind assurance.Factor) (factors.Factor, error) {
	step, err := e.Step(ctx, f, kind)
	if err != nil {
		return nil, err
	}
	if step.Kind != StepEnrol || step.Factor != kind {
		return nil, ErrWrongStep
	}
	factor, err := e.Vault.Factors.Get(kind)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", credentials.ErrUnknown, err)
	}
	return factor, nil
}

// EnrolmentAnswer is what somebody gives to show that a new credential works.
type EnrolmentAnswer struct {
	Factor assurance.Factor
	// Name is what they call it; empty: what its model is called, if that is
	// known, else Unnamed, else what the factor calls it.
	Name, Unnamed string
	Answer        factors.Answer // nil: to collect what another device has answered
}

// AnswerEnrolment checks whether a new credential works and, if so, keeps it.
// In a set-up the first one makes the account: user, password and factor come
// into being together, and the link is spent, or nothing happens at all.
// *factors.Refused, *person.Invalid with the field "name", credentials.ErrTooMany, ErrWrongStep,
// credentials.ErrUnknown and ErrFlowGone are definite, and so is person.ErrStale, by which nothing is spent: BeginFreshCheck leads
// back.
func (e *Engine) AnswerEnrolment(ctx context.Context, f Flow, given EnrolmentAnswer, c person.Client) error {
	return e.retried(ctx, f, func(f Flow) error { return e.answerEnrolment(ctx, f, given, c) })
}

func (e *Engine) answerEnrolment(ctx context.Context, f Flow, given EnrolmentAnswer, c person.Client) error {
	q, err := e.pose(ctx, f, ceremony.Enrolment, given.Factor)
	if err != nil {
		return err
	}
	if err := e.checkAnswerable(q, given.Answer); err != nil {
		return err
	}
	if given.Name != "" {
		if given.Name, err = person.CredentialName(given.Name); err != nil {
			return err
		}
	}
	verdict := factors.Verdict{Reason: factors.Expired, Closes: true}
	if e.isOpen(q) {
		if verdict, err = q.ceremony.Check(f.waiting(ctx), q.asking, q.kept.State, given.Answer); err != nil {
			return q.failing("checking an answer to", err)
		}
	}
	refused := &factors.Refused{Reason: verdict.Reason, Drift: verdict.Drift, RetryAfter: verdict.RetryAfter}
	if verdict.Barred {
		refused.Model, refused.Credential = verdict.Model.Name, verdict.Made.Unique
		e.Audit.Record(ctx, audit.FactorBarred, f.UserID, barred(f, given.Factor, verdict, c))
	}
	switch verdict.Outcome {
	case factors.OutcomePending:
		return e.pend(ctx, q, verdict)
	case factors.OutcomeAccepted:
		if verdict.Made.Name, err = e.nameOf(ctx, f, given, verdict); err != nil {
			return err
		}
		if err := e.keepCredential(ctx, q, verdict, c); !errors.As(err, &refused) {
			return err
		}
		verdict = factors.Verdict{Closes: true}
	}
	if err := e.refuse(ctx, q, verdict); errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("%w: %w", ErrWrongStep, err)
	} else if err != nil {
		return err
	}
	return refused
}

// barred says what was kept out and why.
func barred(f Flow, kind assurance.Factor, refused factors.Verdict, c person.Client) audit.Fields {
	return audit.Fields{
		audit.User: f.Name, audit.Factor: string(kind), audit.Reason: string(refused.Reason),
		audit.ModelID: refused.Model.ID, audit.Model: refused.Model.Name,
		audit.Address: c.Address, audit.UserAgent: c.UserAgent,
	}
}

// nameOf returns what a new credential is called.
func (e *Engine) nameOf(ctx context.Context, f Flow, given EnrolmentAnswer, made factors.Verdict) (string, error) {
	if given.Name != "" || made.Model.Name == "" {
		return cmp.Or(given.Name, given.Unnamed, made.Made.Name), nil
	}
	all, err := e.Vault.Of(ctx, f.UserID)
	return Numbered(made.Model.Name, func(name string) bool {
		return slices.ContainsFunc(all, func(c store.Credential) bool { return c.Name == name })
	}), err
}

// Numbered returns a name, or the name with the first number from 2 on with
// which it isn't taken.
func Numbered(name string, taken func(string) bool) string {
	numbered := name
	for n := 2; taken(numbered); n++ {
		numbered = fmt.Sprintf("%s %d", name, n)
	}
	return numbered
}

// keepCredential writes a credential that works: beside a new account, or for a user who
// exists.
func (e *Engine) keepCredential(ctx context.Context, q posed, made factors.Verdict, c person.Client) error {
	if q.flow.Kind == SetUp && len(q.flow.Proofs) == 0 {
		return e.activate(ctx, q.flow, q.factor.Kind(), made, c)
	}
	return e.enrol(ctx, q.flow, q.factor, made, c)
}

// enrol adds a credential to a user who exists.
func (e *Engine) enrol(ctx context.Context, f Flow, factor factors.Factor, made factors.Verdict, c person.Client) error {
	fresh, err := e.Vault.NewAll(f.UserID, factor.Kind(), made)
	if err != nil {
		return err
	}
	err = e.advance(ctx, f, fmt.Sprintf("keeping a new %s credential", factor.Kind()), func(tx store.Tx) ([]store.Event, error) {
		changed, kept := f, slices.Clone(fresh)
		if err := e.closeQuestions(ctx, tx, &changed, ceremony.Enrolment); err != nil {
			return nil, err
		}
		if f.Kind != Enrol {
			if err := e.stillAt(ctx, tx, f, StepEnrol, factor.Kind()); err != nil {
				return nil, err
			}
		}
		if err := e.markEnrolled(ctx, tx, &changed, &kept[0], made.UserVerified); err != nil {
			return nil, err
		}
		replaced, err := e.makeRoom(ctx, tx, factor, f.UserID)
		if err != nil {
			return nil, err
		}
		if replaced > 0 && e.survives(factor) {
			kept[0].ProbationUntil = e.Clock().Add(e.Rules.Hold)
		}
		for i := range kept {
			kept[i].ProbationUntil = kept[0].ProbationUntil
		}
		if err := credentials.KeepAll(ctx, tx, kept, made); err != nil {
			return nil, err
		}
		var events []store.Event
		for range replaced {
			user := store.User{ID: f.UserID, Name: f.subject().Name}
			events = append(events, e.People.Own(audit.FactorRemoved, user, c, audit.Fields{audit.Factor: string(factor.Kind())}))
		}
		for _, one := range kept {
			events = append(events, e.enrolled(f.UserID, f.subject().Name, one.Kind, c))
		}
		return events, e.save(ctx, tx, &changed)
	})
	if errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("%w: %w", ErrWrongStep, err)
	}
	return err
}

// markEnrolled says in the flow that the enrolment has happened, and in the credential
// what it is worth. What stands in for something lost proves itself by being
// enrolled, so that whoever had nothing left is in; until its hold is over, it
// counts for less, and so does all else that is enrolled for as long as that
// after a loss, or while something else is held: whoever reported it may not be
// the owner. Nor may be who shows no more than what vouches for less than the new
// credential will.
func (e *Engine) markEnrolled(ctx context.Context, tx store.Tx, f *Flow, credential *store.Credential, verified bool) error {
	shown := f.Proofs
	switch {
	case f.Kind == Enrol:
		current, err := e.stillChanging(ctx, tx, *f)
		if err != nil {
			return err
		}
		shown, f.Done = current.Proofs, true
	case f.Kind == SignIn && e.Vault.Factors.Traits(credential.Kind).Daily:
		f.Replacing = ""
		f.Proofs = assurance.Add(f.Proofs, assurance.Proof{
			Factor: credential.Kind, At: e.Clock(), UserVerified: verified, HeldToMulti: e.Rules.Hold > 0, Credential: credential.ID,
		})
	default:
		return nil
	}
	if e.Rules.Hold <= 0 {
		return nil
	}
	onProbation, err := e.isOnProbation(ctx, tx, f.UserID)
	if err != nil {
		return err
	}
	vouches := func(p assurance.Proof) bool {
		traits := e.Vault.Factors.Traits
		return e.isDailyProof(p) && f.Started.Sub(p.At) <= person.FreshFor && traits(p.Factor).Vouches >= traits(credential.Kind).Vouches
	}
	if onProbation || f.Kind == SignIn || !slices.ContainsFunc(shown, vouches) {
		credential.ProbationUntil = e.Clock().Add(e.Rules.Hold)
	}
	return nil
}

// stillChanging returns the sign-on under which somebody adds a credential, or
// ErrFlowGone where that has ended. Anybody who takes longer over it than most
// people need shows again that it's them: person.ErrStale.
func (e *Engine) stillChanging(ctx context.Context, tx store.Tx, f Flow) (store.SignOn, error) {
	s, err := e.signOnOf(ctx, tx, f)
	if err == nil && e.Clock().Sub(f.Started) > EnrolWithin {
		_, _, _, err = e.People.Checked(ctx, tx, f.SignOn)
	}
	return s, err
}

// isDailyProof reports whether the person showed a second factor that isn't
// there for need alone, nor held itself. A certificate shows itself.
func (e *Engine) isDailyProof(p assurance.Proof) bool {
	return e.Vault.Factors.Traits(p.Factor).Daily && !p.Remembered && !p.HeldToMulti
}

// survives reports whether what a new credential of a factor replaces can be brought
// back for a while: whoever changes an address may not be the owner, who hears of it at
// the former one.
func (e *Engine) survives(factor factors.Factor) bool {
	_, isAddressed := factor.(factors.Addressed)
	return isAddressed && factor.Most() == 1 && e.Rules.Hold > 0
}

// makeRoom removes what a new credential takes the place of, and returns how many those
// are, or credentials.ErrTooMany.
func (e *Engine) makeRoom(ctx context.Context, tx store.Tx, factor factors.Factor, userID string) (replaced int, err error) {
	switch {
	case e.survives(factor):
		return credentials.Replace(ctx, tx, userID, factor.Kind(), e.Clock().Add(e.Rules.Hold), e.Clock())
	case factor.Most() == 1:
		return credentials.DeleteKind(ctx, tx, userID, factor.Kind())
	}
	all, err := tx.CredentialsOf(ctx, userID)
	if err == nil && !e.Vault.HasRoom(factor, e.Vault.Active(all)) {
		err = credentials.ErrTooMany
	}
	return 0, err
}

func (e *Engine) enrolled(userID, name string, kind assurance.Factor, c person.Client) store.Event {
	return e.Audit.Event(audit.FactorEnrolled, userID, audit.Fields{
		audit.User: name, audit.Factor: string(kind), audit.Address: c.Address, audit.UserAgent: c.UserAgent,
	})
}
