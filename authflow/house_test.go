package authflow_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	otp "github.com/pquerna/otp/totp"
	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/factors/backupcode"
	"github.com/portcullis-mfa/portcullis/factors/totp"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/keys"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/selfservice"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/store/sqlite/sqlitetest"
	"github.com/portcullis-mfa/portcullis/store/storetest"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/token"
)

// house is an engine over a real store, real keys, real factors and cheap
// hashes, at a time of its own.
type house struct {
	*authflow.Engine
	*selfservice.Service
	vault     *credentials.Vault
	guesses   *guess.Limiter
	people    *person.Keeper
	passwords hashing

	t      *testing.T
	ctx    context.Context
	db     store.Store
	store  *shaky
	keys   *keys.Set
	hasher *identity.Hasher

	mu  sync.Mutex
	now time.Time
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, ctx: t.Context(), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	folder := t.TempDir()
	h.db = sqlitetest.Open(t)
	h.store = &shaky{Store: storetest.Rerun(h.db)}
	var err error
	h.keys, err = keys.Open(h.ctx, keys.FileStorage(filepath.Join(folder, "keys.json")), rand.Reader, h.clock, true)
	h.must(err)
	h.hasher, err = identity.NewHasher(identity.HasherConfig{Peppers: h.keys, Params: identity.Params{Memory: 8, Passes: 1, Parallelism: 1}, Waiting: 1000})
	h.must(err)
	codes, err := totp.New(totp.Config{Issuer: "Test"}, h.clock, rand.Reader)
	h.must(err)
	h.vault = &credentials.Vault{
		Store: h.store, Factors: factors.Set{codes, backupcode.New("Test", h.hasher, h.clock, rand.Reader)},
		Sealer: h.keys, Clock: h.clock, Random: rand.Reader,
	}
	log := audit.NewLog(zap.NewNop(), h.store, h.clock)
	h.guesses = guess.New(guess.Settings{Store: h.store, Audit: log, Clock: h.clock, Guessable: h.vault.Factors.Guessable()})
	h.people = person.New(person.Settings{
		Store: h.store, Vault: h.vault, Guesses: h.guesses, Rules: identity.PasswordPolicy{},
		Audit: log, Clock: h.clock, Random: rand.Reader, Lifetime: 12 * time.Hour, Idle: time.Hour,
	})
	h.hashBy(h.hasher)
	h.Service = selfservice.New(selfservice.Settings{
		Store: h.store, People: h.people, Vault: h.vault, Clock: h.clock, Remembers: true,
	})
	h.Engine = authflow.New(authflow.Settings{
		Store: h.store, People: h.people, Vault: h.vault, Guesses: h.guesses,
		Audit: log, Clock: h.clock, Random: rand.Reader, Rules: authflow.Rules{AdminGroups: []string{"admins"}},
	})
	return h
}

// runOnce has each transaction run once from now on. It is for tests of thousands of
// attempts; the others show that a transaction can run twice.
func (h *house) runOnce() *house {
	h.store.Store = h.db
	return h
}

// hashing hashes passwords and has people wait for that.
type hashing interface {
	person.Passwords
	guess.Queue
}

// hashBy has passwords hashed by p from now on.
func (h *house) hashBy(p hashing) { h.passwords, h.people.Passwords, h.guesses.Queue = p, p, p }

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *house) pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

// add makes a user who has nothing yet.
func (h *house) add(name string, status store.UserStatus) store.User {
	h.t.Helper()
	user := store.User{ID: "id of " + name, Name: name, Email: name + "@example.com", Status: status, Created: h.clock()}
	h.must(h.store.CreateUser(h.ctx, user))
	user.Version = 1
	return user
}

// member is a user with what they know and have.
type member struct {
	h                    *house
	id, name, password   string
	secret, browserToken string
	codes                []string
}

const rightPassword = "lantern orchard 57"

