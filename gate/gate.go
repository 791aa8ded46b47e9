package gate

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/gate/canonical"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/ticket"
)

// Rule is one rule of a gate, complete: nothing is inherited any more.
type Rule struct {
	// Match reports whether the rule is about a request; nil matches all.
	Match func(*http.Request) (bool, error)
	// Patterns are path patterns of the rule, in lower case and with no wildcard
	// but one star at their end. Where one matches and goes on behind the name
	// of a script, as /index.php/public/* does, the rule decides, whatever holds
	// for the script alone.
	Patterns []string
	// PatternsTell says that Match tells paths apart by nothing but Patterns.
	PatternsTell bool
	// Open lets everybody pass, without an identity.
	Open bool
	// Allows says who may pass of those who are signed in.
	Allows func(session.User) bool
	// Certificate says what a device's certificate does here, on this
	// connection. Require says what one does that is among a session's proofs.
	Certificate CertificateMode
	Require     assurance.Requirement
	// ServiceTokens lets programs pass with service tokens.
	ServiceTokens bool
	// AppPasswords lets programs pass with people's app passwords; nil: they don't count.
	AppPasswords *AppPasswords
}

// AppPasswords says which app passwords count at a rule.
type AppPasswords struct {
	// Allows says whose app passwords count, among the people whom the rule allows.
	Allows func(session.User) bool
	// Longest is how long an app password counts after it was created.
	Longest time.Duration
	// Most is how many of them a person may have for the site at once. The gate
	// doesn't count them.
	Most int
}

// Sessions reads the session cookies of hosts and mints them.
type Sessions interface {
	Read(value, host string) (*session.Session, error)
	// Peek tells what a cookie once said that may not count any more.
	Peek(value, host string) (*session.Session, bool)
	Mint(signOn session.SignOn, host string, asked assurance.Requirement) (string, error)
}

// SignOns tells whether a sign-on counts, ends it, and ends what is under way
// with it. Package session's Keeper says more.
type SignOns interface {
	LiveSignOn(ctx context.Context, l session.SignOnLookup) (session.LiveSignOn, error)
	LiveAccessToken(ctx context.Context, l session.AccessTokenLookup) (session.LiveAccessToken, error)
	End(ctx context.Context, id, reason string) (session.User, error)
	Open(ctx context.Context, c *session.Connection, exchange session.Exchange) error
	Close(c *session.Connection)
}

// Succession tells which gate decides on what is open once the configuration
// was replaced.
type Succession interface {
	// Replaced reports whether a later configuration than this gate's is in
	// force.
	Replaced() bool
	// Successor returns the gate that guards what a request asks for by the
	// configuration in force, this one as long as that wasn't replaced, and the
	// request as its matchers need it. There may be none: nil.
	Successor(r *http.Request, origin string) (*Gate, *http.Request)
}

// Assertions signs statements of who somebody is, for one app.
type Assertions interface {
	Token(s Statement, app string) (string, error)
}

// Statement is what is stated of somebody.
type Statement struct {
	SignOn  string // id; empty: a certificate alone, or an access token, says who it is
	Program string // id of the access token; empty: it is a person
	User    *session.Profile
	Proofs  []assurance.Proof
	Expires time.Time
}

// Requests signs what the portal is asked for, and reads it back.
type Requests interface {
	Sign(r ticket.Request) (string, error)
	Read(value string) (r ticket.Request, fresh bool, err error)
}

// Tickets redeems what the portal gave.
type Tickets interface {
	Redeem(ctx context.Context, value string, r ticket.Request) (session.SignOn, session.User, error)
}

// Returns keeps return URLs that don't fit into a request, and finds the return URL
// of any request.
type Returns interface {
	Keep(ctx context.Context, r ticket.Request, whole, address string) error
	Find(ctx context.Context, r ticket.Request) (string, error)
}

// Pages renders the few pages that a gate shows at the app's own host.
type Pages interface {
	Render(w io.Writer, page string, view any) error
	Text(language, key string, values map[string]any) string
	Match(preferred ...string) (language string)
	AssetPath() string
	ServeAsset(w http.ResponseWriter, r *http.Request, name string)
}

// Settings are what a Gate is made of. All fields are needed but those that
// say what their absence means.
type Settings struct {
	// Rules are tried in order; the last one matches everything.
	Rules []Rule
	// Succession tells of later configurations; nil: none ever comes.
	Succession Succession
	Site
	Credentials
	SignIn
	App
	Look
	Surroundings
}

