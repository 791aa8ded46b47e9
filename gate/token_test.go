package gate

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/accesstoken"
	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/store/sqlite"
	"github.com/portcullis-mfa/portcullis/token"
)

// tokenGate is a gate over a real store with tokens. Their time is the clock's.
type tokenGate struct {
	*testGate
	db *sqlite.DB
}

// newTokenGate returns a gate that lets services in, whatever it asks of people.
func newTokenGate(t *testing.T, rules ...Rule) tokenGate {
	t.Helper()
	if rules == nil {
		rules = []Rule{{
			Allows:  func(u session.User) bool { return slices.Contains(u.Groups, "machines") || u.Name == "alice" },
			Require: assurance.Requirement{Level: assurance.PhishingResistant}, ServiceTokens: true,
		}}
	}
	g := newTestGate(t, rules...)
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	keeper := session.NewKeeper(db, time.Now, zap.NewNop().Warn)
	stop := db.Follow(keeper)
	t.Cleanup(func() {
		stop()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	g.SignOns, g.MaxStaleness, g.Clock = keeper, time.Minute, time.Now
	return tokenGate{g, db}
}

// counting is randomness that differs from one token to the next.
var counting = &counter{}

// add makes a service token of a name for a scope.
func (g tokenGate) add(t *testing.T, name string, scope accesstoken.Scope, groups ...string) string {
	t.Helper()
	return g.create(t, accesstoken.Service, store.AccessToken{Name: name, Groups: groups}, scope)
}

// addPersonal makes an app password of a user.
func (g tokenGate) addPersonal(t *testing.T, userID string, scope accesstoken.Scope) string {
	t.Helper()
	return g.create(t, accesstoken.Personal, store.AccessToken{Name: "Kalender fürs Büro", UserID: userID}, scope)
}

// create makes a token that works for two hours.
func (g tokenGate) create(t *testing.T, kind accesstoken.Kind, row store.AccessToken, scope accesstoken.Scope) string {
	t.Helper()
	if scope.Hosts == nil {
		scope.Hosts = []string{"app.example.com"}
	}
	written, err := json.Marshal(scope)
	if err != nil {
		t.Fatal(err)
	}
	secret, selector, err := accesstoken.New(counting, kind)
	if err != nil {
		t.Fatal(err)
	}
	row.ID, row.Selector, row.Hash, row.Scope = cmp.Or(row.UserID, row.Name), selector, token.Hash(secret), written
	row.Created, row.Expires = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if err := g.db.CreateAccessToken(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	return secret
}

func basic(name, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

// byProgram makes a request as programs do, with headers NAME: VALUE.
func byProgram(target string, headers ...string) *http.Request {
	r := navigate(target)
	r.Header.Set("Accept", "*/*")
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Add(name, value)
	}
	return r
}

// A program without a credential is asked for one, and nothing that a browser might show
// a dialog for.
func TestBasicChallenge(t *testing.T) {
	withTokens := Rule{ServiceTokens: true, Require: assurance.Requirement{Level: assurance.Multi}}
	g := newTokenGate(t, Rule{Match: func(r *http.Request) (bool, error) { return r.URL.Path == "/people", nil }, Require: withTokens.Require}, withTokens)
	g.Basic = true
	const asked = `Basic realm="app.example.com", charset="UTF-8"`
	for _, tt := range []struct {
		what, target string
		headers      []string
		want         string
	}{
		{"a program", "/info/refs", nil, asked},
		{"a program with a token that doesn't count", "/info/refs", []string{"Authorization: " + basic("x", "pct_s_x")}, asked},
		{"a program with the app's own credential", "/info/refs", []string{"Authorization: Basic eDp5"}, asked},
		{"where no token counts", "/people", nil, ""},
		{"a browser's script", "/info/refs", []string{"Sec-Fetch-Site: same-origin"}, ""},
		{"a browser's script, in part", "/info/refs", []string{"Sec-Fetch-Mode: cors"}, ""},
		{"a script of another origin", "/info/refs", []string{"Origin: https://other.example"}, ""},
		{"an old library in a page", "/info/refs", []string{"X-Requested-With: XMLHttpRequest"}, ""},
		{"somebody who has been here", "/info/refs", []string{"Cookie: __Host-mfa-last=x"}, ""},
		{"somebody whose session ended", "/info/refs", []string{"Cookie: __Host-mfa=x"}, ""},
	} {
		o := g.serve(byProgram(tt.target, tt.headers...))
		if got := o.Header().Get("WWW-Authenticate"); o.Code != http.StatusUnauthorized || got != tt.want {
			t.Errorf("%s: status %d, asked for %q, want %q", tt.what, o.Code, got, tt.want)
		}
	}
	g.Basic = false
	if got := g.serve(byProgram("/info/refs")).Header().Get("WWW-Authenticate"); got != "" {
		t.Errorf("by default, a program is asked for %q", got)
	}
}

// A01: what a program brings is taken for one of ours or not, and then decides
// alone.
func TestA01Credentials(t *testing.T) {
	g := newTokenGate(t)
	ci := g.add(t, "ci", accesstoken.Scope{}, "machines")
	wrong := ci[:len(ci)-1] + string(ci[len(ci)-1]^1)
	const asBrowser = "Sec-Fetch-Site: cross-site"
	for _, tt := range []struct {
		what    string
		headers []string
		status  int
		kept    string // of Authorization, by the app
	}{
		{"a Bearer value", []string{"Authorization: Bearer " + ci}, 200, ""},
		{"in another case", []string{"Authorization: bEARER  " + ci + " "}, 200, ""},
		{"after a tab", []string{"Authorization: Bearer\t" + ci}, 200, ""},
		{"after several spaces", []string{"Authorization: \tBEARER \t " + ci + "\t"}, 200, ""},
		{"a password", []string{"Authorization: " + basic("anybody", ci)}, 200, ""},
		{"a password after a tab", []string{"Authorization: " + strings.Replace(basic("anybody", ci), " ", "\t", 1)}, 200, ""},
		{"for a proxy", []string{"Proxy-Authorization: Bearer " + ci, "Authorization: Bearer of-the-app"}, 200, "Bearer of-the-app"},
		{"beside garbage", []string{"Authorization: Bearer " + ci, "Cookie: __Host-mfa=garbage"}, 200, ""},
		{"none", nil, 401, ""},
		{"of the app's own", []string{"Authorization: Bearer of-the-app"}, 401, ""},
		{"malformed", []string{"Authorization: Bearer pct_s_x"}, 401, ""},
		{"a wrong checksum", []string{"Authorization: Bearer " + wrong}, 401, ""},
		{"as a name", []string{"Authorization: " + basic(ci, "x")}, 401, ""},
		{"a password for a proxy", []string{"Proxy-Authorization: " + basic("x", ci)}, 401, ""},
		{"after a space of Unicode", []string{"Authorization: Bearer\u00a0" + ci}, 401, ""},
		{"after a space of Latin-1", []string{"Authorization: Bearer\xa0" + ci}, 401, ""},
		{"after another scheme", []string{"Authorization: token " + ci}, 401, ""},
		{"without a scheme", []string{"Authorization: " + ci}, 401, ""},
		{"two", []string{"Authorization: Bearer " + ci, "Proxy-Authorization: Bearer " + ci}, 400, ""},
		{"two lines", []string{"Authorization: Bearer " + ci, "Authorization: Basic eDp5"}, 400, ""},
		{"a password that a browser sends", []string{"Authorization: " + basic("x", ci), asBrowser}, 401, ""},
	} {
		o := g.serve(byProgram("/x", tt.headers...))
		if o.Code != tt.status || o.passed != (tt.status == 200) {
			t.Errorf("%s: %d %s", tt.what, o.Code, o.Body)
		}
		if o.passed && (o.seen.Header.Get("Authorization") != tt.kept || o.seen.Header["Proxy-Authorization"] != nil ||
			o.seen.Header.Get("Remote-User") != "ci@token" || o.seen.Header.Get(ProgramHeader) != "ci" || o.seen.Header.Get("Remote-Groups") != "machines") {
			t.Errorf("%s: the app saw %v", tt.what, o.seen.Header)
		}
	}
}

// A01: a token that doesn't count is never made up for by a session beside it, and
// its holder is never sent to sign in.
func TestA01RefusedTokens(t *testing.T) {
	g := newTokenGate(t)
	only := func(scope accesstoken.Scope, groups ...string) string {
		return g.add(t, token.Hash(time.Now().String())[:8], scope, groups...)
	}
	revoked := g.add(t, "revoked", accesstoken.Scope{}, "machines")
	if err := g.db.RevokeAccessToken(t.Context(), "revoked", time.Now()); err != nil {
		t.Fatal(err)
	}
	unknown, _, err := accesstoken.New(counting, accesstoken.Service)
	if err != nil {
		t.Fatal(err)
	}
	whole := only(accesstoken.Scope{}, "machines")
	forged, _, _ := accesstoken.New(counting, accesstoken.Service)
	for what, tt := range map[string]struct {
		token, target, method string
		status                int
	}{
		"that counts":              {whole, "/x", "GET", 200},
		"revoked":                  {revoked, "/x", "GET", 401},
		"unknown":                  {unknown, "/x", "GET", 401},
		"never made":               {forged, "/x", "GET", 401},
		"of another host":          {only(accesstoken.Scope{Hosts: []string{"other.example.com"}}, "machines"), "/x", "GET", 401},
		"in no group":              {only(accesstoken.Scope{}), "/x", "GET", 403},
		"of another path":          {only(accesstoken.Scope{Paths: []string{"/api"}}, "machines"), "/apix", "GET", 403},
		"of its path":              {only(accesstoken.Scope{Paths: []string{"/api"}}, "machines"), "/api/x", "GET", 200},
		"in two readings":          {only(accesstoken.Scope{Paths: []string{"/api"}}, "machines"), "/api/..;/x", "GET", 400},
		"of another method":        {only(accesstoken.Scope{Methods: []string{"GET"}}, "machines"), "/x", "DELETE", 403},
		"of another network":       {only(accesstoken.Scope{From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, "machines"), "/x", "GET", 403},
		"of its network":           {only(accesstoken.Scope{From: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, "machines"), "/x", "GET", 200},
		"in the query":             {whole, "/x?token=" + whole, "GET", 400},
		"in the query, escaped":    {whole, "/x?token=" + strings.Replace(whole, "_", "%5f", 1), "GET", 400},
		"another's, in the query":  {whole, "/x?q=pct_s_abc", "GET", 200},
		"at the gate's own routes": {whole, "/.mfa/whoami", "GET", 401},
	} {
		r := byProgram(tt.target, "Authorization: Bearer "+tt.token)
		r.Method = tt.method
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		r.Header.Set("Sec-Fetch-Dest", "document")
		o := g.serve(r)
		if o.Code != tt.status || o.passed != (tt.status == 200) || o.Header().Get("Location") != "" || len(o.Header()["Set-Cookie"]) > 0 {
			t.Errorf("%s: %d, %v", what, o.Code, o.Header())
		}
		if strings.Contains(o.Body.String(), tt.token) {
			t.Errorf("%s: the answer holds the token", what)
		}
	}
}

// A01: a token in an address is refused, told of, and not passed on to what the answer
// loads, whose Referer would be logged.
func TestA01TokensInAddresses(t *testing.T) {
	open := Rule{Match: func(r *http.Request) (bool, error) { return r.URL.Path == "/open", nil }, Open: true}
	g := newTokenGate(t, open, Rule{Allows: func(session.User) bool { return true }, ServiceTokens: true})
	ci := g.add(t, "ci", accesstoken.Scope{})
	madeUp, _, err := accesstoken.New(counting, accesstoken.Personal)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ what, target, referrer string }{
		{"of a token that works", "/x?token=" + ci, ""},
		{"on an open path", "/open?a=b&token=" + ci, ""},
		{"of the page before", "/x", "https://app.example.com/x?token=" + ci},
		{"of a page elsewhere", "/x", "https://other.example/%70ct_" + ci[len("pct_"):]},
		{"of one that nobody has", "/x?" + madeUp, ""},
	} {
		r := byProgram(tt.target, "Authorization: Bearer "+ci)
		if tt.referrer != "" {
			r.Header.Set("Referer", tt.referrer)
		}
		o := g.serve(r)
		o.expectStopped(t, http.StatusBadRequest)
		if policy := o.Header().Get("Referrer-Policy"); policy != "no-referrer" && tt.referrer == "" {
			t.Errorf("%s: the policy is %q", tt.what, policy)
		}
	}
	g.serve(byProgram("/x", "Authorization: Bearer "+ci, "Referer: https://app.example.com/x?token=pct_s_x")).expectPassed(t)
	var told []string
	for _, e := range g.audited.FilterMessage("token.refused").All() {
		told = append(told, fmt.Sprint(e.ContextMap()["token"], e.ContextMap()["reason"]))
	}
	if want := []string{"ciaddress", "<nil>address"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

// A01: a token for some methods opens no others to requests that ask for an upgrade.
func TestA01Upgrades(t *testing.T) {
	g := newTokenGate(t)
	streams := g.add(t, "streams", accesstoken.Scope{Methods: []string{"GET", accesstoken.Upgrade}}, "machines")
	for _, tt := range []struct {
		what, method string
		headers      []string
		status       int
	}{
		{"a handshake", "GET", []string{"Connection: Upgrade", "Upgrade: websocket"}, 200},
		{"another method", "DELETE", nil, 403},
		{"another method that upgrades", "DELETE", []string{"Connection: Upgrade", "Upgrade: websocket"}, 403},
		{"another method that isn't said to upgrade", "DELETE", []string{"Upgrade: websocket"}, 403},
		{"another method in a header", "GET", []string{"Connection: Upgrade", "Upgrade: x", "X-Http-Method-Override: DELETE"}, 403},
	} {
		r := byProgram("/x", append(tt.headers, "Authorization: Bearer "+streams)...)
		r.Method = tt.method
		if o := g.serve(r); o.Code != tt.status || o.passed != (tt.status == 200) {
			t.Errorf("%s: %d %s", tt.what, o.Code, o.Body)
		}
	}
}

// TestTokensWhereTheyAreOff removes them there too, looks none up, and leaves it to
// the session.
func TestTokensWhereTheyAreOff(t *testing.T) {
	open := Rule{Match: func(r *http.Request) (bool, error) { return r.URL.Path == "/open", nil }, Open: true}
	g := newTokenGate(t, open, restOf())
	ci := g.add(t, "ci", accesstoken.Scope{}, "machines")
	g.SignOns = fakeSignOns{g.testGate} // which knows no tokens
	for target, cookie := range map[string]string{"/open": "", "/x": cookieGood} {
		o := g.serve(byProgram(target, "Authorization: Bearer "+ci), cookie)
		if o.expectPassed(t); o.passed && o.seen.Header["Authorization"] != nil {
			t.Errorf("%s: the app saw the token", target)
		}
	}
	g.serve(byProgram("/x", "Authorization: Bearer "+ci)).expectStopped(t, http.StatusUnauthorized)
}

// S04: what came with a token ends when it is revoked, or suspended.
func TestS04StreamsEndWithTheirToken(t *testing.T) {
	for what, end := range map[string]func(*sqlite.DB) error{
		"revoked":   func(db *sqlite.DB) error { return db.RevokeAccessToken(t.Context(), "ci", time.Now()) },
		"suspended": func(db *sqlite.DB) error { return db.Renew(t.Context(), db.Incarnation()) },
	} {
		t.Run(what, func(t *testing.T) {
			g := newTokenGate(t)
			ci := g.add(t, "ci", accesstoken.Scope{}, "machines")
			s := g.stream(t, byProgram("/x", "Authorization: Bearer "+ci))
			if err := end(g.db); err != nil {
				t.Fatal(err)
			}
			select {
			case <-s.ended:
			case <-time.After(20 * time.Second):
				t.Error("it goes on")
			}
			g.serve(byProgram("/x", "Authorization: Bearer "+ci)).expectStopped(t, http.StatusUnauthorized)
		})
	}
}

// A01: no app gets a token, however the header is written in which it could find one.
func TestA01TokensInOddHeaders(t *testing.T) {
	const ci = "pct_s_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZa2AMqFI"
	inBase64 := strings.TrimPrefix(basic("x", ci), "Basic ")
	for line, want := range map[string]string{
		"Bearer\t" + ci: ci, "bearer \t " + ci + "\t": ci, "\tBearer " + ci: ci,
		"Basic\t" + inBase64: ci, "bAsIc  " + inBase64 + " ": ci, "Basic " + strings.TrimRight(inBase64, "="): ci,

		"Bearer\u00a0" + ci: noToken, "Bearer\xa0" + ci: noToken, "Bearer\x85" + ci: noToken, "Bearer\u2003" + ci: noToken, "Bearer \ufeff" + ci: noToken,
		"Bearer\u00a0pct_s_x": noToken, "Bearer \u3000pct_p_x": noToken,
		"Bearer: " + ci: noToken, "Bearer=" + ci: noToken, `Bearer "` + ci + `"`: noToken, "Bearer token=" + ci: noToken, "Bearer x, " + ci: noToken,
		"Bearer Bearer " + ci: noToken, "Bearer," + ci: noToken, "Bearer" + ci: noToken, "Bearer x" + ci: noToken,
		ci: noToken, "token " + ci: noToken, "Digest username=\"" + ci + "\"": noToken, "Basic " + inBase64 + ", Bearer " + ci: noToken,
		basic(ci, ""): noToken, basic("x:y", ci): noToken, basic("x", " "+ci): noToken, basic("x", "pct_s_x,"): "pct_s_x,",
		"Basic " + inBase64[:8] + "!" + inBase64[8:]: noToken, "Basic\u00a0" + inBase64: noToken, "Basic=" + inBase64: noToken,
		"Basic " + inBase64[:8] + " " + inBase64[8:]: noToken, "Basic " + base64.URLEncoding.EncodeToString([]byte("\xff\xfe\xff:"+ci)): noToken,

		"": "", "Bearer": "", "Bearer ": "", "Bearer of-the-app": "", "Bearer xpct_s_x": "", "Bearer pct_x_y": "", "Basic": "", "Basic !": "",
		basic("alice", "a password"): "", basic("alice", "xpct_s_x"): "", "Negotiate " + inBase64: "",
	} {
		if got, _ := tokenIn(line); got != want {
			t.Errorf("%q holds %q, not %q", line, got, want)
		}
	}
}

// appPasswords are a rule's, of the people in a group.
func appPasswords(group string, longest time.Duration) *AppPasswords {
	return &AppPasswords{Allows: func(u session.User) bool { return slices.Contains(u.Groups, group) }, Longest: longest}
}

// A01: an app password opens what its scope, the rule and the gate's list of people all
// allow its owner, as they are now.
func TestA01AppPasswords(t *testing.T) {
	staff := func(u session.User) bool { return slices.Contains(u.Groups, "staff") }
	below := func(prefix string) func(*http.Request) (bool, error) {
		return func(r *http.Request) (bool, error) { return strings.HasPrefix(r.URL.Path, prefix), nil }
	}
	g := newTokenGate(t,
		Rule{Match: below("/services"), Allows: staff, ServiceTokens: true},
		Rule{Match: below("/young"), Allows: staff, AppPasswords: appPasswords("davers", 59*time.Minute)},
		Rule{Match: below("/aging"), Allows: staff, AppPasswords: appPasswords("davers", 61*time.Minute)},
		Rule{Match: below("/open"), Open: true},
		Rule{Allows: staff, Require: assurance.Requirement{Level: assurance.PhishingResistant}, AppPasswords: appPasswords("davers", 24*time.Hour)},
	)
	users := map[string]*store.User{
		"alice": {Groups: []string{"staff", "davers"}, Status: store.UserActive},
		"bob":   {Groups: []string{"staff"}, Status: store.UserActive},
		"carol": {Groups: []string{"davers"}, Status: store.UserActive},
		"dave":  {Groups: []string{"staff", "davers"}, Status: store.UserDisabled},
	}
	secrets := make(map[string]string)
	for name, u := range users {
		u.ID, u.Name = name, name
		if err := g.db.CreateUser(t.Context(), *u); err != nil {
			t.Fatal(err)
		}
		secrets[name] = g.addPersonal(t, name, accesstoken.Scope{})
	}
	ci := g.add(t, "ci", accesstoken.Scope{}, "staff", "davers")
	for _, tt := range []struct {
		what, secret, target string
		status               int
	}{
		{"within all", secrets["alice"], "/x", 200},
		{"of somebody who isn't named", secrets["bob"], "/x", 403},
		{"of somebody whom the rule doesn't allow", secrets["carol"], "/x", 403},
		{"of somebody disabled", secrets["dave"], "/x", 401},
		{"where only services pass", secrets["alice"], "/services", 401},
		{"older than the rule allows", secrets["alice"], "/young", 401},
		{"not so old", secrets["alice"], "/aging", 200},
		{"a service's where only people's programs pass", ci, "/x", 401},
		{"a service's where services pass", ci, "/services", 200},
	} {
		o := g.serve(byProgram(tt.target, "Authorization: "+basic("whoever", tt.secret)))
		if o.Code != tt.status || o.passed != (tt.status == 200) || o.Header().Get("Location") != "" {
			t.Errorf("%s: %d %s", tt.what, o.Code, o.Body)
		}
		if o.passed && tt.secret != ci {
			h := o.seen.Header
			if h.Get("Remote-User") != "alice" || h.Get("Remote-Groups") != "staff,davers" || h.Get(ProgramHeader) != "Kalender f%C3%BCrs B%C3%BCro" || h["Authorization"] != nil {
				t.Errorf("%s: the app saw %v", tt.what, h)
			}
		}
	}
	if limits, ok := g.AppPasswords(session.User{Groups: []string{"staff", "davers"}}); !ok || limits.Longest != 24*time.Hour {
		t.Errorf("%+v, %t", limits, ok)
	}
	if _, ok := g.AppPasswords(session.User{Groups: []string{"staff"}}); ok {
		t.Error("app passwords are offered to somebody who isn't named")
	}
}

// S04: what an app password has opened ends when the app password is older than the rule
// allows, whatever was promised when it was made.
func TestS04StreamsEndWithTheAgeThatARuleAllows(t *testing.T) {
	g := newTokenGate(t, Rule{
		Allows:       func(session.User) bool { return true },
		AppPasswords: &AppPasswords{Allows: func(session.User) bool { return true }, Longest: 61 * time.Minute},
	})
	if err := g.db.CreateUser(t.Context(), store.User{ID: "alice", Name: "alice", Status: store.UserActive}); err != nil {
		t.Fatal(err)
	}
	r := &request{Request: byProgram("/x"), gate: g.Gate, host: "app.example.com", handed: g.addPersonal(t, "alice", accesstoken.Scope{})}
	c, err := tokenReader{g.Gate}.read(r, &g.Rules[0])
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(c.anchor.Until()); left > time.Minute {
		t.Errorf("the stream may go on for %v", left)
	}
}

// S04: what came with an app password ends with it, and with what its owner may do.
func TestS04StreamsEndWithTheirOwner(t *testing.T) {
	for what, end := range map[string]func(*sqlite.DB) error{
		"revoked": func(db *sqlite.DB) error { return db.RevokeAccessToken(t.Context(), "alice", time.Now()) },
		"deleted": func(db *sqlite.DB) error { return db.DeleteUser(t.Context(), "alice") },
		"disabled": func(db *sqlite.DB) error {
			return db.UpdateUser(t.Context(), store.User{ID: "alice", Name: "alice", Groups: []string{"staff", "davers"}, Status: store.UserDisabled, Version: 1})
		},
		"out of the rule's group": func(db *sqlite.DB) error {
			return db.UpdateUser(t.Context(), store.User{ID: "alice", Name: "alice", Groups: []string{"davers"}, Status: store.UserActive, Version: 1})
		},
		"out of the group that may": func(db *sqlite.DB) error {
			return db.UpdateUser(t.Context(), store.User{ID: "alice", Name: "alice", Groups: []string{"staff"}, Status: store.UserActive, Version: 1})
		},
	} {
		t.Run(what, func(t *testing.T) {
			g := newTokenGate(t, Rule{
				Allows:       func(u session.User) bool { return slices.Contains(u.Groups, "staff") },
				AppPasswords: appPasswords("davers", 24*time.Hour),
			})
			if err := g.db.CreateUser(t.Context(), store.User{ID: "alice", Name: "alice", Groups: []string{"staff", "davers"}, Status: store.UserActive}); err != nil {
				t.Fatal(err)
			}
			secret := g.addPersonal(t, "alice", accesstoken.Scope{})
			s := g.stream(t, byProgram("/x", "Authorization: Bearer "+secret))
			if err := end(g.db); err != nil {
				t.Fatal(err)
			}
			select {
			case <-s.ended:
			case <-time.After(20 * time.Second):
				t.Error("it goes on")
			}
		})
	}
}

// TestTokenEvents tells of the first use once, and of refusals once an hour for each
// token.
func TestTokenEvents(t *testing.T) {
	g := newTokenGate(t)
	now := time.Now()
	g.Clock = func() time.Time { return now }
	ci := g.add(t, "ci", accesstoken.Scope{Paths: []string{"/x"}}, "machines")
	elsewhere := g.add(t, "elsewhere", accesstoken.Scope{Hosts: []string{"other.example.com"}}, "machines")
	madeUp, _, err := accesstoken.New(counting, accesstoken.Service)
	if err != nil {
		t.Fatal(err)
	}
	send := func() {
		for _, secret := range []string{ci, elsewhere, madeUp, "pct_s_x"} {
			g.serve(byProgram("/x", "Authorization: Bearer "+secret))
		}
		g.serve(byProgram("/x?t=" + ci)) // which doesn't hide what follows
		g.serve(byProgram("/y", "Authorization: Bearer "+ci))
	}
	send()
	send()
	now = now.Add(59 * time.Minute)
	send()
	told := func() (lines []string) {
		for _, e := range g.audited.All() {
			fields := e.ContextMap()
			lines = append(lines, fmt.Sprint(e.Message, fields["token"], fields["reason"]))
		}
		return lines
	}
	first := []string{"token.usedci<nil>", "token.refusedelsewherehost", "token.refused<nil>unknown", "token.refusedciaddress", "token.refusedcioutside"}
	if lines := told(); !slices.Equal(lines, first) {
		t.Errorf("told %q", lines)
	}
	now = now.Add(2 * time.Minute)
	send()
	if lines := told(); !slices.Equal(lines, append(first, first[1:]...)) {
		t.Errorf("an hour later, told %q", lines)
	}
}

// An app password that turns up in a new network is told of once, its first network not
// at all, and a service's token never.
func TestTokenMoves(t *testing.T) {
	g := newTokenGate(t, Rule{
		Allows: func(session.User) bool { return true }, ServiceTokens: true,
		AppPasswords: &AppPasswords{Allows: func(session.User) bool { return true }, Longest: 24 * time.Hour},
	})
	address := ""
	g.Address = func(*http.Request) string { return address }
	if err := g.db.CreateUser(t.Context(), store.User{ID: "alice", Name: "alice", Status: store.UserActive}); err != nil {
		t.Fatal(err)
	}
	secrets := []string{g.addPersonal(t, "alice", accesstoken.Scope{}), g.add(t, "ci", accesstoken.Scope{})}
	for _, at := range []string{"192.0.2.7", "192.0.200.7", "2001:db8:1::1", "2001:db8:2::1", "192.0.2.7", "not an address", "10.0.0.1", "192.0.2.8"} {
		address = at
		for _, secret := range secrets {
			if o := g.serve(byProgram("/x", "Authorization: Bearer "+secret)); o.Code != http.StatusOK {
				t.Fatalf("from %s: status %d", at, o.Code)
			}
		}
	}
	var told []string
	for _, e := range g.audited.FilterMessage("token.moved").All() {
		told = append(told, fmt.Sprint(e.ContextMap()["token"], " at ", e.ContextMap()["address"]))
	}
	if want := []string{"Kalender fürs Büro at 2001:db8:1::1", "Kalender fürs Büro at 10.0.0.1"}; !slices.Equal(told, want) {
		t.Errorf("told of %q, want %q", told, want)
	}
}

// An app that refuses a program itself is told of once an hour for each token.
func TestAppsThatWantTheirOwnCredentials(t *testing.T) {
	g := newTokenGate(t)
	now := time.Now()
	g.Clock = func() time.Time { return now }
	ci := g.add(t, "ci", accesstoken.Scope{}, "machines")
	app := func(w http.ResponseWriter, r *http.Request, _ *Visitor) error {
		if r.URL.Path == "/v2/" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		return nil
	}
	send := func(path string, want int) {
		t.Helper()
		if err := g.ServeHTTP(recorder(), byProgram(path, "Authorization: Bearer "+ci), app); err != nil {
			t.Fatal(err)
		}
		if told := g.audited.FilterMessage("token.app_refused").Len(); told != want {
			t.Errorf("after %s, told %d times, want %d", path, told, want)
		}
	}
	send("/", 0)
	send("/v2/", 1)
	send("/v2/", 1)
	now = now.Add(61 * time.Minute)
	send("/v2/", 2)
}

// FuzzTokenIn holds that what is taken out of a header is meant to be one of ours.
func FuzzTokenIn(f *testing.F) {
	f.Add("Bearer pct_s_x")
	f.Add(basic("x", "pct_p_x"))
	f.Fuzz(func(t *testing.T, line string) {
		found, _ := tokenIn(line)
		if found != "" && found != noToken && !accesstoken.IsOurs(found) || found == "" && accesstoken.Find(line) != "" {
			t.Errorf("%q holds %q", line, found)
		}
	})
}
