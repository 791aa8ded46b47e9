package harness

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// plainProxy is Caddy in front of the recording app, without the product.
const plainProxy = `
{
	skip_install_trust
	auto_https disable_redirects
}
http://app.localhost:{{.Port "http"}}, http://login.localhost:{{.Port "http"}} {
	reverse_proxy {{.Vars.app}}
}
https://app.example.test:{{.Port "https"}}, https://other.example.test:{{.Port "https"}} {
	tls internal
	reverse_proxy {{.Vars.app}}
}
`

// startProxy runs plainProxy with a recorder behind it.
func startProxy(t *testing.T) (*Server, *Recorder) {
	t.Helper()
	app := NewRecorder(t)
	return Start(t, Options{
		Caddyfile: plainProxy,
		Vars:      map[string]string{"app": app.Addr()},
		Env:       []string{"GODEBUG=http2xconnect=1"},
	}), app
}

// fakeTB stands in for a test that is to fail.
type fakeTB struct {
	testing.TB
	problems []string
	cleanups []func()
	skipped  bool
}

// gaveUp is what a fake test panics with where a real one would end.
type gaveUp struct{}

func (f *fakeTB) Errorf(format string, arguments ...any) {
	f.problems = append(f.problems, fmt.Sprintf(format, arguments...))
}
func (f *fakeTB) Fatalf(format string, arguments ...any) {
	f.Errorf(format, arguments...)
	panic(gaveUp{})
}
func (f *fakeTB) Fatal(arguments ...any) { f.Fatalf("%s", fmt.Sprint(arguments...)) }
func (f *fakeTB) Skip(...any)            { f.skipped = true; panic(gaveUp{}) }
func (f *fakeTB) Logf(string, ...any)    {}
func (f *fakeTB) Failed() bool           { return len(f.problems) > 0 }
func (f *fakeTB) Cleanup(cleanup func()) { f.cleanups = append(f.cleanups, cleanup) }

// runFake runs a test that is to fail, with its cleanups, and returns it.
func runFake(t *testing.T, body func(t *fakeTB)) *fakeTB {
	t.Helper()
	fake := &fakeTB{TB: t}
	guarded := func(step func()) {
		defer func() {
			if problem := recover(); problem != nil {
				if _, ok := problem.(gaveUp); !ok {
					panic(problem)
				}
			}
		}()
		step()
	}
	guarded(func() { body(fake) })
	for _, cleanup := range slices.Backward(fake.cleanups) {
		guarded(cleanup)
	}
	return fake
}

func (f *fakeTB) expectProblem(t *testing.T, fragment string) {
	t.Helper()
	if !slices.ContainsFunc(f.problems, func(p string) bool { return strings.Contains(p, fragment) }) {
		t.Errorf("no problem with %q was reported, but %q", fragment, f.problems)
	}
}

func TestRawHTTP1ArrivesAsItWasSent(t *testing.T) {
	server, app := startProxy(t)
	// Caddy itself escapes the backslash on its way to the app.
	for target, want := range map[string]string{
		"/":                    "/",
		"/a//b/./c/../d?x=%zz": "/a//b/./c/../d?x=%zz",
		"/%2e%2e/x%2fy;z":      "/%2e%2e/x%2fy;z",
		`/x\..\y`:              "/x%5C..%5Cy",
	} {
		app.Reset()
		got := server.Raw("http").Send(Request1("GET", target, "app.localhost", "", "x-ODD: 1", "X-Odd: 2"))
		if got.Err != nil || got.Status != http.StatusOK || !strings.Contains(got.Body, "Hello nobody") {
			t.Fatalf("%s: %+v", target, got)
		}
		seen := app.ExpectOne(t)
		if seen.RequestURI != want || seen.Host != "app.localhost" || !slices.Equal(seen.Header["X-Odd"], []string{"1", "2"}) {
			t.Errorf("sent %s, the app saw %+v", target, seen)
		}
	}
}

