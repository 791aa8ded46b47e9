// Package portal is the web face of signing in and of people's own accounts:
// routes, forms, and what people read. It runs the flows of package authflow
// and hands finished ones over to the gates by tickets. It must not know Caddy,
// SQL, or how a factor works: each factor's pages are the factor's own
// templates and texts.
package portal

import (
	"context"
	"crypto/x509"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/devices"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/showable"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/stream"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/ticket"
	"github.com/portcullis-mfa/portcullis/undo"
)

// Flows runs sign-ins, step-ups, set-ups, enrolments and replacements of what
// was lost; package authflow offers it.
type Flows interface {
	SignIn(ctx context.Context, in authflow.Login) (authflow.Flow, error)
	OffersPasskeys(platform string) bool
	NeedsSetup(ctx context.Context) (bool, error)
	AllDisabled(ctx context.Context) (bool, error)
	BeginDiscovery(ctx context.Context, browser string) (authflow.Discovery, error)
	SignInByPasskey(ctx context.Context, in authflow.Login, given authflow.Passkey) (authflow.Flow, error)
	BeginStepUp(ctx context.Context, raise authflow.Raise) (authflow.Flow, error)
	BeginFreshCheck(ctx context.Context, s store.SignOn, u store.User, returnPath string, c person.Client) (authflow.Flow, error)
	BeginEnrolment(ctx context.Context, s store.SignOn, u store.User, a authflow.Adding, c person.Client) (authflow.Flow, error)
	DeclinePasskey(ctx context.Context, u store.User) error
	OpenLink(ctx context.Context, token string) (authflow.Flow, error)
	RequestReset(ctx context.Context, name string, c person.Client) error
	OpenReset(ctx context.Context, token string, c person.Client) (authflow.Flow, error)
	Load(ctx context.Context, id string) (authflow.Flow, error)
	Step(ctx context.Context, f authflow.Flow, prefer assurance.Factor) (authflow.Step, error)
	AnswerPassword(ctx context.Context, f authflow.Flow, password string, c person.Client) error
	Challenge(ctx context.Context, f authflow.Flow, kind assurance.Factor, c person.Client) (authflow.Page, error)
	Send(ctx context.Context, f authflow.Flow, kind assurance.Factor, c person.Client) error
	Poll(ctx context.Context, f authflow.Flow, kind assurance.Factor) (authflow.Progress, error)
	DeliveryOf(ctx context.Context, f authflow.Flow, kind assurance.Factor) (d authflow.Delivery, enrols bool, err error)
	RememberFor(f authflow.Flow, kind assurance.Factor) time.Duration
	Answer(ctx context.Context, f authflow.Flow, given authflow.Response, c person.Client) error
	Invited(ctx context.Context, f authflow.Flow) (store.User, error)
	JudgePassword(ctx context.Context, f authflow.Flow, choice authflow.Choice) (person.Judgement, error)
	ChooseAccount(ctx context.Context, f authflow.Flow, choice authflow.Choice) error
	Enrolment(ctx context.Context, f authflow.Flow, kind assurance.Factor, c person.Client) (authflow.Page, error)
	AnswerEnrolment(ctx context.Context, f authflow.Flow, given authflow.EnrolmentAnswer, c person.Client) error
	Losable(ctx context.Context, f authflow.Flow) ([]credentials.Own, error)
	Lose(ctx context.Context, f authflow.Flow, ids []string) error
	AnswerAccessCode(ctx context.Context, f authflow.Flow, code string, c person.Client) error
	ChooseNewPassword(ctx context.Context, f authflow.Flow, password string, c person.Client) error
	Extend(ctx context.Context, f authflow.Flow) (time.Duration, error)
	Left(f authflow.Flow) time.Duration
	Grant(ctx context.Context, f authflow.Flow, previous string, c person.Client) (authflow.Granted, error)
	SignInDevice(ctx context.Context, in authflow.DeviceLogin, previous string, c person.Client) (authflow.Granted, error)
}

// Undo ends what a notice tells of; package undo offers it.
type Undo interface {
	Look(ctx context.Context, token string) (undo.Target, error)
	Undo(ctx context.Context, token, name string, c person.Client) error
}

