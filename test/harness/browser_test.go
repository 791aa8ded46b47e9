package harness

import (
	"bytes"
	"html"
	"image/png"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestBrowserOpensTheApp(t *testing.T) {
	folder := t.TempDir()
	t.Setenv(EnvShots, folder)
	server, app := startProxy(t)
	browser := NewBrowser(t, server, BrowserOptions{})
	browser.Navigate(server.URL("http", "app.localhost", "http", "/x"))
	browser.AwaitH1("Hello nobody")
	if browser.Title() != "The app" || !strings.Contains(browser.Text(), "GET /x") || browser.URL().Path != "/x" {
		t.Errorf("at %s: %q, %q", browser.URL(), browser.Title(), browser.Text())
	}
	if seen := app.ExpectOne(t); seen.Header.Get("Sec-Fetch-Site") != "none" || seen.Host != browser.URL().Host {
		t.Errorf("the app saw %+v", seen)
	}
	browser.Shot("app")
	browser.Shots("app")
	for name, width := range map[string]int{"app": 1280, "app-desktop-dark": 1280, "app-phone-light": 780} {
		if got := pictureWidth(t, filepath.Join(folder, name+".png")); got != width {
			t.Errorf("%s is %d wide", name, got)
		}
	}
	if browser.Evaluate("String(innerWidth)") != "1280" {
		t.Error("the screen was not changed back")
	}
}

func pictureWidth(t *testing.T, path string) int {
	t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	config, err := png.DecodeConfig(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return config.Width
}

// twoPages answers with a form that leads to a page with a link back.
func twoPages(r Recorded) Answer {
	page := http.Header{"Content-Type": {"text/html; charset=utf-8"}}
	switch {
	case r.Method == http.MethodPost:
		return Answer{Status: http.StatusSeeOther, Header: http.Header{"Location": {"/done?" + r.Body}, "Set-Cookie": {"__Host-a=1; Secure; Path=/; HttpOnly"}}}
	case strings.HasPrefix(r.RequestURI, "/done"):
		return Answer{Header: page, Body: `<title>Done</title><h1>Done</h1><a href="/">Back to <b>start</b></a>`}
	}
	return Answer{Header: page, Body: `<title>Form</title><meta name="viewport" content="width=device-width"><h1>Form</h1>
<noscript>No scripts here.</noscript>
<form method="post"><input name="name" autocomplete="username" value="old"><input style="display:none" autocomplete="username">
<label><input type="checkbox" name="saved"> I have saved them</label><button>Go on</button></form>
<script>document.title = "Scripted " + matchMedia("(prefers-color-scheme: dark)").matches + " " + innerWidth</script>`}
}

func TestBrowserFillsAndClicks(t *testing.T) {
	server, app := startProxy(t)
	app.AnswerFunc(twoPages)
	first := NewBrowser(t, server, BrowserOptions{})
	for name, c := range map[string]struct {
		options BrowserOptions
		title   string
		text    string
	}{
		"desktop":         {BrowserOptions{}, "Scripted false 1280", "Form"},
		"dark phone":      {BrowserOptions{Mobile: true, Dark: true}, "Scripted true 390", "Form"},
		"without scripts": {BrowserOptions{NoJavaScript: true}, "Form", "No scripts here."},
	} {
		t.Run(name, func(t *testing.T) {
			browser := first.Person(c.options)
			browser.t = t
			address := server.URL("https", "app.example.test", "https", "/")
			browser.Navigate(address)
			browser.AwaitText(c.text)
			if got := browser.Title(); got != c.title {
				t.Errorf("the title is %q", got)
			}
			browser.Fill("username", "älice 1")
			browser.Click("I have saved them")
			browser.ClickThrough("Go on")
			browser.AwaitH1("Done")
			browser.AwaitURL("what was typed", func(u *url.URL) bool {
				return u.Query().Get("name") == "älice 1" && u.Query().Get("saved") == "on"
			})
			if cookies := browser.Cookies(address); len(cookies) != 1 || cookies[0].Name != "__Host-a" {
				t.Errorf("the cookies are %v", cookies)
			}
			tab := browser.Tab()
			tab.t = t
			tab.Navigate(address)
			if cookies := tab.Cookies(address); len(cookies) != 1 {
				t.Errorf("the other tab's cookies are %v", cookies)
			}
			browser.Back()
			browser.AwaitH1("Form")
			browser.Fill("username", "")
			browser.Through(func() { browser.Press(KeyEnter) })
			browser.Through(func() { browser.ClickSelector("a b") })
			browser.AwaitH1("Form")
		})
	}
}

func TestBrowserReportsFlaws(t *testing.T) {
	server, app := startProxy(t)
	answer := func(body string) {
		app.Answer(Answer{Body: body, Header: http.Header{"Content-Type": {"text/html"}, "Content-Security-Policy": {"default-src 'self'; form-action 'none'"}}})
	}
	for name, c := range map[string]struct{ body, problem string }{
		"script against the policy": {`<h1>x</h1><script>1</script>`, "Content Security Policy"},
		"style against the policy":  {`<h1 style="color:red">x</h1>`, "Content Security Policy"},
		"uncaught exception":        {`<h1>x</h1><script src="/x.js"></script>`, "exception"},
	} {
		t.Run(name, func(t *testing.T) {
			answer(c.body)
			if strings.Contains(c.body, "x.js") {
				app.AnswerFunc(func(r Recorded) Answer {
					if r.RequestURI == "/x.js" {
						return Answer{Body: "throw new Error('oh')", Header: http.Header{"Content-Type": {"text/javascript"}}}
					}
					return Answer{Body: c.body, Header: http.Header{"Content-Type": {"text/html"}}}
				})
			}
			runFake(t, func(fake *fakeTB) {
				browser := NewBrowser(fake, server, BrowserOptions{})
				browser.Navigate(server.URL("http", "app.localhost", "http", "/"))
				browser.AwaitH1("x")
				if !slices.ContainsFunc(browser.ConsoleErrors(), func(e string) bool { return e != "" }) {
					t.Error("the console shows no error")
				}
			}).expectProblem(t, c.problem)
		})
	}
}

func TestBrowserStaysHere(t *testing.T) {
	server, app := startProxy(t)
	// The machine's own name, unlike the world's, resolves without a network.
	name, err := os.Hostname()
	if err != nil || name == "localhost" {
		t.Skipf("this machine has no name of its own: %q, %v", name, err)
	}
	runFake(t, func(fake *fakeTB) {
		NewBrowser(fake, server, BrowserOptions{}).Navigate(server.URL("http", name, "http", "/"))
	}).expectProblem(t, "ERR_NAME_NOT_RESOLVED")
	app.ExpectNone(t)
}

// links answers with a page whose link and form lead to the URL in ?to=, under
// the Referrer-Policy in ?policy=, or, elsewhere, with one cookie of each kind.
func links(r Recorded) Answer {
	asked, _ := url.Parse(r.RequestURI)
	page := http.Header{"Content-Type": {"text/html"}}
	if asked.Path != "/page" {
		page["Set-Cookie"] = []string{"__Host-lax=1; Secure; Path=/; SameSite=Lax", "strict=1; Path=/; SameSite=Strict", "none=1; Path=/; Secure; SameSite=None"}
		return Answer{Header: page, Body: `<link rel="icon" href="data:,"><h1>Here</h1>`}
	}
	page.Set("Referrer-Policy", asked.Query().Get("policy"))
	to := html.EscapeString(asked.Query().Get("to"))
	return Answer{Header: page, Body: `<link rel="icon" href="data:,"><h1>Page</h1><a href="` + to + `">Link</a><form method="post" action="` + to + `"><button>Send</button></form>`}
}

func TestClientSendsWhatChromiumSends(t *testing.T) {
	server, app := startProxy(t)
	app.AnswerFunc(links)
	browser, client := NewBrowser(t, server, BrowserOptions{}), server.Client()
	target := server.URL("http", "app.localhost", "http", "/here")
	secure := server.URL("https", "app.example.test", "https", "/here")
	browser.Navigate(target)
	client.Get(target)
	browser.Navigate(secure)
	client.Get(secure)
	for _, from := range []struct{ page, to string }{
		{server.URL("http", "app.localhost", "http", "/page"), target},
		{server.URL("http", "login.localhost", "http", "/page"), target},
		{server.URL("https", "other.example.test", "https", "/page"), secure},
		{server.URL("https", "other.example.test", "https", "/page"), target},
		{server.URL("http", "app.localhost", "http", "/page"), secure},
	} {
		for _, policy := range []string{"", "same-origin", "no-referrer"} {
			at := from.page + "?" + url.Values{"to": {from.to}, "policy": {policy}}.Encode()
			for _, act := range []string{"Link", "Send"} {
				browser.Navigate(at)
				app.Reset()
				browser.ClickThrough(act)
				browser.AwaitH1("Here")
				want := telling(app.ExpectOne(t))
				page := client.Get(at)
				app.Reset()
				if act == "Link" {
					client.Click(page.Link("Link"))
				} else {
					client.Submit(page.Form(), nil)
				}
				if got := telling(app.ExpectOne(t)); got != want {
					t.Errorf("%s from %s to %s under %q:\n got %s\nwant %s", act, from.page, from.to, policy, got, want)
				}
			}
		}
	}
}

// telling is what a request says about where it comes from.
func telling(r Recorded) string {
	cookies := strings.Split(r.Header.Get("Cookie"), "; ")
	slices.Sort(cookies)
	text := r.Method + " " + strings.Join(cookies, " ")
	for _, name := range []string{"Origin", "Referer", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Sec-Fetch-User", "Content-Type", "Upgrade-Insecure-Requests"} {
		text += "; " + name + ": " + strings.Join(r.Header.Values(name), ",")
	}
	return text
}