func TestRawHTTP1BodiesAndRefusals(t *testing.T) {
	server, app := startProxy(t)
	got := server.Raw("http").Send(Request1("POST", "/", "app.localhost", "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", "Transfer-Encoding: chunked", "Trailer: X-Sum"))
	if seen := app.ExpectOne(t); got.Status != http.StatusOK || seen.Body != "hello" || !seen.Complete || seen.Trailer.Get("X-Sum") != "1" {
		t.Errorf("got %+v, the app saw %+v", got, seen)
	}
	app.Reset()
	if got := server.Raw("http").Send([]byte("GET / HTTP/1.1\r\n\r\n")); got.Status != http.StatusBadRequest {
		t.Errorf("without a host: %+v", got)
	}
	app.ExpectNone(t)
	if got := server.Raw("http").Send(Request1("HEAD", "/", "app.localhost", "")); got.Err != nil || got.Body != "" {
		t.Errorf("HEAD: %+v", got)
	}
	runFake(t, func(fake *fakeTB) { app.ExpectNone(fake) }).expectProblem(t, "HEAD /")
}

func TestRawHTTP2FieldByField(t *testing.T) {
	server, app := startProxy(t)
	target := server.RawTLS("https", "app.example.test")
	large := strings.Repeat("x", 3<<20)
	got := target.SendHTTP2(Request2{
		Fields:   Fields2("POST", "https", "app.example.test", "/%2e%2e//x", "x-odd", "1"),
		Body:     large,
		Trailers: []Field{{Name: "x-sum", Value: "2"}},
	})
	if got.Err != nil || got.Status != http.StatusOK || got.Proto != "HTTP/2.0" {
		t.Fatalf("got %+v", got)
	}
	if seen := app.ExpectOne(t); seen.RequestURI != "/%2e%2e//x" || seen.Host != "app.example.test" || seen.Body != large || seen.Header.Get("X-Odd") != "1" {
		t.Errorf("the app saw %s %s %s, %d bytes", seen.Method, seen.Host, seen.RequestURI, len(seen.Body))
	}
	app.Reset()
	app.Answer(Answer{Status: http.StatusTeapot, Body: large, Header: http.Header{"X-Kind": {"pot"}}, Trailer: http.Header{"X-End": {"yes"}}})
	got = target.SendHTTP2(Request2{Fields: Fields2("GET", "https", "app.example.test", "/")})
	if got.Status != http.StatusTeapot || got.Body != large || got.Header.Get("X-Kind") != "pot" || got.Trailer.Get("X-End") != "yes" {
		t.Errorf("status %d, %d bytes, header %v, trailer %v", got.Status, len(got.Body), got.Header, got.Trailer)
	}
	app.Reset()
	for name, fields := range map[string][]Field{
		"a name in upper case":  Fields2("GET", "https", "app.example.test", "/", "X-Upper", "1"),
		"a second :path":        append(Fields2("GET", "https", "app.example.test", "/"), Field{Name: ":path", Value: "/two"}),
		"a line break in value": Fields2("GET", "https", "app.example.test", "/", "x-odd", "1\r\nremote-user: eve"),
	} {
		if got := target.SendHTTP2(Request2{Fields: fields}); got.Err == nil && got.Status < 400 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	app.ExpectNone(t)
}

func TestManyStreamsOnOneConnection(t *testing.T) {
	server, app := startProxy(t)
	connection, err := server.RawTLS("https", "app.example.test").HTTP2()
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	var streams []*HTTP2Stream
	for i := range 50 {
		stream, err := connection.Open(Fields2("GET", "https", "app.example.test", fmt.Sprintf("/%d", i)), true)
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, stream)
	}
	for i, stream := range streams {
		if got := stream.Response(); got.Status != http.StatusOK || !strings.Contains(got.Body, fmt.Sprintf("/%d<", i)) {
			t.Errorf("stream %d: %+v", i, got)
		}
	}
	if seen := app.Requests(); len(seen) != len(streams) {
		t.Errorf("the app saw %d requests", len(seen))
	}
}

func TestHostAndSNIAreApart(t *testing.T) {
	server, _ := startProxy(t)
	got := server.RawTLS("https", "other.example.test").Send(Request1("GET", "/", "app.example.test", ""))
	if got.Status != http.StatusOK {
		t.Errorf("another site's SNI: %+v", got)
	}
	if got := server.RawTLS("https", "").Send(Request1("GET", "/", "app.example.test", "")); got.Err == nil {
		t.Errorf("no SNI was answered with a certificate: %+v", got)
	}
}

// socketHandshake is what a browser sends to open a WebSocket.
var socketHandshake = []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}

