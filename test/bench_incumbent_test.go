package test

import (
	"crypto/hmac"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
)

// EnvCaddySecurity names a Caddy with the plugin caddy-security, which then takes
// part in BenchmarkBeside.
const EnvCaddySecurity = "PORTCULLIS_CADDY_SECURITY"

// incumbentKey is known to caddy-security and to the test, which signs the token
// that a sign-in there would have made.
const (
	incumbentKey = "0e2fdcf8-6868-41a7-884b-7308795fc286"

	incumbentCaddyfile = `
{
	order authorize before reverse_proxy
	security {
		authorization policy everybody {
			set auth url https://login.localhost/auth
			crypto key verify ` + incumbentKey + `
			allow roles authp/user
			inject headers with claims
		}
	}
}

http://incumbent.localhost:{{.Port "incumbent"}} {
	authorize with everybody
	reverse_proxy {{.Vars.app}}
}
`
)

// startCaddySecurity starts caddy-security in front of the app. One person is
// signed in there.
func startCaddySecurity(b *testing.B, binary string, vars map[string]string) contestant {
	b.Helper()
	s := harness.Start(b, harness.Options{NoDebugLog: true, Caddyfile: incumbentCaddyfile, Vars: vars, Env: onOneCore, Binary: binary})
	pin(b, s)
	address, cookie := s.Addr("incumbent"), "app-session=0123456789abcdef; access_token="+incumbentToken(b)
	return contestant{
		name: "caddy-security", server: s, address: address, requests: [][]byte{requestOf(b, "incumbent", address, cookie, nil)},
	}
}

// incumbentToken is what caddy-security gives somebody who has signed in.
func incumbentToken(b *testing.B) string {
	b.Helper()
	now := time.Now()
	claims, err := json.Marshal(map[string]any{
		"exp": now.Add(time.Hour).Unix(), "iat": now.Unix(), "nbf": now.Add(-time.Minute).Unix(),
		"iss": "https://login.localhost/auth", "sub": "alice", "email": "alice@example.com", "name": "Alice Example",
		"jti": "TWjjfyzEYVtgAgMVFOvPvxXlxWKkCl8mBQ", "origin": "local", "addr": "127.0.0.1",
		"roles": []string{"authp/user", "engineers", "on-call"},
	})
	if err != nil {
		b.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"HS512","typ":"JWT"}`)) + "." + encode(claims)
	mac := hmac.New(sha512.New, []byte(incumbentKey))
	mac.Write([]byte(signed))
	return signed + "." + encode(mac.Sum(nil))
}