// SignOns tells whether the portal's cookie counts, and ends sign-ons.
type SignOns interface {
	LivePortal(ctx context.Context, p session.PortalSession) (session.SignOn, session.User, error)
	End(ctx context.Context, id, reason string) (session.User, error)
}

// Devices tells by what a TLS client presented which device it is; package
// devices offers it.
type Devices interface {
	Read(ctx context.Context, presented []*x509.Certificate, maxStaleness time.Duration) (devices.Presented, error)
}

// Tickets hands a sign-on over to an app.
type Tickets interface {
	Issue(ctx context.Context, signOn session.SignOn, r ticket.Request) (string, error)
}

// Requests reads what gates signed.
type Requests interface {
	Read(value string) (r ticket.Request, fresh bool, err error)
}

// Bell tells when a user's questions may have changed; package ceremony offers it.
type Bell interface {
	Listen(user string) (heard <-chan struct{}, stop func())
}

// Pages renders pages, speaks to people, and serves style sheet and scripts.
type Pages interface {
	Render(w io.Writer, page string, view any) error
	// Has reports whether there is a page of that name.
	Has(page string) bool
	// Text returns the text of a key in a language; a value "Count" chooses
	// the plural form.
	Text(language, key string, values map[string]any) string
	Languages() []templates.Language
	// Match picks a language out of tags and Accept-Language headers, most
	// preferred first.
	Match(preferred ...string) string
	AssetPath() string
	ServeAsset(w http.ResponseWriter, r *http.Request, name string)
}

// Settings are what a Portal is made of. All fields are needed, unless they say
// otherwise.
type Settings struct {
	Flows    Flows
	Accounts Accounts
	SignOns  SignOns
	// Undo ends what notices tell of; nil: there are none.
	Undo          Undo
	Devices       Devices
	Tickets       Tickets
	Requests      Requests
	PortalCookies *session.PortalCookies
	FlowCodec     session.Codec
	Pages         Pages
	// Known reports whether an origin belongs to a gate of this configuration.
	Known func(origin string) bool
	// Apps returns the apps that somebody who asks from there can open.
	Apps func(r *http.Request, u session.User) []templates.App
	// AppPasswords returns the apps for which somebody may create app passwords.
	AppPasswords func(u session.User) []PasswordApp
	// RevokeToken revokes an access token for whoever holds it, if there is one.
	RevokeToken func(ctx context.Context, secret string) error
	// Factors are the second factors that are configured.
	Factors factors.Set
	// AssertionKeys returns the key set (RFC 7517 §5) with which apps verify what
	// gates state about people.
	AssertionKeys func() ([]byte, error)
	// RelatedOrigins is the document in which browsers find the origins that may
	// use the portal's keys (WebAuthn Level 3 §5.11); nil: there is none.
	RelatedOrigins []byte
	// RevocationList returns the list of revoked devices (RFC 5280 §5, DER),
	// served at RevocationListPath; nil: there is none.
	RevocationList func(ctx context.Context) ([]byte, error)
	// Enrolments lets people add machines; nil: no certificates are issued here.
	Enrolments Enrolments
	// Agents has the files of the device agent that people can download; nil: none.
	Agents fs.FS
	// Withdrawn reports whether a device's CA took its certificate back; nil: no CA
	// says so.
	Withdrawn func(store.Device) bool
	// MaxStaleness is how long devices count while this process is cut off
	// from what changes in the store.
	MaxStaleness time.Duration
	// PasswordReset says that people can have a link mailed to choose a new password.
	PasswordReset bool
	// ShortestPassword is the least number of characters of a password.
	ShortestPassword int
	Brand            string
	Contact          string
	Origin           *url.URL // of the portal itself
	Audit            *audit.Log
	Logger           *zap.Logger
	Clock            func() time.Time
	Random           io.Reader
	// Address returns the client's address, as trusted proxies determine it.
	Address func(*http.Request) string
	// Bell tells when a user's questions may have changed, and Streams bounds how many
	// browsers listen at the same time.
	Bell    Bell
	Streams *stream.Room
	// Ending reports whether the server is about to end, so that streams have to end.
	Ending func() bool
}

// Portal serves the portal's host. It is safe for concurrent use.
type Portal struct {
	Settings
	weights assurance.Weights // what proofs count for
	routes  http.Handler
}

