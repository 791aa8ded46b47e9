package ticket_test

import (
	"crypto/rand"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/keys"
	"github.com/portcullis-mfa/portcullis/ticket"
)

// FuzzRequest reads what strangers send in place of a signed request: only what
// a gate signed, letter by letter, is one.
func FuzzRequest(f *testing.F) {
	set, err := keys.Open(f.Context(), keys.FileStorage(filepath.Join(f.TempDir(), "keys.json")), rand.Reader, time.Now, true)
	must(f, err)
	requests := ticket.NewRequests(set.Codec("request").WithMaxLength(8<<10), func() time.Time { return noon })
	signed, err := requests.Sign(fromApp)
	must(f, err)
	other, err := set.Codec("session").Encode([]byte(`{"o":"https://app.example.com"}`))
	must(f, err)
	for _, seed := range []string{"", ".", signed, signed[:len(signed)-1], signed + "=", " " + signed, other, `{"o":"https://evil.example"}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		r, fresh, err := requests.Read(value)
		if value == signed {
			if err != nil || !fresh || r.Return != fromApp.Return {
				t.Errorf("what was signed is read as %+v, %v", r, err)
			}
			return
		}
		if !errors.Is(err, ticket.ErrInvalid) || fresh || r != (ticket.Request{}) {
			t.Errorf("%q is read as %+v, %v", value, r, err)
		}
	})
}

// FuzzRedeem redeems what strangers send in place of a ticket that was issued:
// nothing comes of it.
func FuzzRedeem(f *testing.F) {
	o := newOffice(f)
	issued := o.issue(f)
	for _, seed := range []string{"", "s", issued[:len(issued)-1], issued + "=", " " + issued, "\x00", "\xff", "' OR 1=1 --"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if value == issued {
			t.Skip()
		}
		if signOn, user, err := o.Redeem(t.Context(), value, fromApp); !errors.Is(err, ticket.ErrSpent) || signOn.ID != "" || user.ID != "" {
			t.Errorf("%q yields %q of %q, %v", value, signOn.ID, user.ID, err)
		}
	})
}
