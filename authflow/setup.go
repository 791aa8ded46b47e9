package authflow

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

const (
	// LinkLifetime is how long invitations and setup links count.
	LinkLifetime = 72 * time.Hour

	setupLink  = "setup"
	invitation = "invitation"
)

var (
	// ErrLinkGone says that a link was used, has expired or never existed.
	ErrLinkGone = errors.New("the link was used or has expired")
	// ErrHasUsers says that a first administrator is not wanted any more.
	ErrHasUsers = errors.New("somebody is set up already")
	// ErrNoMail says that invitations can't be mailed.
	ErrNoMail = errors.New("no mail server is configured: write a block email inside mfa, or leave out --send")
	// ErrOnlyByMail says that a mailed invitation would lead to nothing.
	ErrOnlyByMail = errors.New("codes by e-mail are the only second factor here: whoever can read the mailbox could set up the account with a mailed invitation. Leave out --send and hand over the link in another way")
	// ErrSetUp says that a user needs no invitation.
	ErrSetUp = errors.New("the user has set up already, or is disabled")
)

// firstAdministrator owns the links of whoever has no id yet.
const firstAdministrator = "the first administrator"

// NewSetupLink returns the token of a link by which the first administrator
// sets up, or ErrHasUsers. All of them are void once anybody has set up.
func (e *Engine) NewSetupLink(ctx context.Context) (string, error) {
	active, err := e.Store.CountUsers(ctx, store.UserActive)
	if err != nil {
		return "", fmt.Errorf("counting users: %w", err)
	}
	if active > 0 {
		return "", ErrHasUsers
	}
	event := e.Audit.Event(audit.SetupLinkCreated, "", audit.Fields{audit.By: "administrator"})
	return e.newLink(ctx, setupLink, firstAdministrator, event, untouched)
}

// populatedFor is how long NeedsSetup remembers that somebody has set up, in
// seconds.
const populatedFor = 60

// NeedsSetup reports whether nobody can sign in. Once somebody can, it asks the store at
// most once a minute, since strangers can cause this check.
func (e *Engine) NeedsSetup(ctx context.Context) (bool, error) {
	now := e.Clock().Unix()
	if now-e.populated.Load() < populatedFor {
		return false, nil
	}
	active, err := e.Store.CountUsers(ctx, store.UserActive)
	if err != nil {
		return false, fmt.Errorf("counting users: %w", err)
	}
	if active > 0 {
		e.populated.Store(now)
	}
	return active == 0, nil
}

// AllDisabled reports whether there are accounts that could sign in if they weren't
// disabled. It makes sense to ask while NeedsSetup is true.
func (e *Engine) AllDisabled(ctx context.Context) (bool, error) {
	disabled, err := e.Store.CountUsers(ctx, store.UserDisabled)
	if err != nil {
		return false, fmt.Errorf("counting disabled users: %w", err)
	}
	return disabled > 0, nil
}

// NewInvitation returns the token of a link by which an invited user sets up;
// links made before it are void. ErrSetUp where the user is not waiting for
// one.
func (e *Engine) NewInvitation(ctx context.Context, u store.User) (string, error) {
	if u.Status != store.UserInvited {
		return "", ErrSetUp
	}
	return e.newLink(ctx, invitation, u.ID, e.invited(u), untouched)
}

func (e *Engine) invited(u store.User) store.Event {
	return e.Audit.Event(audit.UserInvited, u.ID, audit.Fields{audit.User: u.Name, audit.By: "administrator"})
}

// untouched is for a link that isn't mailed.
func untouched(store.Tx, string) error { return nil }

// CheckMailed returns ErrNoMail or ErrOnlyByMail if invitations can't be mailed.
func (e *Engine) CheckMailed() error {
	switch {
	case e.Invitations == nil:
		return ErrNoMail
	case withoutMail(e.Vault.Factors).First(isDaily) == "":
		return ErrOnlyByMail
	}
	return nil
}

