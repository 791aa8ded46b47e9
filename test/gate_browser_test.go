package test

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// panelCaddyfile guards an app whose pages do all that browsers do in the
// background. A password suffices for the app; its part /strict asks for more.
const panelCaddyfile = `
{
	mfa {
		portal http://login.localhost:{{.Port "web"}}
		admins group admins
	}
}

http://login.localhost:{{.Port "web"}} {
	mfa_portal
}

http://panel.localhost:{{.Port "web"}} {
	log
	mfa {
		assurance single
		open /outside
		rule /strict/* {
			assurance multi
		}
	}
	reverse_proxy {{.Vars.app}}
}

http://embedded.localhost:{{.Port "web"}} {
	log
	mfa {
		assurance single
		cookie_same_site none
	}
	reverse_proxy {{.Vars.app}}
}

http://noted.localhost:{{.Port "web"}} {
	log
	encode {
		minimum_length 1
	}
	mfa {
		assurance single
		session_notice on
		rule /fresh/* {
			max_age 8s
		}
	}
	reverse_proxy {{.Vars.app}}
}

http://elsewhere.localhost:{{.Port "web"}} {
	reverse_proxy {{.Vars.app}}
}
`

// panelPages are the app's, by path: each does in the background what its name
// says, where a test tells it to. Every other path greets whoever is there.
var panelPages = map[string]string{
	"/poll": `<h1>Polling</h1><p id="heard"></p><script>
		const heard = document.getElementById("heard");
		async function poll(path) {
			const response = await fetch(path);
			if (!response.ok) return response.json().then(problem => {
				heard.textContent = [response.status, problem.required?.assurance, problem.sign_in_url].join(" ");
			});
			heard.textContent = "heard " + await response.text();
		}
		function signIn() { location.href = heard.textContent.split(" ")[2]; }
	</script>`,
	"/framing": `<h1>Framing</h1><iframe id="panel" width="600" height="500"></iframe>`,
	"/form":    `<h1>Writing</h1><form method="post" action="/save"><input name="text" aria-label="Text"><button>Save</button></form>`,
	"/working": `<link rel="manifest" crossorigin="use-credentials" href="/strict/manifest.json"><h1>Working</h1><script>
		async function register() {
			await navigator.serviceWorker.register("/worker.js");
			if (!navigator.serviceWorker.controller) {
				await new Promise(resolve => navigator.serviceWorker.oncontrollerchange = resolve);
			}
			return "ready";
		}
		function ask(path) {
			return new Promise(resolve => {
				navigator.serviceWorker.onmessage = event => resolve(event.data);
				navigator.serviceWorker.controller.postMessage(path);
			});
		}
	</script>`,
	"/worker.js": `
		addEventListener("install", () => skipWaiting());
		addEventListener("activate", event => event.waitUntil(clients.claim()));
		addEventListener("fetch", event => {
			if (new URL(event.request.url).pathname.includes("/through/")) event.respondWith(fetch(event.request));
		});
		addEventListener("message", event => event.waitUntil((async () => {
			const response = await fetch(event.data);
			const problem = response.ok ? {} : await response.json();
			event.source.postMessage([response.status, problem.sign_in_url].join(" "));
		})()));`,
}

// panel is a server with such an app and a Chromium before it.
type panel struct {
	*scene.Scene
	chromium *harness.Browser
}

func startPanel(t *testing.T) *panel {
	t.Helper()
	p := &panel{Scene: scene.Start(t, scene.Options{Settled: 4, Caddyfile: panelCaddyfile})}
	p.App.AnswerFunc(func(seen harness.Recorded) harness.Answer {
		path, _, _ := strings.Cut(seen.RequestURI, "?")
		if answer, known := answerNotice(path); known {
			return answer
		}
		body, known := panelPages[path]
		if strings.HasSuffix(path, ".js") {
			return harness.Answer{Header: http.Header{"Content-Type": {"text/javascript"}}, Body: body}
		}
		if !known {
			body = "<h1>Shown to " + seen.Header.Get("Remote-User") + "</h1>"
		}
		return harness.Answer{Header: http.Header{"Content-Type": {"text/html"}}, Body: `<!doctype html><html lang="en"><title>App</title><link rel="icon" href="data:,">` + body}
	})
	p.Administrator("root")
	p.chromium = harness.NewBrowser(t, p.Server, harness.BrowserOptions{Whole: true})
	return p
}