// New returns a Portal.
func New(s Settings) *Portal {
	p := &Portal{Settings: s, weights: s.Factors.Weights()}
	mux := router{http.NewServeMux(), p.failed}
	mux.HandleFunc("GET /{$}", p.home)
	p.routeAccount(mux)
	mux.HandleFunc("GET /sign-in", p.showSignIn)
	mux.HandleFunc("POST /sign-in", p.signIn)
	mux.HandleFunc("GET /sign-in/passkey", p.askPasskey)
	mux.HandleFunc("POST /sign-in/passkey", p.signInByPasskey)
	mux.HandleFunc("POST "+devicePath, p.continueAsDevice)
	mux.HandleFunc("GET /setup", p.openLink)
	mux.HandleFunc("GET /invitation", p.openLink)
	if s.Undo != nil {
		mux.HandleFunc("GET "+undoPath, p.askUndo)
		mux.HandleFunc("POST "+undoPath, p.undo)
	}
	if s.PasswordReset {
		p.routeReset(mux)
	}
	mux.HandleFunc("GET /flow", p.dispatch)
	mux.HandleFunc("POST /flow/password", p.answerPassword)
	mux.HandleFunc("POST /flow/challenge", p.answerChallenge)
	mux.HandleFunc("GET "+waitPath, p.wait)
	mux.HandleFunc("POST "+sendPath, p.send)
	mux.HandleFunc("POST /flow/account", p.chooseAccount)
	mux.HandleFunc("POST /flow/password-strength", p.passwordStrength)
	mux.HandleFunc("POST /flow/enrol", p.answerEnrolment)
	mux.HandleFunc("GET /flow/file", p.download)
	mux.HandleFunc("GET /flow/lost", p.showLost)
	mux.HandleFunc("POST /flow/lost", p.lose)
	mux.HandleFunc("POST /flow/access-code", p.answerAccessCode)
	mux.HandleFunc("POST /flow/new-password", p.chooseNewPassword)
	mux.HandleFunc("POST /flow/more-time", p.extend)
	mux.HandleFunc("POST /token/revoke", p.revokeHeldToken)
	mux.HandleFunc("POST /language", p.chooseLanguage)
	mux.HandleFunc("GET /help/{kind}", p.help)
	mux.HandleFunc("GET /.well-known/jwks.json", p.assertionKeys)
	if s.RelatedOrigins != nil {
		mux.HandleFunc("GET /.well-known/webauthn", p.relatedOrigins)
	}
	if p.RevocationList != nil {
		mux.HandleFunc("GET "+RevocationListPath, p.revocationList)
	}
	mux.HandleFunc("GET /sign-out", p.askSignOut)
	mux.HandleFunc("POST /sign-out", p.signOut)
	mux.HandleFunc("GET /signed-out", p.signedOut)
	mux.HandleFunc("GET /"+s.Pages.AssetPath()+"/{name...}", func(w http.ResponseWriter, r *http.Request) error {
		s.Pages.ServeAsset(w, r, r.PathValue("name"))
		return nil
	})
	mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) error { return errNotFound })
	p.routes = p.recovered(p.unreplayed(p.bounded(p.sameOrigin(mux))))
	return p
}

// handler answers a request, or returns why it can't. Where it returns an error it
// has written nothing, and failed answers.
type handler func(w http.ResponseWriter, r *http.Request) error

// router routes requests to handlers.
type router struct {
	*http.ServeMux
	failed func(w http.ResponseWriter, r *http.Request, err error)
}

// HandleFunc routes what matches a pattern of net/http to a handler.
func (m router) HandleFunc(pattern string, h handler) {
	m.ServeMux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			m.failed(w, r, err)
		}
	})
}

