package conformance

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/store"
)

var cancellationTests = []test{
	{"every operation heeds its context", cancelledOperations},
	{"a transaction ends with its context", cancelledTransaction},
	{"nothing is half done", cancelledMidway},
}

// operations is every operation of the contract, each valid by itself once populate
// has added a row of each kind.
func (f fixture) operations() map[string]func(context.Context) error {
	all := make(map[string]func(context.Context) error)
	for _, some := range []map[string]func(context.Context) error{
		f.operationsForPrograms(), f.operationsOnMessages(), f.operationsOnPeople(), f.operationsOnSignOns(),
		f.operationsOnRecords(), f.operationsOnBrowsers(), f.operationsOnDevices(), f.operationsOnStore(),
	} {
		maps.Copy(all, some)
	}
	return all
}

func (f fixture) operationsForPrograms() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"CreateAccessToken": func(ctx context.Context) error { return f.CreateAccessToken(ctx, accessToken("t9")) },
		"AccessTokenBySelector": func(ctx context.Context) error {
			return second(f.AccessTokenBySelector(ctx, "selector of t1"))
		},
		"AccessTokenByName": func(ctx context.Context) error { return second(f.AccessTokenByName(ctx, "name of t1")) },
		"ListAccessTokens":  func(ctx context.Context) error { return second(f.ListAccessTokens(ctx)) },
		"RevokeAccessToken": func(ctx context.Context) error { return f.RevokeAccessToken(ctx, "t1", noon) },
		"AccessTokensOf":    func(ctx context.Context) error { return second(f.AccessTokensOf(ctx, "u1")) },
		"UpdateAccessToken": func(ctx context.Context) error { return f.UpdateAccessToken(ctx, store.AccessToken{ID: "t1"}) },
		"TouchAccessTokens": func(ctx context.Context) error {
			return f.TouchAccessTokens(ctx, []store.AccessTokenActivity{{Token: "t1", Seen: noon.AddDate(1, 0, 0)}})
		},
		"ResumeAccessToken": func(ctx context.Context) error { return f.ResumeAccessToken(ctx, "t1") },
	}
}

func (f fixture) operationsOnMessages() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"QueueMessage": func(ctx context.Context) error { return f.QueueMessage(ctx, aMessage("m9")) },
		"ClaimMessages": func(ctx context.Context) error {
			return second(f.ClaimMessages(ctx, noon, noon.Add(time.Minute), 9))
		},
		"UpdateMessage": func(ctx context.Context) error {
			return f.UpdateMessage(ctx, store.Message{ID: "m1", Version: 1})
		},
		"NewestMessage":  func(ctx context.Context) error { return second(f.NewestMessage(ctx, "question", "about m1")) },
		"VoidMessagesOf": func(ctx context.Context) error { return f.VoidMessagesOf(ctx, "u1") },
	}
}

func (f fixture) operationsOnPeople() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"CreateUser":  func(ctx context.Context) error { return f.CreateUser(ctx, store.User{ID: "u9", Name: "u9"}) },
		"UserByID":    func(ctx context.Context) error { return second(f.UserByID(ctx, "u1")) },
		"UserByName":  func(ctx context.Context) error { return second(f.UserByName(ctx, "name of u1")) },
		"UserByEmail": func(ctx context.Context) error { return second(f.UserByEmail(ctx, "u1@example.com")) },
		"UpdateUser":  func(ctx context.Context) error { return f.UpdateUser(ctx, store.User{ID: "u1", Version: 1}) },
		"ListUsers":   func(ctx context.Context) error { return second(f.ListUsers(ctx, store.Page[store.User]{})) },
		"CountUsers":  func(ctx context.Context) error { return second(f.CountUsers(ctx)) },
		"DeleteUser":  func(ctx context.Context) error { return f.DeleteUser(ctx, "u1") },
		"CreateCredential": func(ctx context.Context) error {
			return f.CreateCredential(ctx, store.Credential{ID: "c9", UserID: "u1"})
		},
		"CredentialByID": func(ctx context.Context) error { return second(f.CredentialByID(ctx, "c1")) },
		"CredentialsOf":  func(ctx context.Context) error { return second(f.CredentialsOf(ctx, "u1")) },
		"UpdateCredential": func(ctx context.Context) error {
			return f.UpdateCredential(ctx, store.Credential{ID: "c1", Version: 1})
		},
		"DeleteCredential": func(ctx context.Context) error { return f.DeleteCredential(ctx, "c1", 1) },
	}
}

