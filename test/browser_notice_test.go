package test

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// noticePages are of an app that stays open for long.
var noticePages = map[string]string{
	// Connects again for as long as it is open.
	"/live": `<h1>Live</h1><label>Text <input id="text"></label><script>
		let lives = {}, events = 0;
		function connect() {
			const socket = new WebSocket(location.origin.replace("http", "ws") + "/socket");
			socket.onopen = () => lives.socket = "open";
			socket.onclose = () => { lives.socket = "closed"; setTimeout(connect, 100); };
		}
		function follow() {
			const source = new EventSource("/events");
			source.onmessage = () => lives.source = "open";
			source.onerror = () => lives.source = "closed";
		}
		addEventListener("mfa-signed-in", () => { events++; follow(); });
		const kinds = [WebSocket.OPEN, new EventSource("/events") instanceof EventSource, WebSocket.prototype.send.name].join(" ");
		connect();
		follow();
	</script>`,
	// Does what it can to hide what isn't its own.
	"/hostile": `<style>
		html, body { overflow: hidden; transform: scale(1); }
		html > *:not(head):not(body), div, section, p, a, button { all: unset !important; display: none !important; position: static !important;
			visibility: hidden !important; opacity: 0 !important; font-size: 2px !important; color: #fff !important; z-index: -1 !important; }
		dialog { position: fixed; inset: 0; width: 100vw; height: 100vh; max-width: none; max-height: none; z-index: 2147483647; background: #eee; }
	</style><h1>Hostile</h1><dialog id="modal"><h2>Open</h2></dialog><script>
		document.getElementById("modal").showModal();
		const poll = () => fetch("/api");
	</script>`,
	"/fresh/page": `<h1>Fresh</h1><script>const poll = () => fetch("/fresh/api").then(r => String(r.status));</script>`,
}

// answerNotice is what the app answers; of a page that isn't there, nothing known.
func answerNotice(path string) (harness.Answer, bool) {
	body, known := noticePages[path]
	header := http.Header{"Content-Type": {"text/html; charset=utf-8"}}
	if path == "/hostile" {
		header.Set("Content-Security-Policy", "default-src 'none'; connect-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; require-trusted-types-for 'script'")
	}
	return harness.Answer{Header: header, Body: `<!doctype html><html lang="en"><head><title>App</title>` +
		`<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"></head><body><main>` + body + `</main>`}, known
}

// told waits for the notice to say something, or to be gone.
func (v *visitor) told(said string) {
	v.t.Helper()
	v.eventually("the notice to say "+said, `document.querySelector("mfa-session-notice")?.shadowRoot.querySelector(".title")?.innerText ?? ""`, said)
}

// quoted is text as JavaScript has it.
func quoted(text string) string {
	literal, _ := json.Marshal(text) // a string always encodes
	return string(literal)
}

// pressNotice clicks on a link or button of the notice where it is to be seen.
func (v *visitor) pressNotice(label string) {
	v.t.Helper()
	at := v.Evaluate(`(() => {
		const notice = document.querySelector("mfa-session-notice");
		const control = [...notice.shadowRoot.querySelectorAll("a, button")].find(e => e.innerText === ` + quoted(label) + `);
		const box = control.getBoundingClientRect(), point = {X: box.left + box.width / 2, Y: box.top + box.height / 2};
		return document.elementFromPoint(point.X, point.Y) === notice && getComputedStyle(control).fontSize === "16px" ? JSON.stringify(point) : "";
	})()`)
	var point struct{ X, Y float64 }
	if err := json.Unmarshal([]byte(at), &point); err != nil {
		v.t.Fatalf("%q isn't to be seen", label)
	}
	v.do(chromedp.MouseClickXY(point.X, point.Y))
}

// beside signs somebody in by the notice, in a tab that closes by itself.
func (v *visitor) beside(label string, signIn func(aside *visitor)) {
	v.t.Helper()
	tabs := v.Tabs()
	signIn(&visitor{Browser: v.Opened(func() { v.pressNotice(label) }), t: v.t, width: v.width, height: v.height})
	harness.Eventually(v.t, patience, "the tab to close", func() bool { return v.Tabs() == tabs })
}

// byPassword fills in the form of a tab that is gone after that.
func byPassword(p *scene.Person) func(*visitor) {
	return func(aside *visitor) {
		aside.AwaitH1("Sign in")
		aside.Fill("username", p.Name)
		aside.Fill("current-password", p.Password)
		aside.Click("Sign in")
	}
}

// openNoted signs somebody in to the app with the notice.
func (p *panel) openNoted(t *testing.T, name, path string) (*visitor, *scene.Person) {
	t.Helper()
	person := p.Invited(name)
	b := p.visitor(t)
	b.Navigate(p.At("noted", path))
	b.showPassword(person)
	b.expectAt(p.At("noted", path))
	b.eventually("the script of the notice", `String(performance.getEntriesByType("resource").some(e => e.name.includes("/.mfa/session-notice?")))`, "true")
	return b, person
}