// SendInvitation mails a link with which an invited user sets up, using a second factor
// other than a code by e-mail: the mailbox alone must not become the account. Earlier
// links become void. It returns ErrSetUp if the user isn't waiting for one; see also
// CheckMailed.
func (e *Engine) SendInvitation(ctx context.Context, u store.User) error {
	if err := e.CheckMailed(); err != nil {
		return err
	}
	if u.Status != store.UserInvited {
		return ErrSetUp
	}
	_, err := e.newLink(ctx, person.MailedInvitation, u.ID, e.invited(u), func(tx store.Tx, value string) error {
		return e.Invitations.Invite(ctx, tx, u, value)
	})
	if err == nil {
		e.Invitations.Wake()
	}
	return err
}

// newLink keeps a new link, and does with it in the same transaction what else there is
// to do.
func (e *Engine) newLink(ctx context.Context, kind, owner string, event store.Event, also func(store.Tx, string) error) (string, error) {
	value, err := token.New(e.Random)
	if err != nil {
		return "", err
	}
	err = e.People.Change(ctx, fmt.Sprintf("keeping a new %s link", kind), func(tx store.Tx) ([]store.Event, error) {
		if kind != setupLink {
			if err := tx.DeleteRecordsOf(ctx, person.Links, owner, ""); err != nil {
				return nil, err
			}
		}
		err := tx.PutRecord(ctx, store.Record{
			Namespace: person.Links, Key: token.Hash(value), Owner: owner,
			Value: []byte(kind), Expires: e.Clock().Add(LinkLifetime),
		})
		if err != nil {
			return nil, err
		}
		return []store.Event{event}, also(tx, value)
	})
	if err != nil {
		return "", err
	}
	return value, nil
}

// OpenLink begins a set-up by a link, which stays unspent until the account is
// made. A link that leads nowhere is ErrLinkGone.
func (e *Engine) OpenLink(ctx context.Context, value string) (Flow, error) {
	record, err := e.Store.GetRecord(ctx, person.Links, token.Hash(value), e.Clock())
	if errors.Is(err, store.ErrNotFound) {
		return Flow{}, ErrLinkGone
	}
	if err != nil {
		return Flow{}, fmt.Errorf("reading a link: %w", err)
	}
	f := Flow{Kind: SetUp, Link: record.Key, Ask: assurance.Requirement{Level: assurance.Multi}}
	if string(record.Value) == setupLink {
		active, err := e.Store.CountUsers(ctx, store.UserActive)
		if err != nil {
			return Flow{}, fmt.Errorf("counting users: %w", err)
		}
		if active > 0 {
			return Flow{}, ErrLinkGone
		}
		return e.begin(ctx, f)
	}
	user, err := e.Store.UserByID(ctx, record.Owner)
	if errors.Is(err, store.ErrNotFound) || err == nil && user.Status != store.UserInvited {
		return Flow{}, ErrLinkGone
	}
	if err != nil {
		return Flow{}, fmt.Errorf("reading an invited user: %w", err)
	}
	f.UserID, f.Name, f.Mailed = user.ID, user.Name, string(record.Value) == person.MailedInvitation
	return e.begin(ctx, f)
}

// Invited returns the user whom a set-up is for; the zero User where it makes
// the first administrator. ErrFlowGone where the user was deleted meanwhile.
func (e *Engine) Invited(ctx context.Context, f Flow) (store.User, error) {
	if f.UserID == "" {
		return store.User{}, nil
	}
	user, err := e.Store.UserByID(ctx, f.UserID)
	if errors.Is(err, store.ErrNotFound) {
		return store.User{}, ErrFlowGone
	}
	return user, err
}

// Choice is what a person chooses in the first step of a set-up.
type Choice struct {
	Name        string // used only where nobody chose it before
	DisplayName string
	Password    string
}

