package gate

import (
	"bufio"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/portcullis-mfa/portcullis/session"
)

func mustHeaders(t testing.TB, chosen HeaderNames) *IdentityHeaders {
	t.Helper()
	headers, err := NewIdentityHeaders(chosen, HeaderValues{})
	if err != nil {
		t.Fatal(err)
	}
	return headers
}

func TestStrip(t *testing.T) {
	headers := mustHeaders(t, HeaderNames{User: "X-WEBAUTH-USER"})
	stripped := []string{
		"Remote-User", "Remote-Name", "Remote-Email", "Remote-Groups", "X-Mfa-Assertion", "X-Webauth-User",
		"remote-user", "REMOTE-USER", "Remote_User", "remote_user", "Remote.User", "Remote~User", "Remote!User",
		"X_Mfa-Assertion", "x.mfa_assertion", "X_WEBAUTH_USER", "Remote_Groups",
	}
	kept := []string{
		"Accept", "Cookie", "Remote-Users", "Remote-Use", "RemoteUser", "XRemote-User", "Remote-User-", "Remote-Addr",
		"X-Webauth-Name", ":protocol", strings.Repeat("a", 300),
	}
	h := make(http.Header)
	for _, name := range slices.Concat(stripped, kept) {
		h[name] = []string{"mallory", "root"}
	}
	headers.Strip(h)
	if got, want := slices.Sorted(maps.Keys(h)), slices.Sorted(slices.Values(kept)); !slices.Equal(got, want) {
		t.Errorf("left are %q, want %q", got, want)
	}
}

// What a CGI-style app sees of headers that were stripped holds none of ours.
func TestStripProperties(t *testing.T) {
	headers := mustHeaders(t, HeaderNames{})
	ours := []string{"REMOTE_USER", "REMOTE_NAME", "REMOTE_EMAIL", "REMOTE_GROUPS", "X_MFA_ASSERTION"}
	separators := rapid.StringOfN(rapid.SampledFrom([]rune("-_.!#$%&'*+^`|~")), 1, 1, -1)
	rapid.Check(t, func(t *rapid.T) {
		words := strings.Split(rapid.SampledFrom(ours).Draw(t, "name"), "_")
		name := words[0]
		for _, word := range words[1:] {
			name += separators.Draw(t, "separator") + word
		}
		if rapid.Bool().Draw(t, "lower") {
			name = strings.ToLower(name)
		}
		h := http.Header{}
		h.Add(name, "mallory")
		headers.Strip(h)
		if len(h) != 0 {
			t.Fatalf("%q was left", name)
		}
	})
}

func TestNewIdentityHeadersRefuses(t *testing.T) {
	tests := map[string]HeaderNames{
		"H01 twice":                      {User: "X-User", Name: "X-User"},
		"H01 twice for a CGI":            {User: "X-User", Name: "x_user"},
		"H01 the default of another":     {User: "Remote-Name"},
		"H01 the assertion's":            {Email: "X_Mfa_Assertion"},
		"H02 of the connection":          {User: "Connection"},
		"H04 cookies":                    {User: "Cookie"},
		"host":                           {User: "Host"},
		"hop by hop":                     {Groups: "Proxy-User"},
		"address":                        {User: "X-Forwarded-For"},
		"colon":                          {User: "X:User"},
		"space":                          {User: "X User"},
		"line feed":                      {User: "X-User\n"},
		"letters beyond ASCII":           {User: "X-\u00dcser"},
		"no letter":                      {User: "--"},
		"longer than a header should be": {User: strings.Repeat("a", 128)},
	}
	for name, chosen := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := NewIdentityHeaders(chosen, HeaderValues{}); err == nil {
				t.Errorf("%+v is taken", chosen)
			}
		})
	}
}

