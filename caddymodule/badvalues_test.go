package caddymodule

import (
	"fmt"
	"strings"
	"testing"
)

// TestBadValuesNameTheLine writes each option with a value that it can't have: the error
// names the file and the line, and says what to write.
func TestBadValuesNameTheLine(t *testing.T) {
	for written, want := range map[string]string{
		"portal login.example.com":                   "write https://login.example.com",
		"portal https://login.example.com/x":         "portal https://login.example.com/x: ",
		"admins bob":                                 "write admins user NAME or admins group NAME",
		"admins user b@d@":                           "A user name can't contain @",
		"store nothing":                              "mfa.stores.nothing",
		"keys":                                       "keys",
		"name a b":                                   "name takes one value",
		"accent blue":                                "accent",
		"session {\nlifetime 1s\n}":                  "write a time from 1m to 90d",
		"session {\nlifetime x\n}":                   "write a time such as 90s, 15m, 12h or 7d",
		"session {\nidle 10h\nlifetime 1h\n}":        "it can't be longer than the lifetime",
		"session {\nremember 400d\n}":                "write a time up to 365d",
		"password {\nhashing_memory 1MiB\n}":         "write 64MiB or more",
		"password {\nhashing_memory x\n}":            "write a size such as 256MiB",
		"max_staleness 1s":                           "write a time from 2s",
		"max_staleness 2h":                           "write a time from 2s",
		"behind_tls_proxy on":                        "behind_tls_proxy takes no value",
		"totp {\nalgorithm md5\n}":                   "write sha1, sha256 or sha512",
		"totp {\ndigits 7\n}":                        "write 6 or 8",
		"totp {\ndigits x\n}":                        "write 6 or 8",
		"totp {\nperiod 5s\n}":                       "write whole seconds from 15s to 2m",
		"totp {\nissuer a:b\n}":                      "it can't contain a colon",
		"totp {\nonly_on amiga\n}":                   "the platforms are",
		"totp {\nonly_on ios\nnot_on ios\n}":         "only_on and not_on can't be combined",
		"fido maybe":                                 "write on or off",
		"fido {\npasswordless maybe\n}":              "write on or off",
		"fido {\nsign_count maybe\n}":                "write strict or lenient",
		"fido {\nrp_id https://example.com\n}":       "write app.example.com",
		"fido {\norigins example.com\n}":             "write https://login.example.com",
		"fido {\nattestation some\n}":                "write none or required",
		"fido {\nattestation required\n}":            "it needs metadata",
		"backup_codes maybe":                         "write on or off",
		"backup_codes {\nnot_on amiga\n}":            "the platforms are",
		"replacement_hold 31d":                       "write a time of up to 30d, or off",
		"replacement_hold x":                         "write a time such as",
		"certificate {\nlifetime 1h\n}":              "it names no CA",
		"certificate {\nca local\n}":                 "that CA issues the sites' certificates",
		"certificate {\nca devices\nlifetime 1m\n}":  "write 1h or more",
		"certificate {\nca devices\nmap email\n}":    "map and crl apply to certificates from your own CA",
		"certificate {\nca devices\nmap nonsense\n}": "map",
		"nonsense":                                   "the options are portal, ",
	} {
		before := "portal https://login.example.com"
		if strings.HasPrefix(written, "portal") {
			before = "keys keys.json"
		}
		_, err := adapt(fmt.Sprintf("{\n\tmfa {\n\t\t%s\n\t\tcontact it@example.com\n%s\n\t}\n}\n", before, written))
		checkNamesLine(t, written, want, 5, err)
	}
}

// TestBadGateValuesNameTheLine does the same for the options of gates.
func TestBadGateValuesNameTheLine(t *testing.T) {
	for written, want := range map[string]string{
		"open *":                         "open * would apply to every request",
		"open":                           "open needs a matcher",
		"rule healthz":                   "isn't a matcher",
		"rule /x {\nassurance device\n}": "write single, multi or phishing_resistant",
		"rule /x {\nnonsense\n}":         "the options are allow,",
		"rule /x {\nmax_age x\n}":        "write a time such as",
		"allow everybody":                "write allow user NAME or allow group NAME",
		"assurance high":                 "write single, multi or phishing_resistant",
		"max_age 0":                      "write a time such as",
		"certificate maybe":              "write accept, require, and password, or off",
		"tokens maybe":                   "write service",
		"headers {\nuser Host\n}":        "Host",
		"headers {\nencoding latin1\n}":  "write percent or utf-8",
		"headers {\ngroups only\n}":      "groups only names no group",
		"hosts a b:x":                    "b:x",
		"idle_ignores *":                 "idle_ignores * would apply to every request",
		"cors_preflight maybe":           "write pass, or leave it out",
		"cookie_same_site strict":        "write lax or none",
		"clear_site_data maybe":          "write user_change or sign_out",
		"assertion on":                   "assertion takes no value",
		"session_notice maybe":           "write on or off",
		"nonsense":                       "the options are open, rule,",
	} {
		_, err := adapt(withPortal(fmt.Sprintf("app.example.com {\n\tmfa {\n%s\n\t}\n}\n", written)))
		checkNamesLine(t, written, want, 11, err)
	}
}

// checkNamesLine wants an error to say something, and to name the line at which an
// option begins, or one of its block.
func checkNamesLine(t *testing.T, written, want string, first int, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%q: accepted", written)
		return
	}
	named := false
	for line := range strings.Count(written, "\n") + 1 {
		named = named || strings.Contains(err.Error(), fmt.Sprintf(", at Caddyfile:%d", first+line))
	}
	if !named || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "http.handlers") {
		t.Errorf("%q: %v", written, err)
	}
}
