package gate

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"pgregory.net/rapid"

	"github.com/portcullis-mfa/portcullis/session"
)

// TestHeaderValues tells apps of names beyond ASCII and of many groups (H01).
func TestHeaderValues(t *testing.T) {
	who := session.Profile{
		User:      session.User{Name: "zoë", DisplayName: "Zoë Müller, 100%", Email: "zoë@example.com", Groups: []string{"büro", "app-wiki", "app-git", "staff"}},
		GroupList: "büro,app-wiki,app-git,staff",
	}
	for name, test := range map[string]struct {
		values HeaderValues
		want   [4]string
	}{
		"percent": {HeaderValues{}, [4]string{"zo%C3%AB", "Zo%C3%AB M%C3%BCller, 100%25", "zo%C3%AB@example.com", "b%C3%BCro,app-wiki,app-git,staff"}},
		"utf-8":   {HeaderValues{UTF8: true}, [4]string{who.Name, who.DisplayName, who.Email, who.GroupList}},
		"groups":  {HeaderValues{Groups: []string{"app-*", "büro"}}, [4]string{"zo%C3%AB", "Zo%C3%AB M%C3%BCller, 100%25", "zo%C3%AB@example.com", "b%C3%BCro,app-wiki,app-git"}},
		"none":    {HeaderValues{UTF8: true, Groups: []string{"x*"}}, [4]string{who.Name, who.DisplayName, who.Email, ""}},
	} {
		headers, err := NewIdentityHeaders(HeaderNames{}, test.values)
		if err != nil {
			t.Fatal(err)
		}
		h := http.Header{}
		headers.Set(h, &who, "", new(identityValues))
		if got := [4]string{h.Get("Remote-User"), h.Get("Remote-Name"), h.Get("Remote-Email"), h.Get("Remote-Groups")}; got != test.want {
			t.Errorf("%s: the app gets %q", name, got)
		}
	}
	if len(who.Groups) != 4 || who.Groups[3] != "staff" {
		t.Errorf("the user's groups became %q", who.Groups)
	}
}

// What is encoded is ASCII, no two texts become one, and ordinary names stay as
// they are, without allocating.
func TestPercentEncode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		encoded := percentEncode(text)
		if strings.ContainsFunc(encoded, func(c rune) bool { return c > unicode.MaxASCII || unicode.IsControl(c) }) {
			t.Fatalf("%q is written as %q", text, encoded)
		}
		if decoded, err := url.PathUnescape(encoded); err != nil || decoded != text {
			t.Fatalf("%q is written as %q, which is read as %q, %v", text, encoded, decoded, err)
		}
	})
	if n := testing.AllocsPerRun(100, func() { percentEncode("Alice Example, Jr. <a@b>") }); n != 0 {
		t.Errorf("%v allocations for a name in ASCII", n)
	}
}

func TestMatchesStars(t *testing.T) {
	for _, test := range []struct {
		pattern string
		matches []string
		not     []string
	}{
		{"staff", []string{"staff"}, []string{"Staff", "staff2", ""}},
		{"app-*", []string{"app-", "app-git", "app-a/b"}, []string{"app", "my-app-git"}},
		{"*-admins", []string{"git-admins", "-admins"}, []string{"admins"}},
		{"*", []string{"", "x"}, nil},
		{"a*b*c", []string{"abc", "aXbYc", "abcbc"}, []string{"ab", "acb", "abcd"}},
		{"aa*aa", []string{"aaaa", "aaXaa"}, []string{"aaa"}},
		{"CN=*,x", nil, []string{"CN=a"}},
	} {
		for _, text := range test.matches {
			if !matchesStars(test.pattern, text) {
				t.Errorf("%s doesn't match %q", test.pattern, text)
			}
		}
		for _, text := range test.not {
			if matchesStars(test.pattern, text) {
				t.Errorf("%s matches %q", test.pattern, text)
			}
		}
	}
}

// TestLongHeadersAreWarnedOf warns once an hour, above 4 KiB.
func TestLongHeadersAreWarnedOf(t *testing.T) {
	g := newTestGate(t)
	core, logged := observer.New(zap.WarnLevel)
	g.Logger = zap.New(core)
	warned := func(length int) int {
		r := &request{Request: navigate("/x"), host: "app.example.com"}
		r.identity.values[3] = strings.Repeat("g", length)
		g.warnOfLength(r, "alice", 0)
		return logged.Len()
	}
	if n := warned(4 << 10); n != 0 {
		t.Errorf("warned of 4 KiB")
	}
	if n := warned(4<<10 + 1); n != 1 {
		t.Errorf("%d warnings", n)
	}
	if n := warned(11 << 10); n != 1 {
		t.Errorf("%d warnings in the same hour", n)
	}
	g.now = g.now.Add(time.Hour)
	if n := warned(11 << 10); n != 2 {
		t.Errorf("%d warnings an hour later", n)
	}
	if text := logged.All()[0]; text.ContextMap()["user"] != "alice" || !strings.Contains(text.Message, "groups only PATTERN") {
		t.Errorf("the warning is %v", text)
	}
}
