package authflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/netblock"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/quota"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// Resetting a forgotten password. Whoever asks is told the same, whomever they name,
// after the same work: who is meant is found out later, while the mail is written. The
// link in it is no proof of who somebody is. Only a second factor is, other than a
// code by e-mail: the mailbox alone must not become the account.

const (
	// ResetLifetime is how long the link of a reset works.
	ResetLifetime = 30 * time.Minute

	// resets is the scope of the counters of resets.
	resets = "reset"
)

// Limits on resets: on those who ask, by network and in all, and on the resets of a user.
// The user's known browsers have a limit of their own, which nobody else can use up.
var (
	resetsInAll    = quota.Quota{Key: "all", Most: 200, Per: time.Hour}
	resetsOfOne    = quota.Quota{Most: 10, Per: time.Hour}
	resetsOfMember = quota.Quota{Most: 3, Per: 24 * time.Hour}
	// resetsOfMemberByOne is how many of a user's one network can use up.
	resetsOfMemberByOne = quota.Quota{Most: 2, Per: 24 * time.Hour}
)

// Resets mails the links of resets.
type Resets interface {
	// Queue stores a request for a new password in a transaction.
	Queue(ctx context.Context, tx store.Tx, r ResetRequest) error
	// Wake sends what was stored, once it is committed.
	Wake()
}

// ResetRequest is somebody's request for a new password.
type ResetRequest struct {
	Name     string // sign-in name or e-mail address, as it was typed
	Address  string // where it came from
	Language string // of whoever asks
	// Browser is the hash of the token that identifies the browser; empty: it has none.
	Browser string
}

// quotasOf returns what a request counts against, of the user whom it turned out to mean.
func (r ResetRequest) quotasOf(userID string, isKnown bool) []quota.Quota {
	ofMember := resetsOfMember
	if isKnown {
		ofMember.Key = "user/" + userID + "/known"
		return []quota.Quota{ofMember}
	}
	byOne := resetsOfMemberByOne
	ofMember.Key = "user/" + userID
	byOne.Key = ofMember.Key + "/network/" + netblock.Network(r.Address)
	return []quota.Quota{byOne, ofMember}
}

// RequestReset has a link mailed to whomever a name or an e-mail address means, if they
// may have one. It says nothing about that: it returns *person.Invalid if no name was
// typed, and *factors.Refused if there have been too many requests, whoever is meant.
func (e *Engine) RequestReset(ctx context.Context, name string, c person.Client) error {
	name = token.Trimmed(name)
	if name == "" {
		return errNoName
	}
	request := ResetRequest{Name: name, Address: c.Address, Language: c.Language}
	if c.Browser != "" {
		request.Browser = token.Hash(c.Browser)
	}
	fromNetwork := resetsOfOne
	fromNetwork.Key = "network/" + netblock.Network(c.Address)
	err := e.Store.Atomically(ctx, func(tx store.Tx) error {
		if _, err := quota.Charge(ctx, tx, resets, []quota.Quota{fromNetwork, resetsInAll}, e.Clock()); err != nil {
			return err
		}
		return e.Resets.Queue(ctx, tx, request)
	})
	if exceeded := new(quota.Exceeded); errors.As(err, &exceeded) {
		return &factors.Refused{Reason: factors.TooOften, RetryAfter: exceeded.RetryAfter}
	}
	if err != nil {
		return fmt.Errorf("storing a wish for a new password: %w", err)
	}
	e.Resets.Wake()
	return nil
}

// ErrNoReset says that nobody gets a link: nobody is meant, or they can't have one.
var ErrNoReset = errors.New("nobody can reset their password by this request")

// ErrResetGone says that the link of a reset was used, was replaced, has expired or never
// existed.
var ErrResetGone = errors.New("the link of the reset was used or replaced, or has expired")

// Resetting is whom a request for a new password turned out to mean.
type Resetting struct {
	User    store.User
	Address string // where mail goes
	// Possible says that the link works. Otherwise, they have nothing but codes by
	// e-mail to show that it's them, and only an administrator can help.
	Possible bool

	mark string // of the password that they have
}

