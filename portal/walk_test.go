package portal_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/descope/virtualwebauthn"
	"go.uber.org/zap/zaptest/observer"

	admin "github.com/portcullis-mfa/portcullis/accounts"
	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/portal"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/store/sqlite"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/ticket"
)

// mostHops is after how many redirects a person has to be somewhere.
const mostHops = 10

// walk is a portal in use: by people at their browsers, by administrators, and
// with a store that fails at times.
type walk struct {
	*town
	t         tester
	db        *sqlite.DB
	wire      *tripwire
	logged    *observer.ObservedLogs
	engine    *authflow.Engine
	vault     *credentials.Vault
	desk      *admin.Desk
	requests  *ticket.Requests
	flows     *counted
	portal    *portal.Portal
	residents []*resident
	browsers  []*wanderer
	routes    []string
	rendered  int // pages, by the request that is being answered
}

// counted counts what a request asks of flows. One that never ends would end the
// process.
type counted struct {
	portal.Flows
	calls   int
	granted bool
}

func (c *counted) called() {
	if c.calls++; c.calls > mostCalls {
		panic("a flow is asked for ever")
	}
}

func (c *counted) Load(ctx context.Context, id string) (authflow.Flow, error) {
	c.called()
	return c.Flows.Load(ctx, id)
}

func (c *counted) Step(ctx context.Context, f authflow.Flow, prefer assurance.Factor) (authflow.Step, error) {
	c.called()
	return c.Flows.Step(ctx, f, prefer)
}

func (c *counted) Challenge(ctx context.Context, f authflow.Flow, kind assurance.Factor, by person.Client) (authflow.Page, error) {
	c.called()
	return c.Flows.Challenge(ctx, f, kind, by)
}

func (c *counted) Enrolment(ctx context.Context, f authflow.Flow, kind assurance.Factor, by person.Client) (authflow.Page, error) {
	c.called()
	return c.Flows.Enrolment(ctx, f, kind, by)
}

func (c *counted) Grant(ctx context.Context, f authflow.Flow, previous string, by person.Client) (authflow.Granted, error) {
	c.called()
	c.granted = true
	return c.Flows.Grant(ctx, f, previous, by)
}

// countedPages counts the pages that a request has rendered.
type countedPages struct {
	*templates.Set
	rendered *int
}

func (p *countedPages) Render(w io.Writer, page string, view any) error {
	if *p.rendered++; *p.rendered > 1 {
		panic("a second page is rendered: " + page)
	}
	return p.Set.Render(w, page, view)
}

// isEmpty reports whether nobody could sign in, whatever they show: the portal then says
// that it isn't set up.
func (w *walk) isEmpty() bool {
	active, err := w.db.CountUsers(w.t.Context(), store.UserActive)
	if err != nil {
		w.t.Fatal(err)
	}
	return active == 0
}

