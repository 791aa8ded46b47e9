package adminapi

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/accounts"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/showable"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

func init() {
	caddy.RegisterModule(new(Admin))
}

// PortalHeader is the header, in every response of the API, that names the portal of
// the server. Several servers may run on one machine, and the commands find one by
// its admin address alone.
const PortalHeader = "Mfa-Portal"

// Admin serves the API of the `caddy mfa` commands, below /mfa/ on Caddy's admin
// endpoint. As everywhere in Caddy, anyone who can reach the admin endpoint may do
// everything. Admin refuses requests from browsers, because a page of any site can
// make a browser send them.
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
		"POST " + importPath:                          importUsers,
		"GET /mfa/users/{name}":                       showUser,
		"PATCH /mfa/users/{name}":                     setUser,
		"DELETE /mfa/users/{name}":                    deleteUser,
		"POST /mfa/users/{name}/invite":               inviteUser,
		"POST /mfa/users/{name}/access-code":          accessCode,
		"POST /mfa/users/{name}/reset-factors":        resetFactors,
		"POST /mfa/users/{name}/disable":              disableUser,
		"POST /mfa/users/{name}/enable":               onUser((*accounts.Desk).Enable),
		"POST /mfa/users/{name}/unlock":               unlockUser,
		"GET /mfa/sessions":                           listSessions,
		"POST /mfa/sessions/{id}/end":                 endSession,
		"POST /mfa/users/{name}/end-sessions":         endSessionsOf,
		"POST /mfa/users/{name}/browsers/{id}/forget": forgetBrowser,
		"POST /mfa/users/{name}/devices":              issueDevice,
		"POST /mfa/users/{name}/enrolment-token":      enrolmentToken,
		"POST /mfa/fleet-tokens":                      createFleetToken,
		"GET /mfa/fleet-tokens":                       listFleetTokens,
		"POST /mfa/fleet-tokens/{name}/revoke":        revokeFleetToken,
		"GET /mfa/devices":                            listDevices,
		"GET /mfa/devices/{id}":                       oneDevice(showDevice),
		"POST /mfa/devices/{id}/rename":               oneDevice(renameDevice),
		"POST /mfa/devices/{id}/revoke":               oneDevice(revokeDevice),
		"POST /mfa/devices/{id}/suspend":              oneDevice(suspendDevice),
		"POST /mfa/devices/{id}/approve":              oneDevice(approveDevice),
		"POST /mfa/devices/{id}/assign":               oneDevice(assignDevice),
		"POST /mfa/tokens":                            createToken,
		"GET /mfa/tokens":                             listTokens,
		"GET /mfa/tokens/{name}":                      oneToken((*accounts.Desk).Token),
		"POST /mfa/tokens/{name}/revoke":              oneToken((*accounts.Desk).RevokeToken),
		"POST /mfa/tokens/{name}/resume":              oneToken((*accounts.Desk).ResumeToken),
		"POST /mfa/tokens/{name}/renew":               renewToken,
		"POST /mfa/held-token/check":                  heldToken((*accounts.Desk).HeldToken),
		"POST /mfa/held-token/revoke":                 heldToken((*accounts.Desk).RevokeHeldToken),
		"POST /mfa/notify/test":                       testMessage,
		"GET /mfa/events":                             listEvents,
		"GET /mfa/health":                             showHealth,
		"POST /mfa/keys/rotate":                       rotateKeys,
		"POST /mfa/backup":                            makeBackup,
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

// App is the mfa app, as far as this package needs it.
type App interface {
	// Administration returns the app's Server. It waits until the app serves, and
	// returns nil if ctx ends first or the app doesn't start.
	Administration(ctx context.Context) *Server
}

// Server is what a running app offers its administrators.
type Server struct {
	Desk  *accounts.Desk
	Flows *authflow.Engine
	Audit *audit.Log
	// RotateKeys makes a new generation of keys.
	RotateKeys func(context.Context) error
	// Serves reports whether some gate serves a host.
	Serves func(host string) bool
	// Sealing makes credentials of users who are imported.
	Sealing accounts.Sealing
	// Backup makes a backup that isn't encrypted yet.
	Backup func(context.Context) (Stream, error)
	// SendTest hands a test message over to whoever delivers to an address. It returns
	// a *notify.Failure if nobody accepted it.
	SendTest func(ctx context.Context, to string) (HandedOver, error)
	// IsAdmin reports whether a user is an administrator; nil: the configuration
	// names none.
	IsAdmin func(store.User) bool
	// IsWithdrawn reports whether the operator's revocation lists name a device.
	IsWithdrawn func(store.Device) bool
	// Health checks what the server needs.
	Health func(context.Context) []Check

	Portal string // its address
	// LinkURL is the address under which a setup link or an invitation is opened.
	LinkURL func(kind, token string) string

	Logger  *zap.Logger
	Bounded *zap.Logger // for what strangers can cause
}

// operation is one request; what it returns is answered as JSON.
type operation func(ctx context.Context, s *Server, r *http.Request) (any, error)

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
	s, err := a.serving(r.Context())
	if err != nil {
		return // nothing serves, so there is no log to write to
	}
	address, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		address = r.RemoteAddr
	}
	s.Bounded.Warn("refusing a request to the admin endpoint")
	s.Audit.Note(audit.AdminRefused, "", audit.Fields{audit.Reason: reason, audit.Address: address})
}

// startup is how long a request waits for a server that is starting.
const startup = 10 * time.Second

// serving waits for the server of the configuration in force. That need not be
// the configuration to which this module belongs: Caddy replaces the admin
// endpoint before it starts the apps, and leaves it so where a reload is
// refused. The endpoint also answers a little earlier than the apps do.
func (a *Admin) serving(ctx context.Context) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, startup)
	defer cancel()
	active, err := activeContext(ctx)
	if err != nil {
		return nil, err
	}
	configured, err := active.AppIfConfigured("mfa")
	if err != nil {
		return nil, caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: errors.New("the running configuration has no mfa app")}
	}
	app, ok := configured.(App)
	if !ok {
		return nil, fmt.Errorf("the mfa app is a %T", configured)
	}
	if s := app.Administration(ctx); s != nil {
		return s, nil
	}
	return nil, errStarting
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
	r.Body = http.MaxBytesReader(w, r.Body, bodyLimit(r))
	s, err := a.serving(r.Context())
	portal, log := "", caddy.Log().Named("mfa")
	var result any
	if err == nil {
		portal, log = s.Portal, s.Logger
		result, err = do(r.Context(), s, r)
	}
	if stream, ok := result.(Stream); ok && err == nil {
		send(w, portal, log, stream)
		return
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
		result = Failure{why, portal}
	} else if h, ok := result.(Health); ok {
		status = h.status()
	}
	w.Header().Set(PortalHeader, portal)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(result) // the client went away; there is nobody to tell
}

// Interface guards
var (
	_ caddy.AdminRouter = (*Admin)(nil)
)
