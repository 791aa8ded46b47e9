package caddymodule

import (
	"crypto/rand"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/portcullis-mfa/portcullis/assertion"
	"github.com/portcullis-mfa/portcullis/caddymodule/approach"
	"github.com/portcullis-mfa/portcullis/caddymodule/layout"
	"github.com/portcullis-mfa/portcullis/caddymodule/origin"
	"github.com/portcullis-mfa/portcullis/est"
	"github.com/portcullis-mfa/portcullis/gate"
	"github.com/portcullis-mfa/portcullis/gate/canonical"
	"github.com/portcullis-mfa/portcullis/portal"
	"github.com/portcullis-mfa/portcullis/upload"
)

// passedVar marks, among Caddy's variables of a request, that the gate let it
// through. Its value is of a type that no configuration can write.
const passedVar = "mfa.passed"

// passed is who passed; nil: the path is open. It has no fields and no text that
// a placeholder could show.
type passed gate.Visitor

// String implements fmt.Stringer.
func (p *passed) String() string { return "" }

// await waits, within reason, for the app to have started: Caddy may start the
// http app first, and a reload shall lose no request for it.
func (a *App) await(r *http.Request) *service {
	select {
	case <-a.ready:
		return a.service.Load()
	default:
	}
	timeout := time.NewTimer(10 * time.Second)
	defer timeout.Stop()
	select {
	case <-a.ready:
		return a.service.Load()
	case <-r.Context().Done():
	case <-timeout.C:
	}
	return nil
}

// unready answers while nobody can be let in.
func unready(w http.ResponseWriter, r *http.Request) error {
	upload.Ignore(w, r)
	w.Header().Set("Retry-After", "5")
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, "Starting. Try again in a moment.", http.StatusServiceUnavailable)
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	skipSecretAddress(r)
	if g.app == nil || g.app.await(r) == nil {
		return unready(w, r)
	}
	if g.app.refuseInsecure(w, r) {
		return nil
	}
	serving := g.serving.Load()
	if serving == nil {
		return unready(w, r)
	}
	if g.isErrorRoute() {
		return g.serveError(serving, w, r, next)
	}
	g.approach.Note(r)
	since := time.Now()
	defer noteRefusal(since, r)
	return serving.ServeHTTP(w, r, func(w http.ResponseWriter, r *http.Request, v *gate.Visitor) error {
		noteDecision(since, v != nil)
		caddyhttp.SetVar(r.Context(), passedVar, (*passed)(v))
		introduce(r, v)
		return next.ServeHTTP(w, r)
	})
}

// serveError passes on, in an error route, only requests that the gate has
// passed before; it answers all others itself, since the route could forward
// them.
func (g *Gate) serveError(serving *gate.Gate, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if before, ok := caddyhttp.GetVar(r.Context(), passedVar).(*passed); ok {
		if host, ok := caddyhttp.GetVar(r.Context(), hostVar).(placedHost); ok {
			r.Host = string(host)
		}
		return serving.Resume(w, r, before != nil, func(w http.ResponseWriter) error { return next.ServeHTTP(w, r) })
	}
	status := http.StatusInternalServerError
	if failure, ok := r.Context().Value(caddyhttp.ErrorCtxKey).(caddyhttp.HandlerError); ok && failure.StatusCode != 0 {
		status = failure.StatusCode
	}
	serving.ErrorPage(w, r, status)
	return nil
}

// introduce offers Caddy's placeholders {http.auth.user.*}; the access log
// prints the id. Where nobody is known they are empty, and so are those that
// the gate doesn't know: an app would take the text of a placeholder for a name.
func introduce(r *http.Request, v *gate.Visitor) {
	replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	// A handler such as basic_auth may have set some, which would count before ours.
	replacer.DeleteByPrefix(layout.UserPlaceholders)
	if v == nil {
		replacer.Map(nobody)
		return
	}
	replacer.Map(func(key string) (any, bool) {
		field, ok := strings.CutPrefix(key, layout.UserPlaceholders)
		if !ok {
			return nil, false
		}
		switch field {
		case "id":
			return v.User.Name, true
		case "name":
			return v.User.DisplayName, true
		case "email":
			return v.User.Email, true
		case "groups":
			return v.User.GroupList, true
		case "assurance":
			return v.Level().String(), true
		case "device":
			return v.Device, true
		case "program":
			return v.Program, true
		}
		return "", true
	})
}

// nobody gives Caddy's placeholders where nobody is known.
func nobody(key string) (any, bool) {
	if strings.HasPrefix(key, layout.UserPlaceholders) {
		return "", true
	}
	return nil, false
}

