package authflow

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// discoveryNamespace holds marks of questions to whoever is there that were
// answered. The question itself is kept by whoever asked for it, sealed, so
// that a stranger who asks makes no row in the store.
const discoveryNamespace = "discovery"

// ErrNoPasskeys says that nobody can sign in by a passkey alone.
var ErrNoPasskeys = errors.New("nobody can sign in by a passkey alone")

// Discovery is a question that a passkey of anybody's can answer.
type Discovery struct {
	// Page is what the factor's own page shows.
	Page any
	// State comes back with the answer. It is sealed, and good in the browser
	// that it was made for only.
	State string
}

// Passkey is the answer to a Discovery.
type Passkey struct {
	State  string
	Answer factors.Answer
	// Browser is what BeginDiscovery was given.
	Browser string
}

// discoverer returns the factor with which people sign in without giving a name,
// or ErrNoPasskeys.
func (e *Engine) discoverer() (factors.Factor, factors.Discoverer, error) {
	if e.Rules.Passwordless {
		for _, factor := range e.Vault.Factors {
			if d, ok := factor.(factors.Discoverer); ok {
				return factor, d, nil
			}
		}
	}
	return nil, nil, ErrNoPasskeys
}

// OffersPasskeys reports whether people are asked for a passkey in place of
// name and password, on a platform.
func (e *Engine) OffersPasskeys(platform string) bool {
	factor, _, err := e.discoverer()
	return err == nil && e.Rules.offers(factor.Kind(), platform)
}

// BeginDiscovery prepares to ask whoever is there for a passkey, in the browser
// that keeps a secret of that name. ErrNoPasskeys where nobody can sign in so.
func (e *Engine) BeginDiscovery(ctx context.Context, browser string) (Discovery, error) {
	_, factor, err := e.discoverer()
	if err != nil {
		return Discovery{}, err
	}
	asks := factor.Discovering()
	turn, err := asks.Begin(ctx, factors.Asking{})
	var page factors.Page
	if err == nil {
		page, err = asks.Resume(ctx, factors.Asking{}, turn.State)
	}
	if err != nil {
		return Discovery{}, fmt.Errorf("asking for a passkey: %w", err)
	}
	sealed, err := e.Vault.Sealer.Seal(turn.State, discoveryContext(browser))
	if err != nil {
		return Discovery{}, fmt.Errorf("sealing a question for a passkey: %w", err)
	}
	return Discovery{Page: page.Content, State: base64.RawURLEncoding.EncodeToString(sealed)}, nil
}

// discoveryContext binds a question to the browser that it was made for.
func discoveryContext(browser string) []byte { return []byte("discovery\x00" + token.Hash(browser)) }

// SignInByPasskey begins a flow in which a passkey has been shown; the login
// has neither name nor password. Whoever is unknown or disabled gets the answer
// of a passkey that doesn't count: *factors.Refused. ErrNoPasskeys says that nobody can
// sign in so; every other error means that it could not be told.
//
// The same right answer once more, as by a second click, leads to the flow that
// it began: ErrFlowGone where that is finished.
func (e *Engine) SignInByPasskey(ctx context.Context, in Login, given Passkey) (Flow, error) {
	factor, discovery, err := e.discoverer()
	if err != nil {
		return Flow{}, err
	}
	state, ok := e.openDiscovery(given)
	if !ok {
		return Flow{}, &factors.Refused{Reason: factors.Expired}
	}
	said, ok := discovery.Discover(given.Answer)
	if !ok {
		return Flow{}, &factors.Refused{Reason: factors.Malformed}
	}
	if err := e.unanswered(ctx, state); errors.Is(err, errAnswered) {
		return e.begunBy(ctx, state, given.Answer)
	} else if err != nil {
		return Flow{}, err
	}
	f := signingIn(in, store.User{})
	if err := e.name(&f); err != nil {
		return Flow{}, err
	}
	mark, err := e.begins(f, state, given.Answer)
	if err != nil {
		return Flow{}, err
	}
	var kept Flow
	err = repeated(func() error { // it may answer somewhere else at this moment
		who, err := e.discovered(ctx, factor.Kind(), said, in.Client)
		if err != nil {
			return err
		}
		f.UserID, f.Name, f.DisplayName = who.at.User.ID, who.at.User.Name, who.at.User.DisplayName
		verdict, err := e.checkDiscovered(ctx, discovery, f, who, state, given.Answer)
		if err != nil {
			return err
		}
		row := who.rows[verdict.CredentialID]
		kept, err = e.accept(ctx, f, accepted{factor.Kind(), verdict, row, who.at, in.Client, &mark})
		return err
	})
	if errors.Is(err, errAnswered) { // the same passkey answered twice at this moment
		return e.begunBy(ctx, state, given.Answer)
	}
	return kept, err
}

// errAnswered says that a question was answered before, right or wrong.
var errAnswered = errors.New("the question was answered before")

// unanswered returns errAnswered where a question was answered before.
func (e *Engine) unanswered(ctx context.Context, state []byte) error {
	_, err := e.Store.GetRecord(ctx, discoveryNamespace, discoveryKey(state), e.Clock())
	switch {
	case err == nil:
		return errAnswered
	case errors.Is(err, store.ErrNotFound):
		return nil
	}
	return fmt.Errorf("looking for an answer to a question for a passkey: %w", err)
}

// begins is the mark that an answer has begun a flow. The flow's id, by which
// people go on with it, opens to the same answer only.
func (e *Engine) begins(f Flow, state []byte, answer factors.Answer) (store.Record, error) {
	sealed, err := e.Vault.Sealer.Seal([]byte(f.ID), answeredContext(state, answer))
	if err != nil {
		return store.Record{}, fmt.Errorf("sealing what an answer began: %w", err)
	}
	mark := e.discoveryMark(state)
	mark.Value = sealed
	return mark, nil
}

