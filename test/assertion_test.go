package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

const assertionHeader = "X-Mfa-Assertion"

// assertionCaddyfile has apps that are told by an assertion who asks, one that
// is content with a password, and one that isn't told so.
const assertionCaddyfile = `
{
	mfa {
		portal http://login.localhost:{{.Port "web"}}
		admins group admins
	}
}

http://login.localhost:{{.Port "web"}} {
	mfa_portal
}

http://app.localhost:{{.Port "web"}} {
	log
	mfa {
		open /open
		assertion
	}
	reverse_proxy {{.Vars.app}}
}

http://admin.localhost:{{.Port "web"}} {
	log
	mfa {
		assertion
	}
	reverse_proxy {{.Vars.admin}}
}

http://solo.localhost:{{.Port "web"}} {
	log
	mfa {
		assurance single
		assertion
	}
	reverse_proxy {{.Vars.app}}
}

http://plain.localhost:{{.Port "web"}} {
	log
	mfa {
		open /open
	}
	reverse_proxy {{.Vars.app}}
}
`

// assertion is what an app reads in one.
type assertion struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	Subject  string `json:"sub"`
	Issued   int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	Username string `json:"preferred_username"`
	Name     string
	Email    string
	Groups   []string
	Methods  []string `json:"amr"`
	Level    string   `json:"acr"`
	AuthTime int64    `json:"auth_time"`
}

// verifier reads a token and the keys, and writes what the token says: Node's
// own cryptography, which has nothing in common with ours.
const verifier = `
const {createPublicKey, verify} = require("crypto");
const {jwks, token} = JSON.parse(require("fs").readFileSync(0));
const [head, body, signature] = token.split(".");
const {alg, typ, kid} = JSON.parse(Buffer.from(head, "base64url"));
const keys = JSON.parse(jwks).keys;
const key = keys.find(k => k.kid === kid);
if (alg !== "ES256" || typ !== "JWT") throw Error("algorithm " + alg + " of " + typ);
if (!key || key.kty !== "EC" || key.crv !== "P-256" || key.alg !== "ES256" || key.use !== "sig") throw Error("no key " + kid + " in " + jwks);
if (keys.some(k => "d" in k)) throw Error("a private key is published");
const ok = verify("sha256", Buffer.from(head + "." + body),
	{key: createPublicKey({key, format: "jwk"}), dsaEncoding: "ieee-p1363"}, Buffer.from(signature, "base64url"));
if (!ok) throw Error("the signature is wrong");
process.stdout.write(Buffer.from(body, "base64url"));
`

// verified returns what a token says, as an app does that reads the keys at the
// portal.
func verified(s *scene.Scene, token string) (said assertion, err error) {
	page, err := s.Client().Send(harness.Request{URL: s.At("login", "/.well-known/jwks.json"), Header: http.Header{"Accept": {"*/*"}}})
	if err != nil {
		return said, err
	}
	if kind := page.Header.Get("Content-Type"); page.Status != http.StatusOK || kind != "application/jwk-set+json" {
		return said, fmt.Errorf("the keys: %d %s", page.Status, kind)
	}
	input, err := json.Marshal(map[string]string{"jwks": page.Body, "token": token})
	if err != nil {
		return said, err
	}
	command := exec.Command("node", "-e", verifier)
	command.Stdin = strings.NewReader(string(input))
	output, err := command.Output()
	if err != nil {
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			err = fmt.Errorf("node: %w: %s", err, exit.Stderr)
		}
		return said, err
	}
	return said, json.Unmarshal(output, &said)
}