// routeAccount routes what people do with their own account.
func (p *Portal) routeAccount(mux router) {
	mux.HandleFunc("GET "+accountPath, p.overview)
	mux.HandleFunc("GET "+passwordPath, p.showPassword)
	mux.HandleFunc("POST "+passwordPath, p.changePassword)
	mux.HandleFunc("POST "+strengthPath, p.ownPasswordStrength)
	mux.HandleFunc("GET "+signOnsPath, p.showSignOns)
	mux.HandleFunc("POST "+signOnsPath+"/end", p.endSignOn)
	mux.HandleFunc("POST "+signOnsPath+"/end-others", p.endOthers)
	mux.HandleFunc("POST /browsers/forget", p.forgetBrowser)
	mux.HandleFunc("GET "+devicesPath, p.showDevices)
	mux.HandleFunc("GET "+devicesPath+"/rename", p.showRenameDevice)
	mux.HandleFunc("POST "+devicesPath+"/rename", p.renameDevice)
	mux.HandleFunc("GET "+devicesPath+"/revoke", p.askRevoke)
	mux.HandleFunc("POST "+devicesPath+"/revoke", p.revoke)
	if p.Enrolments != nil {
		mux.HandleFunc("GET "+confirmDevicePath, p.askDevice)
		mux.HandleFunc("POST "+confirmDevicePath, p.confirmDevice)
		mux.HandleFunc("GET "+TypedPath, p.leadTyped)
		if p.Agents != nil {
			mux.HandleFunc("GET "+agentPath+"{file}", p.serveAgent)
		}
		mux.HandleFunc("GET "+typedDevicePath, p.askTyped)
		mux.HandleFunc("POST "+typedDevicePath, p.answerTyped)
		mux.HandleFunc("GET "+addDevicePath, p.showAddDevice)
		mux.HandleFunc("GET "+deviceTokenPath, p.askDeviceToken)
		mux.HandleFunc("POST "+deviceTokenPath, p.makeDeviceToken)
	}
	mux.HandleFunc("GET "+appPasswordsPath, p.showAppPasswords)
	mux.HandleFunc("GET "+appPasswordsPath+"/add", p.showAddAppPassword)
	mux.HandleFunc("POST "+appPasswordsPath+"/add", p.addAppPassword)
	mux.HandleFunc("GET "+appPasswordsPath+"/revoke", p.askRevokeAppPassword)
	mux.HandleFunc("POST "+appPasswordsPath+"/revoke", p.revokeAppPassword)
	mux.HandleFunc("GET "+activityPath, p.showActivity)
	mux.HandleFunc("GET "+disownPath, p.askDisown)
	mux.HandleFunc("POST "+disownPath, p.disown)
	mux.HandleFunc("GET "+offerPath, p.showOffer)
	mux.HandleFunc("POST "+offerPath, p.answerOffer)
	mux.HandleFunc("GET /account/{kind}", p.showKind)
	mux.HandleFunc("GET /account/{kind}/add", p.showAdd)
	mux.HandleFunc("POST /account/{kind}/add", p.add)
	mux.HandleFunc("GET /account/{kind}/rename", p.showRename)
	mux.HandleFunc("POST /account/{kind}/rename", p.rename)
	mux.HandleFunc("GET /account/{kind}/remove", p.showRemove)
	mux.HandleFunc("POST /account/{kind}/remove", p.remove)
	mux.HandleFunc("GET /account/{kind}/remove-all", p.showRemoveAll)
	mux.HandleFunc("POST /account/{kind}/remove-all", p.removeAll)
}

// ServeHTTP answers every request to the portal's host.
func (p *Portal) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.routes.ServeHTTP(w, r) }

// frame is what every page shows around its card.
func (p *Portal) frame(r *http.Request) templates.Frame {
	frame := templates.Frame{
		Brand: p.Brand, Contact: p.Contact, Assets: "/" + p.Pages.AssetPath(),
		Language: p.words(r).language, Languages: p.Pages.Languages(),
	}
	if !HoldsToken(r.URL) { // the link would be lost
		frame.Here = p.comeBack(r)
	}
	return frame
}

// clientBoundFor is client for somebody on their way.
func (p *Portal) clientBoundFor(r *http.Request, to destination) person.Client {
	c := p.client(r)
	c.Host = to.host()
	return c
}

// client describes the browser that a request came from.
func (p *Portal) client(r *http.Request) person.Client {
	c := person.Client{Address: p.Address(r), UserAgent: showable.Text(r.UserAgent()), Platform: platformOf(r), Language: p.words(r).language, Zone: zoneOf(r)}
	if cookie, err := r.Cookie(browserCookie); err == nil && len(cookie.Value) < 128 {
		c.Browser = cookie.Value
	}
	return c
}