func (f fixture) operationsOnSignOns() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"CreateSignOn": func(ctx context.Context) error { return f.CreateSignOn(ctx, store.SignOn{ID: "s9", UserID: "u1"}) },
		"SignOnByID":   func(ctx context.Context) error { return second(f.SignOnByID(ctx, "s1")) },
		"UpdateSignOn": func(ctx context.Context) error { return f.UpdateSignOn(ctx, store.SignOn{ID: "s1", Version: 1}) },
		"TouchSignOns": func(ctx context.Context) error {
			return f.TouchSignOns(ctx, []store.Activity{{SignOn: "s1", Seen: noon.AddDate(1, 0, 0)}})
		},
		"EndSignOn":       func(ctx context.Context) error { return f.EndSignOn(ctx, "s1", noon, "x") },
		"EndUnseenSignOn": func(ctx context.Context) error { return f.EndUnseenSignOn(ctx, "s1", noon, noon, "x") },
		"EndExpiredSignOns": func(ctx context.Context) error {
			return second(f.EndExpiredSignOns(ctx, noon.AddDate(1, 0, 0), "x", 10))
		},
		"PullBackSignOns": func(ctx context.Context) error {
			return second(f.PullBackSignOns(ctx, noon.AddDate(-1, 0, 0), noon.AddDate(-1, 0, 0)))
		},
		"EndSignOnsOf": func(ctx context.Context) error { return second(f.EndSignOnsOf(ctx, "u1", noon, "x")) },
		"ListSignOns": func(ctx context.Context) error {
			return second(f.ListSignOns(ctx, "", noon, store.Page[store.SignOn]{}))
		},
	}
}

func (f fixture) operationsOnRecords() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"PutRecord": func(ctx context.Context) error { return f.PutRecord(ctx, store.Record{Namespace: "n", Key: "k9"}) },
		"GetRecord": func(ctx context.Context) error { return second(f.GetRecord(ctx, "n", "k", noon)) },
		"UpdateRecord": func(ctx context.Context) error {
			return f.UpdateRecord(ctx, store.Record{Namespace: "n", Key: "k", Version: 1}, noon)
		},
		"TakeRecord":      func(ctx context.Context) error { return second(f.TakeRecord(ctx, "n", "k", noon)) },
		"DeleteRecordsOf": func(ctx context.Context) error { return f.DeleteRecordsOf(ctx, "n", "u1", "") },
		"GetAttempts":     func(ctx context.Context) error { return second(f.GetAttempts(ctx, "s", "k")) },
		"PutAttempts": func(ctx context.Context) error {
			return f.PutAttempts(ctx, store.Attempts{Scope: "s", Key: "k", Failures: 9})
		},
		"DeleteAttempts": func(ctx context.Context) error { return f.DeleteAttempts(ctx, "s", "") },
	}
}

func (f fixture) operationsOnBrowsers() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"CreateBrowser":  func(ctx context.Context) error { return f.CreateBrowser(ctx, browser("b9", "u1", "h9")) },
		"BrowserByToken": func(ctx context.Context) error { return second(f.BrowserByToken(ctx, "u1", "h")) },
		"TouchBrowser":   func(ctx context.Context) error { return f.TouchBrowser(ctx, "b1", noon.AddDate(1, 0, 0)) },
		"BrowsersOf":     func(ctx context.Context) error { return second(f.BrowsersOf(ctx, "u1")) },
		"RememberBrowser": func(ctx context.Context) error {
			return f.RememberBrowser(ctx, "u1", "b1", noon.AddDate(1, 0, 0), assurance.TOTP)
		},
		"ForgetBrowsersOf": func(ctx context.Context) error { return f.ForgetBrowsersOf(ctx, "u1") },
		"DeleteBrowsersOf": func(ctx context.Context) error { return f.DeleteBrowsersOf(ctx, "u1") },
	}
}