func TestWebSocketOverHTTP1(t *testing.T) {
	server, app := startProxy(t)
	connection, err := server.Raw("http").HTTP1()
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	got := connection.Send(Request1("GET", "/ws", "app.localhost", "", socketHandshake...))
	// The key and its answer are the example of RFC 6455, 1.3.
	if got.Status != http.StatusSwitchingProtocols || got.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("the handshake: %+v", got)
	}
	exchange(t, NewWebSocket(connection), app)
	connection.Close()
	Eventually(t, patience, "the app to notice", func() bool { return app.Streams() == 0 })
}

func TestWebSocketOverHTTP2(t *testing.T) {
	server, app := startProxy(t)
	connection, err := server.RawTLS("https", "app.example.test").HTTP2()
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if !connection.ExtendedConnect() {
		t.Fatal("the server doesn't offer extended CONNECT")
	}
	fields := Fields2("CONNECT", "https", "app.example.test", "/ws", "sec-websocket-version", "13")
	stream, err := connection.Open(append([]Field{{Name: ":protocol", Value: "websocket"}}, fields...), false)
	if err != nil {
		t.Fatal(err)
	}
	if got := stream.Header(); got.Err != nil || got.Status != http.StatusOK {
		t.Fatalf("the handshake: %+v", got)
	}
	exchange(t, NewWebSocket(stream), app)
}

// exchange sends messages of each length's form there and back.
func exchange(t *testing.T, socket *WebSocket, app *Recorder) {
	t.Helper()
	for _, length := range []int{1, 125, 126, 1 << 16} {
		message := strings.Repeat("m", length)
		if err := socket.WriteText(message); err != nil {
			t.Fatal(err)
		}
		if echoed, err := socket.ReadText(); err != nil || echoed != message {
			t.Fatalf("%d bytes came back as %d: %v", length, len(echoed), err)
		}
	}
	if app.Streams() != 1 {
		t.Errorf("%d streams are open", app.Streams())
	}
	app.Publish("news")
	if news, err := socket.ReadText(); err != nil || news != "news" {
		t.Errorf("got %q, %v", news, err)
	}
}

