package ticket_test

import (
	"crypto/rand"
	"errors"
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
	must(t, returns.Keep(t.Context(), asking("1"), long+"1"))
	must(t, returns.Keep(t.Context(), asking("2"), long+"2"))
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
		if err := returns.Keep(t.Context(), asking("1"), whole); err == nil {
			t.Errorf("keeps %.80s", whole)
		}
	}
	elsewhere := asking("1")
	must(t, returns.Keep(t.Context(), elsewhere, elsewhere.Origin+"/long"))
	elsewhere.Origin, elsewhere.Return = "https://b.example.com", "https://b.example.com/"
	if got, err := returns.Find(t.Context(), elsewhere); err != nil || got != elsewhere.Return {
		t.Errorf("the request of another app leads to %s, %v", got, err)
	}
}

// TestReturnsAreBounded has a stranger keep as many as may be: nothing is written
// any more, until the time is over.
func TestReturnsAreBounded(t *testing.T) {
	o := newOffice(t)
	returns := newReturns(t, o)
	kept := 0
	for ; kept < 2000; kept++ {
		if err := returns.Keep(t.Context(), asking(strings.Repeat("n", kept)), fromApp.Return); errors.Is(err, ticket.ErrTooManyReturns) {
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
		must(t, returns.Keep(t.Context(), asking(later.String()), fromApp.Return))
	}
}
