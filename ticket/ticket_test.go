package ticket_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/keys"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/store/sqlite/sqlitetest"
	"github.com/portcullis-mfa/portcullis/store/storetest"
	"github.com/portcullis-mfa/portcullis/ticket"
	"github.com/portcullis-mfa/portcullis/token"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// office issues and redeems over a real store, by a clock that tests set.
type office struct {
	*ticket.Tickets
	store  store.Store
	now    atomic.Pointer[time.Time]
	signOn session.SignOn
}

func newOffice(t testing.TB) *office {
	t.Helper()
	db := storetest.Rerun(sqlitetest.Open(t))
	o := &office{store: db}
	o.set(noon)
	o.Tickets = ticket.NewTickets(db, o.Now, rand.Reader)
	o.signOn = session.SignOn{
		ID: "s", UserID: "alice", Started: noon, Expires: noon.Add(12 * time.Hour), Idle: time.Hour, LastSeen: noon,
		Proofs: []assurance.Proof{{Factor: assurance.Password, At: noon}, {Factor: assurance.TOTP, At: noon}},
	}
	must(t, db.CreateUser(t.Context(), store.User{ID: "alice", Name: "alice", Status: store.UserActive, Created: noon}))
	must(t, db.CreateSignOn(t.Context(), o.signOn))
	return o
}

func (o *office) Now() time.Time { return *o.now.Load() }

func (o *office) set(now time.Time) { o.now.Store(&now) }

func (o *office) issue(t testing.TB) string {
	t.Helper()
	value, err := o.Issue(t.Context(), o.signOn, fromApp)
	must(t, err)
	return value
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fromApp is the request that the tests' tickets are for.
var fromApp = ticket.Request{
	Origin: "https://app.example.com", Return: "https://app.example.com/a?b=c", NonceHash: token.Hash("nonce"),
	Ask: assurance.Requirement{Level: assurance.Multi, MaxAge: 5 * time.Minute}, Attempt: 1,
	Expires: noon.Add(ticket.RequestLifetime), Switch: true,
}

func TestTicketCarriesTheSignOnOnce(t *testing.T) {
	o := newOffice(t)
	value := o.issue(t)
	signOn, user, err := o.Redeem(t.Context(), value, fromApp)
	if err != nil || signOn.ID != "s" || user.Name != "alice" || len(signOn.Proofs) != 2 {
		t.Fatalf("got %q of %q, %v", signOn.ID, user.Name, err)
	}
	refused(t, o, "redeemed again", value, fromApp)
}

func refused(t *testing.T, o *office, what, value string, r ticket.Request) {
	t.Helper()
	signOn, user, err := o.Redeem(t.Context(), value, r)
	if !errors.Is(err, ticket.ErrSpent) || signOn.ID != "" || user.ID != "" {
		t.Errorf("%s: got %q of %q, %v", what, signOn.ID, user.ID, err)
	}
}

// A sign-on that gained proofs since the ticket was made yields what it is now.
func TestTicketYieldsTheSignOnAsItIs(t *testing.T) {
	o := newOffice(t)
	value := o.issue(t)
	raised, err := o.store.SignOnByID(t.Context(), "s")
	must(t, err)
	raised.Proofs = assurance.Add(raised.Proofs, assurance.Proof{Factor: assurance.FIDO, At: noon})
	must(t, o.store.UpdateSignOn(t.Context(), raised))
	signOn, _, err := o.Redeem(t.Context(), value, fromApp)
	if err != nil || len(signOn.Proofs) != 3 {
		t.Errorf("got %d proofs, %v", len(signOn.Proofs), err)
	}
}

func TestRefusedTicketsAreSpent(t *testing.T) {
	changed := func(change func(*ticket.Request)) ticket.Request {
		r := fromApp
		change(&r)
		return r
	}
	tests := []struct {
		name    string
		request ticket.Request
	}{
		{"another origin", changed(func(r *ticket.Request) { r.Origin = "https://wiki.example.com" })},
		{"another port", changed(func(r *ticket.Request) { r.Origin = "https://app.example.com:8443" })},
		{"another scheme", changed(func(r *ticket.Request) { r.Origin = "http://app.example.com" })},
		{"no origin", changed(func(r *ticket.Request) { r.Origin = "" })},
		{"another nonce", changed(func(r *ticket.Request) { r.NonceHash = token.Hash("other") })},
		{"no nonce", changed(func(r *ticket.Request) { r.NonceHash = "" })},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := newOffice(t)
			value := o.issue(t)
			refused(t, o, "the wrong request", value, test.request)
			refused(t, o, "the right request after the wrong one", value, fromApp)
		})
	}
}