func TestAssertions(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	s := scene.Start(t, scene.Options{Settled: 1, Caddyfile: assertionCaddyfile})
	began := time.Now().Unix()
	ada := s.Administrator("ada")
	bob := s.SetUp("bob", s.Link("mfa", "user", "add", "bob", "--json", "--email", "Bob@Example.com", "--group", "staff", "--group", "a b"))
	expectDone(t, s, "mfa", "user", "set", "bob", "--name", "Bob Ö")

	// token is what an app is given when somebody opens it.
	token := func(t *testing.T, browser *harness.Client, host string) string {
		t.Helper()
		recorder := s.App
		if host == "admin" {
			recorder = s.Admin
		}
		recorder.Reset()
		landed(t, browser.Visit(s.At(host, "/page")), s.At(host, "/page"))
		values := recorder.ExpectOne(t).Header.Values(assertionHeader)
		if len(values) != 1 {
			t.Fatalf("%s was told %q", host, values)
		}
		s.Canary(values[0])
		return values[0]
	}
	said := func(t *testing.T, token string) assertion {
		t.Helper()
		said, err := verified(s, token)
		if err != nil {
			t.Fatal(err)
		}
		return said
	}

	t.Run("says who asks, to one app", func(t *testing.T) {
		got := said(t, token(t, bob.Browser, "app"))
		if got.Issuer != s.At("login", "") || got.Audience != s.At("app", "") {
			t.Errorf("of %q, for %q", got.Issuer, got.Audience)
		}
		if got.Username != "bob" || got.Email != "bob@example.com" || got.Name != "Bob Ö" || !slices.Equal(got.Groups, []string{"staff", "a b"}) {
			t.Errorf("it says %+v", got)
		}
		if got.Subject == "" || strings.Contains(got.Subject, "bob") {
			t.Errorf("the subject %q tells the name, which changes", got.Subject)
		}
		if !slices.Equal(slices.Sorted(slices.Values(got.Methods)), []string{"mfa", "otp", "pwd"}) || got.Level != "multi" {
			t.Errorf("amr %q, acr %q", got.Methods, got.Level)
		}
		now := time.Now().Unix()
		if got.AuthTime < began || got.AuthTime > got.Issued || got.Issued > now || got.Expires <= now+30 || got.Expires > got.Issued+300 {
			t.Errorf("at %d: auth_time %d, iat %d, exp %d", now, got.AuthTime, got.Issued, got.Expires)
		}
		other := said(t, token(t, bob.Browser, "admin"))
		if other.Audience != s.At("admin", "") || other.Subject != got.Subject {
			t.Errorf("to another app: %+v", other)
		}
		if somebody := said(t, token(t, ada.Browser, "app")); somebody.Subject == got.Subject || somebody.Username != "ada" || !slices.Equal(somebody.Groups, []string{"admins"}) {
			t.Errorf("of somebody else: %+v", somebody)
		}
	})
	t.Run("is verified", func(t *testing.T) {
		// That what verifies does so.
		good := token(t, bob.Browser, "app")
		parts, others := strings.Split(good, "."), strings.Split(token(t, ada.Browser, "app"), ".")
		for what, forged := range map[string]string{
			"another's signature": parts[0] + "." + parts[1] + "." + others[2],
			"another's claims":    parts[0] + "." + others[1] + "." + parts[2],
			"no signature":        parts[0] + "." + parts[1] + ".",
		} {
			if got, err := verified(s, forged); err == nil {
				t.Errorf("%s: %+v", what, got)
			}
		}
	})
	t.Run("is made once in minutes, and anew for what changes", func(t *testing.T) {
		before := token(t, bob.Browser, "app")
		if again := token(t, bob.Browser, "app"); again != before {
			t.Error("each request is told by another token")
		}
		expectDone(t, s, "mfa", "user", "set", "bob", "--group", "staff", "--email", "")
		after := token(t, bob.Browser, "app")
		if got := said(t, after); !slices.Equal(got.Groups, []string{"staff"}) || got.Email != "" {
			t.Errorf("after a change: %+v", got)
		}
		second := s.Client()
		landed(t, signInByBackupCode(bob, second, s.At("app", "/")), s.At("app", "/"))
		if token(t, second, "app") == after {
			t.Error("another sign-on is told by the same token")
		}
	})
	t.Run("says no more than was shown", func(t *testing.T) {
		browser := s.Client()
		landed(t, bob.ShowPassword(browser, browser.Visit(s.At("solo", "/"))), s.At("solo", "/"))
		if got := said(t, token(t, browser, "solo")); !slices.Equal(got.Methods, []string{"pwd"}) || got.Level != "single" {
			t.Errorf("of a password alone: amr %q, acr %q", got.Methods, got.Level)
		}
	})
	t.Run("H01 H02 can't be sent by a client", func(t *testing.T) { testForgedAssertions(t, s, bob) })
}

// testForgedAssertions sends assertions of the client's own, in every spelling
// that an app could take for ours.
func testForgedAssertions(t *testing.T, s *scene.Scene, p *scene.Person) {
	for _, host := range []string{"app", "plain"} {
		landed(t, p.Browser.Visit(s.At(host, "/")), s.At(host, "/"))
		session := "Cookie: " + sessionCookie + "=" + p.Browser.Cookie(s.At(host, "/"), sessionCookie)
		for _, name := range []string{
			"X-Mfa-Assertion", "x-mfa-assertion", "X-MFA-ASSERTION", "X_Mfa_Assertion", "x_mfa-assertion", "X-Mfa_Assertion",
		} {
			for path, header := range map[string][]string{
				"/":      {session},
				"/again": {session, "Connection: " + name},
				"/twice": {session, name + ": forged2"},
				"/open":  nil,
			} {
				s.App.Reset()
				target := fmt.Sprintf("%s.localhost:%d", host, s.Port("web"))
				response := s.Raw("web").Send(harness.Request1("GET", path, target, "", append(header, name+": forged")...))
				if response.Status == http.StatusBadRequest {
					s.App.ExpectNone(t)
					continue
				}
				var told []string
				for name, values := range s.App.ExpectOne(t).Header {
					if strings.EqualFold(strings.ReplaceAll(name, "_", "-"), assertionHeader) {
						told = append(told, values...)
					}
				}
				wanted := 0
				if host == "app" && path != "/open" {
					wanted = 1
				}
				if len(told) != wanted || slices.ContainsFunc(told, func(value string) bool { return strings.HasPrefix(value, "forged") }) {
					t.Errorf("%s%s with %s: the app was told %q (%d)", host, path, name, told, response.Status)
				}
			}
		}
	}
}
