package ticket_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/keys"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/ticket"
	"github.com/portcullis-mfa/portcullis/token"
)

// newReturns keeps URLs in the office's store.
func newReturns(t *testing.T, o *office) *ticket.Returns {
	t.Helper()
	set, err := keys.Open(t.Context(), keys.FileStorage(filepath.Join(t.TempDir(), "keys.json")), rand.Reader, time.Now, true)
	must(t, err)
	return ticket.NewReturns(o.store, set.Codec("return").WithMaxLength(ticket.MaxSealedReturn), o.Now)
}

// asking is a request whose nonce is of that number.
func asking(nonce string) ticket.Request {
	r := fromApp
	r.NonceHash, r.Kept = token.Hash(nonce), true
	return r
}

func TestReturnsAreKeptApart(t *testing.T) {
	o := newOffice(t)
	returns := newReturns(t, o)
	long := fromApp.Origin + "/a?" + strings.Repeat("%26", ticket.MaxKeptReturn/3-20)
	must(t, returns.Keep(t.Context(), asking("1"), long+"1", "192.0.2.1"))
	must(t, returns.Keep(t.Context(), asking("2"), long+"2", "192.0.2.1"))
	for nonce, want := range map[string]string{"1": long + "1", "2": long + "2", "3": fromApp.Return} {
		for range 2 { // the back button finds it again
			got, err := returns.Find(t.Context(), asking(nonce))
			if must(t, err); got != want {
				t.Errorf("%s leads to %.80s", nonce, got)
			}
		}
	}
	record, err := o.store.GetRecord(t.Context(), "return", token.Hash("1"), noon)
	must(t, err)
	if strings.Contains(string(record.Value), "%26") {
		t.Error("the store holds the URL as it is")
	}
	if got, err := returns.Find(t.Context(), fromApp); err != nil || got != fromApp.Return {
		t.Errorf("a request whose URL isn't kept leads to %.80s, %v", got, err)
	}
	o.set(noon.Add(ticket.KeptReturnLifetime))
	if got, err := returns.Find(t.Context(), asking("1")); err != nil || got != fromApp.Return {
		t.Errorf("what is over its age leads to %.80s, %v", got, err)
	}
}

func TestReturnsLieWithinTheOrigin(t *testing.T) {
	returns := newReturns(t, newOffice(t))
	for _, whole := range []string{
		"https://app.example.com", "https://app.example.com.evil.example/", "https://app.example.com@evil.example/", "//evil.example/",
		"javascript:alert(1)", fromApp.Origin + "/" + strings.Repeat("a", ticket.MaxKeptReturn),
	} {
		if err := returns.Keep(t.Context(), asking("1"), whole, "192.0.2.1"); err == nil {
			t.Errorf("keeps %.80s", whole)
		}
	}
	elsewhere := asking("1")
	must(t, returns.Keep(t.Context(), elsewhere, elsewhere.Origin+"/long", "192.0.2.1"))
	elsewhere.Origin, elsewhere.Return = "https://b.example.com", "https://b.example.com/"
	if got, err := returns.Find(t.Context(), elsewhere); err != nil || got != elsewhere.Return {
		t.Errorf("the request of another app leads to %s, %v", got, err)
	}
}

// TestReturnsAreBounded has strangers keep as many as may be: nothing is written
// any more, until the time is over.
func TestReturnsAreBounded(t *testing.T) {
	o := newOffice(t)
	returns := newReturns(t, o)
	kept := 0
	for ; kept < 2000; kept++ {
		if err := returns.Keep(t.Context(), asking(strings.Repeat("n", kept)), fromApp.Return, fmt.Sprintf("10.%d.0.1", kept%256)); errors.Is(err, ticket.ErrTooManyReturns) {
			break
		} else {
			must(t, err)
		}
	}
	if kept != 1000 {
		t.Errorf("%d are kept", kept)
	}
	_, err := o.store.GetRecord(t.Context(), "return", token.Hash(strings.Repeat("n", kept)), noon)
	if !errors.Is(err, store.ErrNotFound) {
		t.Errorf("one more is in the store, %v", err)
	}
	for _, later := range []time.Time{noon.Add(ticket.KeptReturnLifetime), noon.Add(-24 * time.Hour)} {
		o.set(later)
		must(t, returns.Keep(t.Context(), asking(later.String()), fromApp.Return, "10.0.0.1"))
	}
}

// TestReturnsAreShared has somebody take all that they can, from one address or
// from a network of theirs: the others can have theirs kept all the same.
func TestReturnsAreShared(t *testing.T) {
	for _, tt := range []struct {
		what   string
		taker  string // # is a number
		others string
		want   int
	}{
		{"an address", "192.0.2.7", "192.0.2.8", 200},
		{"an address in another form", "::ffff:192.0.2.7", "192.0.2.8", 200},
		{"a network", "192.0.2.#", "192.0.3.1", 400},
		{"all of an IPv6 /64", "2001:db8:0:1::#", "2001:db8:0:2::1", 200},
		{"an IPv6 /48", "2001:db8:0:#::1", "2001:db8:1::1", 400},
		{"what can't be read", "nonsense", "192.0.2.8", 200},
	} {
		o := newOffice(t)
		returns := newReturns(t, o)
		keep := func(n int, address string) bool {
			err := returns.Keep(t.Context(), asking(fmt.Sprintf("%s %d", address, n)), fromApp.Return, address)
			if err != nil && !errors.Is(err, ticket.ErrTooManyReturns) {
				t.Fatal(err)
			}
			return err == nil
		}
		kept := 0
		for n := range 1100 {
			if keep(n, strings.ReplaceAll(tt.taker, "#", fmt.Sprint(n%250))) {
				kept++
			}
		}
		if kept != tt.want {
			t.Errorf("%s has %d kept, want %d", tt.what, kept, tt.want)
		}
		if !keep(0, tt.others) {
			t.Errorf("%s leaves no room for others", tt.what)
		}
	}
}