func TestSet(t *testing.T) {
	tests := []struct {
		name   string
		chosen HeaderNames
		who    session.Profile
		want   http.Header
	}{
		{
			"everything", HeaderNames{}, profileOf("alice", "Alice A.", "alice@example.com", "admins,staff"),
			http.Header{"Remote-User": {"alice"}, "Remote-Name": {"Alice A."}, "Remote-Email": {"alice@example.com"}, "Remote-Groups": {"admins,staff"}},
		},
		{"H01 empty attributes", HeaderNames{}, profileOf("alice", "", "", ""), http.Header{"Remote-User": {"alice"}}},
		{
			"renamed", HeaderNames{User: "X-WEBAUTH-USER", Groups: "x-forwarded-groups"}, profileOf("alice", "", "", "staff"),
			http.Header{"X-Webauth-User": {"alice"}, "X-Forwarded-Groups": {"staff"}},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			headers := mustHeaders(t, test.chosen)
			h := http.Header{"Remote-User": {"mallory", "root"}, "Remote-Email": {"root@example.com"}, "Remote-Groups": {"admins"}}
			headers.Strip(h)
			headers.Set(h, &test.who, "", new(identityValues))
			if !equalHeaders(h, test.want) {
				t.Errorf("app gets %q, want %q", h, test.want)
			}
		})
	}
}

// Set alone must do too: an attribute that is empty now is not one from before.
func TestSetDeletesWhatIsEmpty(t *testing.T) {
	h := http.Header{"Remote-User": {"mallory"}, "Remote-Groups": {"admins"}}
	mustHeaders(t, HeaderNames{}).Set(h, new(session.Profile), "", new(identityValues))
	if len(h) != 0 {
		t.Errorf("left is %q", h)
	}
}

func TestSetSharesNothing(t *testing.T) {
	headers := mustHeaders(t, HeaderNames{})
	who := profileOf("alice", "Alice", "", "staff")
	first, second := http.Header{}, http.Header{}
	headers.Set(first, &who, "", new(identityValues))
	headers.Set(second, &who, "", new(identityValues))
	first["Remote-User"][0] = "mallory"
	first["Remote-User"] = append(first["Remote-User"], "root")
	if !equalHeaders(second, http.Header{"Remote-User": {"alice"}, "Remote-Name": {"Alice"}, "Remote-Groups": {"staff"}}) {
		t.Errorf("another request has %q", second)
	}
	if got := first.Get("Remote-Name"); got != "Alice" {
		t.Errorf("appending to one header changed the next: %q", got)
	}
}

func profileOf(name, displayName, email, groups string) session.Profile {
	return session.Profile{User: session.User{Name: name, DisplayName: displayName, Email: email}, GroupList: groups}
}

func equalHeaders(a, b http.Header) bool {
	return maps.EqualFunc(a, b, func(x, y []string) bool { return slices.Equal(x, y) })
}

