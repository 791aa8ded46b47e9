package caddymodule

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"golang.org/x/term"

	"github.com/portcullis-mfa/portcullis/accounts"
	"github.com/portcullis-mfa/portcullis/assertion"
	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/boundedlog"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/devices"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/factors/backupcode"
	"github.com/portcullis-mfa/portcullis/factors/fido"
	"github.com/portcullis-mfa/portcullis/factors/totp"
	"github.com/portcullis-mfa/portcullis/gate/canonical"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/keys"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/portal"
	"github.com/portcullis-mfa/portcullis/selfservice"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/ticket"
)

// nodes are the open stores of this process by key: a reload goes on with the
// store that the configuration before it has open, with what is known of it,
// and with the connections that are watched over.
var nodes = caddy.NewUsagePool()

// node is an open store in the pool, with the one keeper and the one queue for
// hashing that it has in this process.
type node struct {
	store.Store
	keeper  *session.Keeper
	hashing *identity.Queue
	end     context.CancelFunc
	running sync.WaitGroup
}

// openNode opens a store and begins to follow it.
func (a *App) openNode(ctx context.Context) (*node, error) {
	mark := keys.OpenMark(ctx, a.keyStorage())
	begun, err := a.hasBegun(ctx, mark)
	if err != nil {
		return nil, err
	}
	opened, err := a.store.Open(ctx, !begun)
	if errors.Is(err, store.ErrMissing) {
		return nil, fmt.Errorf("%w, although there is a key set, or a mark of a store: %s", err, a.adviceBeginAnew())
	}
	if err != nil {
		return nil, err
	}
	if err := a.checkMark(ctx, mark, opened); err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	n := &node{Store: opened, keeper: session.NewKeeper(telling{opened}, time.Now, warn), hashing: identity.NewQueue()}
	running, end := context.WithCancel(context.Background())
	n.end = end
	// Before anybody asks: until then nobody could be told anything.
	stop := opened.Follow(n.keeper)
	n.running.Go(func() {
		defer stop()
		n.keeper.Run(running)
	})
	return n, nil
}

// telling is a store that tells the audit of each sign-on that idles out, in the
// log of the configuration that is in force at that moment.
type telling struct{ store.Store }

// EndUnseenSignOn implements session.Store.
func (t telling) EndUnseenSignOn(ctx context.Context, id string, lastSeen, at time.Time, reason string) error {
	log := audit.NewLog(caddy.Log().Named("mfa.audit"), t.Store, time.Now)
	return accounts.NewDesk(t.Store, nil, nil, log, time.Now, nil).EndUnseen(ctx, id, lastSeen, at, reason)
}

// warn writes to the log of the configuration that is in force at that moment:
// a node outlives the one that it was opened under.
func warn(message string, fields ...zap.Field) {
	caddy.Log().Named("mfa.sessions").Warn(message, fields...)
}

// hasBegun reports whether there has been a store before: its mark or its keys
// are there. A store in which nothing has happened yet isn't missed.
func (a *App) hasBegun(ctx context.Context, mark *keys.Mark) (bool, error) {
	switch mark.Found() {
	case keys.MarkMoved:
		return true, nil
	case keys.MarkAtStart:
		return false, nil
	}
	return keys.Exist(ctx, a.keyStorage())
}

// adviceBeginAnew says what to do where the store is gone.
func (a *App) adviceBeginAnew() string {
	return fmt.Sprintf("put its file back together with the one that ends in -wal, mount the disk that it is on, or correct `store`; "+
		"to begin anew without users, move the key set and its mark aside as well (%s)", keys.Places(a.keyStorage()))
}

// checkMark ends all sessions where the store may have been brought back from
// an older copy, in which those live that were ended since. A store in which
// nothing has happened can't be the one that the mark is of.
func (a *App) checkMark(ctx context.Context, mark *keys.Mark, s store.Store) error {
	position, err := s.Position(ctx)
	if err != nil {
		return err
	}
	doubt := mark.Doubt(s.Incarnation(), position)
	if doubt == nil {
		return nil
	}
	if errors.Is(doubt, keys.ErrEmptied) {
		return fmt.Errorf("%w: %s", doubt, a.adviceBeginAnew())
	}
	a.logger.Warn("everybody has to sign in again", zap.Error(doubt))
	if err := s.Renew(ctx); err != nil {
		return err
	}
	return mark.Keep(ctx, s.Incarnation(), position)
}

