package portal_test

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	admin "github.com/portcullis-mfa/portcullis/accounts"
	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/ticket"
)

// TestL03NoWalkThroughThePortalIsEndless has people do whatever its pages let
// them, in any order and in many tabs, while administrators, other browsers, the
// clock and the store interfere. Each request is answered with little work, leads
// somewhere within ten redirects, and by GET changes nothing; and whoever may
// sign in can, whatever was before. More walks: -rapid.checks, and longer ones:
// -rapid.steps.
func TestL03NoWalkThroughThePortalIsEndless(t *testing.T) {
	few(t, 4)
	rapid.Check(t, walksOf(t))
}

func FuzzWalkThroughThePortal(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(walksOf(f)))
}

func walksOf(t testing.TB) func(*rapid.T) {
	c, routes := newTown(t), routesOfPortal(t)
	return func(t *rapid.T) {
		w := c.begin(t)
		w.routes = routes
		t.Repeat(map[string]func(*rapid.T){
			"visits a page": w.visit, "follows a link": w.followLink, "signs in": w.signInSomewhere,
			"sends a form": w.submit, "sends a form, too": w.submit,
			"answers what is asked": w.answerMain, "answers that, too": w.answerMain, "goes on to the end": w.goOn,
			"adds something": w.add, "lost something": w.lose,
			"something happens elsewhere": w.disturb, "something else happens elsewhere": w.disturb,
		})
		w.everybodyGetsIn()
	}
}

// few has few walks where the command line doesn't say how many.
func few(t *testing.T, checks int) {
	t.Helper()
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "rapid.checks" })
	all := flag.Lookup("rapid.checks")
	if said || all == nil {
		return
	}
	before := all.Value.String()
	for _, value := range []string{before, strconv.Itoa(checks)} {
		if err := flag.Set("rapid.checks", value); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = flag.Set("rapid.checks", before) })
}

// routesOfPortal reads from the sources which routes there are.
func routesOfPortal(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	constants := make(map[string]ast.Expr)
	var patterns []ast.Expr
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				for i, value := range n.Values {
					constants[n.Names[i].Name] = value
				}
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "HandleFunc" {
					patterns = append(patterns, n.Args[0])
				}
			}
			return true
		})
	}
	var routes []string
	for _, p := range patterns {
		if route, ok := textOf(p, constants); ok {
			routes = append(routes, route)
		}
	}
	if len(routes) < 50 {
		t.Fatalf("found the routes %q: too few to be all", routes)
	}
	return routes
}

// textOf returns the text of a constant expression.
func textOf(e ast.Expr, constants map[string]ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, err == nil
	case *ast.Ident:
		return textOf(constants[e.Name], constants)
	case *ast.BinaryExpr:
		left, ok := textOf(e.X, constants)
		right, too := textOf(e.Y, constants)
		return left + right, ok && too
	}
	return "", false
}

func (w *walk) someBrowser(t *rapid.T) *wanderer {
	return w.browsers[rapid.IntRange(0, len(w.browsers)-1).Draw(t, "browser")]
}

func (w *walk) somebody(t *rapid.T) *resident {
	return w.residents[rapid.IntRange(0, len(w.residents)-1).Draw(t, "who")]
}

func (w *walk) someKind(t *rapid.T) string {
	return rapid.SampledFrom([]string{"totp", "fido", "backup_code", "password", "access_code", "certificate", "x"}).Draw(t, "kind")
}

