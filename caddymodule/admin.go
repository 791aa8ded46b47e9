package caddymodule

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/accounts"
	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/showable"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

func init() {
	caddy.RegisterModule(new(Admin))
}

// Admin serves, on Caddy's admin endpoint below /mfa/, what the `caddy mfa`
// commands ask for. Whoever reaches the admin endpoint may do everything, as
// everywhere in Caddy; what a browser sends there is refused, because a page
// of any site can make one send it.
type Admin struct{}

// CaddyModule returns the Caddy module information.
func (*Admin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.mfa",
		New: func() caddy.Module { return new(Admin) },
	}
}

// Routes implements caddy.AdminRouter.
func (a *Admin) Routes() []caddy.AdminRoute {
	mux := http.NewServeMux()
	for pattern, operation := range map[string]operation{
		"POST /mfa/setup-link":                        setupLink,
		"GET /mfa/users":                              listUsers,
		"POST /mfa/users":                             addUser,
		"GET /mfa/users/{name}":                       showUser,
		"PATCH /mfa/users/{name}":                     setUser,
		"DELETE /mfa/users/{name}":                    deleteUser,
		"POST /mfa/users/{name}/invite":               inviteUser,
		"POST /mfa/users/{name}/access-code":          accessCode,
		"POST /mfa/users/{name}/reset-factors":        resetFactors,
		"POST /mfa/users/{name}/disable":              disableUser,
		"POST /mfa/users/{name}/enable":               onUser((*accounts.Desk).Enable),
		"POST /mfa/users/{name}/unlock":               onUser((*accounts.Desk).Unlock),
		"GET /mfa/sessions":                           listSessions,
		"POST /mfa/sessions/{id}/end":                 endSession,
		"POST /mfa/users/{name}/end-sessions":         endSessionsOf,
		"POST /mfa/users/{name}/browsers/{id}/forget": forgetBrowser,
		"POST /mfa/users/{name}/devices":              issueDevice,
		"GET /mfa/devices":                            listDevices,
		"GET /mfa/devices/{id}":                       oneDevice(showDevice),
		"POST /mfa/devices/{id}/rename":               oneDevice(renameDevice),
		"POST /mfa/devices/{id}/revoke":               oneDevice(revokeDevice),
		"POST /mfa/keys/rotate":                       rotateKeys,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { a.run(w, r, operation) })
	}
	return []caddy.AdminRoute{{
		Pattern: "/mfa/",
		Handler: caddy.AdminHandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			return a.serve(mux, w, r)
		}),
	}}
}

// operation is one request to the desk; what it returns is answered as JSON.
type operation func(ctx context.Context, app *App, r *http.Request) (any, error)

// serve refuses what a browser could have been made to send.
func (a *Admin) serve(mux http.Handler, w http.ResponseWriter, r *http.Request) error {
	if reason := fromBrowser(r); reason != "" {
		a.note(r, reason)
		return caddy.APIError{
			HTTPStatus: http.StatusForbidden,
			Err:        fmt.Errorf("this endpoint is for the `caddy mfa` commands, not for browsers (%s)", reason),
		}
	}
	mux.ServeHTTP(w, r)
	return nil
}

// fromBrowser returns why a request may come from a page in a browser. A page
// can't send JSON across origins without asking first, nor leave out where it
// comes from.
func fromBrowser(r *http.Request) string {
	switch {
	case r.Header.Get("Origin") != "" && r.Header.Get("Origin") != "http://"+r.Host:
		return "it names another origin"
	case r.Header.Get("Sec-Fetch-Site") != "" || r.Header.Get("Sec-Fetch-Mode") != "":
		return "it comes from a page"
	case r.Method == http.MethodGet:
		return ""
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return "it isn't application/json"
	}
	return ""
}

// note writes a refusal into the audit log.
func (a *Admin) note(r *http.Request, reason string) {
	app, s, err := a.serving(r.Context())
	if err != nil {
		return // nothing serves, so there is no log to write to
	}
	address, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		address = r.RemoteAddr
	}
	app.bounded.Warn("refusing a request to the admin endpoint")
	s.audit.Note(audit.AdminRefused, "", audit.Fields{audit.Reason: reason, audit.Address: address})
}