// begunBy returns the flow that an answer has begun, or ErrFlowGone; *factors.Refused
// where it was another answer that the question had.
func (e *Engine) begunBy(ctx context.Context, state []byte, answer factors.Answer) (Flow, error) {
	mark, err := e.Store.GetRecord(ctx, discoveryNamespace, discoveryKey(state), e.Clock())
	if errors.Is(err, store.ErrNotFound) {
		return Flow{}, ErrFlowGone
	}
	if err != nil {
		return Flow{}, fmt.Errorf("reading what an answer began: %w", err)
	}
	id, err := e.Vault.Sealer.Open(mark.Value, answeredContext(state, answer))
	if err != nil {
		return Flow{}, &factors.Refused{Reason: factors.Used}
	}
	return e.Load(ctx, string(id))
}

// answeredContext binds what an answer began to the question and the answer.
func answeredContext(state []byte, answer factors.Answer) []byte {
	context := []byte("answered\x00" + discoveryKey(state))
	for _, field := range slices.Sorted(maps.Keys(answer)) {
		context = append(context, "\x00"+token.Hash(field)+token.Hash(answer[field])...)
	}
	return context
}

// checkDiscovered returns the verdict on a passkey that counts, *factors.Refused,
// or errAnswered. A signature can't be guessed, so a wrong one slows nobody down; it
// spends the question as long as it is worth noting. What strangers answer, who
// have none that is enrolled, leaves nothing behind.
func (e *Engine) checkDiscovered(ctx context.Context, discovery factors.Discoverer, f Flow, who claimant, state []byte, answer factors.Answer) (factors.Verdict, error) {
	if who.unknown != "" {
		refused := &factors.Refused{Reason: factors.Unknown, Credential: who.unknown}
		return factors.Verdict{}, e.noteWrong(ctx, who.at, refused, nil)
	}
	verdict, err := discovery.Discovering().Check(ctx, factors.Asking{Who: f.subject(), Credentials: who.credentials}, state, answer)
	if err != nil {
		return factors.Verdict{}, fmt.Errorf("checking a passkey: %w", err)
	}
	if verdict.Accepted() {
		return verdict, nil
	}
	// What counts up with each answer makes the second of two wrong.
	if err := e.unanswered(ctx, state); err != nil {
		return factors.Verdict{}, err
	}
	refused := e.refusal(ctx, verdict, who.rows, who.at)
	noted := e.noteWrong(ctx, who.at, refused, func() error { return e.spendDiscovery(ctx, state) })
	return factors.Verdict{}, noted
}

// spendDiscovery notes a wrong answer to a question, which is answered once,
// right or wrong; errAnswered where it was answered before.
func (e *Engine) spendDiscovery(ctx context.Context, state []byte) error {
	err := e.Store.PutRecord(ctx, e.discoveryMark(state))
	switch {
	case errors.Is(err, store.ErrConflict):
		return errAnswered
	case err != nil:
		return fmt.Errorf("noting that a passkey was shown: %w", err)
	}
	return nil
}

func (e *Engine) discoveryMark(state []byte) store.Record {
	return store.Record{
		Namespace: discoveryNamespace, Key: discoveryKey(state), Expires: e.Clock().Add(FlowLifetime),
	}
}

// discoveryKey is where the mark is kept that a question was answered.
func discoveryKey(state []byte) string { return token.Hash(string(state)) }

// openDiscovery opens the question that an answer came with. One that doesn't
// open is another browser's, or as old as the keys that it was sealed with.
func (e *Engine) openDiscovery(given Passkey) ([]byte, bool) {
	sealed, err := base64.RawURLEncoding.DecodeString(given.State)
	if err != nil {
		return nil, false
	}
	state, err := e.Vault.Sealer.Open(sealed, discoveryContext(given.Browser))
	return state, err == nil
}

// claimant is whom an answer is said to come from.
type claimant struct {
	at          guess.Attempt
	credentials []factors.Credential // of the factor; none of whoever may not sign in
	rows        map[string]store.Credential
	// unknown is what the factor calls a credential that isn't enrolled; empty:
	// it is, even if it is suspended or its owner may not sign in.
	unknown string
}

// discovered looks for whom an answer is said to come from. One of a credential
// that they don't have is no guess at theirs, and has a count of its own: whoever
// knows a user's id, as apps do, must not be able to slow them down.
func (e *Engine) discovered(ctx context.Context, kind assurance.Factor, said factors.Discovered, c person.Client) (claimant, error) {
	handle := token.Hash("user handle\x00" + said.UserID)
	user, err := e.Store.UserByID(ctx, said.UserID)
	if errors.Is(err, store.ErrNotFound) {
		return claimant{at: guess.Attempt{Factor: kind, Nobody: handle, Address: c.Address, UserAgent: c.UserAgent}, unknown: said.Unique}, nil
	}
	if err != nil {
		return claimant{}, fmt.Errorf("looking for the user of a passkey: %w", err)
	}
	browser, err := e.People.KnownBrowser(ctx, user.ID, c)
	if err != nil {
		return claimant{}, err
	}
	all, err := e.Vault.Of(ctx, user.ID)
	if err != nil {
		return claimant{}, err
	}
	who := claimant{at: person.AttemptOf(user, kind, browser, c)}
	id := credentials.ID(kind, said.Unique)
	if !slices.ContainsFunc(all, func(c store.Credential) bool { return c.ID == id }) {
		who.unknown, who.at.Nobody = said.Unique, handle
	}
	if user.Status == store.UserActive {
		who.credentials, who.rows, err = e.Vault.Open(e.Vault.Active(all), kind)
	}
	return who, err
}