func TestCleanConnection(t *testing.T) {
	tests := []struct {
		name       string
		connection []string
		upgrade    []string
		want       []string
		upgrades   bool
	}{
		{name: "none"},
		{name: "keep-alive", connection: []string{"keep-alive"}, want: []string{"keep-alive"}},
		{name: "close in upper case", connection: []string{"Close"}, want: []string{"Close"}},
		{name: "te", connection: []string{"TE, close"}, want: []string{"TE, close"}},
		{name: "WebSocket", connection: []string{"keep-alive, Upgrade"}, upgrade: []string{"WebSocket"}, want: []string{"Upgrade"}, upgrades: true},
		{name: "WebSocket in other letters", connection: []string{"UPGRADE"}, upgrade: []string{" WEBSOCKET "}, want: []string{"Upgrade"}, upgrades: true},
		{name: "WebSocket in a second line", connection: []string{"keep-alive", "upgrade"}, upgrade: []string{"websocket"}, want: []string{"Upgrade"}, upgrades: true},
		{name: "WebSocket that Connection doesn't name", connection: []string{"keep-alive"}, upgrade: []string{"websocket"}, want: []string{"keep-alive"}},
		{name: "WebSocket without Connection", upgrade: []string{"websocket"}},
		{name: "H02", connection: []string{"Remote-User, X-Mfa-Assertion, Cookie"}},
		{name: "H02 beside others", connection: []string{"close, Remote-User"}, want: []string{"close"}},
		{name: "H02 in a second line", connection: []string{"keep-alive", "cookie"}, want: []string{"keep-alive"}},
		{name: "H02 odd spacing", connection: []string{" ,\tRemote-User\t,, Keep-Alive ,close,"}, want: []string{"close, keep-alive"}},
		{name: "H02 beside a WebSocket", connection: []string{"Upgrade, Remote-Groups"}, upgrade: []string{"websocket"}, want: []string{"Upgrade"}, upgrades: true},
		{name: "H02 look-alike", connection: []string{"close-remote-user"}},
		{name: "empty", connection: []string{""}},
		{name: "h2c", connection: []string{"Upgrade, HTTP2-Settings"}, upgrade: []string{"h2c"}},
		{name: "h2c beside a WebSocket", connection: []string{"Upgrade"}, upgrade: []string{"websocket, h2c"}},
		{name: "h2c in a second line", connection: []string{"Upgrade"}, upgrade: []string{"websocket", "h2c"}},
		{name: "TLS", connection: []string{"Upgrade, close"}, upgrade: []string{"TLS/1.2"}, want: []string{"close"}},
		{name: "upgrade to nothing", connection: []string{"Upgrade"}},
		{name: "headscale", connection: []string{"Upgrade"}, upgrade: []string{"tailscale-control-protocol"}, want: []string{"Upgrade"}, upgrades: true},
		{name: "kubectl", connection: []string{"Upgrade"}, upgrade: []string{"SPDY/3.1"}, want: []string{"Upgrade"}, upgrades: true},
		{name: "docker", connection: []string{"Upgrade"}, upgrade: []string{"tcp"}, want: []string{"Upgrade"}, upgrades: true},
		{name: "HTTP/2 by its version", connection: []string{"Upgrade"}, upgrade: []string{"HTTP/2.0"}},
		{name: "HTTP/2 in capitals", connection: []string{"Upgrade"}, upgrade: []string{" H2C "}},
		{name: "HTTP/2, a draft", connection: []string{"Upgrade"}, upgrade: []string{"h2c-14"}},
		{name: "HTTP/2, another draft", connection: []string{"Upgrade"}, upgrade: []string{"H2-17"}},
		{name: "TLS in small letters", connection: []string{"Upgrade"}, upgrade: []string{"tls"}},
		{name: "two protocols", connection: []string{"Upgrade"}, upgrade: []string{"tcp,h2c"}},
		{name: "two in one word", connection: []string{"Upgrade"}, upgrade: []string{"tcp h2c"}},
		{name: "no protocol", connection: []string{"Upgrade"}, upgrade: []string{""}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := http.Header{"Remote-User": {"alice"}, "Cookie": {"a=b"}, "Http2-Settings": {"AAMAAABk"}}
			if test.connection != nil {
				h["Connection"] = test.connection
			}
			if test.upgrade != nil {
				h["Upgrade"] = test.upgrade
			}
			CleanConnection(h)
			if got, ok := h["Connection"]; !slices.Equal(got, test.want) || ok != (test.want != nil) {
				t.Errorf("Connection is %q, want %q", got, test.want)
			}
			if _, ok := h["Upgrade"]; ok != test.upgrades {
				t.Errorf("Upgrade is %q", h["Upgrade"])
			}
			if protocol := h.Get("Upgrade"); protocol != strings.ToLower(strings.TrimSpace(protocol)) {
				t.Errorf("the protocol is %q", protocol) // proxies send it on in small letters
			}
			if h.Get("Remote-User") == "" || h.Get("Cookie") == "" || h.Get("Http2-Settings") != "" {
				t.Errorf("left are %q", h)
			}
		})
	}
}

// A proxy that honours Connection passes identity on once that was cleaned.
func TestCleanConnectionBeforeProxy(t *testing.T) {
	var seen http.Header
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header }))
	defer app.Close()
	target, err := url.Parse(app.URL)
	if err != nil {
		t.Fatal(err)
	}
	headers := mustHeaders(t, HeaderNames{})
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header = http.Header{
		"Connection": {"close, Remote-User", "Cookie, X-Mfa-Assertion"}, "Cookie": {"theme=dark"},
		"Remote-User": {"mallory"}, "Remote_User": {"mallory"},
	}
	headers.Strip(r.Header)
	CleanConnection(r.Header)
	who := profileOf("alice", "", "", "")
	headers.Set(r.Header, &who, "", new(identityValues))
	proxy.ServeHTTP(httptest.NewRecorder(), r)
	if seen.Get("Remote-User") != "alice" || seen.Get("Cookie") != "theme=dark" || len(seen["Remote_user"]) != 0 {
		t.Errorf("app saw %q", seen)
	}
}

