package gate

import (
	"net/http"
	"strings"
	"testing"
)

// What browsers accept when they go to a page.
const (
	chromiumAccepts = "text/html,application/xhtml+xml,application/xml;q=0.9,image/jxl,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"
	firefoxAccepts  = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	safariAccepts   = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
)

// TestKinds holds what browsers and programs really send, as recorded from
// Chromium and as Firefox, Safari and curl are documented.
func TestKinds(t *testing.T) {
	for _, test := range []struct {
		name   string
		method string // empty: GET
		header string // lines
		want   kind
	}{
		// Chromium.
		{"Chromium, address bar", "", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: document\nSec-Fetch-Site: none\nSec-Fetch-User: ?1\nUpgrade-Insecure-Requests: 1\nAccept: " + chromiumAccepts, navigation},
		{"Chromium, HEAD", "HEAD", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: document\nAccept: " + chromiumAccepts, navigation},
		{"Chromium, passed on by a service worker", "", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: empty\nSec-Fetch-Site: same-origin\nAccept: " + chromiumAccepts, navigation},
		{"Chromium, preloaded beside a service worker", "", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: document\nService-Worker-Navigation-Preload: true\nAccept: " + chromiumAccepts, navigation},
		{"Chromium 76, which tells no destination", "", "Sec-Fetch-Mode: navigate\nAccept: text/html", navigation},
		{"Chromium, form", "POST", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: document\nContent-Type: application/x-www-form-urlencoded\nAccept: " + chromiumAccepts, formPost},
		{"Chromium, form with a file", "POST", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: document\nContent-Type: multipart/form-data; boundary=x\nAccept: " + chromiumAccepts, formPost},
		{"Chromium, form in a frame", "POST", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: iframe\nContent-Type: application/x-www-form-urlencoded\nAccept: " + chromiumAccepts, formPost},
		{"Chromium, iframe", "", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: iframe\nAccept: " + chromiumAccepts, framed},
		{"Chromium, frame", "", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: frame\nAccept: " + chromiumAccepts, framed},
		{"Chromium, fenced frame", "", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: fencedframe\nAccept: " + chromiumAccepts, framed},
		{"Chromium, embed", "", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: embed\nAccept: " + chromiumAccepts, framed},
		{"Chromium, object", "", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: object\nAccept: " + chromiumAccepts, framed},
		{"Chromium 78, frame", "", "Sec-Fetch-Mode: nested-navigate\nAccept: text/html", framed},
		{"Chromium, fetch", "", "Sec-Fetch-Mode: cors\nSec-Fetch-Dest: empty\nAccept: */*", background},
		{"Chromium, fetch of HTML", "", "Sec-Fetch-Mode: cors\nSec-Fetch-Dest: empty\nAccept: text/html", background},
		{"Chromium, fetch without CORS", "", "Sec-Fetch-Mode: no-cors\nSec-Fetch-Dest: empty\nAccept: */*", background},
		{"Chromium, fetch of a form's content", "POST", "Sec-Fetch-Mode: cors\nSec-Fetch-Dest: empty\nContent-Type: application/x-www-form-urlencoded\nAccept: text/html", background},
		{"Chromium, beacon", "POST", "Sec-Fetch-Mode: no-cors\nSec-Fetch-Dest: empty\nContent-Type: text/plain;charset=UTF-8\nAccept: */*", background},
		{"Chromium, events", "", "Sec-Fetch-Mode: cors\nSec-Fetch-Dest: empty\nAccept: text/event-stream", background},
		{"Chromium, WebSocket", "", "Upgrade: websocket\nConnection: Upgrade", background},
		{"Chromium, WebSocket over TLS", "", "Upgrade: websocket\nConnection: Upgrade\nSec-Fetch-Mode: websocket\nSec-Fetch-Dest: empty", background},
		{"Chromium, WebSocket over HTTP/2", "CONNECT", "Sec-Fetch-Mode: websocket\nSec-Fetch-Dest: empty", background},
		{"CONNECT that says it navigates", "CONNECT", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: document\nAccept: text/html", background},
		{"Chromium, image", "", "Sec-Fetch-Mode: no-cors\nSec-Fetch-Dest: image\nAccept: image/avif,image/webp,*/*;q=0.8", background},
		{"Chromium, script", "", "Sec-Fetch-Mode: no-cors\nSec-Fetch-Dest: script\nAccept: */*", background},
		{"Chromium, style sheet", "", "Sec-Fetch-Mode: no-cors\nSec-Fetch-Dest: style\nAccept: text/css,*/*;q=0.1", background},
		{"Chromium, manifest", "", "Sec-Fetch-Mode: cors\nSec-Fetch-Dest: manifest\nAccept: */*", background},
		{"Chromium, worker", "", "Sec-Fetch-Mode: same-origin\nSec-Fetch-Dest: worker\nAccept: */*", background},
		{"Chromium, service worker", "", "Sec-Fetch-Mode: same-origin\nSec-Fetch-Dest: serviceworker\nService-Worker: script\nAccept: */*", background},
		{"Chromium, link to prefetch", "", "Sec-Fetch-Mode: no-cors\nSec-Fetch-Dest: empty\nSec-Purpose: prefetch\nAccept: " + chromiumAccepts, background},
		{"Chromium, speculative prefetch", "", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: document\nSec-Purpose: prefetch\nAccept: " + chromiumAccepts, background},
		{"Chromium, prerender", "", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: document\nSec-Purpose: prefetch;prerender\nAccept: " + chromiumAccepts, background},
		{"Chromium 100, prefetch", "", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: document\nPurpose: prefetch\nAccept: " + chromiumAccepts, background},
		{"a navigation with a method of its own", "DELETE", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: document\nAccept: text/html", background},
		{"a frame with a method of its own", "PUT", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: iframe\nAccept: text/html", background},
		{"preflight", "OPTIONS", "Sec-Fetch-Mode: cors\nSec-Fetch-Dest: empty\nAccess-Control-Request-Method: PUT\nAccept: */*", background},

		// Firefox.
		{"Firefox, address bar", "", "Sec-Fetch-Dest: document\nSec-Fetch-Mode: navigate\nSec-Fetch-Site: none\nSec-Fetch-User: ?1\nAccept: " + firefoxAccepts, navigation},
		{"Firefox, form", "POST", "Sec-Fetch-Dest: document\nSec-Fetch-Mode: navigate\nContent-Type: application/x-www-form-urlencoded\nAccept: " + firefoxAccepts, formPost},
		{"Firefox, object", "", "Sec-Fetch-Dest: object\nSec-Fetch-Mode: no-cors\nAccept: " + firefoxAccepts, framed},
		{"Firefox, XHR", "", "Sec-Fetch-Dest: empty\nSec-Fetch-Mode: cors\nX-Requested-With: XMLHttpRequest\nAccept: text/html, */*; q=0.01", background},
		{"Firefox, WebSocket", "", "Upgrade: websocket\nConnection: keep-alive, Upgrade\nSec-Fetch-Dest: empty\nSec-Fetch-Mode: websocket\nAccept: */*", background},
		{"Firefox 78, address bar", "", "Upgrade-Insecure-Requests: 1\nAccept: " + firefoxAccepts, navigation},
		{"Firefox 78, prefetch", "", "X-Moz: prefetch\nAccept: " + firefoxAccepts, background},
		{"Firefox 78, image", "", "Accept: image/webp,*/*", background},

		// Safari, which sends no Fetch Metadata before 16.4, and none over
		// plain HTTP.
		{"Safari, address bar", "", "Sec-Fetch-Dest: document\nSec-Fetch-Mode: navigate\nSec-Fetch-Site: none\nAccept: " + safariAccepts, navigation},
		{"Safari 15, address bar", "", "Accept: " + safariAccepts, navigation},
		{"Safari 15, HEAD", "HEAD", "Accept: " + safariAccepts, navigation},
		{"Safari 15, form", "POST", "Content-Type: application/x-www-form-urlencoded\nOrigin: https://app.example.com\nAccept: " + safariAccepts, formPost},
		{"Safari 15, form with a file", "POST", "Content-Type: multipart/form-data; boundary=----WebKitFormBoundary7\nAccept: " + safariAccepts, formPost},
		{"Safari 15, JSON", "POST", "Content-Type: application/json\nAccept: */*", background},
		{"Safari 15, JSON that wants HTML back", "POST", "Content-Type: application/json\nAccept: text/html", background},
		{"Safari 15, XHR", "", "Accept: */*", background},
		{"Safari 15, XHR of HTML by jQuery", "", "X-Requested-With: XMLHttpRequest\nAccept: text/html, */*; q=0.01", background},
		{"Safari 15, form by jQuery", "POST", "X-Requested-With: XMLHttpRequest\nContent-Type: application/x-www-form-urlencoded; charset=UTF-8\nAccept: text/html, */*; q=0.01", background},
		{"Safari 15, image", "", "Accept: image/webp,image/avif,image/png,image/svg+xml,image/*;q=0.8,video/*;q=0.8,*/*;q=0.5", background},
		{"Safari, preview", "", "X-Purpose: preview\nAccept: " + safariAccepts, background},
		{"Safari, page fetched ahead", "", "Purpose: prefetch\nAccept: " + safariAccepts, background},

		// Programs.
		{"curl", "", "Accept: */*", background},
		{"curl over HTTP/2", "", "Accept: */*\nUpgrade: h2c\nHTTP2-Settings: AAMAAABk", background},
		{"curl, form", "POST", "Accept: */*\nContent-Type: application/x-www-form-urlencoded", background},
		{"nothing at all", "", "", background},
		{"an old client in capitals", "", "Accept: TEXT/HTML", navigation},
		{"parameters", "", "Accept: text/html;level=1;q=0.5", navigation},
		{"a second line", "", "Accept: application/json\nAccept: text/html", navigation},
		{"HTML that it doesn't want", "", "Accept: text/html;q=0, application/json", background},
		{"HTML that it doesn't want at all", "", "Accept: text/html;q=0.000", background},
		{"another type that begins so", "", "Accept: text/html-sandboxed", background},
		{"another parameter that says so", "", `Accept: application/x; of="text/html"`, background},
		{"any text", "", "Accept: text/*", background},
		{"PUT of HTML", "PUT", "Accept: text/html\nContent-Type: text/plain", background},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := withHeader(navigate("/"), test.method, test.header)
			if got := kindOf(r); got != test.want {
				t.Errorf("taken for kind %d, not %d", got, test.want)
			}
		})
	}
}

// withHeader gives a request the method, GET if empty, and the header lines,
// in place of what it had.
func withHeader(r *http.Request, method, lines string) *http.Request {
	if method != "" {
		r.Method = method
	}
	r.Header = make(http.Header)
	for line := range strings.Lines(lines) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		r.Header.Add(name, value)
	}
	return r
}
