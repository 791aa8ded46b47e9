package canonical

import (
	"bufio"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// received parses a request as the HTTP/1 server does; false if that refuses.
func received(method, target string) (*http.Request, bool) {
	raw := method + " " + target + " HTTP/1.1\r\nHost: app.example.test\r\n\r\n"
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
	return r, err == nil
}

func mustReceive(t testing.TB, method, target string) *http.Request {
	t.Helper()
	r, ok := received(method, target)
	if !ok {
		t.Fatalf("the server itself refuses %s %q", method, target)
	}
	return r
}

func TestTargetAccepts(t *testing.T) {
	tests := []struct {
		name, target string
		want         string // target as forwarded; empty: as it came
	}{
		{name: "root", target: "/"},
		{name: "plain", target: "/admin/users.html"},
		{name: "query", target: "/search?q=a%2fb&x=%41;y"},
		{name: "empty query", target: "/search?"},
		{name: "path in a query", target: "/login?to=/../admin"},
		{name: "P02 upper case is a name of its own", target: "/ADMIN"},
		{name: "P02 encoded letter", target: "/%61dmin", want: "/admin"},
		{name: "P02 encoded letters of both cases", target: "/%41%4a%4A%7e%2D%5f%30", want: "/AJJ~-_0"},
		{name: "P02 double slash", target: "//admin"},
		{name: "P02 encoded slash", target: "/healthz%2fadmin", want: "/healthz%2Fadmin"},
		{name: "P02 backslash", target: `/x\admin`, want: "/x%5Cadmin"},
		{name: "P02 encoded backslash", target: "/x%5cadmin", want: "/x%5Cadmin"},
		{name: "P02 twice encoded slash", target: "/x%252fadmin"},
		{name: "P02 parameter", target: "/admin;x=1/users"},
		{name: "P02 absolute form", target: "http://app.example.test/admin?x", want: "/admin?x"},
		{name: "P02 absolute form over TLS", target: "https://app.example.test/%61", want: "/a"},
		{name: "P02 absolute form, no path", target: "http://app.example.test", want: "/"},
		{name: "P02 absolute form, query alone", target: "http://app.example.test?x", want: "/?x"},
		{name: "raw and encoded slashes together", target: "/a%2fb\"c", want: "/a%2Fb%22c"},
		{name: "sub-delimiters as they came", target: "/a!$&'()*+,=:@[]%21%24%26"},
		{name: "letters beyond ASCII", target: "/gr\xc3\xb6\xc3\x9fe", want: "/gr%C3%B6%C3%9Fe"},
		{name: "an old app's encoding", target: "/caf%e9", want: "/caf%E9"},
		{name: "hidden file", target: "/.well-known/acme"},
		{name: "dots inside", target: "/v1..v2/a.b..c"},
		{name: "percent sign", target: "/100%25"},
		{name: "percent sign before no digits", target: "/100%25zz"},
		{name: "GitLab", target: "/api/v4/projects/group%2Fproject/repository/files/a%2Fb%2ego", want: "/api/v4/projects/group%2Fproject/repository/files/a%2Fb.go"},
		{name: "OData", target: "/odata/Products(1)/Name"},
		{name: "wiki", target: "/wiki/What_is_C%23%3F"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			want := test.want
			if want == "" {
				want = test.target
			}
			r := mustReceive(t, "GET", test.target)
			if err := Target(r); err != nil {
				t.Fatalf("Target(%q): %v", test.target, err)
			}
			checkForwarded(t, r, want)
			if err := Target(r); err != nil {
				t.Fatalf("Target is not idempotent: %v", err)
			}
			checkForwarded(t, r, want)
		})
	}
}

// checkForwarded checks that the request holds one target and no other.
func checkForwarded(t testing.TB, r *http.Request, want string) {
	t.Helper()
	if got := r.URL.RequestURI(); got != want {
		t.Errorf("forwarded is %q, want %q", got, want)
	}
	if r.RequestURI != want {
		t.Errorf("RequestURI is %q, want %q", r.RequestURI, want)
	}
	parsed, err := url.ParseRequestURI(want)
	if err != nil {
		t.Fatalf("forwarded target does not parse: %v", err)
	}
	if *r.URL != *parsed {
		t.Errorf("URL is %#v, want what an app parses: %#v", *r.URL, *parsed)
	}
}

