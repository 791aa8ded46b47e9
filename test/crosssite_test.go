package test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/portcullis-mfa/portcullis/showable"
	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

const formType = "application/x-www-form-urlencoded"

// change is one request that changes something, with what it needs to succeed.
type change struct {
	name    string
	browser *harness.Client
	url     string
	form    url.Values
}

// forgery is one way in which somebody else's page could send it.
type forgery struct {
	name  string
	forge func(c change) harness.Request
}

func post(c change, from string, header http.Header) harness.Request {
	request := harness.Request{
		Method: http.MethodPost, URL: c.url, From: from, Body: c.form.Encode(),
		Header: http.Header{"Content-Type": {formType}},
	}
	maps.Copy(request.Header, header)
	return request
}

// beside returns a URL on the same host, or on one below it, which makes it the
// same site: cookies that are Lax come with what it sends.
func beside(address, label string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + label + u.Host + "/evil"
}

var forgeries = []forgery{
	{"another site", func(c change) harness.Request { return post(c, "https://evil.example/", nil) }},
	{"another site, with cookies all the same", func(c change) harness.Request {
		request := post(c, "https://evil.example/", nil)
		for _, cookie := range c.browser.Cookies(c.url) {
			request.Header.Add("Cookie", cookie.Name+"="+cookie.Value)
		}
		request.Header["Cookie"] = []string{strings.Join(request.Header["Cookie"], "; ")}
		return request
	}},
	{"a script of another site", func(c change) harness.Request {
		request := post(c, "https://evil.example/", nil)
		request.Mode, request.WithCookies = harness.Fetch, true
		return request
	}},
	{"a host below, of the same site", func(c change) harness.Request { return post(c, beside(c.url, "evil."), nil) }},
	{"another port of the same host", func(c change) harness.Request {
		u, err := url.Parse(c.url)
		if err != nil {
			return harness.Request{}
		}
		return post(c, "http://"+u.Hostname()+":1/", nil)
	}},
	{"https of the same host", func(c change) harness.Request {
		return post(c, strings.Replace(c.url, "http://", "https://", 1), nil)
	}},
	{"Origin: null", func(c change) harness.Request {
		return post(c, c.url, http.Header{"Origin": {"null"}, "Sec-Fetch-Site": {"cross-site"}})
	}},
	{"Origin: null of a browser that tells no more", func(c change) harness.Request {
		return post(c, c.url, http.Header{"Origin": {"null"}, "Sec-Fetch-Site": nil, "Sec-Fetch-Mode": nil, "Sec-Fetch-Dest": nil})
	}},
	{"another origin of a browser that tells no more", func(c change) harness.Request {
		return post(c, c.url, http.Header{
			"Origin": {"https://evil.example"}, "Sec-Fetch-Site": nil, "Sec-Fetch-Mode": nil, "Sec-Fetch-Dest": nil,
		})
	}},
	{"text/plain", func(c change) harness.Request {
		return post(c, c.url, http.Header{
			"Content-Type": {"text/plain"}, "Origin": nil, "Sec-Fetch-Site": nil, "Sec-Fetch-Mode": nil, "Sec-Fetch-Dest": nil,
		})
	}},
	{"JSON", func(c change) harness.Request {
		request := post(c, c.url, http.Header{"Content-Type": {"application/json"}})
		request.Body = `{"name":"bob","flow":"x","code":"000000"}`
		return request
	}},
	{"multipart", func(c change) harness.Request {
		request := post(c, c.url, http.Header{"Content-Type": {"multipart/form-data; boundary=x"}})
		request.Body = "--x\r\nContent-Disposition: form-data; name=\"saved\"\r\n\r\nyes\r\n--x--\r\n"
		return request
	}},
	{"a method in an override header", func(c change) harness.Request {
		return harness.Request{URL: c.url + "?" + c.form.Encode(), Header: http.Header{"X-Http-Method-Override": {"POST"}}}
	}},
	{"GET", func(c change) harness.Request { return harness.Request{URL: c.url + "?" + c.form.Encode()} }},
	{"a link of another site", func(c change) harness.Request {
		return harness.Request{URL: c.url + "?" + c.form.Encode(), From: "https://evil.example/"}
	}},
}