// ChooseAccount keeps name and password of a set-up until the second factor
// is confirmed. *person.Invalid says what to mend.
func (e *Engine) ChooseAccount(ctx context.Context, f Flow, choice Choice) error {
	if f.Kind != SetUp || len(f.Proofs) > 0 {
		return ErrWrongStep
	}
	user, err := e.Invited(ctx, f)
	if err != nil {
		return fmt.Errorf("reading an invited user: %w", err)
	}
	chosen, invalid, err := e.checkChoice(ctx, user, choice)
	if err != nil {
		return err
	}
	if len(invalid) > 0 {
		return &person.Invalid{Fields: invalid}
	}
	hash, err := e.People.Passwords.Hash(f.waiting(ctx), choice.Password)
	if err != nil {
		return fmt.Errorf("hashing a new password: %w", err)
	}
	chosen.Password, err = e.Vault.Sealer.Seal([]byte(hash), f.sealingContext("account", assurance.Password))
	if err != nil {
		return fmt.Errorf("sealing a new password: %w", err)
	}
	if f.UserID == "" {
		if chosen.UserID, err = token.New(e.Random); err != nil {
			return err
		}
	}
	return e.retried(ctx, f, func(f Flow) error {
		if len(f.Proofs) > 0 {
			return ErrWrongStep
		}
		// Another name makes another label in the authenticator app.
		f.Account = &chosen
		for _, factor := range e.Vault.Factors {
			f.close(ceremony.Enrolment, factor.Kind())
		}
		return e.save(ctx, e.Store, &f)
	})
}

func (e *Engine) checkChoice(ctx context.Context, user store.User, choice Choice) (account, map[string]error, error) {
	chosen, invalid := chosenNames(user, choice)
	if user.ID == "" && invalid["name"] == nil {
		if _, err := e.Store.UserByName(ctx, chosen.Name); err == nil {
			invalid["name"] = person.Phrase{Key: "set_up.name_taken", English: "Somebody has this name already. Choose another one."}
		} else if !errors.Is(err, store.ErrNotFound) {
			return account{}, nil, fmt.Errorf("looking for a user: %w", err)
		}
	}
	if err := e.judgeChoice(user, chosen, choice.Password).Refusal; err != nil {
		invalid["password"] = err
	}
	return chosen, invalid, nil
}

// JudgePassword says what choosing the password in a flow would come to: in a
// set-up beside the names that are chosen with it, else for the flow's user.
// ErrFlowGone where the user was deleted meanwhile.
func (e *Engine) JudgePassword(ctx context.Context, f Flow, choice Choice) (person.Judgement, error) {
	user, err := e.Invited(ctx, f)
	if err != nil {
		return person.Judgement{}, err
	}
	if f.Kind != SetUp {
		return e.People.JudgePassword(user, choice.Password), nil
	}
	chosen, _ := chosenNames(user, choice)
	return e.judgeChoice(user, chosen, choice.Password), nil
}

// judgeChoice judges a password of a user who bears the chosen names.
func (e *Engine) judgeChoice(user store.User, chosen account, password string) person.Judgement {
	user.Name, user.DisplayName = chosen.Name, chosen.DisplayName
	return e.People.JudgePassword(user, password)
}

// chosenNames returns the names that an account gets, and which fields can't
// stay as they are; of those, the names are empty.
func chosenNames(user store.User, choice Choice) (account, map[string]error) {
	invalid := make(map[string]error)
	chosen := account{Name: user.Name, DisplayName: strings.TrimSpace(choice.DisplayName)}
	if user.ID == "" {
		name, err := identity.CanonicalName(token.Trimmed(choice.Name))
		if err != nil {
			invalid["name"] = err
		}
		chosen.Name = name
	}
	if chosen.DisplayName == "" {
		chosen.DisplayName = user.DisplayName
	}
	display, err := identity.CheckDisplayName(chosen.DisplayName)
	if err != nil {
		invalid["display_name"] = err
	}
	chosen.DisplayName = display
	return chosen, invalid
}