// person sets somebody up by an invitation.
func (h *house) person(name string) *member {
	h.t.Helper()
	link, err := h.NewInvitation(h.ctx, h.add(name, store.UserInvited))
	h.must(err)
	f, err := h.OpenLink(h.ctx, link)
	h.must(err)
	return h.setUp(f, name)
}

// setUp goes through a set-up to its end.
func (h *house) setUp(f authflow.Flow, name string) *member {
	h.t.Helper()
	p := &member{h: h, name: name, password: rightPassword}
	h.must(h.ChooseAccount(h.ctx, f, authflow.Choice{Name: name, Password: p.password}))
	made, err := h.Enrolment(h.ctx, h.load(f), assurance.TOTP, person.Client{})
	h.must(err)
	p.secret = keyOn(made)
	h.must(h.AnswerEnrolment(h.ctx, h.load(f), authflow.EnrolmentAnswer{Factor: assurance.TOTP, Answer: factors.Answer{"code": p.code()}}, person.Client{}))
	made, err = h.Enrolment(h.ctx, h.load(f), assurance.BackupCode, person.Client{})
	h.must(err)
	p.codes = made.Content.(templates.BackupCodes).Codes
	h.must(h.AnswerEnrolment(h.ctx, h.load(f), authflow.EnrolmentAnswer{Factor: assurance.BackupCode, Answer: factors.Answer{"saved": "yes"}}, person.Client{}))
	granted, err := h.Grant(h.ctx, h.load(f), "", person.Client{})
	h.must(err)
	p.id, p.browserToken = granted.SignOn.UserID, granted.Browser
	h.pass(5 * time.Minute) // so that a new code is there
	return p
}

func (h *house) load(f authflow.Flow) authflow.Flow {
	h.t.Helper()
	current, err := h.Load(h.ctx, f.ID)
	h.must(err)
	return current
}

// code is what the authenticator shows now.
func (p *member) code() string {
	p.h.t.Helper()
	code, err := otp.GenerateCode(p.secret, p.h.clock())
	p.h.must(err)
	return code
}

// wrongCode is a code that the authenticator shows neither now nor near enough
// for a clock to be thought wrong.
func (p *member) wrongCode() string {
	p.h.t.Helper()
	near := make(map[string]bool)
	for step := -12; step <= 12; step++ {
		code, err := otp.GenerateCode(p.secret, p.h.clock().Add(time.Duration(step)*30*time.Second))
		p.h.must(err)
		near[code] = true
	}
	guess := 0
	for near[fmt.Sprintf("%06d", guess)] {
		guess++
	}
	return fmt.Sprintf("%06d", guess)
}

// from is a client at an address.
func from(address string) person.Client { return person.Client{Address: address} }

// signIn shows a name and a password.
func (h *house) signIn(name, password string, c person.Client) (authflow.Flow, error) {
	return h.SignIn(h.ctx, authflow.Login{Name: name, Password: password, Client: c, Ask: assurance.Requirement{Level: assurance.Multi}})
}

// shown is a flow in which the password was shown.
func (p *member) shown(c person.Client) authflow.Flow {
	p.h.t.Helper()
	f, err := p.h.signIn(p.name, p.password, c)
	p.h.must(err)
	return f
}

// complete is a flow in which all was shown.
func (p *member) complete() authflow.Flow {
	p.h.t.Helper()
	f := p.shown(person.Client{})
	p.h.must(p.answer(f, p.code(), person.Client{}))
	return p.h.load(f)
}

func (p *member) answer(f authflow.Flow, code string, c person.Client) error {
	return p.h.Answer(p.h.ctx, p.h.load(f), authflow.Response{Factor: assurance.TOTP, Answer: factors.Answer{"code": code}}, c)
}

// signOns counts the live sign-ons of a user.
func (h *house) signOns(userID string) int {
	h.t.Helper()
	live, err := h.store.ListSignOns(h.ctx, userID, h.clock(), store.Page[store.SignOn]{})
	h.must(err)
	return len(live)
}