func TestW01CrossSite(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 2, Caddyfile: accountCaddyfile})
	ada := s.Administrator("ada")
	owned := ownedBy(t, s, ada)
	landed(t, ada.Browser.Visit(s.At("app", "/")), s.At("app", "/"))

	half := s.Client()
	challenge := ada.ShowPassword(half, half.Visit(s.At("app", "/half")))
	challenge = half.Visit(challenge.Link("Use a backup code"))
	signingIn := s.Client()
	signingIn.Visit(s.At("app", "/form"))

	link := s.Invitation("bob")
	account := s.Client()
	accountPage := account.Visit(link)
	enrolling := s.Client()
	enrolPage := enrolling.Visit(s.Invitation("carol"))
	hops := enrolling.Follow(enrolling.Submit(enrolPage.Form("new-password"), map[string]string{"new-password": scene.Password("carol")}))
	enrolPage = hops[len(hops)-1]
	s.App.Reset()

	backupCode := ada.SpendBackupCode()
	changes := []change{
		{"signing in", signingIn, s.At("login", "/sign-in"), url.Values{"name": {"ada"}, "password": {ada.Password}}},
		{"a code", half, s.At("login", "/flow/challenge"), url.Values{
			"flow": {challenge.Form("one-time-code").Value("flow")}, "factor": {"backup_code"}, "code": {backupCode},
		}},
		{"an account", account, s.At("login", "/flow/account"), url.Values{
			"flow": {accountPage.Form("new-password").Value("flow")}, "password": {scene.Password("bob")},
		}},
		{"an authenticator", enrolling, s.At("login", "/flow/enrol"), url.Values{
			"flow": {enrolPage.Form("one-time-code").Value("flow")}, "factor": {"totp"}, "code": {"000000"},
		}},
		{"a password's strength", account, s.At("login", "/flow/password-strength"), url.Values{
			"flow": {accountPage.Form("new-password").Value("flow")}, "password": {"x"},
		}},
		{"the password again", half, s.At("login", "/flow/password"), url.Values{
			"flow": {challenge.Form("one-time-code").Value("flow")}, "password": {ada.Password},
		}},
		{"going on by a device", signingIn, s.At("login", "/sign-in/device"), nil},
		{"a passkey", signingIn, s.At("login", "/sign-in/passkey"), url.Values{"state": {"x"}, "credential": {"{}"}}},
		{"an offered passkey", ada.Browser, s.At("login", "/account/passkey-offer"), url.Values{"answer": {"set_up"}}},
		{"removing all authenticators", ada.Browser, s.At("login", authenticators+"/remove-all"), url.Values{"x": {"y"}}},
		{"signing out at the portal", ada.Browser, s.At("login", "/sign-out"), nil},
		{"signing out at an app", ada.Browser, s.At("app", "/.mfa/sign-out"), nil},
	}
	losing, replacing := s.Client(), s.Invited("dora")
	lost := toAccessCode(t, losing, ada.ShowPassword(losing, losing.Visit(s.At("login", "/sign-in"))))
	due := toNewPassword(t, s, replacing)
	changes = append(changes, owned.changes(s)...)
	changes = append(changes,
		change{"losing something", half, s.At("login", "/flow/lost"), url.Values{
			"flow": {flowTo(t, challenge, "/flow/challenge")}, "lose": {owned.tablet},
		}},
		change{"an administrator's code", losing, s.At("login", "/flow/access-code"), url.Values{
			"flow": {flowTo(t, lost, "/flow/access-code")}, "code": {accessCode(t, s, "ada")},
		}},
		change{"a new password", replacing.Browser, s.At("login", "/flow/new-password"), url.Values{
			"flow": {flowTo(t, due, "/flow/new-password")}, "password": {"marmalade trombone dora 83"},
		}},
		change{"a message", half, s.At("login", "/flow/send"), url.Values{"flow": {flowTo(t, challenge, "/flow/challenge")}, "factor": {"totp"}}},
		change{"an app password", ada.Browser, s.At("login", appPasswords+"/add"), url.Values{"host": {"app.localhost"}, "name": {"Phone"}}},
		change{"an app password revoked", ada.Browser, s.At("login", appPasswords+"/revoke"), url.Values{"id": {"x"}}},
		change{"a machine's code typed", ada.Browser, s.At("login", ownDevices+"/code"), url.Values{"code": {"0000-0000"}}},
		change{"a device's one-time password", ada.Browser, s.At("login", ownDevices+"/token"), url.Values{"x": {"y"}}},
		change{"a device renamed", ada.Browser, s.At("login", ownDevices+"/rename"), url.Values{"id": {owned.laptop}, "name": {"Evil"}}},
		change{"a device confirmed", ada.Browser, s.At("login", ownDevices+"/confirm"), url.Values{"request": {"e30"}, "user": {"x"}}},
		change{"a token revoked", ada.Browser, s.At("login", "/token/revoke"), url.Values{"token": {"pct_s_x"}}},
		change{"a forgotten password", signingIn, s.At("login", "/forgotten"), url.Values{"name": {"ada"}}},
		change{"a notice's link", ada.Browser, s.At("login", "/not-me"), url.Values{"token": {"x"}, "name": {"ada"}}},
		change{"more time", half, s.At("login", "/flow/more-time"), url.Values{"flow": {flowTo(t, challenge, "/flow/challenge")}}},
		change{"another language", signingIn, s.At("login", "/language"), url.Values{"language": {"de"}, "to": {"/"}}},
	)
	for _, route := range portalRoutes(t) {
		known := slices.ContainsFunc(changes, func(c change) bool {
			return strings.HasPrefix(c.url, s.At("login", "/")) && route.matches(pathOf(c.url))
		})
		if route.method == http.MethodPost && !known {
			t.Errorf("nothing is forged for POST %s", route.path)
		}
	}
	before := held(t, s, ada)
	s.App.Reset()
	for _, c := range changes {
		for _, f := range forgeries {
			t.Run(c.name+" from "+f.name, func(t *testing.T) {
				request := f.forge(c)
				page, err := c.browser.Send(request)
				if err != nil {
					t.Fatal(err)
				}
				if request.Method == http.MethodPost && page.Status != http.StatusForbidden {
					t.Errorf("%d %s", page.Status, page.Text())
				}
				if len(page.Cookies()) != 0 {
					t.Errorf("it sets %v", page.Cookies())
				}
				if strings.Contains(page.Location(), "/flow") || page.Status >= 500 {
					t.Errorf("%d, to %q", page.Status, page.Location())
				}
			})
		}
	}
	s.App.ExpectNone(t)

	t.Run("nothing was changed", func(t *testing.T) {
		landed(t, ada.Browser.Visit(s.At("app", "/")), s.At("app", "/"))
		landed(t, ada.Browser.Visit(s.At("login", "/")), s.At("login", "/"))
		if signingIn.Cookie(s.At("login", "/"), flowCookie) != "" || signingIn.Cookie(s.At("login", "/"), portalCookie) != "" {
			t.Error("the victim of a forged sign-in has cookies of it")
		}
		if page := account.Visit(link); !page.Form("new-password").Has("username") {
			t.Errorf("the invitation is at %s", page.Text())
		}
		if failures := strings.Count(s.Log(), `"sign_in.failed"`); failures != 0 {
			t.Errorf("%d forged answers were looked at", failures)
		}
		if after := held(t, s, ada); after != before {
			t.Errorf("changed:\n%s\nbefore:\n%s", after, before)
		}
		says(t, losing.Visit(lost.URL.String()), http.StatusOK, "Enter the code from your administrator")
		says(t, replacing.Browser.Visit(due.URL.String()), http.StatusOK, "Choose a new password")
		passwordRefused(t, s, "ada", owned.password)
		expectIn(t, s, owned.other, "ada")
		landed(t, ada.ShowCode(half, challenge, backupCode), s.At("app", "/half"))
		if refused := strings.Count(s.Log(), `"request.cross_origin_refused"`); refused < len(changes) {
			t.Errorf("only %d refusals were audited", refused)
		}
	})

	t.Run("a link to signing out ends nothing", func(t *testing.T) {
		for _, address := range []string{s.At("login", "/sign-out"), s.At("app", "/.mfa/sign-out")} {
			for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions} {
				page, err := ada.Browser.Send(harness.Request{Method: method, URL: address, From: "https://evil.example/"})
				if err != nil || len(page.Cookies()) != 0 {
					t.Errorf("%s %s: %+v, %v", method, address, page, err)
				}
			}
		}
		landed(t, ada.Browser.Visit(s.At("app", "/")), s.At("app", "/"))
	})

	t.Run("our own forms still work", func(t *testing.T) {
		page := ada.Browser.Visit(s.At("app", "/.mfa/sign-out"))
		if page = ada.Browser.Submit(page.Form(), nil); page.Status != http.StatusOK || !strings.Contains(page.Text(), "signed out") {
			t.Errorf("%d %s", page.Status, page.Text())
		}
		if got := page.Header.Get("Clear-Site-Data"); got != "" || ada.Browser.Cookie(s.At("app", "/"), lastCookie) == "" {
			t.Errorf("signing out comes with Clear-Site-Data: %s, or forgets who was there", got)
		}
		owned.signOn = signOnOf(t, s, "ada") // what half-way was signed in by now
		made := owned.changes(s)
		for i, c := range made {
			page := send(t, owned.other, formPost(s, pathOf(c.url), c.form, ""))
			if page.Status >= 400 || i < len(made)-1 && page.Location() == s.At("login", "/sign-in") {
				t.Errorf("%s: %d to %q: %s", c.name, page.Status, page.Location(), page.Text())
			}
		}
	})
}

