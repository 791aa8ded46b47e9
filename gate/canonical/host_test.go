package canonical

import (
	"errors"
	"strings"
	"testing"
)

func TestHost(t *testing.T) {
	tests := []struct {
		name, host, wantName, wantPort string
		wantErr                        error
	}{
		{"name", "wiki.example.com", "wiki.example.com", "", nil},
		{"port", "wiki.example.com:8443", "wiki.example.com", "8443", nil},
		{"T01 upper case", "WIKI.Example.COM", "wiki.example.com", "", nil},
		{"T01 trailing dot", "wiki.example.com.", "wiki.example.com", "", nil},
		{"T01 trailing dot and port", "Wiki.example.com.:443", "wiki.example.com", "443", nil},
		{"single label", "localhost:8080", "localhost", "8080", nil},
		{"underscore", "my_app.internal", "my_app.internal", "", nil},
		{"punycode", "xn--mnchen-3ya.example", "xn--mnchen-3ya.example", "", nil},
		{"IPv4", "127.0.0.1:80", "127.0.0.1", "80", nil},
		{"IPv6", "[2001:DB8:0:0::1]", "2001:db8::1", "", nil},
		{"IPv6 with port", "[::1]:8080", "::1", "8080", nil},
		{"empty", "", "", "", ErrHostName},
		{"port alone", ":80", "", "", ErrHostName},
		{"dot alone", ".", "", "", ErrHostName},
		{"two trailing dots", "wiki.example.com..", "", "", ErrHostName},
		{"empty label", "wiki..example.com", "", "", ErrHostName},
		{"leading dot", ".example.com", "", "", ErrHostName},
		{"R03 user", "wiki.example.com@evil.example", "", "", ErrHostName},
		{"R03 user and port", "wiki.example.com:443@evil.example", "", "", ErrHostPort},
		{"R03 path", "evil.example/.wiki.example.com", "", "", ErrHostName},
		{"R03 backslash", `evil.example\.wiki.example.com`, "", "", ErrHostName},
		{"R03 fragment", "evil.example#.wiki.example.com", "", "", ErrHostName},
		{"R03 escape", "wiki%2eexample.com", "", "", ErrHostName},
		{"R03 space", "wiki.example.com ", "", "", ErrHostName},
		{"R03 tab", "wiki.example.com\t", "", "", ErrHostName},
		{"R03 NUL", "wiki.example.com\x00", "", "", ErrHostName},
		{"R03 line feed", "wiki.example.com\nx", "", "", ErrHostName},
		{"R03 two hosts", "wiki.example.com,evil.example", "", "", ErrHostName},
		{"R03 wildcard", "*.example.com", "", "", ErrHostName},
		{"R03 letters that fold to ASCII", "wi\u212Ai.example.com", "", "", ErrHostName},
		{"R03 full stop beyond ASCII", "wiki\u3002example.com", "", "", ErrHostName},
		{"empty port", "wiki.example.com:", "", "", ErrHostPort},
		{"port zero", "wiki.example.com:0", "", "", ErrHostPort},
		{"port with zeros", "wiki.example.com:0443", "", "", ErrHostPort},
		{"port with a sign", "wiki.example.com:+443", "", "", ErrHostPort},
		{"port too large", "wiki.example.com:65536", "", "", ErrHostPort},
		{"port in letters", "wiki.example.com:https", "", "", ErrHostPort},
		{"two ports", "wiki.example.com:443:443", "", "", ErrHostPort},
		{"short IPv4", "127.1", "", "", ErrHostName},
		{"IPv4 as one number", "2130706433", "", "", ErrHostName},
		{"hexadecimal IPv4", "0x7f.0.0.0x1", "", "", ErrHostName},
		{"octal IPv4", "0177.0.0.1", "", "", ErrHostName},
		{"number at the end", "example.com.1", "", "", ErrHostName},
		{"IPv6 without brackets", "2001:db8::1", "", "", ErrHostPort},
		{"IPv6 not closed", "[::1", "", "", ErrHostName},
		{"IPv6 with a zone", "[fe80::1%25eth0]", "", "", ErrHostName},
		{"IPv4 in brackets", "[127.0.0.1]", "", "", ErrHostName},
		{"name in brackets", "[wiki.example.com]", "", "", ErrHostName},
		{"name behind brackets", "[::1]evil.example", "", "", ErrHostPort},
		{"overlong label", strings.Repeat("a", 64) + ".example", "", "", ErrHostName},
		{"overlong name", strings.Repeat("a.", 127) + "aa", "", "", ErrHostName},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			name, port, err := Host(test.host)
			if name != test.wantName || port != test.wantPort || !errors.Is(err, test.wantErr) {
				t.Errorf("Host(%q) = %q, %q, %v; want %q, %q, %v",
					test.host, name, port, err, test.wantName, test.wantPort, test.wantErr)
			}
		})
	}
}

func FuzzHost(f *testing.F) {
	for _, host := range []string{"a.example:443", "[::1]:80", "A.", "127.0.0.1", "x@y", "[::ffff:1.2.3.4]"} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		name, port, err := Host(host)
		if err != nil {
			if name != "" || port != "" {
				t.Fatalf("%q is refused and yields %q, %q", host, name, port)
			}
			return
		}
		joined := name
		if strings.Contains(name, ":") {
			joined = "[" + name + "]"
		}
		if port != "" {
			joined += ":" + port
		}
		again, againPort, err := Host(joined)
		if err != nil || again != name || againPort != port {
			t.Fatalf("%q is %q, %q, which is %q, %q, %v", host, name, port, again, againPort, err)
		}
	})
}

func TestHostAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		if _, _, err := Host("wiki.example.com:8443"); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
