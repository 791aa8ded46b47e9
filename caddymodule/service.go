package caddymodule

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/accounts"
	"github.com/portcullis-mfa/portcullis/assertion"
	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/boundedlog"
	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/devices"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/keys"
	"github.com/portcullis-mfa/portcullis/notify"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/portal"
	"github.com/portcullis-mfa/portcullis/selfservice"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/stream"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/ticket"
	"github.com/portcullis-mfa/portcullis/undo"
)

// service is everything that a started app serves with. It is made anew for
// each configuration; what has to outlive a reload is in the store.
type service struct {
	store   store.Store
	keys    *keys.Set
	factors factors.Set
	// offers says on which platforms each of them is asked for.
	offers offers
	pages  *templates.Set
	audit  *audit.Log
	// events passes audit events on to Caddy's events app; nil: it doesn't.
	events *eventFeed
	vault  *credentials.Vault
	people *person.Keeper
	flows  *authflow.Engine
	// outbox sends messages to people; nil: none are sent.
	outbox *notify.Outbox
	// writers write and hand over the messages of factors, by kind.
	writers map[assurance.Factor]notify.Writer
	// selfService is what people change about their own account.
	selfService *selfservice.Service
	keeper      *session.Keeper
	hashing     *identity.Queue
	cookies     *session.Cookies
	requests    *ticket.Requests
	states      session.Codec
	tickets     *ticket.Tickets
	returns     *ticket.Returns
	desk        *accounts.Desk
	devices     *devices.Reader
	enrolment   http.Handler // nil: no certificates are issued here
	portal      *portal.Portal
	// authenticator serves the phone's app; nil: there is none.
	authenticator http.Handler
	// revocations are the operator's revocation lists; nil: there are none.
	revocations *devices.Revocations
	// refreshIssuers learns what devices were issued from, here and elsewhere.
	refreshIssuers func(context.Context) error

	assertions *assertion.Signer
	mark       *keys.Mark
	lifetime   time.Duration // the longest of a sign-on
	metrics    *metrics
	// keysDoubt is why the stored keys could not be read again, or nil; not set before
	// they are.
	keysDoubt atomic.Pointer[error]

	// ending says that streams have to end, bell tells them of changes, and unfollow ends
	// that.
	ending atomic.Bool
	bell   *ceremony.Bell
	// pushKey identifies the server to push services; nil: push is off.
	pushKey  *ecdsa.PrivateKey
	unfollow func()

	endUpkeep context.CancelFunc
	upkeep    sync.WaitGroup
}

// maxRequest bounds a sealed request in a URL: one with the longest return
// address fits.
const maxRequest = 8 << 10

// startServing opens the store and the keys and makes what gates and portal
// serve with.
func (a *App) startServing() error {
	ctx, cancel := context.WithTimeout(a.ctx, time.Minute)
	defer cancel()
	opened, _, err := nodes.LoadOrNew(a.store.Key(), func() (caddy.Destructor, error) { return a.openNode(ctx) })
	if err != nil {
		return writtenAt(a.Sources.of("store"), fmt.Errorf("opening the store: %w", err))
	}
	a.holdsStore = true
	n := opened.(*node)
	s := &service{store: n.Store, keeper: n.keeper, hashing: n.hashing, metrics: a.metrics}
	if err := a.checkOrphans(ctx, s.store); err != nil {
		return a.Sources.locate(err)
	}
	if s.events, err = newEventFeed(a); err != nil {
		return err
	}
	if err := a.assemble(ctx, s); err != nil {
		return err
	}
	if err := s.vault.CheckKeys(ctx); err != nil {
		return fmt.Errorf("%w: put in place the key set that the other nodes have, or that belongs to the backup (%s)", err, keys.Places(a.keyStorage()))
	}
	s.refreshIssuers = func(ctx context.Context) error { return a.refreshIssuers(ctx, s.store) }
	if err := s.refreshIssuers(ctx); err != nil {
		// What can be read counts all the same.
		a.logger.Error("devices that send only their own certificate may be refused", zap.Error(err))
	}
	if err := a.offerSetup(ctx, s); err != nil {
		return err
	}
	keeping, end := context.WithCancel(context.Background())
	s.endUpkeep = end
	s.unfollow = s.store.Follow(s.bell)
	s.upkeep.Go(func() { s.keepUp(keeping, a.logger) })
	s.upkeep.Go(func() { a.comeIntoForce(keeping) })
	if s.events != nil {
		s.upkeep.Go(func() { s.events.run(keeping) })
	}
	if s.outbox != nil {
		s.upkeep.Go(func() { s.outbox.Run(keeping) })
	}
	a.service.Store(s)
	return nil
}