// activate makes the account: see AnswerEnrolment.
func (e *Engine) activate(ctx context.Context, f Flow, kind assurance.Factor, made factors.Verdict, c person.Client) error {
	hash, err := e.Vault.Sealer.Open(f.Account.Password, f.sealingContext("account", assurance.Password))
	if err != nil {
		return fmt.Errorf("opening a new password: %w", err)
	}
	first := f.UserID == ""
	if first {
		f.UserID = f.Account.UserID
	}
	password, mark, err := e.People.PasswordCredential(f.UserID, hash)
	if err != nil {
		return err
	}
	seconds, err := e.Vault.NewAll(f.UserID, kind, made)
	if err != nil {
		return err
	}
	now := e.Clock()
	f.Name = f.Account.Name
	f.Proofs = []assurance.Proof{
		{Factor: assurance.Password, At: now},
		{Factor: kind, At: now, Credential: seconds[0].ID, UserVerified: made.UserVerified},
	}
	f.PasswordMark = mark
	events := []store.Event{
		e.Audit.Event(audit.UserSetUp, f.UserID, audit.Fields{
			audit.User: f.Name, audit.Address: c.Address, audit.UserAgent: c.UserAgent,
		}),
	}
	for _, second := range seconds {
		events = append(events, e.enrolled(f.UserID, f.Name, second.Kind, c))
	}
	err = e.advance(ctx, f, "setting up an account", func(tx store.Tx) ([]store.Event, error) {
		if _, err := tx.TakeRecord(ctx, person.Links, f.Link, now); err != nil {
			return nil, err
		}
		if err := tx.DeleteRecordsOf(ctx, person.Links, firstAdministrator, ""); err != nil {
			return nil, err
		}
		if err := e.writeUser(ctx, tx, f, first); err != nil {
			return nil, err
		}
		if err := tx.CreateCredential(ctx, password); err != nil {
			return nil, err
		}
		if err := credentials.KeepAll(ctx, tx, seconds, made); err != nil {
			return nil, err
		}
		changed := f
		changed.First = first
		if err := e.closeQuestions(ctx, tx, &changed, ceremony.Enrolment); err != nil {
			return nil, err
		}
		changed.Account = &account{Name: f.Name, DisplayName: f.Account.DisplayName}
		if first {
			if err := claim(ctx, tx, &changed, now); err != nil {
				return nil, err
			}
		}
		return events, e.save(ctx, tx, &changed)
	})
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) || errors.Is(err, ErrHasUsers) {
		return fmt.Errorf("%w: %w", ErrLinkGone, err)
	}
	return err
}

// claim has a flow kept anew, as its user's: what ends all that a user has under
// way would pass over one that is nobody's.
func claim(ctx context.Context, tx store.Records, f *Flow, now time.Time) error {
	_, err := tx.TakeRecord(ctx, person.Flows, f.key(), now)
	f.version = 0
	return err
}

// writeUser makes the first administrator, or activates an invited user.
func (e *Engine) writeUser(ctx context.Context, tx store.Tx, f Flow, first bool) error {
	if first {
		active, err := tx.CountUsers(ctx, store.UserActive)
		if err != nil {
			return err
		}
		if active > 0 {
			return ErrHasUsers
		}
		return tx.CreateUser(ctx, store.User{
			ID: f.UserID, Name: f.Account.Name, DisplayName: f.Account.DisplayName,
			Groups: e.Rules.AdminGroups, Status: store.UserActive, Created: e.Clock(),
		})
	}
	user, err := tx.UserByID(ctx, f.UserID)
	if err != nil {
		return err
	}
	if user.Status != store.UserInvited {
		return store.ErrConflict
	}
	user.Status, user.DisplayName = store.UserActive, f.Account.DisplayName
	return tx.UpdateUser(ctx, user)
}