func TestTargetRefuses(t *testing.T) {
	tests := []struct {
		name, target string
		want         error
	}{
		{"P02 dot", "/./admin", ErrTargetDots},
		{"P02 dot at the end", "/admin/.", ErrTargetDots},
		{"P02 up", "/healthz/../admin", ErrTargetDots},
		{"P02 up at the end", "/healthz/..", ErrTargetDots},
		{"P02 up, encoded", "/healthz/%2e%2e/admin", ErrTargetDots},
		{"P02 up, half encoded", "/healthz/.%2E/admin", ErrTargetDots},
		{"P02 up behind an encoded slash", "/healthz%2f..%2fadmin", ErrTargetDots},
		{"P02 up before an encoded slash", "/healthz/..%2fadmin", ErrTargetDots},
		{"P02 up behind a backslash", `/healthz\..\admin`, ErrTargetDots},
		{"P02 up behind an encoded backslash", "/healthz%5c..%5cadmin", ErrTargetDots},
		{"P02 up, encoded twice", "/healthz/%252e%252e/admin", ErrTargetDots},
		{"P02 up behind a slash encoded twice", "/healthz%252f..%252fadmin", ErrTargetDots},
		{"P02 up behind a backslash encoded twice", "/healthz%255c..%255cadmin", ErrTargetDots},
		{"P02 up, encoded in mixed depth", "/healthz%2f.%252e/admin", ErrTargetDots},
		{"P02 NUL", "/admin%00", ErrTargetControl},
		{"P02 NUL, encoded twice", "/admin%2500.html", ErrTargetControl},
		{"P02 line feed", "/admin%0a", ErrTargetControl},
		{"P02 line feed, encoded twice", "/admin%250d%250a", ErrTargetControl},
		{"P02 delete", "/admin%7f", ErrTargetControl},
		{"P02 parameter on dots", "/healthz/..;/admin", ErrTargetDots},
		{"P02 named parameter on a dot", "/.;x=1/admin", ErrTargetDots},
		{"P02 encoded parameter on dots", "/healthz/..%3bx/admin", ErrTargetDots},
		{"P02 dots and a space", "/healthz/..%20/admin", ErrTargetDots},
		{"P02 three dots", "/healthz/.../admin", ErrTargetDots},
		{"P02 dots before a decoded query", "/healthz/..%3f", ErrTargetDots},
		{"P02 stream of dots", "/healthz/..::$INDEX_ALLOCATION/admin", ErrTargetDots},
		{"P02 overlong dots", "/healthz/%c0%ae%c0%ae/admin", ErrTargetUTF8},
		{"P02 overlong slash", "/healthz%c0%afadmin", ErrTargetUTF8},
		{"P02 overlong slash of three", "/healthz%e0%80%afadmin", ErrTargetUTF8},
		{"P02 overlong slash of four", "/healthz%f0%80%80%afadmin", ErrTargetUTF8},
		{"P02 overlong slash, encoded twice", "/healthz%25c0%25afadmin", ErrTargetUTF8},
		{"P02 encoded three times", "/healthz%25252fadmin", ErrTargetNesting},
		{"P02 dots that ASP.NET puts together", "/%252/(S(x))e%252/(S(x))e/admin", ErrTargetDots},
		{"P02 absolute form, dots", "http://app.example.test/a/../admin", ErrTargetDots},
		{"P02 absolute form, user", "http://a:b@app.example.test/", ErrTargetUserinfo},
		{"P02 absolute form, other scheme", "ftp://app.example.test/", ErrTargetForm},
		{"P02 absolute form, no host", "http:///admin", ErrTargetForm},
		{"P02 absolute form, one slash", "http:/admin", ErrTargetForm},
		{"P02 opaque", "http:admin", ErrTargetForm},
		{"asterisk", "*", ErrTargetForm},
		{"fragment", "/healthz#/admin", ErrTargetFragment},
		{"fragment in the query", "/healthz?a#b", ErrTargetFragment},
		{"too many readings", `//a;b%5Cc%2F%3Fd.%253be`, ErrTargetAmbiguous},
		{"overlong", "/" + strings.Repeat("a", maxPathBytes), ErrTargetLength},
		{"overlong, encoded", "/" + strings.Repeat("%61", maxPathBytes), ErrTargetLength},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := mustReceive(t, "GET", test.target)
			if err := Target(r); !errors.Is(err, test.want) {
				t.Errorf("Target(%.80q) = %v, want %v", test.target, err, test.want)
			}
		})
	}
}