// startup is how long a request waits for a server that is starting.
const startup = 10 * time.Second

// serving returns the app of the configuration in force. That need not be the
// one which this module belongs to: Caddy replaces the admin endpoint before
// it starts the apps, and leaves it so where a reload is refused. It waits
// while there is no configuration yet, since the endpoint answers a little
// earlier than the apps do.
func (a *Admin) serving(ctx context.Context) (*App, *service, error) {
	ctx, cancel := context.WithTimeout(ctx, startup)
	defer cancel()
	active, err := activeContext(ctx)
	if err != nil {
		return nil, nil, err
	}
	configured, err := active.AppIfConfigured("mfa")
	if err != nil {
		return nil, nil, caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: errors.New("the running configuration has no mfa app")}
	}
	app, ok := configured.(*App)
	if !ok {
		return nil, nil, fmt.Errorf("the mfa app is a %T", configured)
	}
	select {
	case <-app.ready:
	case <-ctx.Done():
	}
	s := app.service.Load()
	if s == nil {
		return nil, nil, errStarting
	}
	return app, s, nil
}

var errStarting = caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: errors.New("the server is still starting: try again in a moment")}

// activeContext waits for a configuration to be in force. Caddy tells nobody
// when that is, so it is looked for.
func activeContext(ctx context.Context) (caddy.Context, error) {
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		if active := caddy.ActiveContext(); active.Context != nil {
			return active, nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return caddy.Context{}, errStarting
		}
	}
}

// run runs an operation and answers with its result.
func (a *Admin) run(w http.ResponseWriter, r *http.Request, do operation) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	app, _, err := a.serving(r.Context())
	var result any
	if err == nil {
		result, err = do(r.Context(), app, r)
	}
	portal, log := "", caddy.Log().Named("mfa")
	if app != nil {
		portal, log = app.portal.String(), app.logger
	}
	reply(w, r, portal, log, result, err)
}

// reply answers with the result of an operation, or says why there is none.
// Details of what the operator can't do anything about go to the log.
func reply(w http.ResponseWriter, r *http.Request, portal string, log *zap.Logger, result any, err error) {
	status := http.StatusOK
	if err != nil {
		var why string
		if status, why = failure(err); status == http.StatusInternalServerError {
			reference := token.Reference(rand.Reader)
			log.Error("answering a request to the admin endpoint", zap.Error(err), zap.String("reference", reference),
				zap.String("method", r.Method), zap.String("path", showable.Text(r.URL.Path)))
			why = "something went wrong: look for reference " + reference + " in the server's log"
		}
		result = failureJSON{why, portal}
	}
	w.Header().Set(portalHeader, portal)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(result) // the client went away; there is nobody to tell
}

// The forms in which users and sessions appear in the admin API and in the
// commands' --json.
type (
	userJSON struct {
		Name        string        `json:"name"`
		DisplayName string        `json:"display_name,omitempty"`
		Email       string        `json:"email,omitempty"`
		Groups      []string      `json:"groups"`
		Status      string        `json:"status"`
		Created     time.Time     `json:"created"`
		Factors     []string      `json:"factors,omitempty"`
		Sessions    []sessionJSON `json:"sessions,omitempty"`
		Browsers    []browserJSON `json:"browsers,omitempty"`
	}
	sessionJSON struct {
		ID        string    `json:"id"`
		User      string    `json:"user,omitempty"`
		Started   time.Time `json:"started"`
		LastSeen  time.Time `json:"last_seen"`
		Expires   time.Time `json:"expires"`
		Factors   []string  `json:"factors"`
		Address   string    `json:"address,omitempty"`
		UserAgent string    `json:"user_agent,omitempty"`
	}
	browserJSON struct {
		ID        string    `json:"id"`
		UserAgent string    `json:"user_agent,omitempty"`
		Factor    string    `json:"factor"` // that it stands in for
		Until     time.Time `json:"until"`
		LastSeen  time.Time `json:"last_seen"`
	}
	linkJSON struct {
		Link    string    `json:"link"`
		Expires time.Time `json:"expires"`
	}
	codeJSON struct {
		Code    string    `json:"code"`
		Expires time.Time `json:"expires"`
	}
	// resetJSON asks for a reset; resetDoneJSON is what it comes to.
	resetJSON struct {
		Password bool `json:"password"`
	}
	resetDoneJSON struct {
		Factors []string  `json:"factors"`
		Ended   int       `json:"ended"`
		Code    *codeJSON `json:"access_code,omitempty"`
		Link    *linkJSON `json:"invitation,omitempty"`
	}
	newUserJSON struct {
		Name        string   `json:"name"`
		DisplayName string   `json:"display_name"`
		Email       string   `json:"email"`
		Groups      []string `json:"groups"`
	}
	// changesJSON are what is to be different; what is left out stays.
	changesJSON struct {
		Name        *string   `json:"name,omitempty"`
		DisplayName *string   `json:"display_name,omitempty"`
		Email       *string   `json:"email,omitempty"`
		Groups      *[]string `json:"groups,omitempty"`
	}
	// doneJSON is what a change of a user, or their end, comes to.
	doneJSON struct {
		User    *userJSON `json:"user,omitempty"`
		Warning string    `json:"warning,omitempty"`
	}
)