// owned is what somebody has and could be made to change: of each change that
// the account pages know, what it needs to succeed.
type owned struct {
	browser, other        *harness.Client
	tablet, signOn, known string
	laptop                string
	current, password     string
}

// ownedBy gives somebody a second authenticator, another sign-on and a browser
// that skips the second step.
func ownedBy(t *testing.T, s *scene.Scene, p *scene.Person) owned {
	t.Helper()
	addAuthenticator(t, s, p.Browser, "Tablet")
	mine := owned{browser: p.Browser, other: s.Client(), current: p.Password, password: "marmalade trombone " + p.Name + " 83"}
	form := p.ShowPassword(mine.other, mine.other.Visit(s.At("app", "/"))).Form("one-time-code")
	landed(t, submitted(mine.other, form, map[string]string{"one-time-code": p.Code(), "remember": "yes"}), s.At("app", "/"))
	mine.signOn = signOnOf(t, s, p.Name)
	expectDone(t, s, "mfa", "device", "issue", p.Name, "Laptop", "--out", filepath.Join(t.TempDir(), "laptop.p12"))
	_, mine.laptop, _ = strings.Cut(p.Browser.Visit(s.At("login", ownDevices)).Link("Revoke Laptop"), "?id=")
	mine.tablet = idOf(t, p.Browser.Visit(s.At("login", authenticators)), "Tablet")
	mine.known = formTo(t, p.Browser.Visit(s.At("login", signOns)), "/browsers/forget").Value("id")
	return mine
}

