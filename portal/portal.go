// Package portal is the web face of signing in: routes, forms, and what people
// read. It runs the flows of package authflow and hands finished ones over to
// the gates by tickets. It must not know Caddy, SQL, or how a factor works:
// each factor's page is the factor's own template.
package portal

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/ticket"
)

// Flows runs sign-ins, step-ups and set-ups, and knows the browsers in which
// they skip the second step; package authflow offers it.
type Flows interface {
	SignIn(ctx context.Context, in authflow.Login) (authflow.Flow, error)
	BeginStepUp(ctx context.Context, s store.SignOn, u store.User, ask assurance.Requirement, request string) (authflow.Flow, error)
	OpenLink(ctx context.Context, token string) (authflow.Flow, error)
	Load(ctx context.Context, id string) (authflow.Flow, error)
	Step(ctx context.Context, f authflow.Flow, prefer assurance.Factor) (authflow.Step, error)
	AnswerPassword(ctx context.Context, f authflow.Flow, password string, c authflow.Client) error
	Challenge(ctx context.Context, f authflow.Flow, kind assurance.Factor) (factors.Ceremony, error)
	RememberFor(f authflow.Flow) time.Duration
	Answer(ctx context.Context, f authflow.Flow, given authflow.Response, c authflow.Client) error
	Invited(ctx context.Context, f authflow.Flow) (store.User, error)
	ChooseAccount(ctx context.Context, f authflow.Flow, choice authflow.Choice) error
	Enrolment(ctx context.Context, f authflow.Flow, kind assurance.Factor) (factors.Ceremony, error)
	AnswerEnrolment(ctx context.Context, f authflow.Flow, kind assurance.Factor, answer factors.Answer, c authflow.Client) error
	Grant(ctx context.Context, f authflow.Flow, previous string, c authflow.Client) (authflow.Granted, error)
	Remembered(ctx context.Context, userID string) ([]store.Browser, error)
	Forget(ctx context.Context, u store.User, id string, c authflow.Client) error
}

// SignOns tells whether the portal's cookie counts, and ends sign-ons.
type SignOns interface {
	LivePortal(ctx context.Context, p session.PortalSession) (session.SignOn, session.User, error)
	End(ctx context.Context, id, reason string) error
}

// Tickets hands a sign-on over to an app.
type Tickets interface {
	Issue(ctx context.Context, signOn session.SignOn, r ticket.Request) (string, error)
}

// Requests reads what gates signed.
type Requests interface {
	Read(value string) (r ticket.Request, fresh bool, err error)
}

// Pages renders pages and serves their style sheet and scripts.
type Pages interface {
	Render(w io.Writer, page string, view any) error
	AssetPath() string
	ServeAsset(w http.ResponseWriter, r *http.Request, name string)
}

// Settings are what a Portal is made of. All fields are needed.
type Settings struct {
	Flows         Flows
	SignOns       SignOns
	Tickets       Tickets
	Requests      Requests
	PortalCookies *session.PortalCookies
	FlowCodec     session.Codec
	Pages         Pages
	// Known reports whether an origin belongs to a gate of this configuration.
	Known func(origin string) bool
	// Apps returns the apps that somebody who asks from there can open.
	Apps    func(r *http.Request, u session.User) []templates.App
	Enabled func(assurance.Factor) bool
	// AssertionKeys returns the key set (RFC 7517 §5) by which apps verify what
	// gates state about people.
	AssertionKeys func() ([]byte, error)
	// PasswordRules decides on chosen passwords; see PasswordRules.
	PasswordRules PasswordRules
	// CodePeriod is how often the codes of authenticator apps change.
	CodePeriod time.Duration
	Brand      string
	Contact    string
	Origin     *url.URL // of the portal itself
	Audit      *audit.Log
	Logger     *zap.Logger
	Clock      func() time.Time
	Random     io.Reader
	// Address returns the client's address, as trusted proxies determine it.
	Address func(*http.Request) string
}

// PasswordRules judges a password while it is being chosen.
type PasswordRules interface {
	Check(password string, own ...string) error
	// Strength returns 0 (worst) to 4, and a few words.
	Strength(password string, own ...string) (score int, text string)
	// Shortest is the least number of characters.
	Shortest() int
}

// Portal serves the portal's host. It is safe for concurrent use.
type Portal struct {
	Settings
	routes http.Handler
}

// New returns a Portal.
func New(s Settings) *Portal {
	p := &Portal{Settings: s}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.home)
	mux.HandleFunc("POST /browsers/forget", p.forgetBrowser)
	mux.HandleFunc("GET /sign-in", p.showSignIn)
	mux.HandleFunc("POST /sign-in", p.signIn)
	mux.HandleFunc("GET /setup", p.openLink)
	mux.HandleFunc("GET /invitation", p.openLink)
	mux.HandleFunc("GET /flow", p.dispatch)
	mux.HandleFunc("POST /flow/password", p.answerPassword)
	mux.HandleFunc("POST /flow/challenge", p.answerChallenge)
	mux.HandleFunc("POST /flow/account", p.chooseAccount)
	mux.HandleFunc("POST /flow/password-strength", p.passwordStrength)
	mux.HandleFunc("POST /flow/enrol", p.answerEnrolment)
	mux.HandleFunc("GET /flow/file", p.download)
	mux.HandleFunc("GET /.well-known/jwks.json", p.assertionKeys)
	mux.HandleFunc("GET /sign-out", p.askSignOut)
	mux.HandleFunc("POST /sign-out", p.signOut)
	mux.HandleFunc("GET /signed-out", p.signedOut)
	mux.HandleFunc("GET /"+s.Pages.AssetPath()+"/{name...}", func(w http.ResponseWriter, r *http.Request) {
		s.Pages.ServeAsset(w, r, r.PathValue("name"))
	})
	mux.HandleFunc("/", p.notFound)
	p.routes = p.recovered(p.bounded(p.sameOrigin(mux)))
	return p
}

// ServeHTTP answers every request to the portal's host.
func (p *Portal) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.routes.ServeHTTP(w, r) }

// IsLink reports whether a path's query holds a token that must not be logged.
func IsLink(path string) bool { return path == "/setup" || path == "/invitation" }

// frame is what every page shows around its card.
func (p *Portal) frame() templates.Frame {
	return templates.Frame{Brand: p.Brand, Contact: p.Contact, Assets: "/" + p.Pages.AssetPath()}
}

// client describes the browser that a request came from.
func (p *Portal) client(r *http.Request) authflow.Client {
	c := authflow.Client{Address: p.Address(r), UserAgent: r.UserAgent()}
	if cookie, err := r.Cookie(browserCookie); err == nil && len(cookie.Value) < 128 {
		c.Browser = cookie.Value
	}
	return c
}