// resetLink is what is kept of a link.
type resetLink struct {
	// Mark is the mark of the password to be replaced: any change of it ends the link.
	Mark  string    `json:"mark"`
	Until time.Time `json:"until"`
	// Over says that it was used or replaced, or leads nowhere.
	Over bool `json:"over,omitempty"`
	// Possible is as in Resetting.
	Possible bool `json:"possible,omitempty"`
}

// KeepReset finds out whom a request means, and keeps the link with a token, which
// replaces any earlier one. A request that is kept already stays as it is. ErrNoReset is
// definite.
func (e *Engine) KeepReset(ctx context.Context, r ResetRequest, value string, until time.Time) (Resetting, error) {
	user, err := e.find(ctx, r.Name)
	if err != nil {
		return Resetting{}, err
	}
	if user.ID == "" {
		return Resetting{}, ErrNoReset
	}
	_, err = e.Store.BrowserByToken(ctx, user.ID, r.Browser)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return Resetting{}, fmt.Errorf("looking for a known browser: %w", err)
	}
	isKnown := err == nil
	var found Resetting
	err = e.People.Change(ctx, "keeping the link of a reset", func(tx store.Tx) (events []store.Event, err error) {
		if found, err = e.resetting(ctx, tx, user.ID); err != nil {
			return nil, err
		}
		isNew, err := e.replaceReset(ctx, tx, &found, value, until)
		if err != nil || !isNew {
			return nil, err
		}
		if _, err := quota.Charge(ctx, tx, resets, r.quotasOf(user.ID, isKnown), e.Clock()); err != nil {
			return nil, err
		}
		return []store.Event{e.Audit.Event(audit.ResetRequested, found.User.ID, audit.Fields{
			audit.User: found.User.Name, audit.Address: r.Address,
		})}, nil
	})
	if exceeded := new(quota.Exceeded); errors.As(err, &exceeded) {
		err = ErrNoReset
	}
	return found, err
}

// resetting returns somebody who wants another password, or ErrNoReset.
func (e *Engine) resetting(ctx context.Context, tx store.Tx, userID string) (r Resetting, err error) {
	r.User, err = tx.UserByID(ctx, userID)
	if errors.Is(err, store.ErrNotFound) || err == nil && r.User.Status != store.UserActive {
		return r, ErrNoReset
	}
	if err != nil {
		return r, err
	}
	active, err := tx.CredentialsOf(ctx, userID)
	if err != nil {
		return r, err
	}
	active, r.Address = e.Vault.Active(active), r.User.Email
	if r.mark, err = e.People.PasswordMark(active); err != nil {
		return r, err
	}
	for _, c := range active {
		switch {
		case c.Kind == assurance.Password:
		case !e.Vault.Factors.Traits(c.Kind).ByMail:
			r.Possible = true
		case r.Address == "" && !e.Clock().Before(c.ProbationUntil):
			if r.Address, err = e.Vault.Address(c); err != nil {
				return r, err
			}
		}
	}
	if r.mark == "" || r.Address == "" {
		return r, ErrNoReset
	}
	return r, nil
}

// replaceReset keeps a link and ends those before it, unless it is kept already. It
// reports whether it was new.
func (e *Engine) replaceReset(ctx context.Context, tx store.Tx, r *Resetting, value string, until time.Time) (bool, error) {
	kept, err := tx.RecordsOf(ctx, person.Resets, r.User.ID, e.Clock())
	if err != nil {
		return false, err
	}
	for _, record := range kept {
		link, err := parseReset(record)
		switch {
		case err != nil:
			return false, err
		case record.Key == token.Hash(value) && link.Over:
			return false, ErrNoReset
		case record.Key == token.Hash(value):
			r.Possible = link.Possible
			return false, nil
		}
		if err := e.endReset(ctx, tx, record, link); err != nil {
			return false, err
		}
	}
	written, err := json.Marshal(resetLink{Mark: r.mark, Until: until, Possible: r.Possible})
	if err != nil {
		return false, fmt.Errorf("writing the link of a reset: %w", err)
	}
	// A flow that began by the link in time can be finished.
	return true, tx.PutRecord(ctx, store.Record{
		Namespace: person.Resets, Key: token.Hash(value), Owner: r.User.ID, Value: written, Expires: until.Add(FlowLifetime),
	})
}

