package fido

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"

	"github.com/portcullis-mfa/portcullis/factors"
)

// TestPlaces holds what keys can be bound to, seen from the portal's origin.
func TestPlaces(t *testing.T) {
	for _, c := range []struct {
		rpID, origin string
		related      []string
		want         string // in the error; empty: it can be
	}{
		{"login.example.com", "https://login.example.com:8443", nil, ""},
		{"example.com", "https://login.example.com", nil, ""},
		{"example.co.uk", "https://a.login.example.co.uk", nil, ""},
		{"localhost", "http://localhost:8080", nil, ""},
		{"com", "https://login.example.com", nil, "keys can't be bound to"},
		{"co.uk", "https://login.example.co.uk", nil, "public suffix"},
		{"github.io", "https://example.github.io", nil, "public suffix"},
		{"ogin.example.com", "https://login.example.com", nil, "neither the host"},
		{"a.login.example.com", "https://login.example.com", nil, "neither the host"},
		{"example.org", "https://login.example.com", nil, "neither the host"},
		{"example.org", "https://login.example.com", []string{"https://login.example.net"}, "neither the host"},
		{"example.org", "https://login.example.com", []string{"https://login.example.com"}, ""},
		{"login.example.com", "https://login.example.com", []string{"http://login.localhost"}, "only at https://"},
		{"login.example.com", "https://login.example.com", []string{"https://192.0.2.1"}, "can be registered"},
		{"login.example.com", "https://login.example.com", []string{"https://a.b", "https://a.c", "https://b.example", "https://c.example", "https://d.example", "https://e.example"}, ""},
		{"login.example.com", "https://login.example.com", []string{"https://a.b", "https://b.c", "https://c.example", "https://d.example", "https://e.example", "https://f.example"}, "6 distinct"},
	} {
		_, err := New(Config{RPID: c.rpID, Origins: []string{c.origin}, Related: c.related, Brand: "Example"}, time.Now, rand.Reader)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s at %s, related to %q: %v; want %q", c.rpID, c.origin, c.related, err, c.want)
		}
	}
}

func TestRelatedOriginsDocument(t *testing.T) {
	document, err := RelatedOrigins([]string{"https://login.example.org", "https://login.example.net:8443"})
	if want := `{"origins":["https://login.example.org","https://login.example.net:8443"]}`; err != nil || string(document) != want {
		t.Errorf("%s, %v", document, err)
	}
}

// TestK02WhereKeysAreShown shows keys at the origins that may, and at others.
func TestK02WhereKeysAreShown(t *testing.T) {
	const elsewhere = "https://login.example.org"
	d := newDesk(t, func(c *Config) { c.RPID, c.Related = "example.com", []string{elsewhere} })
	for origin, accepted := range map[string]bool{
		site.Origin: true, elsewhere: true, "https://example.com": false, "https://other.example.com": false,
		"http://login.example.org": false, elsewhere + ":8443": false, "https://a.login.example.org": false,
	} {
		at := virtualwebauthn.RelyingParty{ID: "example.com", Name: "Example", Origin: origin}
		k := newKey(virtualwebauthn.KeyTypeEC2, deviceOptions{})
		asked, state := d.begin(alice)
		got := d.checkEnrolment(alice, state, k.create(t, at, asked))
		if got.Accepted() != accepted {
			t.Errorf("enrolled at %s: %+v", origin, got)
		}
		if got.Accepted() && got.Made.Realm != "example.com" {
			t.Errorf("bound to %s", got.Made.Realm)
		}
		home := at
		home.Origin = site.Origin
		asked, state = d.begin(alice)
		d.keep(k, d.checkEnrolment(alice, state, k.create(t, home, asked)))
		asked, state = d.challenge(alice, k.row)
		if got := d.check(alice, state, k.get(t, at, asked), k.row); got.Accepted() != accepted {
			t.Errorf("shown at %s: %+v", origin, got)
		}
	}
}

// TestCeremoniesOfAnotherRPID answers what was asked before the configuration
// changed.
func TestCeremoniesOfAnotherRPID(t *testing.T) {
	before, after := newDesk(t), newDesk(t, func(c *Config) { c.RPID = "example.com" })
	k := before.enrol(alice, newKey(virtualwebauthn.KeyTypeEC2, deviceOptions{}))
	asked, state := before.begin(alice)
	after.expectNotEnrolled("an enrolment", after.checkEnrolment(alice, state, newKey(virtualwebauthn.KeyTypeEC2, deviceOptions{}).create(t, site, asked)), factors.Expired)
	asked, state = before.challenge(alice, k.row)
	after.expectRefused("a challenge", after.check(alice, state, k.get(t, site, asked), k.row), factors.Expired)
}

// TestRefusalsAreExplained wants for each refusal what an operator could find
// a fault by, and never much of it.
func TestRefusalsAreExplained(t *testing.T) {
	var told []string
	d := newDesk(t, func(c *Config) {
		c.Explain = func(doing string, why error) { told = append(told, doing+": "+why.Error()) }
	})
	k := d.enrol(alice, newKey(virtualwebauthn.KeyTypeEC2, deviceOptions{}))
	if told != nil {
		t.Errorf("of what is right: %q", told)
	}
	strange := site
	strange.Origin = "https://evil.example"
	asked, state := d.challenge(alice, k.row)
	d.check(alice, state, k.get(t, strange, asked), k.row)
	created, creating := d.begin(alice)
	d.checkEnrolment(alice, creating, k.create(t, strange, created))
	d.check(alice, state, strings.Repeat("x", 5000), k.row)
	strange.Origin += "/" + strings.Repeat("x", 5000)
	d.check(alice, state, k.get(t, strange, asked), k.row)
	wants := []string{"evil.example", "evil.example", "reading what a key has shown", "checking what a key has shown"}
	if len(told) != len(wants) {
		t.Fatalf("told %q", told)
	}
	for i, want := range wants {
		if !strings.Contains(told[i], want) || len(told[i]) > maxExplanation+100 {
			t.Errorf("told %q, want %q", told[i], want)
		}
	}
}