func userOf(u store.User) userJSON {
	groups := u.Groups
	if groups == nil {
		groups = []string{}
	}
	return userJSON{
		Name: u.Name, DisplayName: u.DisplayName, Email: u.Email, Groups: groups,
		Status: string(u.Status), Created: u.Created,
	}
}

func sessionOf(s store.SignOn, user string) sessionJSON {
	shown := assurance.Shown(s.Proofs)
	kinds := make([]string, len(shown))
	for i, p := range shown {
		kinds[i] = string(p.Factor)
	}
	return sessionJSON{
		ID: audit.ShortID(s.ID), User: user, Started: s.Started, LastSeen: s.LastSeen, Expires: s.Expires,
		Factors: kinds, Address: s.Address, UserAgent: s.UserAgent,
	}
}

func browserOf(b store.Browser) browserJSON {
	return browserJSON{
		ID: audit.ShortID(b.ID), UserAgent: b.UserAgent, Factor: string(b.RememberedFor),
		Until: b.Remembered, LastSeen: b.LastSeen,
	}
}

func personOf(p accounts.Person) userJSON {
	shown := userOf(p.User)
	for _, kind := range p.Factors {
		shown.Factors = append(shown.Factors, string(kind))
	}
	for _, s := range p.SignOns {
		shown.Sessions = append(shown.Sessions, sessionOf(s, ""))
	}
	for _, b := range p.Browsers {
		shown.Browsers = append(shown.Browsers, browserOf(b))
	}
	return shown
}

func (a *App) linkOf(kind, token string) linkJSON {
	return linkJSON{Link: a.linkURL(kind, token), Expires: time.Now().Add(authflow.LinkLifetime).UTC().Truncate(time.Second)}
}

func (a *App) desk() *accounts.Desk { return a.service.Load().desk }

func setupLink(ctx context.Context, app *App, _ *http.Request) (any, error) {
	token, err := app.service.Load().flows.NewSetupLink(ctx)
	if err != nil {
		return nil, err
	}
	return app.linkOf("setup", token), nil
}

func listUsers(ctx context.Context, app *App, _ *http.Request) (any, error) {
	users, err := app.desk().List(ctx)
	list := make([]userJSON, len(users))
	for i, u := range users {
		list[i] = userOf(u)
	}
	return list, err
}

func addUser(ctx context.Context, app *App, r *http.Request) (any, error) {
	var in newUserJSON
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	_, token, err := app.desk().Add(ctx, accounts.NewUser(in))
	if err != nil {
		return nil, err
	}
	return app.linkOf("invitation", token), nil
}

// decode reads the body of a request, in which nothing unknown may stand.
func decode(r *http.Request, in any) error {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(in); err != nil {
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: fmt.Errorf("reading the request: %w", err)}
	}
	return nil
}