func TestStripTrailers(t *testing.T) {
	tests := []struct{ name, announced string }{
		{"H01 announced", "Remote-User, X-Checksum"},
		{"H01 not announced", ""},
		{"H01 others announced", "X-Checksum"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var trailers, copied, headers http.Header
			var body string
			handler := func(_ http.ResponseWriter, r *http.Request) {
				StripTrailers(r)
				other := r.WithContext(r.Context())
				read, err := io.ReadAll(other.Body)
				if err != nil {
					t.Error(err)
				}
				body, trailers, copied, headers = string(read), r.Trailer, other.Trailer, r.Header
			}
			raw := "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
			if test.announced != "" {
				raw += "Trailer: " + test.announced + "\r\n"
			}
			raw += "\r\n2\r\nhi\r\n0\r\nRemote-User: root\r\nX-Checksum: 1\r\n\r\n"
			answer := exchange(t, handler, raw)
			if !strings.HasPrefix(answer, "HTTP/1.1 200") || body != "hi" {
				t.Fatalf("answer %q, body %q", answer, body)
			}
			if len(trailers) != 0 || len(copied) != 0 || headers.Get("Trailer") != "" {
				t.Errorf("trailers %q, %q, header %q", trailers, copied, headers["Trailer"])
			}
		})
	}
}

func TestStripTrailersLeavesOtherBodies(t *testing.T) {
	for name, r := range map[string]*http.Request{
		"length":  httptest.NewRequest("POST", "/", strings.NewReader("hi")),
		"no body": httptest.NewRequest("GET", "/", nil),
	} {
		t.Run(name, func(t *testing.T) {
			r.Header.Set("Trailer", "Remote-User")
			body := r.Body
			StripTrailers(r)
			if r.Body != body || r.Header.Get("Trailer") != "" {
				t.Errorf("body %T, header %q", r.Body, r.Header["Trailer"])
			}
		})
	}
}

// exchange sends raw to an HTTP/1 server and returns all of the answer.
func exchange(t *testing.T, handler http.HandlerFunc, raw string) string {
	t.Helper()
	server := httptest.NewServer(handler)
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(bufio.NewReader(conn))
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

// browserHeaders are those of an ordinary request.
func browserHeaders() http.Header {
	return http.Header{
		"Accept": {"text/html"}, "Accept-Encoding": {"gzip, br"}, "Accept-Language": {"en"}, "Connection": {"keep-alive"},
		"Cookie": {"theme=dark; lang=en"}, "Referer": {"https://wiki.example.com/"}, "Sec-Fetch-Dest": {"document"},
		"Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Site": {"same-origin"}, "User-Agent": {"Mozilla/5.0"},
	}
}

func TestHeadersAllocateLittle(t *testing.T) {
	headers := mustHeaders(t, HeaderNames{})
	h := browserHeaders()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header = h
	who, into := profileOf("alice", "Alice", "alice@example.com", "staff"), new(identityValues)
	headers.Set(h, &who, "", into) // room in the map
	tests := []struct {
		name string
		do   func()
		want float64
	}{
		{"Strip", func() { headers.Strip(h) }, 0},
		{"CleanConnection", func() { CleanConnection(h) }, 0},
		{"StripTrailers", func() { StripTrailers(r) }, 0},
		{"Set", func() { headers.Set(h, &who, "", into) }, 0},
	}
	for _, test := range tests {
		if n := testing.AllocsPerRun(100, test.do); n != test.want {
			t.Errorf("%s: %v allocations, want %v", test.name, n, test.want)
		}
	}
}

func BenchmarkHeaders(b *testing.B) {
	headers := mustHeaders(b, HeaderNames{})
	h := browserHeaders()
	who, into := profileOf("alice", "Alice", "alice@example.com", "staff,wiki"), new(identityValues)
	b.ReportAllocs()
	for b.Loop() {
		headers.Strip(h)
		CleanConnection(h)
		headers.Set(h, &who, "", into)
	}
}