// Destruct implements caddy.Destructor.
func (n *node) Destruct() error {
	n.end()
	n.running.Wait()
	return n.Close()
}

// service is everything that a started app serves with. It is made anew for
// each configuration; what has to outlive a reload is in the store.
type service struct {
	store   store.Store
	keys    *keys.Set
	factors factors.Set
	pages   *templates.Set
	audit   *audit.Log
	vault   *credentials.Vault
	people  *person.Keeper
	flows   *authflow.Engine
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
	portal      *portal.Portal
	// revocations are the operator's revocation lists; nil: there are none.
	revocations *devices.Revocations
	// refreshIssuers learns what devices were issued from, here and elsewhere.
	refreshIssuers func(context.Context) error

	assertions *assertion.Signer
	mark       *keys.Mark
	lifetime   time.Duration // the longest of a sign-on
	metrics    *metrics

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
		return fmt.Errorf("opening the store: %w", err)
	}
	a.holdsStore = true
	n := opened.(*node)
	s := &service{store: n.Store, keeper: n.keeper, hashing: n.hashing, metrics: a.metrics}
	if err := a.checkOrphans(ctx, s.store); err != nil {
		return err
	}
	if err := a.assemble(ctx, s); err != nil {
		return err
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
	s.upkeep.Go(func() { s.keepUp(keeping, a.logger) })
	s.upkeep.Go(func() { a.comeIntoForce(keeping) })
	a.service.Store(s)
	return nil
}

// stopServing gives back what startServing took. The service stays in place: at
// a reload Caddy cleans up while its old servers still answer requests, and
// the configuration in force keeps the store open for them.
func (a *App) stopServing() error {
	if s := a.service.Load(); s != nil {
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
		return fmt.Errorf("opening the keys: %w", err)
	}
	s.pages, s.lifetime = a.pages, time.Duration(a.Session.Lifetime)
	passwords, err := identity.NewHasher(identity.HasherConfig{Peppers: s.keys, Queue: s.hashing, Memory: a.Password.HashingMemory})
	if err != nil {
		return fmt.Errorf("setting up password hashing: %w", err)
	}
	if s.factors, err = a.makeFactors(passwords); err != nil {
		return err
	}
	s.audit = audit.NewLog(a.logger.Named("audit"), s.store, time.Now)
	rules := identity.PasswordPolicy{MinLength: a.shortestPassword(), Services: a.serviceNames()}
	s.makeFlows(a, passwords, rules)
	s.cookies = session.NewCookies(s.keys.Codec("session"), s.keys.Generation, s.store.Incarnation(), time.Now)
	s.assertions = assertion.NewSigner(assertion.Config{
		Issuer: a.portal.String(), Keys: s.keys, Clock: time.Now, Weights: s.factors.Weights(),
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
	s.devices, s.revocations = devices.NewReader(a.trust(), s.keeper, s.desk, time.Now), a.revocations()
	s.portal = portal.New(portal.Settings{
		Flows: s.flows, Accounts: s.selfService, SignOns: s.keeper, Devices: s.devices, Tickets: s.tickets, Requests: s.requests,
		PortalCookies: session.NewPortalCookies(s.keys.Codec("portal")), FlowCodec: s.keys.Codec("flow"),
		Pages: s.pages, Known: a.knows, Apps: a.appsFor, Weights: s.factors.Weights(),
		RevocationList: a.revocationList(s.store), Withdrawn: a.isWithdrawn,
		MaxStaleness:  time.Duration(a.MaxStaleness),
		AssertionKeys: s.assertions.JWKS, RelatedOrigins: related, ShortestPassword: rules.MinLength, CodePeriod: time.Duration(a.TOTP.Period), Brand: a.Name, Contact: a.Contact, Origin: a.portal,
		Audit: s.audit, Logger: boundedlog.New(a.logger.Named("portal")), Clock: time.Now, Random: rand.Reader,
		Address: clientAddress,
	})
	return nil
}

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
			Hold: time.Duration(*a.ReplacementHold), Offered: a.offered, UpgradeOffer: *a.FIDO.UpgradeOffer,
		},
	})
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