func (h *house) events(name audit.Name) []store.Event {
	h.t.Helper()
	events, err := h.store.ListEvents(h.ctx, store.EventFilter{Name: string(name), Limit: 1000})
	h.must(err)
	return events
}

func (h *house) credential(userID string, kind assurance.Factor) store.Credential {
	h.t.Helper()
	all, err := h.store.CredentialsOf(h.ctx, userID)
	h.must(err)
	i := slices.IndexFunc(all, func(c store.Credential) bool { return c.Kind == kind })
	if i < 0 {
		h.t.Fatalf("no %s", kind)
	}
	return all[i]
}

func isRefused(err error, reason factors.Reason) bool {
	refused := new(factors.Refused)
	return errors.As(err, &refused) && refused.Reason == reason
}

func asSlowed(err error) *guess.Slowed {
	slowed := new(guess.Slowed)
	if !errors.As(err, &slowed) {
		return nil
	}
	return slowed
}

// shaky is a store that fails as stores may.
type shaky struct {
	store.Store
	// inVain runs each transaction three times: once all of it, once up to its
	// first change of a sign-on, both rolled back, and once in earnest.
	inVain bool
	// fail is asked before sign-ons, credentials and flows are written within
	// a transaction.
	fail func(what string) error
	// commits is how many transactions there were, each of which is synced if it
	// wrote anything.
	commits atomic.Int64
}

// AppendEvent is a transaction of its own.
func (s *shaky) AppendEvent(ctx context.Context, e store.Event) error {
	s.commits.Add(1)
	return s.Store.AppendEvent(ctx, e)
}

var errInVain = errors.New("could not serialize access")

func (s *shaky) Atomically(ctx context.Context, fn func(tx store.Tx) error) error {
	s.commits.Add(1)
	if s.inVain {
		err := s.Store.Atomically(ctx, func(tx store.Tx) error { return errors.Join(fn(tx), errInVain) })
		if !errors.Is(err, errInVain) {
			return err
		}
		err = s.Store.Atomically(ctx, func(tx store.Tx) error {
			err := fn(shakyTx{tx, func(what string) error {
				if what == "sign-on" {
					return errInVain
				}
				return nil
			}})
			return errors.Join(err, errInVain)
		})
		if !errors.Is(err, errInVain) {
			return err
		}
	}
	return s.Store.Atomically(ctx, func(tx store.Tx) error { return fn(shakyTx{tx, s.fail}) })
}

// CountAttempts is a transaction too.
func (s *shaky) CountAttempts(ctx context.Context, keys []store.AttemptKey, fn func(store.AttemptCounts) error) error {
	s.commits.Add(1)
	return s.Store.CountAttempts(ctx, keys, fn)
}

type shakyTx struct {
	store.Tx
	fail func(what string) error
}

func (tx shakyTx) asked(what string) error {
	if tx.fail == nil {
		return nil
	}
	return tx.fail(what)
}

func (tx shakyTx) CreateSignOn(ctx context.Context, s store.SignOn) error {
	if err := tx.asked("sign-on"); err != nil {
		return err
	}
	return tx.Tx.CreateSignOn(ctx, s)
}

func (tx shakyTx) UpdateSignOn(ctx context.Context, s store.SignOn) error {
	if err := tx.asked("sign-on"); err != nil {
		return err
	}
	return tx.Tx.UpdateSignOn(ctx, s)
}

func (tx shakyTx) UpdateRecord(ctx context.Context, r store.Record, now time.Time) error {
	if err := tx.asked("flow"); err != nil {
		return err
	}
	return tx.Tx.UpdateRecord(ctx, r, now)
}

// hashOf is what the store keeps of a bearer token.
func hashOf(bearer string) string { return token.Hash(bearer) }

// keyOn is the authenticator's key that an enrolment shows.
func keyOn(made authflow.Page) string {
	return strings.ReplaceAll(made.Content.(templates.TOTPEnrolment).Key, " ", "")
}