func TestTicketLifetime(t *testing.T) {
	tests := []struct {
		name  string
		after time.Duration
		valid bool
	}{
		{"at once", 0, true},
		{"a second early", 59 * time.Second, true},
		{"at its end", 60 * time.Second, false},
		{"a second late", 61 * time.Second, false},
		{"a day late", 24 * time.Hour, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := newOffice(t)
			value := o.issue(t)
			o.set(noon.Add(test.after))
			if _, _, err := o.Redeem(t.Context(), value, fromApp); (err == nil) != test.valid || err != nil && !errors.Is(err, ticket.ErrSpent) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTicketOfASignOnThatEnded(t *testing.T) {
	tests := []struct {
		name string
		end  func(t *testing.T, o *office)
	}{
		{"S04 signed out", func(t *testing.T, o *office) {
			must(t, o.store.EndSignOn(t.Context(), "s", noon, session.EndedSignOut))
		}},
		{"S04 user disabled", func(t *testing.T, o *office) {
			u, err := o.store.UserByID(t.Context(), "alice")
			must(t, err)
			u.Status = store.UserDisabled
			must(t, o.store.UpdateUser(t.Context(), u))
		}},
		{"S05 absolute limit", func(t *testing.T, o *office) {
			s, err := o.store.SignOnByID(t.Context(), "s")
			must(t, err)
			s.Expires = noon.Add(time.Second)
			must(t, o.store.UpdateSignOn(t.Context(), s))
			o.set(noon.Add(time.Second))
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := newOffice(t)
			value := o.issue(t)
			test.end(t, o)
			refused(t, o, "the first try", value, fromApp)
			refused(t, o, "the second try", value, fromApp)
		})
	}
}

func TestStrangersTickets(t *testing.T) {
	o := newOffice(t)
	value := o.issue(t)
	strangers := []string{"", "x", value + "x", value[:len(value)-1], token.Hash(value), strings.ToUpper(value), "\x00", "\xff", "' OR 1=1 --", "%"}
	for _, stranger := range strangers {
		refused(t, o, stranger, stranger, fromApp)
	}
	if _, _, err := o.Redeem(t.Context(), value, fromApp); err != nil {
		t.Errorf("the ticket itself, after the strangers': %v", err)
	}
}

func TestThousandRedeemOneTicket(t *testing.T) {
	o := newOffice(t)
	value := o.issue(t)
	var redeemed, spent atomic.Int64
	var crowd sync.WaitGroup
	start := make(chan struct{})
	for range 1000 {
		crowd.Go(func() {
			<-start
			signOn, _, err := o.Redeem(context.Background(), value, fromApp)
			switch {
			case err == nil && signOn.ID == "s":
				redeemed.Add(1)
			case errors.Is(err, ticket.ErrSpent) && signOn.ID == "":
				spent.Add(1)
			default:
				t.Errorf("got %q, %v", signOn.ID, err)
			}
		})
	}
	close(start)
	crowd.Wait()
	if redeemed.Load() != 1 || spent.Load() != 999 {
		t.Errorf("%d of a thousand redeemed one ticket, %d were refused", redeemed.Load(), spent.Load())
	}
}

// A store that can't tell spends nothing and grants nothing.
func TestOutageSpendsNoTicket(t *testing.T) {
	o := newOffice(t)
	value := o.issue(t)
	down, cancel := context.WithCancel(t.Context())
	cancel()
	signOn, _, err := o.Redeem(down, value, fromApp)
	if err == nil || errors.Is(err, ticket.ErrSpent) || signOn.ID != "" {
		t.Errorf("got %q, %v", signOn.ID, err)
	}
	if _, _, err := o.Redeem(t.Context(), value, fromApp); err != nil {
		t.Errorf("after the outage: %v", err)
	}
}

func TestNoTicketWithoutRandomnessOrStore(t *testing.T) {
	o := newOffice(t)
	broken := ticket.NewTickets(o.store, o.Now, iotest.ErrReader(io.ErrUnexpectedEOF))
	if value, err := broken.Issue(t.Context(), o.signOn, fromApp); err == nil || value != "" {
		t.Errorf("without randomness: %q, %v", value, err)
	}
	down, cancel := context.WithCancel(t.Context())
	cancel()
	if value, err := o.Issue(down, o.signOn, fromApp); err == nil || value != "" {
		t.Errorf("without a store: %q, %v", value, err)
	}
}

// The store learns only what doesn't open anything.
func TestStoreDoesNotLearnTheTicket(t *testing.T) {
	o := newOffice(t)
	value := o.issue(t)
	if _, err := o.store.GetRecord(t.Context(), "ticket", value, noon); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the ticket itself is a key: %v", err)
	}
	record, err := o.store.GetRecord(t.Context(), "ticket", token.Hash(value), noon)
	if err != nil || strings.Contains(string(record.Value), value) {
		t.Errorf("the record holds %q, %v", record.Value, err)
	}
}

func newRequests(t *testing.T, clock func() time.Time) (*ticket.Requests, *keys.Set) {
	t.Helper()
	set, err := keys.Open(t.Context(), keys.FileStorage(filepath.Join(t.TempDir(), "keys.json")), rand.Reader, time.Now, true)
	must(t, err)
	return ticket.NewRequests(set.Codec("request").WithMaxLength(8<<10), clock), set
}

func TestRequestComesBackAsSigned(t *testing.T) {
	requests, _ := newRequests(t, func() time.Time { return noon })
	value, err := requests.Sign(fromApp)
	must(t, err)
	got, fresh, err := requests.Read(value)
	if err != nil || !fresh || got != fromApp {
		t.Errorf("got %+v, %t, %v", got, fresh, err)
	}
	if got.Host() != "app.example.com" {
		t.Errorf("for people it is %q", got.Host())
	}
	if strings.Contains(value, "app") {
		t.Error("the signed request can be read by everybody")
	}
}

// Where a request over its age leads is still known, so nobody is stranded.
func TestExpiredRequestIsReadButNotFresh(t *testing.T) {
	now := noon
	requests, _ := newRequests(t, func() time.Time { return now })
	value, err := requests.Sign(fromApp)
	must(t, err)
	for _, test := range []struct {
		after time.Duration
		fresh bool
	}{
		{0, true}, {15*time.Minute - time.Second, true}, {15 * time.Minute, false}, {15*time.Minute + time.Second, false}, {48 * time.Hour, false},
	} {
		now = noon.Add(test.after)
		if got, fresh, err := requests.Read(value); err != nil || fresh != test.fresh || got != fromApp {
			t.Errorf("after %s: fresh %t, %v", test.after, fresh, err)
		}
	}
}

func TestR01RequestsAreSignedForTheirOwnOriginOnly(t *testing.T) {
	requests, _ := newRequests(t, func() time.Time { return noon })
	const origin = "https://app.example.com"
	tests := []struct {
		name, to string
		signed   bool
	}{
		{"a path", origin + "/a", true},
		{"the first page", origin + "/", true},
		{"two slashes", origin + "//evil.example", true}, // within the origin all the same
		{"2 KiB", origin + "/" + strings.Repeat("a", 2<<10-len(origin)-1), true},
		{"a byte more", origin + "/" + strings.Repeat("a", 2<<10-len(origin)), false},
		{"64 KiB", origin + "/" + strings.Repeat("a", 64<<10), false},
		{"nothing", "", false},
		{"no path", origin, false},
		{"a path alone", "/a", false},
		{"another host", "https://evil.example/", false},
		{"a host without a scheme", "//evil.example/", false},
		{"suffix look-alike", origin + ".evil.example/", false},
		{"prefix look-alike", "https://evilapp.example.com/", false},
		{"user name", origin + "@evil.example/", false},
		{"user name before", "https://evil@app.example.com/", false},
		{"another port", origin + ":8443/", false},
		{"another scheme", "http://app.example.com/", false},
		{"backslash", origin + `\evil.example/`, false},
		{"javascript", "javascript:alert(1)//" + origin + "/", false},
		{"data", "data:text/html," + origin + "/", false},
		{"space before", " " + origin + "/", false},
		{"tab in the scheme", "ht\ttps://app.example.com/", false},
		{"upper case", "HTTPS://APP.EXAMPLE.COM/", false},
		{"query at once", origin + "?@evil.example/", false},
		{"fragment at once", origin + "#@evil.example/", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			value, err := requests.Sign(ticket.Request{Origin: origin, Return: test.to, Expires: noon.Add(time.Minute)})
			if (err == nil) != test.signed || (value != "") != test.signed {
				t.Fatalf("got %q, %v", value, err)
			}
			if !test.signed {
				return
			}
			if got, _, err := requests.Read(value); err != nil || got.Return != test.to {
				t.Errorf("it leads to %q, %v", got.Return, err)
			}
		})
	}
}

// Whatever a return URL is made of, one that may be signed can be.
func TestR01AwkwardReturnURLsFitIntoARequest(t *testing.T) {
	requests, _ := newRequests(t, func() time.Time { return noon })
	const origin = "https://app.example.com"
	for _, awkward := range []string{"&", "<", ">", `"`, `\`, "%", "\u2028", "é", "😀"} {
		fill := (2<<10 - len(origin) - 2) / len(awkward)
		to := origin + "/?" + strings.Repeat(awkward, fill)
		value, err := requests.Sign(ticket.Request{
			Origin: origin, Return: to, NonceHash: token.Hash("nonce"), Expires: noon.Add(time.Minute),
			Ask: assurance.Requirement{Level: assurance.PhishingResistant, MaxAge: 15 * time.Minute}, Attempt: 1, Switch: true,
		})
		if err != nil {
			t.Errorf("%q: %v", awkward, err)
			continue
		}
		if got, _, err := requests.Read(value); err != nil || got.Return != to {
			t.Errorf("%q doesn't come back: %v", awkward, err)
		}
	}
}

func TestR01ForgedRequests(t *testing.T) {
	requests, set := newRequests(t, func() time.Time { return noon })
	value, err := requests.Sign(fromApp)
	must(t, err)
	foreign, _ := newRequests(t, func() time.Time { return noon })
	signedElsewhere, err := foreign.Sign(fromApp)
	must(t, err)
	ofAnotherName, err := set.Codec("session").Encode([]byte(`{"o":"https://evil.example","r":"https://evil.example/"}`))
	must(t, err)
	notJSON, err := set.Codec("request").Encode([]byte("not JSON"))
	must(t, err)
	forged := map[string]string{
		"nothing": "", "garbage": "x", "plain JSON": `{"o":"https://evil.example","r":"https://evil.example/"}`,
		"other keys": signedElsewhere, "another name": ofAnotherName, "not JSON": notJSON,
		"longer": value + "A", "overlong": value + strings.Repeat("A", 64<<10), "line break": value[:20] + "\r\n" + value[20:],
	}
	for length := 0; length < len(value); length += 7 {
		forged["cut"+value[:length]] = value[:length]
	}
	for name, text := range forged {
		if got, fresh, err := requests.Read(text); !errors.Is(err, ticket.ErrInvalid) || fresh || got != (ticket.Request{}) {
			t.Errorf("%s: %+v, %t, %v", name, got, fresh, err)
		}
	}
}