// Site is how requests to a site are read.
type Site struct {
	// Origin returns the origin of a site that this gate guards for the name
	// and port of a Host header, or false.
	Origin func(name, port string) (string, bool)
	// UsualHost returns a host that Origin knows, which may have a port, with
	// the port at which browsers reach it. Nil: as it came.
	UsualHost func(host string) string
	// Scripts are what the site's apps take for the names of scripts.
	Scripts canonical.Scripts
	// Aliases are the other paths under which the site may serve the same.
	Aliases canonical.Aliases
	// Query says how the rules look at the query; nil: they don't.
	Query *canonical.QueryUse
	// HeadApart says that rules name HEAD, which then comes under its own rule
	// alone. Else it comes under that for GET, too.
	HeadApart bool
	// Agree is told of each form of a request that rules are asked about, and
	// last of the one that is forwarded, so that whatever keeps the request
	// elsewhere keeps that form; changed says that it may differ from the one
	// before. An error refuses the request. Nil: nothing keeps it.
	Agree func(r *http.Request, changed bool) error
}

// Credentials are how it is known who sent a request.
type Credentials struct {
	Sessions Sessions
	SignOns  SignOns
	// Devices reads certificates; nil where no rule looks at any.
	Devices Devices
	// Weights say what proofs count for.
	Weights assurance.Weights
	// Ignores reports whether a request doesn't count as somebody's activity;
	// nil: each does.
	Ignores func(*http.Request) (bool, error)
	// MaxStaleness is how long sign-ons count while this process is cut off
	// from what changes in the store.
	MaxStaleness time.Duration
}

// SignIn is how people are sent to sign in and come back.
type SignIn struct {
	// Portal is the origin of the portal.
	Portal   *url.URL
	Requests Requests
	States   session.Codec
	Tickets  Tickets
	Returns  Returns
	// SameSite is of the session cookie: Lax, or None for pages that other
	// sites embed.
	SameSite http.SameSite
	// ClearAtSignOut has browsers forget at sign-out what the app keeps in them,
	// not only where another person signs in or the computer is shared.
	ClearAtSignOut bool
}

// App is what the app gets to see.
type App struct {
	// Headers are the names of the identity headers.
	Headers *IdentityHeaders
	// Assertions signs the header AssertionHeader; nil: it isn't sent.
	Assertions Assertions
	// StandIn is what the header AssertionHeader holds in place of the assertion
	// until the request leaves for the app, when whoever sends it puts in what
	// Visitor.Assertion says; empty: the header holds the assertion itself.
	StandIn string
	// Preflights lets CORS preflights through, without cookies and identity.
	Preflights bool
	// SessionNotice adds a script to the app's pages that tells people when their
	// session has ended; see notice.go.
	SessionNotice bool
	// Basic asks programs that bring no credential for one, where tokens count.
	Basic bool
}

// Look is what the gate's own pages look like.
type Look struct {
	Pages          Pages
	Brand, Contact string
}

// Surroundings are what the gate finds around it.
type Surroundings struct {
	Audit  *audit.Log
	Logger *zap.Logger
	Clock  func() time.Time
	Random io.Reader
	// Address returns the client's address, as trusted proxies determine it.
	Address func(*http.Request) string
}

// Gate decides on the requests of one site. It is safe for concurrent use, and
// nothing that changes between requests has a say in its decisions.
type Gate struct {
	Settings
	// handed reads what programs are given to hand over, which decides alone.
	handed reader
	// aliases says what the rules could make of other paths to the same page.
	aliases aliasUse
	// admissions are when those of devices were written down last; nil where no
	// rule looks at certificates.
	admissions *otter.Cache[admission, time.Time]
	// refusedTokens are when events last told that they were refused, by selector.
	refusedTokens *otter.Cache[string, time.Time]
	// warned is when warnOfLength last did, in Unix nanoseconds; 0: never.
	warned atomic.Int64
}

// New returns a Gate.
func New(s Settings) *Gate {
	g := &Gate{Settings: s}
	g.handed = tokenReader{g}
	g.aliases = aliasUseOf(s.Rules)
	g.refusedTokens = otter.Must(&otter.Options[string, time.Time]{MaximumSize: maxRefusedTokens})
	if slices.ContainsFunc(s.Rules, func(rule Rule) bool { return rule.Certificate != CertificateOff }) {
		g.admissions = otter.Must(&otter.Options[admission, time.Time]{MaximumSize: maxAdmissions})
	}
	return g
}

// Visitor is who was let through.
type Visitor struct {
	User *session.Profile
	// Device is the name of the device whose certificate spoke for them, too;
	// empty: none did.
	Device string
	// Program is the name of the access token by which a program passes; empty: a
	// person does.
	Program string

	// Assertion is what AssertionHeader must hold when the request leaves for the
	// app, where Settings.StandIn stands in for it until then; else empty.
	Assertion string

	proofs  []assurance.Proof
	weights assurance.Weights
}

// Level is how much they have proved.
func (v *Visitor) Level() assurance.Level { return assurance.Of(v.proofs, v.weights) }

// Next serves what lies behind the gate. visitor is nil on an open path.
type Next func(w http.ResponseWriter, r *http.Request, visitor *Visitor) error