// stopServing gives back what startServing took. The service stays in place: at
// a reload Caddy cleans up while its old servers still answer requests, and
// the configuration in force keeps the store open for them.
func (a *App) stopServing() error {
	if s := a.service.Load(); s != nil {
		s.ending.Store(true)
		s.unfollow()
		s.endUpkeep()
		s.upkeep.Wait()
	}
	inForce.CompareAndSwap(a, nil)
	if !a.holdsStore {
		return nil
	}
	a.holdsStore = false
	_, err := nodes.Delete(a.store.Key())
	return err
}

// assemble makes the parts and joins them.
func (a *App) assemble(ctx context.Context, s *service) (err error) {
	if s.keys, err = a.openKeys(ctx, s.store); err != nil {
		return writtenAt(a.Sources.of("keys"), fmt.Errorf("opening the keys: %w", err))
	}
	if !a.Push.Off {
		if s.pushKey, err = s.keys.PushKey(ctx); err != nil {
			return err
		}
	}
	s.pages, s.lifetime = a.pages, time.Duration(a.Session.Lifetime)
	passwords, err := identity.NewHasher(identity.HasherConfig{Peppers: s.keys, Queue: s.hashing, Memory: a.Password.HashingMemory})
	if err != nil {
		return fmt.Errorf("setting up password hashing: %w", err)
	}
	passwords.LeaveRoom()
	if s.factors, s.offers, err = a.makeFactors(passwords); err != nil {
		return err
	}
	s.audit = audit.NewLog(a.logger.Named("audit"), s.store, time.Now)
	s.audit.Observe(countEvent)
	if s.events != nil {
		s.audit.Observe(s.events.tell)
	}
	rules := identity.PasswordPolicy{MinLength: a.shortestPassword(), Services: a.serviceNames()}
	s.makeFlows(a, passwords, rules)
	s.cookies = session.NewCookies(s.keys.Codec("session"), s.keys.Generation, s.store.Incarnation, time.Now)
	s.assertions = assertion.NewSigner(assertion.Config{
		Issuer: a.portal.String(), Keys: s.keys, Clock: time.Now, Weights: s.factors.Weights(), Methods: s.factors.Methods(),
	})
	related, err := a.relatedOrigins()
	if err != nil {
		return err
	}
	s.mark = keys.OpenMark(ctx, a.keyStorage())
	s.requests = ticket.NewRequests(s.keys.Codec("request").WithMaxLength(maxRequest), time.Now)
	s.states = s.keys.Codec("state")
	s.tickets = ticket.NewTickets(s.store, time.Now, rand.Reader)
	s.returns = ticket.NewReturns(s.store, s.keys.Codec("return").WithMaxLength(ticket.MaxSealedReturn), time.Now)
	s.desk = accounts.NewDesk(s.store, s.flows, a.issuer(), s.audit, time.Now, rand.Reader)
	s.makeEnrolment(a)
	s.devices, s.revocations = devices.NewReader(a.trust(), s.keeper, s.desk, time.Now), a.revocations()
	s.bell = new(ceremony.Bell)
	settings := portal.Settings{
		Flows: s.flows, Accounts: s.selfService, SignOns: s.keeper, Devices: s.devices, Tickets: s.tickets, Requests: s.requests,
		PortalCookies: session.NewPortalCookies(s.keys.Codec("portal")), FlowCodec: s.keys.Codec("flow"),
		Pages: s.pages, Known: a.knows, Apps: a.appsFor, AppPasswords: a.appPasswordsFor, RevokeToken: revokeFor(s.desk), Factors: s.factors,
		RevocationList: a.revocationList(s.store), Withdrawn: a.isWithdrawn,
		MaxStaleness:  time.Duration(a.MaxStaleness),
		PasswordReset: *a.PasswordReset,
		AssertionKeys: s.assertions.JWKS, RelatedOrigins: related, ShortestPassword: rules.MinLength, Brand: a.Name, Contact: a.Contact, Origin: a.portal,
		Audit: s.audit, Logger: boundedlog.New(a.logger.Named("portal")), Clock: time.Now, Random: rand.Reader,
		Address: clientAddress, Bell: s.bell, Streams: &stream.Room{Each: mostOfBrowser, All: mostStreams}, Ending: s.isEnding,
		Undo: undo.New(undo.Settings{Store: s.store, People: s.people, Clock: time.Now}),
	}
	if s.enrolment != nil {
		settings.Enrolments = s.selfService
		if a.Certificate.Agents != "" {
			settings.Agents = os.DirFS(a.Certificate.Agents)
		}
	}
	s.portal = portal.New(settings)
	return s.makeAuthenticator(a)
}

