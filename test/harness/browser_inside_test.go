package harness

import (
	"net/http"
	"slices"
	"testing"
	"time"
)

// insidePage has a button, an input with a hint, a style sheet that counts for
// its weight, a timer of a minute, and a text that pushes the rest down.
func insidePage(r Recorded) Answer {
	if r.RequestURI == "/big.css" {
		return Answer{Header: http.Header{"Content-Type": {"text/css"}}, Body: "/*" + string(make([]byte, 20_000)) + "*/"}
	}
	return Answer{Header: http.Header{"Content-Type": {"text/html"}}, Body: `<!doctype html><html lang="en"><title>Inside</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="/big.css">
<main><h1>Inside</h1><p id="late"></p><p>Text that is pushed down</p>
<p id="hint">Six digits.</p><input aria-label="Code" aria-describedby="hint"><button>Go on</button><p role="status"></p></main>
<script>
setTimeout(() => document.title = "A minute later", 60000);
requestAnimationFrame(() => requestAnimationFrame(() => { document.getElementById("late").style.height = "300px"; document.title += " and jumped"; }));
</script>`}
}

func TestBrowserLooksInside(t *testing.T) {
	server, app := startProxy(t)
	app.AnswerFunc(insidePage)
	address := server.URL("http", "app.localhost", "http", "/")
	browser := NewBrowser(t, server, BrowserOptions{})
	browser.HoldClock()
	for range 2 { // the second time as heavy as the first: from no cache
		if bytes := browser.Weigh(address); bytes < 20_500 || bytes > 23_000 {
			t.Errorf("the page weighs %d bytes", bytes)
		}
	}
	Eventually(t, patience, "the jump", func() bool { return browser.Title() == "Inside and jumped" })
	if sum, moved := browser.Shift(); sum < 0.01 || len(moved) == 0 {
		t.Errorf("the page jumps by %g: %q", sum, moved)
	}

	elements := browser.Accessibility()
	for _, want := range []Accessible{
		{Role: "heading", Name: "Inside", Properties: map[string]string{"level": "1"}},
		{Role: "textbox", Name: "Code", Description: "Six digits."},
		{Role: "button", Name: "Go on"},
		{Role: "status", Properties: map[string]string{"live": "polite"}},
	} {
		if !slices.ContainsFunc(elements, want.within) {
			t.Errorf("no %+v in %+v", want, elements)
		}
	}

	browser.Pass(59 * time.Second)
	if title := browser.Title(); title != "Inside and jumped" {
		t.Errorf("after 59 seconds the title is %q", title)
	}
	browser.Pass(time.Second)
	if title := browser.Title(); title != "A minute later" {
		t.Errorf("after a minute the title is %q", title)
	}
}

// within reports whether another element is told of in the same way, of the
// properties as far as they are wanted.
func (e Accessible) within(other Accessible) bool {
	for name, value := range e.Properties {
		if other.Properties[name] != value {
			return false
		}
	}
	return e.Role == other.Role && e.Name == other.Name && e.Description == other.Description
}

func TestBrowserTakesCookies(t *testing.T) {
	server, app := startProxy(t)
	client, browser := server.Client(), NewBrowser(t, server, BrowserOptions{})
	for _, address := range []string{server.URL("http", "app.localhost", "http", "/"), server.URL("https", "app.example.test", "https", "/")} {
		client.SetCookie(address, http.Cookie{Name: "__Host-a", Value: "taken", Secure: true, Path: "/"})
		browser.TakeCookies(client, address)
		app.Reset()
		browser.Navigate(address)
		requests := app.Requests()
		if len(requests) == 0 || requests[0].Header.Get("Cookie") != `__Host-a="taken"` && requests[0].Header.Get("Cookie") != "__Host-a=taken" {
			t.Errorf("%s: the app saw %+v", address, requests)
		}
	}
}