// visitor is somebody in front of an empty browser. What their console shows
// is what the tests are about.
func (p *panel) visitor(t *testing.T) *visitor {
	t.Helper()
	return &visitor{Browser: p.chromium.PersonFor(t, harness.BrowserOptions{}), t: t, width: 1280, height: 800}
}

// tab is another tab of the same person.
func (v *visitor) tab() *visitor {
	v.t.Helper()
	return &visitor{Browser: v.Tab(), t: v.t, width: v.width, height: v.height}
}

// begin signs somebody in with the password alone, and opens a page.
func (p *panel) begin(t *testing.T, name, path string) (*visitor, *scene.Person) {
	t.Helper()
	person := p.Invited(name)
	b := p.visitor(t)
	b.Navigate(p.At("panel", path))
	b.showPassword(person)
	b.expectAt(p.At("panel", path))
	p.App.Reset()
	return b, person
}

// seen returns the requests that the app saw since the last Reset.
func (p *panel) seen() []string {
	var seen []string
	for _, request := range p.App.Requests() {
		seen = append(seen, request.Method+" "+request.RequestURI)
	}
	return seen
}

func (p *panel) expectSeen(t *testing.T, want ...string) {
	t.Helper()
	if seen := p.seen(); !slices.Equal(seen, want) {
		t.Errorf("the app saw %q, not %q", seen, want)
	}
	p.App.Reset()
}

// awaitRefused waits until the gate has refused a request, of which the page
// that sent it can't tell.
func (p *panel) awaitRefused(what, path string) {
	p.AwaitLog(what+" to be refused", func(entry harness.LogEntry) bool {
		request, _ := entry["request"].(map[string]any)
		return entry.Text("msg") == "handled request" && request["uri"] == path && entry["status"] == float64(http.StatusUnauthorized)
	})
}

// TestGateInBrowsers has pages of an app go on in the background when the
// sign-on has ended, or doesn't suffice: the app sees nothing of it, and no
// request of the background becomes the page to which people are brought back.
func TestGateInBrowsers(t *testing.T) {
	t.Parallel()
	p := startPanel(t)
	for name, test := range map[string]func(*testing.T, *panel){
		"the sign-on ended":                  testBackgroundAfterEnd,
		"step-up, polling":                   testPollingStepUp,
		"step-up, a frame":                   testFrameStepUp,
		"step-up, a form":                    testFormStepUp,
		"step-up, a form without JavaScript": testFormWithoutScripts,
		"step-up, a service worker":          testWorkerStepUp,
		"what is fetched ahead":              testFetchedAhead,
		"somebody else signs in":             testSomebodyElse,
		"embedded at another site":           testEmbedded,
		"what other sites send":              testOtherSites,
		"R04 the session alone is dropped":   testDroppedSession,
		"an app that signs in beside a page": testRecipe,
		"notice, an app that reconnects":     testNoticeLive,
		"notice, an app that hides it":       testNoticeHostile,
		"notice, a check grows old":          testNoticeStepUp,
		"notice, somebody else signs in":     testNoticeSomebodyElse,
	} {
		t.Run(name, func(t *testing.T) { test(t, p) })
	}
}

// heard has a polling page poll once, and returns what it then shows.
func (v *visitor) heard(path, want string) string {
	v.t.Helper()
	v.Evaluate(`(document.getElementById("heard").textContent = "", poll("` + path + `"), "")`)
	var heard string
	harness.Eventually(v.t, patience, "an answer of "+want, func() bool {
		heard = v.Evaluate(`document.getElementById("heard").textContent`)
		return heard != ""
	})
	if !strings.HasPrefix(heard, want) {
		v.t.Fatalf("the page heard %q, not %q", heard, want)
	}
	return heard
}