// changes are in an order in which all of them can be made.
func (o owned) changes(s *scene.Scene) []change {
	return []change{
		{"how strong a new password is", o.browser, s.At("login", "/account/password/strength"), url.Values{"password": {"x"}}},
		{"adding an authenticator", o.browser, s.At("login", authenticators+"/add"), url.Values{"x": {"y"}}},
		{"making new backup codes", o.browser, s.At("login", backupCodes+"/add"), url.Values{"x": {"y"}}},
		{"renaming an authenticator", o.browser, s.At("login", authenticators+"/rename"), url.Values{"id": {o.tablet}, "name": {"Evil"}}},
		{"forgetting a browser", o.browser, s.At("login", "/browsers/forget"), url.Values{"id": {o.known}}},
		{"ending a sign-on", o.browser, s.At("login", signOns+"/end"), url.Values{"id": {o.signOn}}},
		{"ending other sign-ons", o.browser, s.At("login", signOns+"/end-others"), url.Values{"x": {"y"}}},
		{"revoking a device", o.browser, s.At("login", ownDevices+"/revoke"), url.Values{"id": {o.laptop}}},
		{"removing an authenticator", o.browser, s.At("login", authenticators+"/remove"), url.Values{"id": {o.tablet}}},
		{"changing the password", o.browser, s.At("login", "/account/password"), url.Values{"current": {o.current}, "password": {o.password}}},
		{"saying that it wasn't me", o.browser, s.At("login", "/account/not-me"), url.Values{"x": {"y"}}},
	}
}

// toNewPassword has somebody disown what happened and sign in again, up to the
// page that asks for a new password.
func toNewPassword(t *testing.T, s *scene.Scene, p *scene.Person) *harness.Page {
	t.Helper()
	submitted(p.Browser, formTo(t, p.Browser.Visit(s.At("login", "/account/not-me")), "/account/not-me"), nil)
	page := p.ShowPassword(p.Browser, p.Browser.Visit(s.At("login", "/sign-in")))
	page = p.ShowCode(p.Browser, p.Browser.Visit(page.Link("Use a backup code")), p.SpendBackupCode())
	if page.H1() != "Choose a new password" {
		t.Fatalf("the sign-in led to %d %s", page.Status, page.Text())
	}
	return page
}

func pathOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Path
}

// What a template, a shell, a logger or a browser could take for its own.
const (
	hostileName = `<img/src=x>{{.}}{env.canary}%s%n`
	hostileText = `<script>alert(1)</script> {{.}} {env.CANARY} {http.request.host} ${x} %s%d "'` + "`"
	// hidden are characters that steer terminals and reorder or hide text.
	hidden       = "\u202e\u2066\u200e\u061c\u200b\u2028\u0085\u009b2J\U000e0041"
	hiddenShown  = "\ufffd2J\ufffd"
	hostileGroup = `<b>{{.}}{env.CANARY}%s"`
)

// markup fails the test where a page holds elements that only strangers' text
// could have made, or lacks the text.
func markup(t *testing.T, page *harness.Page, texts ...string) {
	t.Helper()
	document, err := html.Parse(strings.NewReader(page.Body))
	if err != nil {
		t.Fatal(err)
	}
	ownMarkup(t, page, document)
	if text := page.Text(); strings.ContainsFunc(strings.Join(strings.Fields(text), " "), showable.IsHidden) {
		t.Errorf("%s shows characters that nobody sees: %+q", page.URL, text)
	}
	for _, text := range texts {
		if !strings.Contains(page.Text(), strings.Join(strings.Fields(text), " ")) {
			t.Errorf("%s doesn't show %q as it is: %s", page.URL, text, page.Text())
		}
	}
	if policy := page.Header.Get("Content-Security-Policy"); page.Status != http.StatusFound && !strings.HasPrefix(policy, "default-src 'none'") {
		t.Errorf("%s has the policy %q", page.URL, policy)
	}
}