func (f fixture) operationsOnDevices() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"CreateDevice": func(ctx context.Context) error {
			return f.CreateDevice(ctx, store.Device{ID: "d9", UserID: "u1", Certificate: certificateOf("d9")})
		},
		"DeviceByID": func(ctx context.Context) error { return second(f.DeviceByID(ctx, "d1")) },
		"DeviceByCertificate": func(ctx context.Context) error {
			return second(f.DeviceByCertificate(ctx, certificateOf("d1")))
		},
		"DevicesOf":    func(ctx context.Context) error { return second(f.DevicesOf(ctx, "u1")) },
		"ListDevices":  func(ctx context.Context) error { return second(f.ListDevices(ctx, store.Page[store.Device]{})) },
		"UpdateDevice": func(ctx context.Context) error { return f.UpdateDevice(ctx, store.Device{ID: "d1", Version: 1}) },
		"RenewDevice": func(ctx context.Context) error {
			return f.RenewDevice(ctx, store.Device{ID: "d1", Certificate: "new", Version: 1})
		},
		"DeviceByKey":         func(ctx context.Context) error { return second(f.DeviceByKey(ctx, "key of d1")) },
		"CertificatesOf":      func(ctx context.Context) error { return second(f.CertificatesOf(ctx, "d1")) },
		"RevokedCertificates": func(ctx context.Context) error { return second(f.RevokedCertificates(ctx, noon)) },
		"RevokeDevice":        func(ctx context.Context) error { return f.RevokeDevice(ctx, "d1", noon, "x") },
		"TouchDevices": func(ctx context.Context) error {
			return f.TouchDevices(ctx, []store.DeviceActivity{{Device: "d1", Seen: noon.AddDate(1, 0, 0)}})
		},
		"BarCertificate": func(ctx context.Context) error { return f.BarCertificate(ctx, "c0ffee", noon) },
		"IsBarred":       func(ctx context.Context) error { return second(f.IsBarred(ctx, "c0ffee")) },
		"KeepIssuer": func(ctx context.Context) error {
			return f.KeepIssuer(ctx, store.Issuer{Fingerprint: "f9", Certificate: []byte("f9")})
		},
		"ListIssuers": func(ctx context.Context) error { return second(f.ListIssuers(ctx)) },
		"GiveUpName": func(ctx context.Context) error {
			return f.GiveUpName(ctx, store.FormerName{Name: "former", UserID: "u9", GivenUp: noon})
		},
		"ListFormerNames": func(ctx context.Context) error { return second(f.ListFormerNames(ctx, "former")) },
	}
}

func (f fixture) operationsOnStore() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"AppendEvent": func(ctx context.Context) error { return f.AppendEvent(ctx, store.Event{Name: "e9"}) },
		"ListEvents":  func(ctx context.Context) error { return second(f.ListEvents(ctx, store.EventFilter{})) },
		"EventsAfter": func(ctx context.Context) error { return second(f.EventsAfter(ctx, 0, store.EventFilter{})) },
		"Atomically":  func(ctx context.Context) error { return f.Atomically(ctx, func(store.Tx) error { return nil }) },
		"View": func(ctx context.Context) error {
			return f.View(ctx, func(r store.Reader) error { return second(r.CountUsers(ctx)) })
		},
		"Lease": func(ctx context.Context) error { return second(f.Lease(ctx, "w", "h", time.Hour)) },
		"CountAttempts": func(ctx context.Context) error {
			return f.CountAttempts(ctx, []store.AttemptKey{{Scope: "s", Key: "k"}}, func(counts store.AttemptCounts) error {
				return counts.PutAttempts(ctx, store.Attempts{Scope: "s", Key: "k", Failures: 7})
			})
		},
		"Descends": func(ctx context.Context) error { return second(f.Descends(ctx, "x")) },
		"Renew":    func(ctx context.Context) error { return f.Renew(ctx, f.Incarnation()) },
		"Position": func(ctx context.Context) error { return second(f.Position(ctx)) },
		"Sweep":    func(ctx context.Context) error { return f.Sweep(ctx, noon.AddDate(1, 0, 0), store.SweepLimits{}) },
	}
}