// makeFactors makes the second factors, in the order of recommendation.
func (a *App) makeFactors(passwords *identity.Hasher) (factors.Set, error) {
	codes, err := totp.New(a.TOTP.config(), time.Now, rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("setting up codes from authenticator apps: %w", err)
	}
	set := factors.Set{codes}
	if !a.FIDO.Off {
		keys, err := fido.New(a.fidoConfig(), time.Now, rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("setting up security keys: %w", err)
		}
		set = append(set, keys)
	}
	if a.BackupCodes.Off {
		return set, nil
	}
	cheaper, err := passwords.With(identity.CodeParams())
	if err != nil {
		return nil, fmt.Errorf("setting up backup codes: %w", err)
	}
	return append(set, backupcode.New(a.Name, cheaper, time.Now, rand.Reader)), nil
}

// relatedOrigins is what browsers are told of the origins that may use the
// keys; nil: there are no others.
func (a *App) relatedOrigins() ([]byte, error) {
	if a.FIDO.Off || len(a.FIDO.Origins) == 0 {
		return nil, nil
	}
	return fido.RelatedOrigins(a.FIDO.Origins)
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

// appsFor lists, for the portal's first page, the gated apps whose own first
// page somebody could open from where they are. An app of which that can't be
// told is listed: its gate decides when they come.
func (a *App) appsFor(r *http.Request, u session.User) []templates.App {
	var apps []templates.App
	for _, found := range a.layout.Apps {
		gate, ok := found.Gate.(*Gate)
		if !ok {
			continue
		}
		front, err := frontPage(r, found.URL, gate)
		if err != nil {
			continue
		}
		opens, err := gate.serving.Load().Opens(front, u)
		if err != nil {
			a.logger.Debug("deciding whether to list an app", zap.String("host", found.Host), zap.Error(err))
		}
		if opens || err != nil {
			apps = append(apps, templates.App{Name: found.Host, URL: found.URL + "/"})
		}
	}
	return apps
}

// frontPage is the request that the sender of r would make for the first page of
// the app at an address.
func frontPage(r *http.Request, address string, gate *Gate) (*http.Request, error) {
	u, err := url.Parse(address + "/")
	if err != nil {
		return nil, err
	}
	front := r.Clone(r.Context())
	front.Method, front.Body, front.Form, front.PostForm = http.MethodGet, http.NoBody, nil, nil
	front.Host, front.RequestURI = u.Host, "/"
	front.URL = &url.URL{Path: "/"}
	return caddyhttp.PrepareRequest(front, caddy.NewReplacer(), nil, gate.server), nil
}

// knows reports whether an origin belongs to a gate of this configuration.
func (a *App) knows(origin string) bool {
	u, err := url.Parse(origin)
	if err != nil {
		return false
	}
	name, port, err := canonical.Host(u.Host)
	if err != nil {
		return false
	}
	for _, at := range a.layout.Gates {
		if own, ok := at.Site.Origin(name, port); ok && own == origin {
			return true
		}
	}
	return false
}

// clientAddress is where a request came from, as Caddy's trusted_proxies
// determine it.
func clientAddress(r *http.Request) string {
	address, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return address
}

// offered says that this process has spoken of the first administrator: a
// reload doesn't repeat it.
var offered sync.Once

// offerSetup says how the first administrator gets in, where there is none. A
// link is shown to a person at a terminal only, since logs are kept and read.
func (a *App) offerSetup(ctx context.Context, s *service) error {
	active, err := s.store.CountUsers(ctx, store.UserActive)
	if err != nil || active > 0 {
		return err
	}
	offered.Do(func() {
		if !term.IsTerminal(int(os.Stderr.Fd())) {
			a.logger.Info("nobody has an account yet: run `caddy mfa setup-link` for a link to set up the first administrator")
			return
		}
		var token string
		if token, err = s.flows.NewSetupLink(ctx); err != nil {
			return
		}
		fmt.Fprintf(os.Stderr, "\n  Nobody is set up yet. Open this link to become the first administrator:\n\n    %s\n\n", a.linkURL("setup", token))
	})
	if errors.Is(err, authflow.ErrHasUsers) {
		return nil
	}
	return err
}

// linkURL is the address under which a setup link or invitation is opened.
func (a *App) linkURL(kind, token string) string {
	return a.portal.String() + "/" + kind + "?token=" + token
}