// inFrame evaluates an expression about the document in the page's frame.
func (v *visitor) inFrame(expression string) string {
	v.t.Helper()
	return v.Evaluate(`(doc => ` + expression + `)(document.getElementById("panel").contentDocument)`)
}

func (v *visitor) frame(path, heading string) {
	v.t.Helper()
	v.Evaluate(`(document.getElementById("panel").src = "` + path + `", "")`)
	v.awaitFrame(heading)
}

func (v *visitor) awaitFrame(heading string) {
	v.t.Helper()
	v.eventually("the frame to show "+heading,
		`document.getElementById("panel")?.contentDocument?.querySelector("h1")?.innerText ?? ""`, heading)
}

func testBackgroundAfterEnd(t *testing.T, p *panel) {
	polling, zoe := p.begin(t, "zoe", "/poll?room=1")
	framing, writing, working := polling.tab(), polling.tab(), polling.tab()
	framing.Navigate(p.At("panel", "/framing"))
	framing.frame("/panel", "Shown to zoe")
	writing.Navigate(p.At("panel", "/form"))
	writing.FillSelector("input", "a long text")
	working.Navigate(p.At("panel", "/working"))
	working.promised("register()")
	polling.heard("/api/news", "heard ")
	p.CLI("mfa", "session", "end", "--user", "zoe")
	// A sign-on that ends right after it began is told of otherwise.
	harness.Eventually(t, patience, "the end of the sign-on", func() bool {
		return polling.promised(`fetch("/api/news").then(r => String(r.status))`) == "401"
	})
	p.App.Reset()

	heard := polling.heard("/api/news", "401 single "+p.At("panel", "/.mfa/sign-in?"))
	if strings.Contains(heard, "news") {
		t.Errorf("the page is sent to %q", heard)
	}
	framing.frame("/panel?again", "Sign in to see this")
	writing.ClickThrough("Save")
	writing.AwaitH1("Sign in, then send again")
	writing.Shots("60-send-again")
	if answer := working.promised(`ask("/api/from-worker")`); !strings.HasPrefix(answer, "401 ") || strings.Contains(answer, "worker") {
		t.Errorf("the worker heard %q", answer)
	}
	if answer := working.promised(`navigator.serviceWorker.getRegistration().then(r => r.update()).then(() => "updated", () => "refused")`); answer != "refused" {
		t.Errorf("the worker's script was %s", answer)
	}
	if answer := working.promised(`new Promise(resolve => {
		const socket = new WebSocket(location.origin.replace("http", "ws") + "/socket");
		socket.onopen = () => resolve("opened");
		socket.onerror = () => resolve("refused");
	})`); answer != "refused" {
		t.Errorf("the WebSocket was %s", answer)
	}
	if answer := working.promised(`new Promise(resolve => {
		const events = new EventSource("/events");
		events.onopen = () => resolve("opened");
		events.onerror = () => { resolve(events.readyState === EventSource.CLOSED ? "refused" : "tried again"); events.close(); };
	})`); answer != "refused" {
		t.Errorf("the events were %s", answer)
	}
	// The worker passes a navigation on, and the portal's answer back.
	working.Navigate(p.At("panel", "/through/page"))
	working.AwaitH1("Sign in")
	p.expectSeen(t)

	polling.Through(func() { polling.Evaluate(`(signIn(), "")`) })
	polling.showPassword(zoe)
	polling.expectAt(p.At("panel", "/poll?room=1"))
	p.expectSeen(t, "GET /poll?room=1")

	working.Navigate(p.At("panel", "/through/page"))
	working.AwaitH1("Shown to zoe")
	framing.frame("/panel", "Shown to zoe")
	p.App.Reset()
	writing.ClickThrough("Send again")
	writing.AwaitH1("Shown to zoe")
	if seen := p.App.ExpectOne(t); seen.Method != http.MethodPost || seen.RequestURI != "/save" || seen.Body != "text=a+long+text" {
		t.Errorf("the app saw %s %s %q", seen.Method, seen.RequestURI, seen.Body)
	}
}