// newOutbox makes what sends the messages of factors; nil: there is nothing to send.
var newOutbox = (*service).makeOutbox

// makeFlows makes what people sign in by and see to their accounts with.
func (s *service) makeFlows(a *App, passwords *identity.Hasher, rules identity.PasswordPolicy) {
	s.vault = &credentials.Vault{Store: s.store, Factors: s.factors, Sealer: s.keys, Clock: time.Now, Random: rand.Reader}
	guesses := guess.New(guess.Settings{
		Store: s.store, Queue: passwords, Audit: s.audit, Clock: time.Now, Guessable: s.factors.Guessable(),
	})
	s.people = person.New(person.Settings{
		Store: s.store, Vault: s.vault, Guesses: guesses, Passwords: passwords, Rules: rules,
		Audit: s.audit, Clock: time.Now, Random: rand.Reader,
		Lifetime: time.Duration(a.Session.Lifetime), Idle: time.Duration(a.Session.Idle),
	})
	s.selfService = selfservice.New(selfservice.Settings{
		Store: s.store, People: s.people, Vault: s.vault, Clock: time.Now, Remembers: a.Session.Remember > 0,
	})
	s.flows = authflow.New(authflow.Settings{
		Store: s.store, People: s.people, Vault: s.vault, Guesses: guesses,
		Audit: s.audit, Clock: time.Now, Random: rand.Reader,
		Rules: authflow.Rules{
			Remember: time.Duration(a.Session.Remember), Passwordless: *a.FIDO.Passwordless, AdminGroups: a.admins.groupNames(),
			Hold: time.Duration(*a.ReplacementHold), Offered: s.offers.include, UpgradeOffer: *a.FIDO.UpgradeOffer,
		},
	})
	s.flows.Outbox = newOutbox(s, a)
}

// openKeys reads the key set, or makes it where the store is still empty: keys
// that are missing beside people would make their secrets unreadable, so that
// stops the start.
func (a *App) openKeys(ctx context.Context, s store.Store) (*keys.Set, error) {
	tightened, err := keys.CheckAccess(a.keyStorage())
	if err != nil {
		return nil, err
	}
	if len(tightened) > 0 {
		a.logger.Warn("others of the same group had access to the key set, and don't any more: unless this user is alone in the group, write caddy mfa keys rotate, and end all sessions", zap.Strings("files", tightened))
	}
	people, err := s.CountUsers(ctx)
	if err != nil {
		return nil, err
	}
	set, err := keys.Open(ctx, a.keyStorage(), rand.Reader, time.Now, people == 0)
	if err != nil {
		return nil, err
	}
	return set, set.SetCookieLifetime(time.Duration(a.Session.Lifetime))
}

// keyStorage is where keys and the store's mark are kept.
func (a *App) keyStorage() keys.Storage {
	if a.Keys != "" {
		return keys.FileStorage(a.Keys)
	}
	return a.ctx.Storage()
}

// shortestPassword is longer where some gate is content with a password alone
// (NIST SP 800-63B-4 §3.1.1.2).
func (a *App) shortestPassword() int {
	if a.layout.Weakest <= assurance.Single {
		return identity.MinLengthAlone
	}
	return identity.MinLengthWithSecond
}

// serviceNames are what people know this service by, and so use in passwords:
// its name, and the hosts of the portal and the apps.
func (a *App) serviceNames() []string {
	names := []string{a.Name, a.portal.Hostname()}
	for _, app := range a.layout.Apps {
		names = append(names, app.Host)
	}
	return names
}

// clientAddress is where a request came from, as Caddy's trusted_proxies
// determine it.
func clientAddress(r *http.Request) string {
	address, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return address
}