// testNoticeLive ends the session of a page that holds an EventSource and a
// WebSocket open and tries them again for ever.
func testNoticeLive(t *testing.T, p *panel) {
	b, ann := p.openNoted(t, "ann", "/live")
	b.FillSelector("#text", "half a sentence")
	b.eventually("both connections", `[lives.socket, lives.source].join(" ")`, "open open")
	if kinds := b.Evaluate(`kinds`); kinds != "1 true send" {
		t.Errorf("the app finds other constructors than the browser's: %s", kinds)
	}
	b.told("")
	p.CLI("mfa", "session", "end", "--user", "ann")
	b.told("You were signed out")
	b.inspect("130-session-notice")
	b.Shots("130-session-notice")
	p.App.Reset()

	b.beside("Sign in again", byPassword(ann))
	b.told("")
	b.eventually("both connections again", `[lives.socket, lives.source, events].join(" ")`, "open open 1")
	if text := b.Evaluate(`document.getElementById("text").value`); text != "half a sentence" {
		t.Errorf("%q is left of what was typed", text)
	}
	for _, request := range p.App.Requests() {
		if request.RequestURI == "/live" || strings.HasPrefix(request.RequestURI, "/.mfa/") {
			t.Errorf("the app saw %s", request.RequestURI)
		}
	}
}

// testNoticeHostile has the notice seen and used in a page whose styles, dialog and
// policy leave little room for it.
func testNoticeHostile(t *testing.T, p *panel) {
	b, bea := p.openNoted(t, "bea", "/hostile")
	p.CLI("mfa", "session", "end", "--user", "bea")
	b.Evaluate(`(poll(), "")`)
	b.told("You were signed out")
	b.Shots("131-session-notice-hostile")
	b.pressNotice("Dismiss")
	b.told("")
	b.Reload()
	b.showPassword(bea)
	b.AwaitH1("Hostile")
}

// testNoticeStepUp has the notice ask for a fresh check once a request needs one,
// and not before.
func testNoticeStepUp(t *testing.T, p *panel) {
	b, cat := p.openNoted(t, "cat", "/fresh/page")
	harness.Eventually(t, patience, "the check to be too old", func() bool { return b.promised(`poll()`) == "401" })
	b.told("A fresh check is needed")
	b.Shots("132-session-notice-step-up")
	b.beside("Confirm it's you", func(aside *visitor) {
		aside.AwaitH1("Enter your password")
		aside.Fill("current-password", cat.Password)
		aside.Click("Continue")
	})
	b.told("")
}

// recipe is the script for apps in the guide.
func recipe(t *testing.T) string {
	t.Helper()
	guide, err := os.ReadFile("../docs/guide.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(guide), "```js\n")
	script, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("the guide holds no script")
	}
	return script
}

// testRecipe has an app handle the end of its session by itself, as the guide says.
func testRecipe(t *testing.T, p *panel) {
	b, fay := p.begin(t, "fay", "/poll")
	b.Evaluate(`(document.head.append(Object.assign(document.createElement("script"), {textContent: ` + quoted(recipe(t)) + `})), "")`)
	b.Evaluate(`(window.events = 0, follow("/events", () => events++), "")`)
	b.eventually("an event", `String(events)`, "1")
	p.CLI("mfa", "session", "end", "--user", "fay")
	b.eventually("the link", `document.querySelector("a[target=_blank]")?.innerText ?? ""`, "Sign in first")
	b.Evaluate(`(send("/api/news").then(async r => window.news = await r.text()), "")`)
	b.eventually("both links", `String(document.querySelectorAll("a[target=_blank]").length)`, "2")
	tabs := b.Tabs()
	byPassword(fay)(&visitor{Browser: b.Opened(func() { b.Click("Sign in first") }), t: t})
	b.eventually("the answer", `String(window.news?.includes("Shown to fay"))`, "true")
	b.eventually("an event again", `String(events)`, "2")
	b.eventually("no link", `String(document.querySelectorAll("a[target=_blank]").length)`, "0")
	harness.Eventually(t, patience, "the tab to close", func() bool { return b.Tabs() == tabs })
}

// testNoticeSomebodyElse lets nobody go on in the page of another.
func testNoticeSomebodyElse(t *testing.T, p *panel) {
	b, _ := p.openNoted(t, "dan", "/live")
	eve := p.Invited("eve")
	p.CLI("mfa", "session", "end", "--user", "dan")
	b.told("You were signed out")
	b.beside("Sign in again", byPassword(eve))
	b.told("You're signed in as eve")
	b.Shots("133-session-notice-somebody-else")
	b.Through(func() { b.pressNotice("Reload") })
	b.AwaitH1("Live")
	b.told("")
}