// The server refuses these itself; should it ever not, Target does.
func TestTargetRefusesUnparsed(t *testing.T) {
	tests := []struct {
		name string
		r    http.Request
		want error
	}{
		{"P02 malformed encoding", http.Request{URL: &url.URL{Path: "/%zz", RawPath: "/%zz"}}, ErrTargetEncoding},
		{"P02 encoding cut short", http.Request{URL: &url.URL{Path: "/%2", RawPath: "/%2"}}, ErrTargetEncoding},
		{"P02 encoding of IIS", http.Request{URL: &url.URL{Path: "/%u002e", RawPath: "/%u002e"}}, ErrTargetEncoding},
		{"raw control", http.Request{URL: &url.URL{Path: "/a\r\nb"}}, ErrTargetControl},
		{"raw control in the query", http.Request{URL: &url.URL{Path: "/a", RawQuery: "b\nc"}}, ErrTargetControl},
		{"space in the query by HTTP/2", http.Request{ProtoMajor: 2, URL: &url.URL{Path: "/a", RawQuery: "b /admin"}}, ErrTargetControl},
		{"no slash", http.Request{URL: &url.URL{Path: "admin"}}, ErrTargetForm},
		{"fragment", http.Request{URL: &url.URL{Path: "/a", Fragment: "b"}}, ErrTargetFragment},
		{"host by HTTP/2 that is not the authority", http.Request{
			ProtoMajor: 2, Host: "app.example.test",
			URL: &url.URL{Scheme: "https", Host: "other.example.test", Path: "/"},
		}, ErrTargetForm},
		{"host without a scheme", http.Request{Host: "a.test", URL: &url.URL{Host: "a.test", Path: "/"}}, ErrTargetForm},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := Target(&test.r); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

// Dots are looked for before anything is folded, too.
func TestCheckDecodings(t *testing.T) {
	for once, want := range map[string]error{
		"/a.b/c..d/..e/.f":    nil,
		"/100%/%zz/%2":        nil,
		`/a\..\b`:             ErrTargetDots,
		`/a\..`:               ErrTargetDots,
		"/..;x/a":             ErrTargetDots,
		"/..?x":               ErrTargetDots,
		"/a/%2e%2e":           ErrTargetDots,
		"/a%5c..":             ErrTargetDots,
		"/a%00":               ErrTargetControl,
		"/%c0%ae%c0%ae/a":     ErrTargetUTF8,
		"/\xc0\xae\xc0\xae/a": ErrTargetUTF8,
		"/%252e":              ErrTargetNesting,
	} {
		if err := checkDecodings(once); !errors.Is(err, want) {
			t.Errorf("checkDecodings(%q) = %v, want %v", once, err, want)
		}
	}
}

func TestTargetConnect(t *testing.T) {
	path := func() *url.URL { return &url.URL{Path: "/socket"} }
	protocol := func(p string) http.Header { return http.Header{":protocol": {p}} }
	tests := []struct {
		name string
		r    http.Request
		want error
	}{
		{"P01 authority", *mustReceive(t, "CONNECT", "db.internal:5432"), ErrTargetConnect},
		{"P01 path by HTTP/1", *mustReceive(t, "CONNECT", "/admin"), ErrTargetConnect},
		{"P01 authority by HTTP/2", http.Request{ProtoMajor: 2, URL: &url.URL{Host: "db.internal:5432"}}, ErrTargetConnect},
		{"P01 WebSocket by HTTP/2", http.Request{ProtoMajor: 2, Header: protocol("websocket"), URL: path()}, nil},
		{"P01 WebSocket by HTTP/3", http.Request{ProtoMajor: 3, Proto: "websocket", URL: path()}, nil},
		{"P01 WebSocket without a path", http.Request{ProtoMajor: 2, Header: protocol("websocket"), URL: &url.URL{Host: "a"}}, ErrTargetForm},
		{"P01 another protocol by HTTP/2", http.Request{ProtoMajor: 2, Header: protocol("connect-udp"), URL: path()}, ErrTargetConnect},
		{"P01 another protocol by HTTP/3", http.Request{ProtoMajor: 3, Proto: "webtransport", URL: path()}, ErrTargetConnect},
		{"P01 dots", http.Request{ProtoMajor: 2, Header: protocol("websocket"), URL: &url.URL{Path: "/a/../b"}}, ErrTargetDots},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.r.Method = http.MethodConnect
			if err := Target(&test.r); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

// A path that was rewritten without its escaping is forwarded as the path says.
func TestTargetStaleRawPath(t *testing.T) {
	r := &http.Request{URL: &url.URL{Path: "/a b", RawPath: "/admin%2F"}}
	if err := Target(r); err != nil {
		t.Fatal(err)
	}
	checkForwarded(t, r, "/a%20b")
}

// pieces are what attacks on paths are made of.
var pieces = []string{
	"/", "//", ".", "..", "...", "a", "Admin", "%61", "%2e", "%2E", "%2f", "%2F", "%5c", `\`, "%252e", "%252f",
	"%255c", "%25", "%2525", "%3b", ";", ";x=1", "%3f", "%23", "%00", "%0a", "%20", "%2520", ":", ":$DATA",
	"::$DATA", "(S(x))", "(A(b)F(c))", "(", ")", "%c0%ae", "\xc3\xb6", "%e9", "+", "~", "@", "u002e", "*", "[",
}

func drawTarget(t *rapid.T) string {
	return "/" + strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 9).Draw(t, "pieces"), "")
}

func TestTargetProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		target := drawTarget(t)
		if r, ok := received("GET", target); ok {
			checkTarget(t, r)
		}
	})
}

// fataler is the part of testing.TB that rapid has too.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// checkTarget checks what holds for every target that is accepted.
func checkTarget(t fataler, r *http.Request) {
	t.Helper()
	sent := r.RequestURI
	if err := Target(r); err != nil {
		if !errors.As(err, new(TargetError)) {
			t.Fatalf("%q: refused with %T", sent, err)
		}
		return
	}
	forwarded := r.URL.RequestURI()
	if r.RequestURI != forwarded {
		t.Fatalf("%q: RequestURI %q, but forwarded %q", sent, r.RequestURI, forwarded)
	}
	again, ok := received("GET", forwarded)
	if !ok {
		t.Fatalf("%q: forwarded %q is malformed", sent, forwarded)
	}
	if *again.URL != *r.URL {
		t.Fatalf("%q: forwarded %q is read as %#v, decided was %#v", sent, forwarded, *again.URL, *r.URL)
	}
	if err := Target(again); err != nil || again.URL.RequestURI() != forwarded {
		t.Fatalf("%q: %q becomes %q, %v the second time", sent, forwarded, again.URL.RequestURI(), err)
	}
	checkReadings(t, r.URL)
}

func FuzzTarget(f *testing.F) {
	for _, target := range []string{
		"/", "//admin", "/./admin", "/healthz/../admin", "/%2e%2e/a", "/..%2fa", "/%5c..", "/%252f", "/%00", "/a;x/b",
		"http://app.example.test/a", "*", "/a?b=c#d", "/(S(x))/a", "/a::$DATA", "/a./b%20", "/%c0%af", "/a%2Fb%252Fc",
	} {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, target string) {
		if r, ok := received("GET", target); ok {
			checkTarget(t, r)
		}
	})
}

func TestTargetAllocatesNothing(t *testing.T) {
	r := mustReceive(t, "GET", "/assets/app-1.2.3/main.js?v=%20x")
	if n := testing.AllocsPerRun(100, func() {
		if err := Target(r); err != nil {
			t.Fatal(err)
		}
		if readings, err := Readings(r.URL); err != nil || readings != nil {
			t.Fatal(readings, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations on a plain path", n)
	}
}

func BenchmarkTarget(b *testing.B) {
	for name, target := range map[string]string{
		"plain":   "/assets/app-1.2.3/main.js?v=1",
		"escaped": "/wiki/Gr%C3%B6%C3%9Fe",
		"gitlab":  "/api/v4/projects/group%2Fproject/issues",
		"worst":   "//a" + strings.Repeat("%5Ca;b%2Fc", 800),
		"dense":   strings.Repeat("/a%252f/b%5c(c;d.", 480),
	} {
		b.Run(name, func(b *testing.B) {
			r := mustReceive(b, "GET", target)
			b.ReportAllocs()
			for b.Loop() {
				_ = Target(r)
			}
		})
	}
}