func testPollingStepUp(t *testing.T, p *panel) {
	b, yan := p.begin(t, "yan", "/poll?room=2")
	heard := b.heard("/strict/api/news", "401 multi "+p.At("panel", "/.mfa/sign-in?"))
	if strings.Contains(heard, "news") {
		t.Errorf("the page is sent to %q", heard)
	}
	p.expectSeen(t)
	b.Through(func() { b.Evaluate(`(signIn(), "")`) })
	b.AwaitText("This part needs a fresh check that it's you.")
	b.showCode(yan)
	b.expectAt(p.At("panel", "/poll?room=2"))
	p.expectSeen(t, "GET /poll?room=2")
	b.heard("/strict/api/news", "heard ")
}

func testFrameStepUp(t *testing.T, p *panel) {
	b, xia := p.begin(t, "xia", "/framing")
	b.frame("/strict/panel", "A fresh check is needed")
	b.Shots("61-leave-frame")
	p.expectSeen(t)
	b.Through(func() { b.inFrame(`(doc.querySelector("a[target=_top]").click(), "")`) })
	b.showCode(xia)
	b.expectAt(p.At("panel", "/framing"))
	p.expectSeen(t, "GET /framing")
	b.frame("/strict/panel", "Shown to xia")
}

// sendForm sends a form of its own to the part that asks for more.
const sendForm = `(document.body.insertAdjacentHTML("beforeend",
	'<form id="strict" method="post" action="/strict/save" enctype="text/plain"><textarea name="text">kept</textarea></form>'),
	document.getElementById("strict").submit(), "")`

func testFormStepUp(t *testing.T, p *panel) {
	writing, will := p.begin(t, "will", "/form")
	writing.Through(func() { writing.Evaluate(sendForm) })
	writing.AwaitH1("Check, then send again")
	writing.inspect("62-check-then-send-again")
	p.expectSeen(t)
	// Once more without a check is no more than before.
	writing.ClickThrough("Send again")
	writing.AwaitH1("Check, then send again")
	p.expectSeen(t)
	aside := writing.tab()
	aside.Navigate(writing.linkInNewTab())
	aside.showCode(will)
	aside.expectAt(p.At("panel", "/.mfa/signed-in"))
	aside.AwaitH1("You are signed in")
	aside.inspect("63-signed-in")
	p.expectSeen(t)
	writing.ClickThrough("Send again")
	writing.AwaitH1("Shown to will")
	if seen := p.App.ExpectOne(t); seen.Method != http.MethodPost || seen.RequestURI != "/strict/save" || seen.Body != "text=kept\r\n" {
		t.Errorf("the app saw %s %s %q", seen.Method, seen.RequestURI, seen.Body)
	}
}

// linkInNewTab returns where the page's one link leads, which has to open in a
// tab that can't reach back into this one.
func (v *visitor) linkInNewTab() string {
	v.t.Helper()
	if link := v.Evaluate(`(a => a.target + " " + a.rel)(document.querySelector("a.primary"))`); link != "_blank noopener" {
		v.t.Errorf("the link has %q", link)
	}
	return v.Evaluate(`document.querySelector("a.primary").href`)
}

