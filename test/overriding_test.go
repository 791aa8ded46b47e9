package test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// ownLookCaddyfile is served with the operator's own look, put in for LOOK.
const ownLookCaddyfile = `
{
	mfa {
		portal http://login.localhost:{{.Port "web"}}
		name "Example & Sons"
		LOOK
	}
}

http://login.localhost:{{.Port "web"}} {
	mfa_portal
}

http://app.localhost:{{.Port "web"}} {
	mfa
	reverse_proxy {{.Vars.app}}
}
`

func withLook(look ...string) string {
	return strings.ReplaceAll(ownLookCaddyfile, "LOOK", strings.Join(look, "\n\t\t"))
}

// written puts files into a folder of the operator's, and returns the folder.
func written(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, content := range files {
		path := filepath.Join(folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// validated runs `caddy validate` on a Caddyfile with that look, and returns
// what it says.
func validated(t *testing.T, s *scene.Scene, look ...string) harness.Output {
	t.Helper()
	source := strings.NewReplacer(`{{.Port "web"}}`, "8080", "{{.Vars.app}}", "127.0.0.1:9").Replace(withLook(look...))
	file := filepath.Join(written(t, map[string]string{"Caddyfile": source}), "Caddyfile")
	return s.CLI("validate", "--adapter", "caddyfile", "--config", file)
}

// elements returns what a page has of one element, by an attribute.
func elements(t testing.TB, page *harness.Page, tag, attribute string) []string {
	t.Helper()
	document, err := html.Parse(strings.NewReader(page.Body))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for node := range document.Descendants() {
		if node.Type != html.ElementNode || node.Data != tag {
			continue
		}
		for _, a := range node.Attr {
			if a.Key == attribute {
				found = append(found, a.Val)
			}
		}
	}
	return found
}

const (
	ownLogo = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 120 32"><path fill="#8a1538" d="M0 0h120v32H0z"/></svg>`
	ownPage = "{{/* contract: 1 */ -}}\n{{define \"title\"}}Bye{{end}}\n{{define \"main\"}}<h1>Bye then, {{.Brand}}</h1>{{end}}\n"
)

func TestOverriding(t *testing.T) {
	t.Parallel()
	logo := filepath.Join(written(t, map[string]string{"logo.svg": ownLogo}), "logo.svg")
	mine := written(t, map[string]string{
		"text/en/pages.toml":    "[sign_in]\nbutton = \"Come in\"\n",
		"text/fr/pages.toml":    "[language]\nname = \"Français\"\n\n[sign_in]\ntitle = \"Connexion\"\n",
		"pages/signed_out.html": ownPage,
		".git/config":           "passed over",
	})
	good := []string{"templates " + mine, "logo " + logo, "accent 8a1538"}
	s := scene.Start(t, scene.Options{Caddyfile: withLook(good...), Settled: 1})

	unchanged := func(t *testing.T) {
		t.Helper()
		says(t, s.Client().Visit(s.At("login", "/signed-out")), http.StatusOK, "Bye then, Example & Sons")
		says(t, s.Client().Visit(s.At("login", "/sign-in")), http.StatusOK, "Come in")
	}
	t.Run("a text, a page and a language", func(t *testing.T) {
		unchanged(t)
		page := send(t, s.Client(), harness.Request{URL: s.At("login", "/sign-in"), Header: http.Header{"Accept-Language": {"fr-CH, de;q=0.5"}}})
		says(t, page, http.StatusOK, "Connexion", "Come in", "Deutsch")
		if tags := elements(t, page, "html", "lang"); !slices.Equal(tags, []string{"fr"}) {
			t.Errorf("the page is in %q", tags)
		}
	})
	t.Run("logo and accent", func(t *testing.T) {
		for _, address := range []string{s.At("login", "/sign-in"), s.At("app", "/.mfa/nothing")} {
			browser := s.Client()
			page := browser.Get(address)
			markupOf(t, page)
			images, alternatives := elements(t, page, "img", "src"), elements(t, page, "img", "alt")
			if len(images) != 1 || !slices.Equal(alternatives, []string{"Example & Sons"}) {
				t.Fatalf("%s shows %q for %q", address, images, alternatives)
			}
			served := send(t, browser, harness.Request{URL: s.URL("http", page.URL.Hostname(), "web", images[0]), Mode: harness.Fetch, From: address})
			if served.Status != http.StatusOK || served.Body != ownLogo || served.Header.Get("Content-Type") != "image/svg+xml" ||
				!strings.Contains(served.Header.Get("Content-Security-Policy"), "sandbox") {
				t.Errorf("the logo: %d %v %s", served.Status, served.Header, served.Body)
			}
			styles := elements(t, page, "link", "href")
			i := slices.IndexFunc(styles, func(href string) bool { return strings.HasSuffix(href, "/brand.css") })
			if i < 0 {
				t.Fatalf("%s has the styles %q", address, styles)
			}
			served = send(t, browser, harness.Request{URL: s.URL("http", page.URL.Hostname(), "web", styles[i]), Mode: harness.Fetch, From: address})
			if served.Status != http.StatusOK || !strings.Contains(served.Body, "#8a1538") || !strings.HasPrefix(served.Header.Get("Content-Type"), "text/css") {
				t.Errorf("the accent: %d %v %s", served.Status, served.Header, served.Body)
			}
		}
	})

	broken := []struct {
		what, file, content string
		line                string // where the mistake is; empty: in the whole file
		says                string
	}{
		{"a page that can't be parsed", "pages/sign_in.html", "{{/* contract: 1 */ -}}\n{{define \"title\"}}x{{end}}\n{{define \"main\"}}{{nope .Name}}{{end}}\n", "3", "nope"},
		{"a page that doesn't end", "pages/sign_in.html", "{{/* contract: 1 */ -}}\n{{define \"main\"}}\n{{if .Name}}", "3", "EOF"},
		{"a value that isn't there", "pages/sign_in.html", "{{/* contract: 1 */ -}}\n{{define \"title\"}}x{{end}}\n{{define \"main\"}}<h1>{{.Nope}}</h1>{{end}}\n", "3", "Nope"},
		{"a text that isn't there, in a page", "pages/sign_in.html", "{{/* contract: 1 */ -}}\n{{define \"title\"}}x{{end}}\n{{define \"main\"}}\n{{t \"sign_in.nope\"}}{{end}}\n", "4", "sign_in.nope"},
		{"a page of another version", "pages/sign_in.html", "{{/* contract: 99 */ -}}\n", "", "contract 99"},
		{"a page of no version", "pages/sign_in.html", "{{define \"main\"}}x{{end}}\n", "", "contract: 1"},
		{"a file of no use", "pages/sing_in.html", ownPage, "", "pages/sign_in.html"},
		{"a kind of file that isn't served", "assets/font.woff2", "x", "", "assets/"},
		{"a text of no use", "text/en/pages.toml", "[sign_in]\ntitle = \"Come\"\nbuton = \"Come in\"\n", "3", "sign_in.button"},
		{"a text with another value", "text/de/pages.toml", "[sign_in]\n\ntitle = \"Willkommen {{.Nope}}\"\n", "3", "{{.Nope}}"},
		{"texts that can't be parsed", "text/en/pages.toml", "[sign_in]\ntitle = \"Come in\n", "2", ""},
		{"a language without a name", "text/fr/pages.toml", "[sign_in]\ntitle = \"Connexion\"\n", "", "language.name"},
	}
	for _, c := range broken {
		t.Run(c.what, func(t *testing.T) {
			folder := written(t, map[string]string{c.file: c.content})
			out := validated(t, s, "templates "+folder)
			place := regexp.QuoteMeta(filepath.Join(folder, filepath.FromSlash(c.file)))
			if c.line != "" {
				place += `:( line )?` + c.line + `\b`
			} else if c.says == "language.name" {
				place = regexp.QuoteMeta(folder)
			}
			if out.Code == 0 || !regexp.MustCompile(place).MatchString(out.Stderr) || !strings.Contains(out.Stderr, c.says) {
				t.Errorf("it has to name %s and %q: %d %s", place, c.says, out.Code, out.Stderr)
			}
		})
	}
	for what, look := range map[string][2]string{
		"a logo that runs":            {"logo " + filepath.Join(written(t, map[string]string{"l.svg": strings.Replace(ownLogo, "<path", "<script>alert(1)</script><path", 1)}), "l.svg"), "script"},
		"a logo that handles":         {"logo " + filepath.Join(written(t, map[string]string{"l.svg": strings.Replace(ownLogo, "<path", `<path onload="x()"`, 1)}), "l.svg"), "onload"},
		"a logo from elsewhere":       {"logo " + filepath.Join(written(t, map[string]string{"l.svg": strings.Replace(ownLogo, "<path", `<image href="https://evil.example/x.png"/><path`, 1)}), "l.svg"), "evil.example"},
		"a logo that is no picture":   {"logo " + filepath.Join(written(t, map[string]string{"l.svg": "<html/>"}), "l.svg"), "logo"},
		"a logo that is too large":    {"logo " + filepath.Join(written(t, map[string]string{"l.svg": ownLogo + strings.Repeat(" ", 64<<10)}), "l.svg"), "65536"},
		"a logo that isn't there":     {"logo /nowhere/logo.svg", "/nowhere/logo.svg"},
		"an accent that is none":      {"accent reddish", "reddish"},
		"a directory that isn't":      {"templates /nowhere/templates", "/nowhere/templates"},
		"a file in place of a folder": {"templates " + logo, logo},
	} {
		t.Run(what, func(t *testing.T) {
			if out := validated(t, s, look[0]); out.Code == 0 || !strings.Contains(out.Stderr, look[1]) {
				t.Errorf("%s: %d %s", look[0], out.Code, out.Stderr)
			}
		})
	}
	t.Run("in force they stay out", func(t *testing.T) {
		folder := written(t, map[string]string{broken[2].file: broken[2].content})
		place := filepath.Join(folder, "pages", "sign_in.html") + ":3"
		if said := s.MustRefuseReload(withLook("templates " + folder)); !strings.Contains(said, place) {
			t.Errorf("a reload says %s", said)
		}
		unchanged(t)
		// What is on disk while the server runs counts for nothing before a reload.
		if err := os.WriteFile(filepath.Join(mine, "pages", "signed_out.html"), []byte(broken[2].content), 0o644); err != nil {
			t.Fatal(err)
		}
		unchanged(t)
		if said := s.MustRefuseReload(withLook(good...)); !strings.Contains(said, filepath.Join(mine, "pages", "signed_out.html")+":3") {
			t.Errorf("a reload says %s", said)
		}
		unchanged(t)
		said := harness.MustFail(t, harness.Options{Caddyfile: withLook("templates " + folder), Vars: map[string]string{"app": "127.0.0.1:9"}})
		if !strings.Contains(said, place) {
			t.Errorf("a start says %s", said)
		}
	})
	t.Run("exported", func(t *testing.T) {
		folder := filepath.Join(t.TempDir(), "look")
		if out := expectDone(t, s, "mfa", "templates", "export", folder); !strings.Contains(out.Stdout, "templates "+folder) {
			t.Errorf("it says %s", out.Stdout)
		}
		changed := filepath.Join(folder, "text", "en", "pages.toml")
		content, err := os.ReadFile(changed)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"layout.html", "pages/sign_in.html", "pages/account_overview.html", "text/de/account.toml", "assets/style.css"} {
			if _, err := os.Stat(filepath.Join(folder, filepath.FromSlash(name))); err != nil {
				t.Error(err)
			}
		}
		if err := os.WriteFile(changed, append(content, "\n# mine\n"...), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(folder, "layout.html")); err != nil {
			t.Fatal(err)
		}
		if out := s.CLI("mfa", "templates", "export", folder); out.Code == 0 || !strings.Contains(out.Stderr, folder) || !strings.Contains(out.Stderr, "is there already") {
			t.Errorf("a second time: %+v", out)
		}
		if _, err := os.Stat(filepath.Join(folder, "layout.html")); err == nil {
			t.Error("a refused export writes all the same")
		}
		if now, err := os.ReadFile(changed); err != nil || !strings.HasSuffix(string(now), "# mine\n") {
			t.Errorf("what was changed is overwritten: %v", err)
		}
		whole := filepath.Join(t.TempDir(), "whole")
		expectDone(t, s, "mfa", "templates", "export", whole)
		s.Reload(withLook())
		built := s.Client().Visit(s.At("login", "/sign-in"))
		s.Reload(withLook("templates " + whole))
		if own := s.Client().Visit(s.At("login", "/sign-in")); own.Body != built.Body {
			t.Errorf("unchanged files give\n%s\nin place of\n%s", own.Body, built.Body)
		}
	})
}

// markupOf fails the test where a page holds what its policy would block.
func markupOf(t *testing.T, page *harness.Page) {
	t.Helper()
	policy := page.Header.Get("Content-Security-Policy")
	for _, wanted := range []string{"default-src 'none'", "style-src 'self'", "script-src 'self'", "img-src 'self'"} {
		if !strings.Contains(policy, wanted) {
			t.Errorf("%s has the policy %q", page.URL, policy)
		}
	}
	if strings.Contains(page.Body, "<style") || strings.Contains(page.Body, " style=") {
		t.Errorf("%s has a style inside it", page.URL)
	}
	for _, tag := range []string{"img", "script", "link"} {
		for _, reference := range slices.Concat(elements(t, page, tag, "src"), elements(t, page, tag, "href")) {
			if !strings.HasPrefix(reference, "/") || strings.HasPrefix(reference, "//") {
				t.Errorf("%s loads %s", page.URL, reference)
			}
		}
	}
}

const languageCookie = "__Host-mfa-language"

func TestLanguages(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 2})
	s.Administrator("root")
	bob := s.Invited("bob")
	german := http.Header{"Accept-Language": {"de-AT, en;q=0.7"}}
	inLanguage := func(t *testing.T, page *harness.Page, tag string) {
		t.Helper()
		if tags := elements(t, page, "html", "lang"); !slices.Equal(tags, []string{tag}) {
			t.Errorf("%d %s is in %q: %s", page.Status, page.URL, tags, page.Text())
		}
	}

	t.Run("as the browser asks", func(t *testing.T) {
		page := send(t, s.Client(), harness.Request{URL: s.At("login", "/sign-in"), Header: german})
		inLanguage(t, page, "de")
		says(t, page, http.StatusOK, "Anmelden", "Passwort")
		wrong := guess{name: "bob", password: "not it"}.asRequest(s)
		wrong.Header.Set("Accept-Language", "de")
		page = send(t, s.Client(), wrong)
		inLanguage(t, page, "de")
		says(t, page, http.StatusUnprocessableEntity, "Passwort")
		keepsQuiet(t, page, "don't match")
		for _, accepted := range []string{"", "fr", "*", "x;q=z,,", "de;q=0, en", strings.Repeat("de,", 1000), "{{.}}\xff"} {
			inLanguage(t, send(t, s.Client(), harness.Request{URL: s.At("login", "/sign-in"), Header: http.Header{"Accept-Language": {accepted}}}), "en")
		}
	})
	t.Run("at an app", func(t *testing.T) {
		landed(t, bob.Browser.Visit(s.At("app", "/")), s.At("app", "/"))
		bob.Browser.Visit(s.At("admin", "/"))
		page := send(t, bob.Browser, harness.Request{URL: s.At("admin", "/secret"), Header: german})
		inLanguage(t, page, "de")
		says(t, page, http.StatusForbidden, "bob kann", "nicht öffnen")
		page = send(t, s.Client(), harness.Request{URL: s.At("app", "/.mfa/nothing"), Header: german})
		inLanguage(t, page, "de")
		says(t, page, http.StatusNotFound, "Hier ist nichts")
		s.Admin.ExpectNone(t)
	})
	t.Run("as the person chooses", func(t *testing.T) {
		browser := s.Client()
		page := browser.Visit(s.At("app", "/deep?x=1"))
		inLanguage(t, page, "en")
		chosen := browser.Submit(formTo(t, page, "/language"), nil)
		if chosen.Location() != page.URL.String() {
			t.Errorf("it leads to %q, not back to %s", chosen.Location(), page.URL)
		}
		for _, cookie := range chosen.Cookies() {
			if cookie.Name == languageCookie && (!cookie.Secure || cookie.Path != "/" || cookie.Value != "de" || cookie.SameSite != http.SameSiteLaxMode) {
				t.Errorf("it sets %s", cookie)
			}
		}
		page = browser.Follow(chosen)[1]
		inLanguage(t, page, "de")
		refused := browser.Submit(page.Form("current-password"), map[string]string{"username": "bob", "current-password": "not it"})
		inLanguage(t, refused, "de")
		if to := formTo(t, refused, "/language").Value("to"); to != page.URL.RequestURI() {
			t.Errorf("after a refusal it leads to %q", to)
		}
		page = bob.ShowPassword(browser, refused)
		inLanguage(t, page, "de")
		again := send(t, browser, formPost(s, "/flow/challenge", answer(flowTo(t, page, "/flow/challenge"), "totp", wrongCode), ""))
		inLanguage(t, again, "de")
		page = submitted(browser, formTo(t, again, "/language"), nil)
		inLanguage(t, page, "en")
		landed(t, bob.ShowCode(browser, page, bob.Code()), s.At("app", "/deep?x=1"))
		inLanguage(t, browser.Visit(s.At("login", "/account")), "en")
	})
	t.Run("R01 the way back", func(t *testing.T) {
		browser := s.Client()
		for to, want := range map[string]string{
			"": "/", "/sign-in?request=x": "/sign-in?request=x", "/account?x=%2f%2fe": "/account?x=%2f%2fe",
			"//evil.example": "/", "///evil.example": "/", `/\evil.example`: "/", `\\evil.example`: "/", "/\t/evil.example": "/", "/\n/evil.example": "/",
			"\t//evil.example": "/", " //evil.example": "/", "https:evil.example": "/", "https://evil.example/": "/", "https://login.localhost@evil.example/": "/",
			s.At("login", "/account"): "/", "javascript:alert(1)": "/", "data:text/html,x": "/", "/a\r\nSet-Cookie: x=y": "/", "/é": "/", "evil": "/", "?x": "/",
			"/setup?token=x": "/", "/invitation?token=x": "/", "/%73etup?token=x": "/", "/x/../invitation?token=x": "/", "/x/%2e%2e/invitation?token=x": "/", "//login.localhost/": "/", "/\x00": "/",
		} {
			page := send(t, browser, formPost(s, "/language", url.Values{"language": {"de"}, "to": {to}}, ""))
			back := page.Header.Get("Location")
			if page.Status != http.StatusSeeOther || back != want {
				t.Errorf("%q leads %d to %q", to, page.Status, back)
			}
		}
		if page := send(t, browser, formPost(s, "/language", url.Values{"language": {"de"}, "to": {"/" + strings.Repeat("a", 64<<10)}}, "")); page.Status != http.StatusRequestEntityTooLarge {
			t.Errorf("64 KiB: %d to %q", page.Status, page.Location())
		}
		token := strings.Repeat("A", 43)
		if page := browser.Visit(s.At("login", "/invitation?token="+token)); page.Status != http.StatusGone || strings.Contains(page.Body, token) {
			t.Errorf("a link's page leads back to it: %d %s", page.Status, page.Body)
		}
	})
	t.Run("languages that aren't there", func(t *testing.T) {
		for _, tag := range []string{"", "fr", "DE", "de-AT", "../de", "de\x00", "{{.}}"} {
			browser := s.Client()
			send(t, browser, formPost(s, "/language", url.Values{"language": {tag}, "to": {"/sign-in"}}, ""))
			if got := browser.Cookie(s.At("login", "/"), languageCookie); got != "" {
				t.Errorf("%q sets the cookie %q", tag, got)
			}
		}
		browser := s.Client()
		browser.SetCookie(s.At("login", "/"), http.Cookie{Name: languageCookie, Value: "{{.}}%s", Path: "/", Secure: true})
		inLanguage(t, browser.Visit(s.At("login", "/sign-in")), "en")
	})
}