// ownMarkup fails the test where a document, or what its scripts put into it, holds
// elements that only strangers' text could have made.
func ownMarkup(t *testing.T, page *harness.Page, document *html.Node) {
	t.Helper()
	for node := range document.Descendants() {
		if node.Type != html.ElementNode {
			continue
		}
		if node.Data == "script" && slices.Contains(node.Attr, html.Attribute{Key: "type", Val: "text/html"}) && node.FirstChild != nil {
			put, err := html.Parse(strings.NewReader(node.FirstChild.Data)) // as scripted.js does
			if err != nil {
				t.Fatal(err)
			}
			ownMarkup(t, page, put)
			continue
		}
		inline := node.Data == "script" && !slices.ContainsFunc(node.Attr, func(a html.Attribute) bool { return a.Key == "src" })
		event := slices.ContainsFunc(node.Attr, func(a html.Attribute) bool { return strings.HasPrefix(a.Key, "on") })
		if inline || event || slices.Contains([]string{"img", "b", "iframe", "object", "base", "math"}, node.Data) {
			t.Errorf("%s holds <%s %v>", page.URL, node.Data, node.Attr)
		}
		for _, a := range node.Attr {
			if scheme := strings.ToLower(strings.TrimSpace(a.Val)); (a.Key == "href" || a.Key == "src" || a.Key == "action") &&
				(strings.HasPrefix(scheme, "javascript:") || strings.HasPrefix(scheme, "data:")) {
				t.Errorf("%s links to %s", page.URL, a.Val)
			}
		}
	}
}