func showUser(ctx context.Context, app *App, r *http.Request) (any, error) {
	person, err := app.desk().Show(ctx, r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return personOf(person), nil
}

func setUser(ctx context.Context, app *App, r *http.Request) (any, error) {
	var in changesJSON
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	user, err := app.desk().Set(ctx, r.PathValue("name"), accounts.Changes(in))
	if err != nil {
		return nil, err
	}
	shown := userOf(user)
	return app.done(ctx, &shown), nil
}

func deleteUser(ctx context.Context, app *App, r *http.Request) (any, error) {
	person, err := app.desk().Delete(ctx, r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	deleted := personOf(person)
	return app.done(ctx, &deleted), nil
}

func disableUser(ctx context.Context, app *App, r *http.Request) (any, error) {
	if err := app.desk().Disable(ctx, r.PathValue("name")); err != nil {
		return nil, err
	}
	return app.done(ctx, nil), nil
}

// done answers that something was done to a user, and warns where no
// administrator is left that way. That this can't be told is no reason to call
// undone what was done.
func (a *App) done(ctx context.Context, user *userJSON) doneJSON {
	answer := doneJSON{User: user}
	if a.Admins == nil {
		return answer
	}
	users, err := a.desk().List(ctx)
	if err != nil {
		a.logger.Warn("looking for administrators", zap.Error(err))
		return answer
	}
	if !slices.ContainsFunc(users, func(u store.User) bool { return u.Status == store.UserActive && a.admins.admits(u) }) {
		answer.Warning = "no active user is an administrator now"
	}
	return answer
}

func inviteUser(ctx context.Context, app *App, r *http.Request) (any, error) {
	token, err := app.desk().Invite(ctx, r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return app.linkOf("invitation", token), nil
}

func accessCode(ctx context.Context, app *App, r *http.Request) (any, error) {
	code, err := app.desk().AccessCode(ctx, r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return codeOf(code), nil
}

func codeOf(code string) *codeJSON {
	return &codeJSON{Code: code, Expires: time.Now().Add(authflow.AccessCodeLifetime).UTC().Truncate(time.Second)}
}

// resetFactors resets somebody's factors, and gives what they need to set up
// new ones; a disabled user gets nothing before they are enabled.
func resetFactors(ctx context.Context, app *App, r *http.Request) (any, error) {
	var in resetJSON
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	name := r.PathValue("name")
	done, err := app.desk().ResetFactors(ctx, name, in.Password)
	if err != nil {
		return nil, err
	}
	answer := resetDoneJSON{Factors: []string{}, Ended: done.Ended}
	for _, kind := range done.Factors {
		answer.Factors = append(answer.Factors, string(kind))
	}
	if in.Password {
		token, err := app.desk().Invite(ctx, name)
		if errors.Is(err, authflow.ErrSetUp) {
			return answer, nil
		}
		link := app.linkOf("invitation", token)
		answer.Link = &link
		return answer, err
	}
	code, err := app.desk().AccessCode(ctx, name)
	if errors.Is(err, authflow.ErrNotActive) {
		return answer, nil
	}
	answer.Code = codeOf(code)
	return answer, err
}

// onUser is an operation that changes a user and returns nothing else.
func onUser(do func(*accounts.Desk, context.Context, string) error) operation {
	return func(ctx context.Context, app *App, r *http.Request) (any, error) {
		return struct{}{}, do(app.desk(), ctx, r.PathValue("name"))
	}
}

func listSessions(ctx context.Context, app *App, r *http.Request) (any, error) {
	live, err := app.desk().SignOns(ctx, r.URL.Query().Get("user"))
	list := make([]sessionJSON, len(live))
	for i, s := range live {
		list[i] = sessionOf(s.SignOn, s.User)
	}
	return list, err
}

func endSession(ctx context.Context, app *App, r *http.Request) (any, error) {
	return endedJSON{1}, app.desk().EndSignOn(ctx, r.PathValue("id"))
}

func endSessionsOf(ctx context.Context, app *App, r *http.Request) (any, error) {
	ended, err := app.desk().EndSignOnsOf(ctx, r.PathValue("name"))
	return endedJSON{ended}, err
}

func forgetBrowser(ctx context.Context, app *App, r *http.Request) (any, error) {
	return struct{}{}, app.desk().ForgetBrowser(ctx, r.PathValue("name"), r.PathValue("id"))
}

func rotateKeys(ctx context.Context, app *App, _ *http.Request) (any, error) {
	return struct{}{}, app.service.Load().rotateKeys(ctx)
}

type endedJSON struct {
	Ended int `json:"ended"`
}

// Interface guards
var (
	_ caddy.AdminRouter = (*Admin)(nil)
)