// state is what the operations above could have changed.
func (f fixture) state(t *testing.T) []any {
	t.Helper()
	return []any{
		f.Incarnation(),
		get(f.Position(f.ctx))(t),
		get(f.ListUsers(f.ctx, store.Page[store.User]{}))(t),
		get(f.CredentialsOf(f.ctx, "u1"))(t),
		get(f.ListSignOns(f.ctx, "", noon, store.Page[store.SignOn]{}))(t),
		get(f.GetRecord(f.ctx, "n", "k", noon))(t),
		get(f.GetAttempts(f.ctx, "s", "k"))(t),
		get(f.BrowserByToken(f.ctx, "u1", "h"))(t),
		get(f.ListDevices(f.ctx, store.Page[store.Device]{}))(t),
		get(f.IsBarred(f.ctx, "c0ffee"))(t),
		get(f.ListIssuers(f.ctx))(t),
		get(f.ListFormerNames(f.ctx, "former"))(t),
		get(f.ListEvents(f.ctx, store.EventFilter{}))(t),
		get(f.ListAccessTokens(f.ctx))(t),
		get(f.NewestMessage(f.ctx, "question", "about m1"))(t),
	}
}

// populate adds one row of each kind.
func (f fixture) populate(t *testing.T) {
	t.Helper()
	f.addUser(t, "u1")
	f.addCredential(t, "u1", "c1")
	f.addSignOn(t, "u1", "s1")
	f.addRecord(t, "n", "k", "u1")
	must(t, f.PutAttempts(f.ctx, store.Attempts{Scope: "s", Key: "k", Failures: 1, First: noon, Last: noon}))
	b := browser("b1", "u1", "h")
	b.Remembered, b.RememberedFor = noon.Add(time.Hour), assurance.TOTP
	must(t, f.CreateBrowser(f.ctx, b))
	f.addDevice(t, "u1", "d1")
	must(t, f.AppendEvent(f.ctx, store.Event{At: noon, Name: "e1"}))
	must(t, f.CreateAccessToken(f.ctx, accessToken("t1")))
	m := aMessage("m1")
	m.UserID = "u1"
	must(t, f.QueueMessage(f.ctx, m))
}

func cancelledOperations(t *testing.T, f fixture) {
	f.populate(t)
	before := f.state(t)
	cancelled, cancel := context.WithCancel(f.ctx)
	cancel()
	for name, operation := range f.operations() {
		t.Run(name, func(t *testing.T) {
			wantError(t, operation(cancelled), context.Canceled)
			wantEqual(t, "state", f.state(t), before)
		})
	}
}

// cancelled runs a transaction whose context ends when its work is done.
func (f fixture) cancelled(t *testing.T, work func(tx store.Tx)) {
	t.Helper()
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	wantError(t, f.Atomically(ctx, func(tx store.Tx) error {
		work(tx)
		cancel()
		return nil
	}), context.Canceled)
}

func cancelledTransaction(t *testing.T, f fixture) {
	f.cancelled(t, func(tx store.Tx) { must(t, f.writeEverywhere(tx)) })
	wantEqual(t, "written", f.writtenEverywhere(t, f), 0)
	f.addUser(t, "u1") // the store goes on
}

// cancelledMidway cancels while the operations run. Whatever moment is hit,
// what reported success is there, and a transaction is there whole or not.
func cancelledMidway(t *testing.T, f fixture) {
	for range 50 {
		ctx, cancel := context.WithCancel(f.ctx)
		go cancel()
		err := f.Atomically(ctx, func(tx store.Tx) error {
			under := fixture{Store: f.Store, ctx: ctx}
			return under.writeEverywhere(tx)
		})
		written := f.writtenEverywhere(t, f)
		switch {
		case err == nil && written != writesEverywhere, written != 0 && written != writesEverywhere:
			t.Fatalf("after %v, %d of %d were written", err, written, writesEverywhere)
		case err != nil && !errors.Is(err, context.Canceled):
			t.Fatalf("got error %v, want %v", err, context.Canceled)
		case written == writesEverywhere:
			return // the next round would meet these rows
		}
	}
}