func TestEventStream(t *testing.T) {
	server, app := startProxy(t)
	ctx, cancel := context.WithCancel(t.Context())
	response, err := server.Client().Open(ctx, Request{
		URL:    server.URL("http", "app.localhost", "http", "/events"),
		Mode:   Fetch,
		Header: http.Header{"Accept": {"text/event-stream"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	lines := bufio.NewScanner(response.Body)
	next := func() string {
		for lines.Scan() {
			if lines.Text() != "" {
				return lines.Text()
			}
		}
		return ""
	}
	if got := next(); got != "data: open" {
		t.Fatalf("first %q", got)
	}
	app.Publish("news")
	if got := next(); got != "data: news" {
		t.Errorf("then %q", got)
	}
	cancel()
	Eventually(t, patience, "the app to notice", func() bool { return app.Streams() == 0 })
}

// TestLiveExchanges opens one of each kind over each version of HTTP, and ends
// it from either side.
func TestLiveExchanges(t *testing.T) {
	server, app := startProxy(t)
	app.AnswerFunc(func(seen Recorded) Answer { return Answer{Body: "again ", Endless: seen.RequestURI != "/short"} })
	at := func(path string) string { return server.URL("https", "app.example.test", "https", path) }
	request := func(path string) Request { return Request{URL: at(path), Mode: Fetch} }
	browser := server.Client()
	for version, client := range map[string]*Client{"HTTP/1.1": browser.HTTP1(), "HTTP/2.0": browser} {
		if page := client.Get(at("/short")); page.Proto != version {
			t.Errorf("the client spoke %s, not %s", page.Proto, version)
		}
		for kind, open := range map[string]func(address string) *Live{
			"download": func(address string) *Live { return client.Download(t, Request{URL: address, Mode: Fetch}) },
			"upload":   func(address string) *Live { return client.Upload(t, Request{URL: address, Mode: Fetch}) },
			"socket":   func(address string) *Live { return client.WebSocket(t, address, version == "HTTP/2.0") },
		} {
			app.Reset()
			live := open(at("/" + kind))
			moved := live.Moved()
			Eventually(t, patience, "it to go on", func() bool { app.Publish("x"); return live.Moved() > moved && len(app.Requests()) > 0 })
			if seen := app.ExpectOne(t); !seen.Ended.IsZero() || live.Ended() {
				t.Errorf("the %s over %s ended by itself: %v", kind, version, seen.Ended)
			}
			live.Close()
			Eventually(t, patience, "the app to see the end of the "+kind, func() bool { return !app.ExpectOne(t).Ended.IsZero() })
			if live.Err() == nil {
				t.Errorf("the %s over %s came whole", kind, version)
			}
		}
	}
	stalled, open := browser.Download(t, request("/stalled")), browser.Download(t, request("/open"))
	stalled.SetPace(Stalled)
	goesOn := func() {
		moved := open.Moved()
		Eventually(t, patience, "the other one to go on", func() bool { return open.Moved() > moved+100 })
	}
	goesOn()
	moved := stalled.Moved()
	goesOn()
	if stalled.Moved() != moved {
		t.Error("a client that was told to read nothing reads")
	}
	server.Kill()
	Eventually(t, patience, "the client to see the end", open.Ended)
	stalled.SetPace(Fast)
	Eventually(t, patience, "the client to see the end when it looks", stalled.Ended)
}

func TestServerLivesThroughItsProcesses(t *testing.T) {
	server, app := startProxy(t)
	address := server.URL("http", "app.localhost", "http", "/")
	greeting := func() {
		t.Helper()
		if page := server.Client().Get(address); page.H1() != "Hello nobody" {
			t.Fatalf("%d %s", page.Status, page.Body)
		}
	}
	greeting()
	server.Restart()
	greeting()
	server.Kill()
	if server.Running() {
		t.Fatal("it runs after SIGKILL")
	}
	if got := server.Raw("http").Send(Request1("GET", "/", "app.localhost", "")); got.Err == nil {
		t.Fatalf("killed, it answers: %+v", got)
	}
	server.Restart()
	greeting()

	server.Reload(`
		http://app.localhost:{{.Port "http"}} {
			respond "after reload"
		}
		https://third.example.test:{{.Port "third"}} {
			tls internal
			respond "third"
		}`)
	if page := server.Client().Get(address); page.Body != "after reload" {
		t.Errorf("after the reload: %s", page.Body)
	}
	if page := server.Client().Get(server.URL("https", "third.example.test", "third", "/")); page.Body != "third" || page.Proto != "HTTP/2.0" {
		t.Errorf("the new site: %s %s", page.Proto, page.Body)
	}
	if text := server.MustRefuseReload("http://app.localhost:{{.Port \"http\"}} {\n\tnonsense\n}\n"); !strings.Contains(text, "nonsense") {
		t.Errorf("the refusal says: %s", text)
	}
	if page := server.Client().Get(address); page.Body != "after reload" {
		t.Errorf("after the refused reload: %s", page.Body)
	}
	runFake(t, func(fake *fakeTB) {
		server.t = fake
		defer func() { server.t = t }()
		server.MustRefuseReload("http://app.localhost:{{.Port \"http\"}} {\n\trespond \"after reload\"\n}\n")
	}).expectProblem(t, "accepted a configuration")
	server.write("http://app.localhost:{{.Port \"http\"}} {\n\tnonsense\n}\n")
	if len(app.Requests()) != 3 {
		t.Errorf("the app saw %d requests", len(app.Requests()))
	}
	if text := server.MustRefuseRestart(); !strings.Contains(text, "nonsense") || server.Running() {
		t.Errorf("the refused restart says: %s", text)
	}
}

func TestCommandsAndLog(t *testing.T) {
	server, _ := startProxy(t)
	if got := server.CLI("version"); got.Code != 0 || got.Stdout == "" {
		t.Errorf("version: %+v", got)
	}
	if got := server.CLIWithInput("a.test {\n}\n", "adapt", "--config", "-", "--adapter", "caddyfile"); got.Code != 0 || !strings.Contains(got.Stdout, `"a.test"`) {
		t.Errorf("adapt: %+v", got)
	}
	if got := server.CLI("no-such-command"); got.Code == 0 || got.Stderr == "" {
		t.Errorf("no-such-command: %+v", got)
	}
	entry := server.AwaitLog("the start", func(e LogEntry) bool { return e.Text("msg") == "serving initial configuration" })
	if entry.Text("level") != "info" {
		t.Errorf("level %q", entry.Text("level"))
	}
	server.Client().Get(server.URL("http", "app.localhost", "http", "/"))
	server.AwaitLog("a line of the debug level", func(e LogEntry) bool { return e.Text("level") == "debug" && e.Text("msg") == "upstream roundtrip" })
	if _, err := os.Stat(filepath.Join(server.DataDir(), "pki")); err != nil {
		t.Errorf("the data folder: %v", err)
	}
}

func TestMustFail(t *testing.T) {
	text := MustFail(t, Options{Caddyfile: "http://a.localhost:{{.Port \"a\"}} {\n\tnonsense\n}\n"})
	if !strings.Contains(text, "unrecognized directive: nonsense") || strings.HasPrefix(text, "Error") {
		t.Errorf("the refusal says: %s", text)
	}
	runFake(t, func(fake *fakeTB) {
		Start(fake, Options{Caddyfile: ":{{.Port \"a\"}} {\n\tnonsense\n}\n"})
	}).expectProblem(t, "unrecognized directive: nonsense")
}

func TestDebugLogIsSwitchedOn(t *testing.T) {
	for name, c := range map[string]struct{ given, want string }{
		"no global block":  {"a.test {\n}\n", "{\n\tdebug\n}\na.test {\n}\n"},
		"global block":     {"\n# words\n{ # more\n\tskip_install_trust\n}\n", "\n# words\n{\n\tdebug\n\tskip_install_trust\n}\n"},
		"snippet":          {"(gate) {\n}\n", "{\n\tdebug\n}\n(gate) {\n}\n"},
		"block further on": {"a.test\n{\n}\n", "{\n\tdebug\n}\na.test\n{\n}\n"},
		"nothing whatever": {"", "{\n\tdebug\n}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := withDebugLog(c.given); got != c.want {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestCanariesAreFound(t *testing.T) {
	const secret = `pa"ss/w+rd <é>`
	for name, leaked := range map[string]func(s *Server){
		"in a file": func(s *Server) { writeFile(t, s, "x.db", "…"+secret+"…") },
		"in the log": func(s *Server) {
			s.Client().Get(s.URL("http", "app.localhost", "http", "/?q="+url.QueryEscape(secret)))
		},
		"in a file that is gone after the stop": func(s *Server) {
			writeFile(t, s, "x.wal", secret)
			s.Stop()
			if err := os.Remove(filepath.Join(s.Dir(), "x.wal")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			app := NewRecorder(t)
			runFake(t, func(fake *fakeTB) {
				s := Start(fake, Options{Caddyfile: plainProxy, Vars: map[string]string{"app": app.Addr()}})
				s.Canary(secret)
				leaked(s)
			}).expectProblem(t, "holds the secret")
		})
	}
	server, _ := startProxy(t)
	server.Canary("never used anywhere", "123456", "")
}

func writeFile(t *testing.T, s *Server, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.Dir(), name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLeaks(t *testing.T) {
	const secret = "s3cret/value+é"
	for _, c := range []struct {
		secret, text string
		found        bool
	}{
		{secret, "x" + secret + "y", true},
		{secret, "q=s3cret%2Fvalue%2B%C3%A9&", true},
		{secret, "q=s3cret%2fvalue%2b%c3%a9&", true},
		{secret, "7333637265742f76616c75652bc3a9", true},
		{secret, "7333637265742F76616C75652BC3A9", true},
		{secret, "czNjcmV0L3ZhbHVlK8Op", true},         // alone
		{secret, "eHMzY3JldC92YWx1ZSvDqXk=", true},     // after one byte, before one
		{secret, "eHhzM2NyZXQvdmFsdWUrw6l5eXl5", true}, // after two
		{secret, "s3cret/value", false},
		{"quote\"amp&lt<", `quote\"amp\u0026lt\u003c`, true},
		{"quote\"amp&lt<", `quote&#34;amp&amp;lt&lt;`, true},
		{"123456", `{"code":"123456"}`, true},
		{"123456", "123456", true},
		{"123456", `{"ts":1732382645.123456,"n":91234567}`, false},
		{"123456", `a123456 then 123456`, true},
	} {
		// Others that begin alike and aren't there are searched for in the same pass.
		found := newSearch([]string{c.secret + "zzz", c.secret, "1234567"}).leaks([]byte(c.text))
		if _, got := found[c.secret]; got != c.found || got != (len(found) == 1) {
			t.Errorf("%q in %q: %v", c.secret, c.text, found)
		}
	}
	fake := &fakeTB{TB: t}
	(&Server{t: fake}).Canary("abc")
	fake.expectProblem(t, "too short")
}

func TestCrashesAreNoticed(t *testing.T) {
	for _, sign := range []string{"WARNING: DATA RACE\n", "fatal error: all goroutines are asleep\n", "http: panic serving 127.0.0.1:1: oh\n"} {
		fake := &fakeTB{TB: t}
		s := &Server{t: fake}
		_, _ = s.log.Write([]byte("fine\n" + sign))
		s.scanForCrashes()
		fake.expectProblem(t, "the server's log holds")
	}
	fake := &fakeTB{TB: t}
	s := &Server{t: fake, options: Options{PanicsExpected: true}}
	_, _ = s.log.Write([]byte("http: panic serving 127.0.0.1:1: oh\n"))
	if s.scanForCrashes(); fake.Failed() {
		t.Errorf("an expected panic: %q", fake.problems)
	}
}

func TestJarDecidesAsChromium(t *testing.T) {
	for _, c := range []struct {
		name, from, cookie string
		taken              bool
	}{
		{"host prefix over http on a subdomain of localhost", "http://app.localhost:8080/a/b", "__Host-a=1; Secure; Path=/", true},
		{"host prefix without Secure", "http://app.localhost:8080/", "__Host-a=1; Path=/", false},
		{"host prefix with a Domain", "https://app.example.test/", "__Host-a=1; Secure; Path=/; Domain=app.example.test", false},
		{"host prefix with another Path", "https://app.example.test/", "__Host-a=1; Secure; Path=/x", false},
		{"host prefix without Path", "https://app.example.test/", "__Host-a=1; Secure", false},
		{"host prefix in lower case", "https://app.example.test/", "__host-a=1; Path=/", false},
		{"secure prefix", "https://app.example.test/", "__Secure-a=1", false},
		{"Secure over http elsewhere", "http://app.example.test/", "a=1; Secure", false},
		{"parent's Domain", "https://app.example.test/", "a=1; Domain=example.test", true},
		{"sibling's Domain", "https://app.example.test/", "a=1; Domain=other.example.test", false},
		{"public suffix", "http://app.localhost/", "a=1; Domain=localhost", false},
		{"SameSite=None without Secure", "https://app.example.test/", "a=1; SameSite=None", false},
		{"too long", "https://app.example.test/", "a=" + strings.Repeat("x", longestCookie), false},
		{"expired", "https://app.example.test/", "a=1; Max-Age=0", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			j, from := newJar(), parseURL(t, c.from)
			j.set(from, (&http.Response{Header: http.Header{"Set-Cookie": {c.cookie}}}).Cookies())
			if taken := len(j.cookies) == 1; taken != c.taken {
				t.Errorf("taken: %v", taken)
			}
		})
	}
}

func TestJarSendsAsChromium(t *testing.T) {
	j := newJar()
	from := parseURL(t, "https://app.example.test/a/b")
	for _, cookie := range []string{"lax=1; Path=/; SameSite=Lax", "new=1; Path=/", "strict=1; Path=/; SameSite=Strict", "none=1; Path=/; SameSite=None; Secure", "wide=1; Path=/; Domain=example.test; SameSite=Lax", "deep=1; SameSite=Lax", "gone=1; Path=/"} {
		j.set(from, (&http.Response{Header: http.Header{"Set-Cookie": {cookie}}}).Cookies())
	}
	j.set(from, (&http.Response{Header: http.Header{"Set-Cookie": {"gone=; Path=/; Max-Age=0"}}}).Cookies())
	typed := circumstances{sameSite: true, topLevel: true, safe: true}
	for _, c := range []struct {
		name, to string
		how      circumstances
		want     string
	}{
		{"typed", "https://app.example.test/", typed, "lax new none strict wide"},
		{"another port", "https://app.example.test:8443/", typed, "lax new none strict wide"},
		{"below the path", "https://app.example.test/a/c", typed, "deep lax new none strict wide"},
		{"beside the path", "https://app.example.test/ab", typed, "lax new none strict wide"},
		{"sibling", "https://other.example.test/", typed, "wide"},
		{"no TLS", "http://app.example.test/", typed, "lax new strict wide"},
		{"link from another site", "https://app.example.test/", circumstances{topLevel: true, safe: true}, "lax new none wide"},
		{"form from another site", "https://app.example.test/", circumstances{topLevel: true}, "new none"},
		{"script of another site", "https://app.example.test/", circumstances{safe: true}, "none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var names []string
			for _, cookie := range j.get(parseURL(t, c.to), c.how) {
				names = append(names, cookie.Name)
			}
			slices.Sort(names)
			if got := strings.Join(names, " "); got != c.want {
				t.Errorf("sent %q, want %q", got, c.want)
			}
		})
	}
}

func parseURL(t *testing.T, address string) *url.URL {
	t.Helper()
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestClientTellsWhoAsks(t *testing.T) {
	server, app := startProxy(t)
	const sibling, foreign = "https://other.example.test", "https://login.localhost"
	for _, c := range []struct {
		name                  string
		request               Request
		site, origin, referer string
	}{
		{"typed", Request{}, "none", "", ""},
		{"link", Request{From: "{here}/a?b"}, "same-origin", "", "{here}/a?b"},
		{"link from a sibling", Request{From: sibling + "/a"}, "same-site", "", sibling + "/"},
		{"link from another site", Request{From: foreign + "/a"}, "cross-site", "", foreign + "/"},
		{"form", Request{Method: "POST", From: "{here}/a"}, "same-origin", "{here}", "{here}/a"},
		{"form from another site", Request{Method: "POST", From: foreign}, "cross-site", foreign, foreign + "/"},
		{"form under no-referrer", Request{Method: "POST", From: "{here}/a", FromPolicy: "no-referrer"}, "same-origin", "null", ""},
		{"form under same-origin", Request{Method: "POST", From: "{here}/a", FromPolicy: "same-origin"}, "same-origin", "{here}", "{here}/a"},
		{"form under same-origin, elsewhere", Request{Method: "POST", From: sibling, FromPolicy: "same-origin"}, "same-site", "null", ""},
		{"script", Request{Mode: Fetch, From: "{here}/a"}, "same-origin", "", "{here}/a"},
		{"script of another site", Request{Mode: Fetch, From: foreign}, "cross-site", foreign, foreign + "/"},
		{"own header", Request{Header: http.Header{"Sec-Fetch-Site": nil, "Origin": {"null"}}}, "", "null", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			app.Reset()
			base := server.URL("https", "app.example.test", "https", "")
			fill := func(text string) string { return strings.ReplaceAll(text, "{here}", base) }
			c.request.URL = base + "/x"
			c.request.From = fill(c.request.From)
			if _, err := server.Client().Send(c.request); err != nil {
				t.Fatal(err)
			}
			seen := app.ExpectOne(t).Header
			if seen.Get("Sec-Fetch-Site") != c.site || seen.Get("Origin") != fill(c.origin) || seen.Get("Referer") != fill(c.referer) {
				t.Errorf("site %q, origin %q, referer %q", seen.Get("Sec-Fetch-Site"), seen.Get("Origin"), seen.Get("Referer"))
			}
		})
	}
}

func TestClientFollowsFillsAndKeepsCookies(t *testing.T) {
	server, app := startProxy(t)
	app.AnswerFunc(func(r Recorded) Answer {
		switch {
		case r.RequestURI == "/start":
			return Answer{Status: http.StatusFound, Header: http.Header{"Location": {"/form"}, "Set-Cookie": {"__Host-flow=abc; Secure; Path=/; HttpOnly"}}}
		case r.RequestURI == "/form":
			return Answer{Header: http.Header{"Content-Type": {"text/html"}}, Body: signInForm}
		case r.Method == http.MethodPost:
			return Answer{Status: http.StatusSeeOther, Header: http.Header{"Location": {"/done"}}}
		case r.RequestURI == "/loop":
			return Answer{Status: http.StatusFound, Header: http.Header{"Location": {"/loop"}}}
		}
		return Answer{}
	})
	client := server.Client()
	hops := client.Follow(client.Get(server.URL("http", "app.localhost", "http", "/start")))
	page := hops[len(hops)-1]
	if len(hops) != 2 || page.URL.Path != "/form" || page.Title() != "Sign in · The app" || page.H1() != "Sign in" {
		t.Fatalf("%d hops, the last %s %q %q", len(hops), page.URL, page.Title(), page.H1())
	}
	if want := "Sign in to open app for you Name Password Shared Sign in Works without scripts. Help"; page.Text() != want {
		t.Errorf("the text is %q", page.Text())
	}
	if got := page.Link("Help"); !strings.HasSuffix(got, "/help") {
		t.Errorf("the link leads to %s", got)
	}
	app.Reset()
	done := last(client.Follow(client.Submit(page.Form("username", "current-password"), map[string]string{"username": "alice", "current-password": "p&w", "shared": "on"})))
	seen := app.Requests()
	if len(seen) != 2 || seen[0].Body != "color=b&csrf=t%C3%B6ken&name=alice&pw=p%26w&shared=on&step=go" {
		t.Fatalf("the app saw %+v", seen)
	}
	if seen[0].Header.Get("Cookie") != "__Host-flow=abc" || seen[0].Header.Get("Origin") != server.URL("http", "app.localhost", "http", "") {
		t.Errorf("the post's header: %v", seen[0].Header)
	}
	if done.URL.Path != "/done" || seen[1].Method != http.MethodGet || seen[1].Header.Get("Content-Type") != "" || seen[1].Header.Get("Referer") == "" {
		t.Errorf("after the redirect: %+v", seen[1])
	}
	thief := client.Clone()
	client.ClearCookies()
	if at := page.URL.String(); thief.Cookie(at, "__Host-flow") != "abc" || client.Cookie(at, "__Host-flow") != "" {
		t.Error("the clone has no cookies of its own")
	}
	client.BlockCookies(true)
	client.Visit(server.URL("http", "app.localhost", "http", "/start"))
	if len(client.Cookies(page.URL.String())) != 0 {
		t.Error("blocked cookies were taken")
	}
	lost := client.Tab()
	runFake(t, func(fake *fakeTB) {
		lost.t = fake
		lost.Visit(server.URL("http", "app.localhost", "http", "/loop"))
	}).expectProblem(t, "more than 20 redirects")
	if _, err := client.Send(Request{URL: "http://example.org/"}); err == nil || !strings.Contains(err.Error(), "not on this machine") {
		t.Errorf("a name of the world: %v", err)
	}
}

const signInForm = `<!doctype html><html><head><title>Sign in · The app</title><style>p{}</style></head><body>
<h1>Sign in</h1><p>to open <b>ap</b>p for you</p>
<form method="post" action="/in">
<input type="hidden" name="csrf" value="töken">
<label>Name <input name="name" autocomplete="username webauthn"></label>
<label>Password <input name="pw" type="password" autocomplete="current-password"></label>
<label><input type="checkbox" name="shared"> Shared</label>
<input type="checkbox" name="unticked" value="1">
<select name="color"><option value="a"></option><option value="b" selected></option></select>
<input name="off" value="1" disabled>
<button type="button" name="not" value="sent">Sign in</button>
<button name="step" value="go"></button><button name="step" value="other"></button>
</form><form method="post"><input name="name"></form>
<script>document.title = "no"</script><noscript>Works without scripts.</noscript> <a href="/help">Help</a></body></html>`

func TestTOTPAgreesWithTheStandard(t *testing.T) {
	// RFC 6238, appendix B, at 59 seconds and at 1111111109.
	secrets := map[string]string{
		"sha1":   "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
		"sha256": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZA====",
		"sha512": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNA=",
	}
	for _, c := range []struct {
		algorithm string
		at        int64
		want      string
	}{
		{"sha1", 59, "94287082"}, {"sha256", 59, "46119246"}, {"sha512", 59, "90693936"},
		{"sha1", 1111111109, "07081804"}, {"sha256", 1111111109, "68084774"}, {"sha512", 1111111109, "25091201"},
	} {
		if got := TOTP(t, secrets[c.algorithm], time.Unix(c.at, 0), TOTPOptions{Algorithm: c.algorithm, Digits: 8}); got != c.want {
			t.Errorf("%s at %d: %s, want %s", c.algorithm, c.at, got, c.want)
		}
	}
	if got := TOTP(t, "gezd gnbv gy3t qojq gezd gnbv gy3t qojq", time.Unix(59, 0)); got != "287082" {
		t.Errorf("by default: %s", got)
	}
}

func TestNeedNamesThePackage(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	runFake(t, func(fake *fakeTB) { Need(fake, "certutil") }).expectProblem(t, "apt-get install libnss3-tools")
	t.Setenv(EnvSkipMissing, "1")
	if fake := runFake(t, func(fake *fakeTB) { Need(fake, "certutil") }); !fake.skipped || fake.Failed() {
		t.Errorf("skipped %v, problems %q", fake.skipped, fake.problems)
	}
}

func TestEventuallyNamesWhatItWaitedFor(t *testing.T) {
	runFake(t, func(fake *fakeTB) { Eventually(fake, 0, "the cows", func() bool { return false }) }).expectProblem(t, "the cows")
}