// bind makes the gate that serves this handler's site.
func (g *Gate) bind(s *service) error {
	headers, err := g.headers.identity()
	if err != nil {
		return err
	}
	settings := gate.Settings{
		Rules: g.rules(), Succession: succession{g},
		Site: gate.Site{
			Origin: originsOf(g.placed.Load().Site), UsualHost: g.placed.Load().UsualHost, Agree: g.agree,
			Scripts: canonical.Scripts{Splits: layout.ScriptSplits(g.server)}, Aliases: aliasesOf(layout.FileNamesOf(g.server)), HeadApart: g.namesHead,
		},
		Credentials: gate.Credentials{
			Sessions: s.cookies, SignOns: s.keeper, Devices: s.devices, Weights: s.factors.Weights(),
			MaxStaleness: time.Duration(g.app.MaxStaleness),
		},
		SignIn: gate.SignIn{
			Portal: g.app.portal, Requests: s.requests, States: s.states, Tickets: s.tickets, Returns: s.returns,
			SameSite: g.sameSite, ClearAtSignOut: g.clearAtSignOut,
		},
		App: gate.App{
			Headers: headers, Preflights: g.preflights, SessionNotice: isOn(g.SessionNotice), Basic: isOn(g.Basic),
		},
		Look: gate.Look{Pages: s.pages, Brand: g.app.Name, Contact: g.app.Contact},
		Surroundings: gate.Surroundings{
			Audit: s.audit, Logger: g.logger, Clock: time.Now, Random: rand.Reader, Address: clientAddress,
		},
	}
	if g.asksQuery {
		settings.Query = canonical.NewQueryUse(g.parameters...)
	}
	if len(g.idleIgnores) > 0 {
		settings.Ignores = g.idleIgnores.AnyMatchWithError
	}
	if g.Assertion {
		if settings.Assertions, err = g.assertions(s.assertions); err != nil {
			return err
		}
		settings.StandIn = g.standIn
	}
	g.approach = approach.To(g, g.placed.Load().Site.Hosts)
	g.serving.Store(gate.New(settings))
	return nil
}

// isOn reports whether an option that is off by default is on.
func isOn(option *bool) bool { return option != nil && *option }

// aliasesOf returns the other paths under which a site may serve the same.
func aliasesOf(names layout.FileNames) canonical.Aliases {
	aliases := canonical.Aliases{Indexes: names.Indexes, Endings: names.Endings}
	for _, file := range names.Fallbacks {
		if canonical.IsScript(file) {
			aliases.Fronts = append(aliases.Fronts, file)
		}
	}
	return aliases
}

// originsOf returns site.Origin, with the origins of the hosts that the site
// names made beforehand: each request needs one.
func originsOf(s origin.Site) func(name, port string) (string, bool) {
	type place struct{ name, port string }
	made := make(map[place]string)
	for _, host := range s.Hosts {
		for _, port := range append([]string{"", host.Port}, s.Ports...) {
			if origin, ok := s.Origin(host.Name, port); ok {
				made[place{host.Name, port}] = origin
			}
		}
	}
	return func(name, port string) (string, bool) {
		if origin, ok := made[place{name, port}]; ok {
			return origin, true
		}
		return s.Origin(name, port)
	}
}

// assertions signs what gates state, of those groups that the app is told of.
type assertions struct {
	*assertion.Signer
	groups assertion.Groups
}

func (g *Gate) assertions(signer *assertion.Signer) (gate.Assertions, error) {
	values, err := g.headers.values()
	if err != nil || values.Groups == nil {
		return assertions{Signer: signer}, err
	}
	return assertions{signer, assertion.Groups{Filter: strings.Join(values.Groups, ","), Tells: values.Tells}}, nil
}

// Token implements gate.Assertions.
func (a assertions) Token(s gate.Statement, app string) (string, error) {
	return a.Signer.Token(assertion.Subject{
		SignOn: s.SignOn, Program: s.Program, User: s.User.User, Proofs: s.Proofs, Expires: s.Expires, Groups: a.groups,
	}, app)
}

// rules are the complete rules, the last of which is about everything.
func (g *Gate) rules() []gate.Rule {
	rules := make([]gate.Rule, 0, len(g.resolved)+1)
	for _, rule := range g.resolved {
		rules = append(rules, gate.Rule{
			Match: rule.matchers.AnyMatchWithError, Patterns: rule.patterns, PatternsTell: rule.patternsTell, Open: rule.open,
			Allows: rule.allow.admits, Certificate: g.modeOf(rule), Require: g.certified(rule),
			ServiceTokens: rule.serviceTokens, AppPasswords: rule.appPasswords,
		})
	}
	return append(rules, gate.Rule{
		Allows: g.rest.allow.admits, Certificate: g.modeOf(g.rest), Require: g.certified(g.rest),
		ServiceTokens: g.rest.serviceTokens, AppPasswords: g.rest.appPasswords,
	})
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (p *Portal) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	skipSecretAddress(r)
	if gate.TokenInAddress(r) != "" {
		// It isn't logged, and anybody can make such a text up.
		upload.Ignore(w, r)
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "An access token must not be in an address.", http.StatusBadRequest)
		return nil
	}
	if p.app == nil {
		return unready(w, r)
	}
	s := p.app.await(r)
	if s == nil || !p.placed.Load() {
		return unready(w, r)
	}
	if p.app.refuseInsecure(w, r) {
		return nil
	}
	if s.enrolment != nil && strings.HasPrefix(r.URL.Path, est.Path) {
		s.enrolment.ServeHTTP(w, r)
		return nil
	}
	s.portal.ServeHTTP(w, r)
	if to := w.Header().Get("Location"); strings.Contains(to, gate.Prefix+"callback?") || portal.LeadsToAgent(to) {
		// The redirect holds a ticket or a code, and access logs hold response headers.
		caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	}
	return nil
}
