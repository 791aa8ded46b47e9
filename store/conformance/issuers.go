package conformance

import (
	"errors"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

var issuerTests = []test{
	{"come back as kept", issuersComeBack},
	{"are kept in a transaction or not at all", issuersInTransactions},
	{"go once they have expired", issuersSwept},
}

// issuersComeBack keeps some, one of them twice, and wants them to outlive this
// life of the store.
func issuersComeBack(t *testing.T, f fixture) {
	wantEqual(t, "at first", get(f.ListIssuers(f.ctx))(t), []store.Issuer(nil))
	first := store.Issuer{Fingerprint: "b", Certificate: []byte("\x30\x00\xff"), Expires: noon}
	second := store.Issuer{Fingerprint: "a", Certificate: []byte("other"), Expires: noon.AddDate(1, 0, 0)}
	must(t, f.KeepIssuer(f.ctx, first))
	must(t, f.KeepIssuer(f.ctx, second))
	must(t, f.KeepIssuer(f.ctx, store.Issuer{Fingerprint: "b", Certificate: []byte("changed"), Expires: noon.AddDate(9, 0, 0)}))
	must(t, f.Renew(f.ctx, f.Incarnation()))
	wantEqual(t, "kept", get(f.ListIssuers(f.ctx))(t), []store.Issuer{second, first})
}

func issuersInTransactions(t *testing.T, f fixture) {
	one := store.Issuer{Fingerprint: "a", Certificate: []byte("a"), Expires: noon}
	wantError(t, f.Atomically(f.ctx, func(tx store.Tx) error {
		return errors.Join(tx.KeepIssuer(f.ctx, one), errRefused)
	}), errRefused)
	wantEqual(t, "after a transaction that failed", get(f.ListIssuers(f.ctx))(t), []store.Issuer(nil))
	must(t, f.Atomically(f.ctx, func(tx store.Tx) error {
		if err := tx.KeepIssuer(f.ctx, one); err != nil {
			return err
		}
		wantEqual(t, "in the transaction", get(tx.ListIssuers(f.ctx))(t), []store.Issuer{one})
		return nil
	}))
	wantEqual(t, "afterwards", get(f.ListIssuers(f.ctx))(t), []store.Issuer{one})
}

func issuersSwept(t *testing.T, f fixture) {
	one := store.Issuer{Fingerprint: "a", Certificate: []byte("a"), Expires: noon}
	must(t, f.KeepIssuer(f.ctx, one))
	must(t, f.Sweep(f.ctx, noon.AddDate(2, 0, 0), store.SweepLimits{DevicesBefore: noon}))
	wantEqual(t, "at the expiry", get(f.ListIssuers(f.ctx))(t), []store.Issuer{one})
	must(t, f.Sweep(f.ctx, noon.AddDate(2, 0, 0), store.SweepLimits{DevicesBefore: noon.Add(time.Microsecond)}))
	wantEqual(t, "after it", get(f.ListIssuers(f.ctx))(t), []store.Issuer(nil))
}