// endReset has a link lead nowhere any more. It is still kept, so that its mail isn't
// written anew.
func (e *Engine) endReset(ctx context.Context, tx store.Tx, record store.Record, link resetLink) (err error) {
	if link.Over {
		return nil
	}
	link.Over = true
	if record.Value, err = json.Marshal(link); err != nil {
		return fmt.Errorf("writing the link of a reset: %w", err)
	}
	return tx.UpdateRecord(ctx, record, e.Clock())
}

func parseReset(r store.Record) (link resetLink, err error) {
	if err := json.Unmarshal(r.Value, &link); err != nil {
		return link, fmt.Errorf("reading the link of a reset: %w", err)
	}
	return link, nil
}

// OpenReset begins a reset by the token of a link, which stays unspent until the new
// password is chosen. ErrResetGone is definite.
func (e *Engine) OpenReset(ctx context.Context, value string, c person.Client) (Flow, error) {
	record, link, err := e.loadReset(ctx, e.Store, token.Hash(value))
	if err != nil {
		return Flow{}, err
	}
	if !link.Possible || !e.Clock().Before(link.Until) {
		return Flow{}, ErrResetGone
	}
	user, err := e.Store.UserByID(ctx, record.Owner)
	if errors.Is(err, store.ErrNotFound) || err == nil && user.Status != store.UserActive {
		return Flow{}, ErrResetGone
	}
	if err != nil {
		return Flow{}, fmt.Errorf("reading whose password is reset: %w", err)
	}
	active, err := e.Vault.ActiveOf(ctx, user.ID)
	if err != nil {
		return Flow{}, err
	}
	if isCurrent, err := e.People.IsCurrent(link.Mark, active); err != nil {
		return Flow{}, err
	} else if !isCurrent {
		return Flow{}, ErrResetGone
	}
	return e.begin(ctx, Flow{
		Kind: Reset, Link: record.Key, PasswordMark: link.Mark, UserID: user.ID, Name: user.Name, DisplayName: user.DisplayName,
		Ask: assurance.Requirement{Level: assurance.Multi}, Platform: c.Platform,
	})
}

// loadReset returns a link that isn't over, or ErrResetGone.
func (e *Engine) loadReset(ctx context.Context, r recordReader, key string) (store.Record, resetLink, error) {
	record, err := r.GetRecord(ctx, person.Resets, key, e.Clock())
	if errors.Is(err, store.ErrNotFound) {
		return record, resetLink{}, ErrResetGone
	}
	if err != nil {
		return record, resetLink{}, fmt.Errorf("reading the link of a reset: %w", err)
	}
	link, err := parseReset(record)
	if err == nil && link.Over {
		err = ErrResetGone
	}
	return record, link, err
}

// nextOfReset asks for a second factor that the mailbox doesn't give away, and then for
// the new password.
func nextOfReset(f Flow, who Person, set factors.Set, prefer assurance.Factor) Step {
	isMailed := func(kind assurance.Factor) bool { return set.Traits(kind).ByMail }
	if slices.ContainsFunc(f.Proofs, func(p assurance.Proof) bool { return isSecond(p) && !p.Remembered && !isMailed(p.Factor) }) {
		return Step{Kind: StepNewPassword}
	}
	return chosen(slices.DeleteFunc(slices.Clone(who.Usable), isMailed), prefer)
}

// finishReset spends the link of a flow, in the transaction that replaces the password,
// and has the flow go on as a sign-in. App passwords end too: who has forgotten a
// password can't tell who knows it.
func (e *Engine) finishReset(ctx context.Context, tx store.Tx, f *Flow, u store.User, c person.Client) ([]store.Event, error) {
	record, link, err := e.loadReset(ctx, tx, f.Link)
	if err != nil {
		return nil, err
	}
	if err := e.endReset(ctx, tx, record, link); err != nil {
		return nil, err
	}
	f.Kind = SignIn
	f.Proofs = assurance.Add(f.Proofs, assurance.Proof{Factor: assurance.Password, At: e.Clock()})
	return e.People.RevokeAppPasswords(ctx, tx, u, session.EndedPasswordReset, c, person.All)
}