// someRequest is what a gate signed.
func (w *walk) someRequest(t *rapid.T) string {
	asks := []assurance.Requirement{
		{Level: assurance.Single}, {Level: assurance.Multi}, {Level: assurance.PhishingResistant},
		{Level: assurance.Multi, MaxAge: 5 * time.Minute}, {Level: assurance.PhishingResistant, MaxAge: time.Minute},
	}
	signed, err := w.requests.Sign(ticket.Request{
		Origin: "https://wiki.example.com", Return: "https://wiki.example.com/page", Expires: w.now.Add(ticket.RequestLifetime),
		Ask: asks[rapid.IntRange(0, len(asks)-1).Draw(t, "ask")], Switch: rapid.Bool().Draw(t, "switch"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// someID is of a flow of the browser's, or of a credential of anybody's.
func (w *walk) someID(t *rapid.T, b *wanderer) string {
	who := w.somebody(t)
	ids := []string{b.flow, "", "x"}
	held, err := w.db.CredentialsOf(w.t.Context(), who.id)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range held {
		ids = append(ids, c.ID)
	}
	if rapid.Bool().Draw(t, "the flow") {
		return b.flow
	}
	return ids[rapid.IntRange(0, len(ids)-1).Draw(t, "id")]
}

// visit goes to any page that there is.
func (w *walk) visit(t *rapid.T) {
	b := w.someBrowser(t)
	method, route, _ := strings.Cut(rapid.SampledFrom(w.routes).Draw(t, "route"), " ")
	if route == "" {
		method, route = http.MethodGet, method
	}
	query := url.Values{"id": {w.someID(t, b)}, "use": {w.someKind(t)}, "factor": {w.someKind(t)}}
	switch rapid.IntRange(0, 3).Draw(t, "on the way") {
	case 0:
		query.Set("request", w.someRequest(t))
	case 1:
		query.Set("to", rapid.SampledFrom([]string{"/account", "/account/totp", "/flow?id=" + b.flow, "//evil.example", "x"}).Draw(t, "to"))
	}
	if strings.HasSuffix(route, "/setup") || strings.HasSuffix(route, "/invitation") {
		query = url.Values{"token": {w.somebody(t).link}}
	}
	target := strings.NewReplacer("{$}", "", "{kind}", w.someKind(t)).Replace(route)
	if method == http.MethodPost {
		w.follow(b, http.MethodPost, target, query)
		return
	}
	w.follow(b, http.MethodGet, target+"?"+query.Encode(), nil)
}

func (w *walk) followLink(t *rapid.T) {
	b := w.someBrowser(t)
	if len(b.links) == 0 {
		t.Skip("no page has any")
	}
	w.follow(b, http.MethodGet, b.links[rapid.IntRange(0, len(b.links)-1).Draw(t, "link")], nil)
}

func (w *walk) signInSomewhere(t *rapid.T) {
	b, who := w.someBrowser(t), w.somebody(t)
	query, boxes := "", map[string]string{}
	if rapid.Bool().Draw(t, "to an app") {
		query = "request=" + url.QueryEscape(w.someRequest(t))
	}
	if rapid.Bool().Draw(t, "shared") {
		boxes["shared"] = "yes"
	}
	w.signIn(b, who, query, boxes)
}

// submit sends any form that any tab shows, in any way.
func (w *walk) submit(t *rapid.T) {
	b := w.someBrowser(t)
	if len(b.forms) == 0 {
		t.Skip("no page has any")
	}
	f := b.forms[rapid.IntRange(0, len(b.forms)-1).Draw(t, "form")]
	if rapid.Bool().Draw(t, "right") {
		w.answer(b, f)
		return
	}
	fields := f.filled(w.right(w.ownerOf(b, f), f))
	for _, name := range f.names {
		values := []string{fields.Get(name), fields.Get(name), f.offered.Get(name), "", "x", "123456", w.someID(t, b)}
		fields.Set(name, values[rapid.IntRange(0, len(values)-1).Draw(t, name)])
	}
	for range rapid.IntRange(1, 2).Draw(t, "times") {
		w.follow(b, http.MethodPost, f.action, fields)
	}
}

// answerMain gives the right answer to what the newest page is about.
func (w *walk) answerMain(t *rapid.T) {
	b := w.someBrowser(t)
	if f, ok := (&page{forms: b.newest}).main(); ok {
		w.answer(b, f)
	}
}

func (w *walk) goOn(t *rapid.T) {
	b := w.someBrowser(t)
	w.comeIn(b, w.follow(b, http.MethodGet, "/flow?id="+url.QueryEscape(b.flow), nil))
}

func (w *walk) add(t *rapid.T) {
	b := w.someBrowser(t)
	p := w.follow(b, http.MethodGet, "/account/"+w.someKind(t)+"/add", nil)
	if f, ok := p.main(); ok {
		w.answer(b, f)
	}
}

// lose says that something is lost, in a sign-in or step-up.
func (w *walk) lose(t *rapid.T) {
	b := w.someBrowser(t)
	p := w.follow(b, http.MethodGet, "/flow/lost?id="+url.QueryEscape(b.flow)+"&use="+w.someKind(t), nil)
	if f, ok := p.main(); ok && f.action == "/flow/lost" {
		w.answer(b, f)
	}
}

// disturb does one of what may happen while somebody is at a page.
func (w *walk) disturb(t *rapid.T) {
	who, ctx := w.somebody(t), w.t.Context()
	var err error // whoever is gone, or not set up, can't have it happen to them
	switch rapid.IntRange(0, 11).Draw(t, "disturbance") {
	case 0:
		_, err = w.db.EndSignOnsOf(ctx, who.id, w.now, session.EndedByAdmin)
	case 1:
		if err = w.desk.Disable(ctx, who.name); rapid.Bool().Draw(t, "for a while") {
			_ = w.desk.Enable(ctx, who.name)
		}
	case 2:
		if rapid.IntRange(0, 3).Draw(t, "really") == 0 {
			_, err = w.desk.Delete(ctx, who.name)
		}
	case 3:
		name := who.name + "x"
		if _, err = w.desk.Set(ctx, who.name, admin.Changes{Name: &name}); err == nil {
			who.name = name
		}
	case 4:
		w.removeOne(t, who)
	case 5:
		w.changePassword(who)
	case 6:
		off := w.someKind(t)
		w.vault.Factors = slices.DeleteFunc(slices.Clone(w.factors), func(f factors.Factor) bool { return string(f.Kind()) == off })
	case 7:
		w.vault.Factors = w.factors
	case 8, 9:
		w.now = w.now.Add(rapid.SampledFrom([]time.Duration{
			time.Minute, 6 * time.Minute, authflow.FlowIdle, authflow.FlowLifetime, 62 * time.Minute, 13 * time.Hour,
		}).Draw(t, "passes"))
	case 10:
		w.wire.fails = rapid.IntRange(1, 40).Draw(t, "fails after")
	case 11:
		w.wire.races = rapid.IntRange(1, 4).Draw(t, "loses a race after")
	}
	if err != nil {
		t.Logf("%s: %v", who.name, err)
	}
}

// removeOne has one of somebody's credentials go behind their back.
func (w *walk) removeOne(t *rapid.T, who *resident) {
	held, err := w.db.CredentialsOf(w.t.Context(), who.id)
	if err != nil {
		t.Fatal(err)
	}
	held = slices.DeleteFunc(held, func(c store.Credential) bool { return c.Kind == assurance.Password })
	if len(held) == 0 {
		return
	}
	gone := held[rapid.IntRange(0, len(held)-1).Draw(t, "credential")]
	if err := w.db.DeleteCredential(w.t.Context(), gone.ID, gone.Version); err != nil {
		t.Fatal(err)
	}
}

// changePassword has somebody choose another one in another browser.
func (w *walk) changePassword(who *resident) {
	b := w.enter("192.0.2.77:1")
	w.comeIn(b, w.signIn(b, who, "", nil))
	p := w.comeIn(b, w.follow(b, http.MethodGet, "/account/password", nil))
	if f, ok := p.main(); ok && f.action == "/account/password" {
		w.answer(b, f)
	}
}