func TestW02TextOfStrangers(t *testing.T) {
	t.Parallel()
	const secret = "environment-secret-6c1f0a"
	s := scene.Start(t, scene.Options{
		Settled:   1,
		Caddyfile: strings.ReplaceAll(scene.Caddyfile, "_portal\n", "_portal\n\tlog\n"),
		Env:       []string{"CANARY=" + secret, "canary=" + secret},
	})
	s.Canary(secret)
	s.Administrator("ada")
	printed := s.CLI("mfa", "user", "add", hostileName, "--name", hostileText, "--group", hostileGroup, "--json")
	if printed.Code != 0 {
		t.Fatalf("adding a user of that name: %+v", printed)
	}
	link, _, _ := strings.Cut(printed.Stdout[strings.Index(printed.Stdout, "http"):], `"`)
	browser := s.Client()
	hostile := http.Header{
		"User-Agent": {hostileText + hidden}, "Referer": {"https://evil.example/" + hostileText}, "Accept-Language": {hostileText},
		"X-Forwarded-For": {hostileText}, "X-Forwarded-Host": {hostileText},
	}
	// send is what the browser does, with hostile headers.
	send := func(request harness.Request) *harness.Page {
		t.Helper()
		if request.Header == nil {
			request.Header = http.Header{}
		}
		maps.Copy(request.Header, hostile)
		page, err := browser.Send(request)
		if err != nil {
			t.Fatal(err)
		}
		for page.Location() != "" {
			if page, err = browser.Send(harness.Request{URL: page.Location(), Header: hostile}); err != nil {
				t.Fatal(err)
			}
		}
		return page
	}
	submit := func(page *harness.Page, form harness.Form, values url.Values) *harness.Page {
		t.Helper()
		for _, input := range form.Inputs {
			if input.Type == "hidden" {
				values.Set(input.Name, input.Value)
			}
		}
		return send(harness.Request{
			Method: http.MethodPost, URL: form.Action.String(), From: page.URL.String(), FromPolicy: "same-origin",
			Body: values.Encode(), Header: http.Header{"Content-Type": {formType}},
		})
	}

	page := send(harness.Request{URL: link})
	markup(t, page)
	if got := page.Form("new-password").Value("username"); got != hostileName {
		t.Errorf("the form has the name %q", got)
	}
	const password = "lantern orchard hostile 57"
	s.Canary(password)
	markup(t, submit(page, page.Form("new-password"), url.Values{"password": {"short"}, "display_name": {hostileText}}))
	page = submit(page, page.Form("new-password"), url.Values{"password": {password}, "display_name": {hostileText}})
	markup(t, page, hostileName)
	key := scene.SecretOn(page)
	s.Canary(key)
	page = submit(page, page.Form("one-time-code"), url.Values{"code": {harness.TOTP(t, key, time.Now())}})
	markup(t, page)
	codes := scene.CodesOn(page)
	if len(codes) != 10 {
		t.Fatalf("%d backup codes: %s", len(codes), page.Text())
	}
	s.Canary(codes...)
	download := browser.Get(page.Link("Download"))
	if kind := download.Header.Get("Content-Type"); download.Status != http.StatusOK || !strings.HasPrefix(kind, "text/plain") {
		t.Errorf("the download is %d %s", download.Status, kind)
	}
	page = submit(page, page.Form("saved"), url.Values{"saved": {"yes"}})
	markup(t, page, hostileName, hostileText)
	markup(t, browser.Visit(s.At("login", "/account")), hostileName, hostileText, hostileGroup)
	for _, path := range []string{
		authenticators, backupCodes, backupCodes + "/add", authenticators + "/add", "/account/password", signOns, activity, "/account/not-me",
		"/help/totp", "/help/password", "/help/backup_code", "/account/" + url.PathEscape(hostileText), activity + "?before=" + url.QueryEscape(hostileText),
	} {
		markup(t, send(harness.Request{URL: s.At("login", path)}))
	}
	markup(t, browser.Visit(s.At("login", "/sign-out")), hostileName)
	markup(t, browser.Visit(s.At("login", "/sign-in?switch")), hostileName)

	t.Run("at the app", func(t *testing.T) {
		landed(t, browser.Visit(s.At("app", "/")), s.At("app", "/"))
		seen := s.App.ExpectOne(t)
		if user := seen.Header.Get("Remote-User"); user != strings.ReplaceAll(hostileName, "%", "%25") {
			t.Errorf("the app was told of %q", user)
		}
		if groups := seen.Header.Values("Remote-Groups"); len(groups) != 1 || groups[0] != strings.ReplaceAll(hostileGroup, "%", "%25") {
			t.Errorf("the app was told of the groups %q", groups)
		}
		markup(t, browser.Visit(s.At("app", "/.mfa/sign-out")), hostileName)
		path := "/" + url.PathEscape("<img src=x onerror=alert(1)>{{.}}{env.CANARY}%s\u202e")
		page := browser.Visit(s.At("admin", path))
		markup(t, page, hostileName, "<img src=x onerror=alert(1)>{{.}}{env.CANARY}%s\ufffd")
		if page.Status != http.StatusForbidden {
			t.Errorf("refused with %d", page.Status)
		}
		markup(t, browser.Visit(page.Link("Sign in as someone else")), hostileName)
		s.Admin.ExpectNone(t)
	})

	t.Run("in what nobody signed in sends", func(t *testing.T) {
		awkward := url.QueryEscape(hostileText)
		for _, address := range []string{
			s.At("login", "/sign-in?request="+awkward), s.At("login", "/flow?id="+awkward), s.At("login", "/invitation?token="+awkward),
			s.At("login", "/"+url.PathEscape(hostileText)), s.At("app", "/.mfa/"+url.PathEscape("<img src=x>{{.}}")),
			s.At("app", "/.mfa/callback?request="+awkward+"&ticket="+awkward), s.At("app", "/%00"+url.PathEscape(hostileText)),
			s.At("app", "/"+url.PathEscape(hostileText)+"?"+awkward), s.At("app", "/.mfa/switch?to="+url.QueryEscape("/"+hostileText)),
		} {
			stranger := s.Client()
			page, err := stranger.Send(harness.Request{URL: address, Header: hostile})
			if err != nil || page.Status >= 500 {
				t.Fatalf("%s: %+v, %v", address, page, err)
			}
			if page.Location() != "" {
				hops := stranger.Follow(page)
				page = hops[len(hops)-1]
			}
			markup(t, page)
		}
		stranger := s.Client()
		form := stranger.Visit(s.At("app", "/")).Form("current-password")
		page := stranger.Submit(form, map[string]string{"username": hostileText, "current-password": hostileText})
		markup(t, page)
		if page.Status != http.StatusUnprocessableEntity || page.Form("current-password").Value("username") != hostileText {
			t.Errorf("%d, the form has the name %q", page.Status, page.Form("current-password").Value("username"))
		}
	})

	t.Run("in logs and lists", func(t *testing.T) {
		told := false
		for line := range strings.Lines(s.Log()) {
			if strings.HasPrefix(line, `{"level"`) && !strings.HasSuffix(line, "}\n") {
				t.Errorf("a line of the log was broken: %s", line)
			}
		}
		for _, entry := range s.LogEntries() {
			if strings.HasPrefix(entry.Text("logger"), "mfa") && strings.ContainsFunc(entry.Text("user_agent")+entry.Text("path"), showable.IsHidden) {
				t.Errorf("the log holds characters that nobody sees: %v", entry)
			}
			if entry.Text("logger") == "mfa.audit" && entry.Text("user_agent") == hostileText+hiddenShown {
				told = true
			}
		}
		if !told {
			t.Error("the audit log doesn't hold the User-Agent as it is shown")
		}
		for _, arguments := range [][]string{{"mfa", "user", "list"}, {"mfa", "user", "show", hostileName}, {"mfa", "session", "list"}} {
			if output := s.CLI(arguments...); output.Code != 0 || !strings.Contains(output.Stdout, hostileName) {
				t.Errorf("%v: %+v", arguments, output)
			} else if strings.ContainsFunc(strings.ReplaceAll(output.Stdout, "\n", ""), showable.IsHidden) {
				t.Errorf("%v prints characters that nobody sees: %+q", arguments, output.Stdout)
			}
		}
	})

	t.Run("names that are refused where they are made", func(t *testing.T) {
		for _, arguments := range [][]string{
			{"evil", "--group", "a,b"}, {"evil", "--group", "a\nb"}, {"evil", "--group", ""}, {"evil", "--name", "a\r\nSet-Cookie: x"},
			{"e vil"}, {"evil\n"}, {"evil,admins"}, {""}, {"evil", "--email", "<script>@example.com"}, {"evil", "--name", "a\u202eb"},
			{"evil\xff"},
		} {
			output := s.CLI(append([]string{"mfa", "user", "add"}, arguments...)...)
			if output.Code == 0 {
				t.Errorf("%q was taken: %s", arguments, output.Stdout)
			}
		}
		if output := s.CLI("mfa", "user", "show", "evil"); output.Code == 0 {
			t.Errorf("somebody was made all the same: %s", output.Stdout)
		}
	})
}