// testFormWithoutScripts goes by the words of the page, which tell to reload.
func testFormWithoutScripts(t *testing.T, p *panel) {
	vera := p.Invited("vera")
	b := &visitor{Browser: p.chromium.PersonFor(t, harness.BrowserOptions{NoJavaScript: true}), t: t, width: 1280, height: 800}
	b.Navigate(p.At("panel", "/form"))
	b.showPassword(vera)
	b.AwaitH1("Writing")
	b.Through(func() { b.Evaluate(sendForm) })
	b.AwaitText("Reload this page. If the browser asks whether to send the form again, say yes.")
	if strings.Contains(b.Text(), "Press Send again") {
		t.Error("the page tells of a button that isn't there")
	}
	aside := b.tab()
	aside.Navigate(b.linkInNewTab())
	aside.showCode(vera)
	aside.AwaitH1("You are signed in")
	p.App.Reset()
	b.Reload()
	b.AwaitH1("Shown to vera")
	if seen := p.App.ExpectOne(t); seen.Method != http.MethodPost || seen.RequestURI != "/strict/save" || seen.Body != "text=kept\r\n" {
		t.Errorf("the app saw %s %s %q", seen.Method, seen.RequestURI, seen.Body)
	}
}

func testWorkerStepUp(t *testing.T, p *panel) {
	b, uri := p.begin(t, "uri", "/working")
	b.promised("register()")
	if answer := b.promised(`ask("/strict/api/from-worker")`); !strings.HasPrefix(answer, "401 ") || strings.Contains(answer, "worker") {
		t.Errorf("the worker heard %q", answer)
	}
	b.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, page.GetAppManifest, page.GetAppManifestParams{})
		return err
	}))
	p.awaitRefused("the manifest", "/strict/manifest.json")
	p.expectSeen(t, "GET /worker.js")
	b.Navigate(p.At("panel", "/strict/through/page?a=b"))
	b.showCode(uri)
	b.expectAt(p.At("panel", "/strict/through/page?a=b"))
	p.expectSeen(t, "GET /strict/through/page?a=b")
}

// testFetchedAhead refuses what a page has fetched ahead, and brings whoever
// then goes there to the portal all the same.
func testFetchedAhead(t *testing.T, p *panel) {
	b, tess := p.begin(t, "tess", "/form")
	b.Evaluate(`(document.body.append(Object.assign(document.createElement("script"), {type: "speculationrules", textContent: JSON.stringify({
		prefetch: [{source: "list", urls: ["/strict/ahead"], eagerness: "immediate"}],
		prerender: [{source: "list", urls: ["/strict/rendered"], eagerness: "immediate"}],
	})})), "")`)
	p.awaitRefused("the page fetched ahead", "/strict/ahead")
	p.awaitRefused("the page rendered ahead", "/strict/rendered")
	p.expectSeen(t)
	b.Evaluate(`(document.body.insertAdjacentHTML("beforeend", '<a href="/strict/ahead">Ahead</a>'), "")`)
	b.ClickThrough("Ahead")
	b.showCode(tess)
	b.expectAt(p.At("panel", "/strict/ahead"))
	p.expectSeen(t, "GET /strict/ahead")
}

// testSomebodyElse finds nothing of what the app left in the browser for the
// one before, nor after signing out.
func testSomebodyElse(t *testing.T, p *panel) {
	b, _ := p.begin(t, "sol", "/form")
	ray := p.Invited("ray")
	left := func() string { return b.Evaluate(`localStorage.getItem("draft") ?? "nothing"`) }
	b.Evaluate(`(localStorage.setItem("draft", "sol's"), "")`)
	b.Navigate(p.At("panel", "/form"))
	if left() != "sol's" {
		t.Fatalf("the browser holds %q", left())
	}
	b.Navigate(p.At("panel", "/.mfa/switch?"+url.Values{"to": {"/form"}}.Encode()))
	b.showPassword(ray)
	b.expectAt(p.At("panel", "/form"))
	if left() != "nothing" {
		t.Errorf("the next person finds %s", left())
	}
	b.Evaluate(`(localStorage.setItem("draft", "ray's"), "")`)
	b.Navigate(p.At("panel", "/.mfa/sign-out"))
	if left() != "ray's" {
		t.Error("asking cleared it already")
	}
	b.ClickThrough("Sign out")
	b.AwaitH1("You are signed out")
	if left() != "ray's" {
		t.Errorf("after signing out there is %s", left())
	}
}