// exchange sends one request and holds its answer to what holds for all.
func (w *walk) exchange(b *wanderer, method, target string, fields url.Values) *page {
	w.t.Helper()
	before := w.owned()
	w.flows.calls, w.flows.granted, w.rendered, w.wire.operations, w.wire.failed = 0, false, 0, 0, false
	w.logged.TakeAll()
	recorder := httptest.NewRecorder()
	w.portal.ServeHTTP(recorder, b.request(method, target, fields))
	p := b.receive(recorder.Result())

	logged := w.logged.TakeAll()
	panicked := slices.ContainsFunc(logged, func(e observer.LoggedEntry) bool { return e.Message == "serving a request" })
	excused := w.wire.failed || p.status == http.StatusServiceUnavailable && w.isEmpty()
	if p.status == http.StatusInternalServerError || p.status > 500 && !excused || panicked {
		w.t.Fatalf("%s %s: %d, logged %v", method, target, p.status, logged)
	}
	if after := w.owned(); method == http.MethodGet && !w.flows.granted && !isPart(after, before) {
		w.t.Fatalf("GET %s changed\n%s\nto\n%s", target, strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	b.newest = p.forms
	wire := *w.wire
	*w.wire = tripwire{}
	for i, f := range p.forms {
		if flow, err := w.engine.Load(w.t.Context(), f.fields.Get("flow")); err == nil {
			p.forms[i].owner = flow.UserID
		}
	}
	*w.wire = wire
	b.forms = append(b.forms, p.forms...)
	b.forms = b.forms[max(0, len(b.forms)-keptForms):]
	return p
}

// isPart reports whether nothing is there that wasn't before: sign-ons idle out
// by themselves.
func isPart(after, before []string) bool {
	return !slices.ContainsFunc(after, func(one string) bool { return !slices.Contains(before, one) }) &&
		len(slices.DeleteFunc(slices.Clone(before), isSignOn)) == len(slices.DeleteFunc(slices.Clone(after), isSignOn))
}

func isSignOn(row string) bool { return strings.HasPrefix(row, "sign-on") }

// owned lists everything that somebody could be robbed of or get in by.
func (w *walk) owned() []string {
	var rows []string
	users, err := w.db.ListUsers(w.t.Context(), store.Page[store.User]{})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, u := range users {
		rows = append(rows, fmt.Sprintf("user %s %s %s %t", u.ID, u.Name, u.Status, u.NewPassword))
		held, err := w.db.CredentialsOf(w.t.Context(), u.ID)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, c := range held {
			rows = append(rows, fmt.Sprintf("credential %s %s %s %q", c.ID, c.Kind, c.State, c.Name))
		}
	}
	signOns, err := w.db.ListSignOns(w.t.Context(), "", w.now, store.Page[store.SignOn]{})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, s := range signOns {
		rows = append(rows, fmt.Sprintf("sign-on %s %s %v", s.ID, s.UserID, s.Proofs))
	}
	return rows
}

// follow goes where a request leads within the portal.
func (w *walk) follow(b *wanderer, method, target string, fields url.Values) *page {
	w.t.Helper()
	p := w.exchange(b, method, target, fields)
	for hops := 1; p.status == http.StatusSeeOther && strings.HasPrefix(p.location, "/"); hops++ {
		if hops > mostHops {
			w.t.Fatalf("%s %s leads on for ever, now to %s", method, target, p.location)
		}
		p = w.exchange(b, http.MethodGet, p.location, nil)
	}
	return p
}

// ownerOf returns whose form it is: of a flow's owner, or of who typed last.
func (w *walk) ownerOf(b *wanderer, f form) *resident {
	for _, r := range w.residents {
		if r.id == f.owner {
			return r
		}
	}
	if b.who == nil {
		return w.residents[0]
	}
	return b.who
}

// answer sends a form with what its owner knows and has.
func (w *walk) answer(b *wanderer, f form) *page {
	w.t.Helper()
	who := w.ownerOf(b, f)
	fields := f.filled(w.right(who, f))
	p := w.exchange(b, http.MethodPost, f.action, fields)
	w.learn(who, f, fields, p.status == http.StatusSeeOther)
	if p.status == http.StatusSeeOther && strings.HasPrefix(p.location, "/") {
		return w.follow(b, http.MethodGet, p.location, nil)
	}
	return p
}

// right returns what somebody types into a form. Other forms are sent as they are.
func (w *walk) right(who *resident, f form) map[string]string {
	switch f.action + " " + f.fields.Get("factor") {
	case "/sign-in ", "/flow/password ":
		return map[string]string{"name": who.name, "password": who.password}
	case "/flow/account ":
		return map[string]string{"name": who.name, "password": who.password}
	case "/flow/challenge totp":
		if len(who.secrets) > 0 {
			return map[string]string{"code": w.code(who.secrets[len(who.secrets)-1])}
		}
	case "/flow/challenge backup_code":
		if len(who.codes) > 0 {
			return map[string]string{"code": who.codes[0]}
		}
	case "/flow/challenge fido":
		return map[string]string{"credential": who.show(f.question)}
	case "/flow/enrol totp":
		return map[string]string{"code": w.code(f.key)}
	case "/flow/enrol backup_code":
		return map[string]string{"saved": "yes"}
	case "/flow/enrol fido":
		return map[string]string{"credential": who.create(f.question)}
	case "/flow/access-code ":
		code, _ := w.desk.AccessCode(w.t.Context(), who.name) // who can't sign in gets none
		return map[string]string{"code": code}
	case "/flow/new-password ", "/account/password ":
		i := slices.Index(passwords, who.password)
		return map[string]string{"current": who.password, "password": passwords[(i+1)%len(passwords)]}
	}
	values := make(map[string]string)
	for name := range f.offered {
		values[name] = f.offered.Get(name)
	}
	return values
}

// learn has somebody remember what came of their answer.
func (w *walk) learn(who *resident, f form, sent url.Values, accepted bool) {
	switch kind := f.fields.Get("factor"); {
	case strings.HasSuffix(f.action, "-password") || f.action == "/account/password":
		if accepted {
			who.password = sent.Get("password")
		}
	case f.action == "/flow/challenge" && kind == "totp" && !accepted && len(who.secrets) > 0:
		last := len(who.secrets) - 1 // perhaps of an older authenticator
		who.secrets = append([]string{who.secrets[last]}, who.secrets[:last]...)
	case f.action == "/flow/challenge" && kind == "backup_code" && len(who.codes) > 0:
		who.codes = who.codes[1:]
	case f.action == "/flow/enrol" && kind == "totp" && accepted && !slices.Contains(who.secrets, f.key):
		who.secrets = append(who.secrets, f.key)
	case f.action == "/flow/enrol" && kind == "backup_code" && accepted:
		who.codes = slices.Clone(f.codes)
	}
}

// show answers a question by whichever key it allows.
func (r *resident) show(question string) string {
	asked, err := virtualwebauthn.ParseAssertionOptions(question)
	if err != nil {
		return ""
	}
	key := r.keys.FindAllowedCredential(*asked)
	if key == nil {
		return ""
	}
	key.Counter++
	return virtualwebauthn.CreateAssertionResponse(keySite, r.keys, *key, *asked)
}

// create makes a new key. The virtual authenticator drops leading zeros of
// coordinates, which no other does, so such keys are passed over.
func (r *resident) create(question string) string {
	asked, err := virtualwebauthn.ParseAttestationOptions(question)
	if err != nil {
		return ""
	}
	for {
		key := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
		if len(key.Key.AttestationData()) == 77 {
			r.keys.AddCredential(key)
			return virtualwebauthn.CreateAttestationResponse(keySite, r.keys, key, *asked)
		}
	}
}

// comeIn answers what is asked until nothing more is, and returns the last page.
func (w *walk) comeIn(b *wanderer, p *page) *page {
	w.t.Helper()
	for range 16 {
		f, ok := p.main()
		if !ok || !strings.HasPrefix(f.action, "/flow/") || p.status == http.StatusTooManyRequests {
			return p
		}
		p = w.answer(b, f)
	}
	w.t.Fatalf("a sign-in that is never done: at %s", p.forms[0].action)
	return p
}

// signIn types name and password, and answers what is asked then.
func (w *walk) signIn(b *wanderer, who *resident, query string, boxes map[string]string) *page {
	w.t.Helper()
	p := w.follow(b, http.MethodGet, "/sign-in?switch&"+query, nil)
	b.who = who
	if f, ok := p.main(); ok && f.action == "/sign-in" {
		values := w.right(who, f)
		maps.Copy(values, boxes)
		return w.follow(b, http.MethodPost, f.action, f.filled(values))
	}
	return p
}

// everybodyGetsIn holds that who may sign in can, whatever was before.
func (w *walk) everybodyGetsIn() {
	*w.wire = tripwire{}
	w.vault.Factors = w.factors
	for i, who := range w.residents {
		w.now = w.now.Add(2 * authSlowed)
		user, err := w.db.UserByID(w.t.Context(), who.id)
		may := err == nil && user.Status == store.UserActive
		who.name = cmp.Or(user.Name, who.name)
		in, last := false, (*page)(nil)
		for _, password := range passwords {
			who.password = password
			b := w.enter(fmt.Sprintf("203.0.113.%d:1", i))
			last = w.comeIn(b, w.signIn(b, who, "", nil))
			if _, signedOn := b.cookies["__Host-mfa-portal"]; signedOn {
				in = true
				break
			}
		}
		if in != may {
			w.t.Fatalf("%s is %q and gets in: %t, with %v\nlast page %d: %s", who.name, user.Status, in, w.owned(), last.status, last.text)
		}
	}
}

// authSlowed is the longest that somebody has to wait for their next attempt.
const authSlowed = time.Hour