func TestW04BodiesOfStrangers(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 1})
	ada := s.Administrator("ada")
	half := s.Client()
	step := ada.ShowPassword(half, half.Visit(s.At("app", "/")))
	flow := step.Form("one-time-code").Value("flow")
	invited := s.Client()
	setUp := invited.Visit(s.Invitation("bob")).Form("new-password").Value("flow")

	huge := strings.Repeat("x", 2<<20)
	nested := strings.Repeat(`{"a":[`, 10_000)
	bodies := []struct {
		name, kind, body string
		status           int // 0: any 4xx
	}{
		{"2 MiB of a value", formType, "name=" + huge, http.StatusRequestEntityTooLarge},
		{"2 MiB of fields", formType, strings.Repeat("a=b&", 512<<10), http.StatusRequestEntityTooLarge},
		{"2 MiB of JSON", "application/json", `"` + huge + `"`, http.StatusForbidden},
		{"nesting", "application/json", nested, http.StatusForbidden},
		{"JSON as a form", formType, nested, 0},
		{"bad escapes", formType, "name=%zz&password=%", http.StatusBadRequest},
		{"semicolons", formType, "name=a;password=b", http.StatusBadRequest},
		{"no type", "", "name=a", http.StatusForbidden},
		{"a type that is none", "form/", "name=a", http.StatusForbidden},
		{"bad UTF-8", formType, "name=%ff%fe&password=%c0%80&code=%ff&flow=%ff&factor=%ff", 0},
		{"NUL", formType, "name=a%00b&password=%00&code=%00&flow=%00&factor=%00", 0},
		{"raw bytes", formType, "name=\xff\x00\x01&password=\x00", 0},
		{"many of one field", formType, strings.Repeat("flow=x&", 5000), 0},
		{"nothing", formType, "", 0},
	}
	targets := []struct {
		browser *harness.Client
		path    string
		flow    string
	}{
		{s.Client(), "/sign-in", ""}, {half, "/flow/challenge", flow}, {half, "/flow/password", flow}, {half, "/flow/enrol", flow},
		{invited, "/flow/account", setUp}, {invited, "/flow/enrol", setUp}, {invited, "/flow/password-strength", "other"},
		{half, "/flow/lost", flow}, {half, "/flow/access-code", flow}, {half, "/flow/new-password", flow}, {half, "/flow/more-time", flow},
		{ada.Browser, "/account/password", ""}, {ada.Browser, authenticators + "/rename", ""}, {ada.Browser, authenticators + "/remove", ""},
		{ada.Browser, signOns + "/end", ""}, {ada.Browser, "/browsers/forget", ""},
	}
	owns := held(t, s, ada)
	for _, body := range bodies {
		for _, target := range targets {
			t.Run(body.name+" to "+target.path, func(t *testing.T) {
				at := s.At("login", target.path)
				request := harness.Request{Method: http.MethodPost, URL: at, From: at, Body: body.body, Header: http.Header{"Content-Type": {body.kind}}}
				page, err := target.browser.Send(request)
				if err != nil {
					t.Fatal(err)
				}
				if body.status != 0 && page.Status != body.status || page.Status < 400 || page.Status >= 500 {
					t.Errorf("%d %s", page.Status, page.Text())
				}
			})
		}
	}

	t.Run("awkward values in the right fields", func(t *testing.T) {
		for _, value := range []string{"\x00", "\xff\xfe", "\xc0\x80", "\u202e", "１２３４５６", strings.Repeat("9", 60_000), "000000\x00", " ", "\n"} {
			for path, form := range map[string]url.Values{
				"/flow/challenge":          {"flow": {flow}, "factor": {value}, "code": {"000000"}},
				"/flow/account":            {"flow": {setUp}, "password": {value}, "display_name": {value}, "name": {value}},
				"/flow/password-strength":  {"flow": {setUp}, "password": {value}, "display_name": {value}, "name": {value}},
				"/flow/lost":               {"flow": {flow}, "lose": {value}},
				"/flow/access-code":        {"flow": {flow}, "code": {value}},
				"/account/password":        {"current": {value}, "password": {value}},
				authenticators + "/rename": {"id": {value}, "name": {value}},
				authenticators + "/remove": {"id": {value}},
				signOns + "/end":           {"id": {value}},
				"/browsers/forget":         {"id": {value}},
			} {
				browser := ada.Browser
				switch form.Get("flow") {
				case setUp:
					browser = invited
				case flow:
					browser = half
				}
				page := send(t, browser, formPost(s, path, form, ""))
				if page.Status >= 500 || page.Status < 400 && path != "/flow/password-strength" {
					t.Errorf("%q at %s: %d %s", value, path, page.Status, page.Text())
				}
			}
		}
	})

	t.Run("nothing of the account was changed", func(t *testing.T) {
		if now := held(t, s, ada); now != owns {
			t.Errorf("changed:\n%s\nbefore:\n%s", now, owns)
		}
	})

	t.Run("at the gate", func(t *testing.T) {
		for _, body := range bodies {
			request := harness.Request{
				Method: http.MethodPost, URL: s.At("app", "/.mfa/sign-out"), From: s.At("app", "/"), Body: body.body,
				Header: http.Header{"Content-Type": {body.kind}},
			}
			if page, err := s.Client().Send(request); err != nil || page.Status >= 500 {
				t.Errorf("%s: %+v, %v", body.name, page, err)
			}
		}
		s.App.ExpectNone(t)
	})

	t.Run("headers that are no text", func(t *testing.T) {
		host := fmt.Sprintf("login.localhost:%d", s.Port("web"))
		for _, header := range []string{"User-Agent: \xff\xfe", "User-Agent: a\x00b", "Referer: \xff", "Cookie: \xff=\x01", "Accept-Language: \xc0\x80"} {
			response := s.Raw("web").Send(harness.Request1("GET", "/sign-in", host, "", header, "Connection: close"))
			if response.Status == 0 || response.Status >= 500 {
				t.Errorf("%q: %d, %v", header, response.Status, response.Err)
			}
		}
		// 255 bytes and half a letter: what is kept of it stays text.
		browser := s.Client()
		at := s.At("login", "/sign-in")
		half := http.Header{"User-Agent": {strings.Repeat("a", 255) + "é" + "\xff"}, "Content-Type": {formType}}
		var page *harness.Page
		send := func(request harness.Request) {
			t.Helper()
			request.Header = half
			var err error
			if page, err = browser.Send(request); err != nil {
				t.Fatal(err)
			}
		}
		send(harness.Request{Method: http.MethodPost, URL: at, From: at, Body: url.Values{"name": {"ada"}, "password": {ada.Password}}.Encode()})
		id := queryOf(t, page, "id")
		send(harness.Request{
			Method: http.MethodPost, URL: s.At("login", "/flow/challenge"), From: at,
			Body: url.Values{"flow": {id}, "factor": {"backup_code"}, "code": {ada.SpendBackupCode()}}.Encode(),
		})
		send(harness.Request{URL: page.Location()})
		if page.Location() != s.At("login", "/") {
			t.Fatalf("signing in ended at %d %s: %s", page.Status, page.URL, page.Text())
		}
		if listed := s.CLI("mfa", "session", "list", "--json").Stdout; !strings.Contains(listed, strings.Repeat("a", 255)+`"`) {
			t.Errorf("the list holds %s", listed)
		}
	})

	t.Run("whoever was half-way goes on", func(t *testing.T) {
		page := half.Visit(s.At("login", "/flow?id="+flow+"&use=backup_code"))
		landed(t, ada.ShowCode(half, page, ada.SpendBackupCode()), s.At("app", "/"))
	})
}