// testEmbedded leads out of a frame of another site's page.
func testEmbedded(t *testing.T, p *panel) {
	b := p.visitor(t)
	b.Navigate(p.At("elsewhere", "/framing"))
	p.App.Reset()
	b.Evaluate(`(document.getElementById("panel").src = "` + p.At("embedded", "/panel") + `", "")`)
	b.awaitForeignFrame(p.At("embedded", "/panel"))
	p.expectSeen(t)
}

// testOtherSites lets other sites embed an app where that is wanted, but not
// change anything there in the person's name (W01).
func testOtherSites(t *testing.T, p *panel) {
	quy := p.Invited("quy")
	client := p.Client()
	quy.ShowPassword(client, client.Visit(p.At("embedded", "/")))
	for _, host := range []string{"embedded", "panel"} {
		if page := client.Visit(p.At(host, "/")); page.Status != http.StatusOK {
			t.Fatalf("signing in to %s ended at %d: %s", host, page.Status, page.Text())
		}
	}
	for _, test := range []struct {
		name, host, method, kind string
		status                   int
	}{
		{"a picture", "embedded", "GET", "", http.StatusOK},
		{"a picture of an app that isn't embedded", "panel", "GET", "", http.StatusUnauthorized},
		{"a form", "embedded", "POST", "application/x-www-form-urlencoded", http.StatusForbidden},
		{"text", "embedded", "POST", "text/plain", http.StatusForbidden},
		{"JSON", "embedded", "POST", "application/json", http.StatusForbidden},
		{"deleting", "embedded", "DELETE", "", http.StatusForbidden},
		{"a preflight", "embedded", "OPTIONS", "", http.StatusOK},
	} {
		t.Run(test.name, func(t *testing.T) {
			p.App.Reset()
			header := http.Header{}
			if test.kind != "" {
				header.Set("Content-Type", test.kind)
			}
			page, err := client.Send(harness.Request{
				Method: test.method, URL: p.At(test.host, "/x"), From: p.At("elsewhere", "/"), Mode: harness.Fetch, WithCookies: true, Header: header,
			})
			if err != nil || page.Status != test.status {
				t.Errorf("answered %d: %v", page.Status, err)
			}
			if test.status == http.StatusOK {
				p.expectSeen(t, test.method+" /x")
			} else {
				p.expectSeen(t)
			}
		})
	}
}

// testDroppedSession ends with a page where a browser keeps every cookie of
// ours but the session (R04).
func testDroppedSession(t *testing.T, p *panel) {
	pia := p.Invited("pia")
	client := p.Client()
	quit := func() {
		client.SetCookie(p.At("panel", "/"), http.Cookie{Name: "__Host-mfa", Path: "/", Secure: true, MaxAge: -1})
	}
	pia.ShowPassword(client, client.Visit(p.At("panel", "/x")))
	quit()
	p.App.Reset()
	page := client.Get(p.At("panel", "/x"))
	for hops := 0; page.Location() != ""; hops++ {
		if hops > 6 {
			t.Fatalf("still on the way to %s", page.Location())
		}
		page = client.Get(page.Location())
		quit()
	}
	if page.Status != http.StatusForbidden || !strings.Contains(page.Text(), "We can't keep you signed in here") {
		t.Errorf("it ends at %d: %s", page.Status, page.Text())
	}
	p.expectSeen(t)
}

// awaitForeignFrame waits until a frame of another origin shows that page: one
// that forbids it makes way for the browser's own.
func (v *visitor) awaitForeignFrame(address string) {
	v.t.Helper()
	harness.Eventually(v.t, patience, "a frame that shows "+address, func() bool {
		targets, err := chromedp.Targets(v.Context())
		return err == nil && slices.ContainsFunc(targets, func(frame *target.Info) bool {
			return frame.Type == "iframe" && frame.URL == address
		})
	})
}
