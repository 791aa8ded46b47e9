package enrolment_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"math/big"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/devices"
	"github.com/portcullis-mfa/portcullis/enrolment"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/store/sqlite"
	"github.com/portcullis-mfa/portcullis/store/storetest"
)

// office has a registrar, and ada, who may have devices.
type office struct {
	*enrolment.Registrar
	t     testing.TB
	ctx   context.Context
	store store.Store
	now   time.Time
}

func newOffice(t testing.TB) *office {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	o := &office{t: t, ctx: t.Context(), store: storetest.Rerun(db), now: time.Now().Truncate(time.Second)}
	clock := func() time.Time { return o.now }
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: o.now.AddDate(-1, 0, 0), NotAfter: o.now.AddDate(9, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	o.must(err)
	root, err := x509.ParseCertificate(der)
	o.must(err)
	portal := &url.URL{Scheme: "https", Host: "login.example.com"}
	o.Registrar = enrolment.New(enrolment.Settings{
		Store: o.store, Audit: audit.NewLog(zap.NewNop(), o.store, clock), Clock: clock, Random: rand.Reader,
		Issuer: &devices.Authority{
			Signer: func() ([]*x509.Certificate, crypto.Signer) { return []*x509.Certificate{root}, key },
			Root:   func() *x509.Certificate { return root }, Lifetime: 90 * 24 * time.Hour, Names: portal, List: portal, Clock: clock, Random: rand.Reader,
		},
	})
	o.must(o.store.CreateUser(o.ctx, store.User{ID: "ada", Name: "ada", Status: store.UserActive}))
	return o
}

func (o *office) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func request(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (o *office) token() string {
	o.t.Helper()
	made, err := o.NewToken(o.ctx, "ada", "", "administrator")
	o.must(err)
	return made.Secret
}

func (o *office) enrolled() (enrolment.Issued, crypto.Signer) {
	o.t.Helper()
	key := newKey(o.t)
	issued, err := o.Enrol(o.ctx, o.token(), request(o.t, key), enrolment.Claims{Name: "Laptop", Machine: "m1", Agent: "1"})
	o.must(err)
	return issued, key
}

func (o *office) refused(doing string, err, want error) {
	o.t.Helper()
	if !errors.Is(err, want) {
		o.t.Errorf("%s: %v, want %v", doing, err, want)
	}
}

func TestC04TokensWorkOnce(t *testing.T) {
	o := newOffice(t)
	secret, key := o.token(), newKey(t)
	_, err := o.Enrol(o.ctx, secret+"x", request(t, key), enrolment.Claims{})
	o.refused("a guess", err, enrolment.ErrRefused)
	first, err := o.Enrol(o.ctx, secret, request(t, key), enrolment.Claims{Name: "Laptop"})
	o.must(err)
	again, err := o.Enrol(o.ctx, secret, request(t, key), enrolment.Claims{Name: "Another"})
	if err != nil || !again.Certificate.Equal(first.Certificate) {
		t.Errorf("the same key again: %v, another certificate: %t", err, !again.Certificate.Equal(first.Certificate))
	}
	_, err = o.Enrol(o.ctx, secret, request(t, newKey(t)), enrolment.Claims{})
	o.refused("another key", err, enrolment.ErrRefused)
	_, err = o.Enrol(o.ctx, o.token(), request(t, key), enrolment.Claims{})
	o.refused("C03, a key that has a certificate", err, enrolment.ErrKeyTaken)
	late := o.token()
	o.now = o.now.Add(enrolment.TokenLifetime)
	_, err = o.Enrol(o.ctx, late, request(t, newKey(t)), enrolment.Claims{})
	o.refused("an expired token", err, enrolment.ErrRefused)
}

func TestC04RacedTokensMakeOneDevice(t *testing.T) {
	o := newOffice(t)
	secret := o.token()
	var all sync.WaitGroup
	won := make(chan enrolment.Issued, 1000)
	for range cap(won) {
		sent := request(t, newKey(t))
		all.Go(func() {
			issued, err := o.Enrol(o.ctx, secret, sent, enrolment.Claims{})
			if err == nil {
				won <- issued
			} else if !errors.Is(err, enrolment.ErrRefused) && !errors.Is(err, store.ErrBusy) && !errors.Is(err, store.ErrConflict) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	listed, err := o.store.DevicesOf(o.ctx, "ada")
	if len(won) != 1 || len(listed) != 1 || err != nil {
		t.Errorf("%d enrolled, %d devices (%v)", len(won), len(listed), err)
	}
}

func TestDisabledUsersEnrolNothing(t *testing.T) {
	o := newOffice(t)
	issued, _ := o.enrolled()
	secret := o.token()
	ada, err := o.store.UserByID(o.ctx, "ada")
	o.must(err)
	ada.Status = store.UserDisabled
	o.must(o.store.UpdateUser(o.ctx, ada))
	_, err = o.NewToken(o.ctx, "ada", "", "")
	o.refused("a token", err, enrolment.ErrInactive)
	_, err = o.Enrol(o.ctx, secret, request(t, newKey(t)), enrolment.Claims{})
	o.refused("an enrolment", err, enrolment.ErrInactive)
	_, err = o.Renew(o.ctx, issued.Device.Certificate, request(t, newKey(t)), enrolment.Claims{})
	o.refused("a renewal", err, enrolment.ErrInactive)
}

func TestRenewal(t *testing.T) {
	o := newOffice(t)
	first, key := o.enrolled()
	same, err := o.Renew(o.ctx, first.Device.Certificate, request(t, key), enrolment.Claims{})
	if err != nil || !same.Certificate.Equal(first.Certificate) {
		t.Errorf("renewing with the same key: %v", err)
	}
	fresh := newKey(t)
	second, err := o.Renew(o.ctx, first.Device.Certificate, request(t, fresh), enrolment.Claims{Agent: "2"})
	o.must(err)
	lost, err := o.Renew(o.ctx, first.Device.Certificate, request(t, fresh), enrolment.Claims{Agent: "2"})
	if err != nil || !lost.Certificate.Equal(second.Certificate) {
		t.Errorf("after a lost answer: %v", err)
	}
	device, err := o.store.DeviceByID(o.ctx, first.Device.ID)
	if err != nil || device.Certificate != devices.Fingerprint(second.Certificate) || device.Agent != "2" || device.Machine != "m1" || device.State != store.DeviceActive {
		t.Errorf("the device is %+v (%v)", device, err)
	}
	_, err = o.Renew(o.ctx, "unknown", request(t, newKey(t)), enrolment.Claims{})
	o.refused("an unknown certificate", err, enrolment.ErrRevoked)
	other, _ := o.enrolled()
	_, err = o.Renew(o.ctx, other.Device.Certificate, request(t, fresh), enrolment.Claims{})
	o.refused("C03, another device's key", err, enrolment.ErrKeyTaken)
	o.now = second.Certificate.NotAfter.Add(time.Second)
	_, err = o.Renew(o.ctx, device.Certificate, request(t, newKey(t)), enrolment.Claims{})
	o.refused("an expired certificate", err, enrolment.ErrExpired)
}

// TestClonesAreSuspended has two machines renew one device.
func TestClonesAreSuspended(t *testing.T) {
	o := newOffice(t)
	first, _ := o.enrolled()
	o.must(o.store.CreateSignOn(o.ctx, store.SignOn{
		ID: "s", UserID: "ada", Started: o.now, Expires: o.now.Add(time.Hour), Idle: time.Hour, LastSeen: o.now,
		Proofs: []assurance.Proof{{Factor: assurance.Certificate, At: o.now, Credential: first.Device.ID}},
	}))
	_, err := o.Renew(o.ctx, first.Device.Certificate, request(t, newKey(t)), enrolment.Claims{})
	o.must(err)
	_, err = o.Renew(o.ctx, first.Device.Certificate, request(t, newKey(t)), enrolment.Claims{})
	o.refused("the second one", err, enrolment.ErrClone)
	device, err := o.store.DeviceByID(o.ctx, first.Device.ID)
	if err != nil || device.State != store.DeviceSuspended {
		t.Errorf("the device is %s (%v)", device.State, err)
	}
	if s, err := o.store.SignOnByID(o.ctx, "s"); err != nil || s.Ended.IsZero() {
		t.Errorf("what it opened goes on (%v)", err)
	}
	_, err = o.Renew(o.ctx, device.Certificate, request(t, newKey(t)), enrolment.Claims{})
	o.refused("the first one, later", err, enrolment.ErrInactive)
}

func TestRetiredDevicesStayRevoked(t *testing.T) {
	o := newOffice(t)
	first, key := o.enrolled()
	o.must(o.Retire(o.ctx, first.Device.Certificate, enrolment.Claims{}))
	o.refused("once more", o.Retire(o.ctx, first.Device.Certificate, enrolment.Claims{}), enrolment.ErrRevoked)
	_, err := o.Renew(o.ctx, first.Device.Certificate, request(t, newKey(t)), enrolment.Claims{})
	o.refused("a renewal", err, enrolment.ErrRevoked)
	_, err = o.Enrol(o.ctx, o.token(), request(t, key), enrolment.Claims{})
	o.refused("its key", err, enrolment.ErrKeyTaken)
}

// TestReplacedMachines has a machine enrol again, as after it was set up anew.
func TestReplacedMachines(t *testing.T) {
	o := newOffice(t)
	first, _ := o.enrolled()
	second, _ := o.enrolled()
	if second.Device.Replaces != first.Device.ID {
		t.Errorf("it replaces %q, want %q", second.Device.Replaces, first.Device.ID)
	}
}

// BenchmarkEnrol measures whole enrolments: a token, a signing request, a certificate.
func BenchmarkEnrol(b *testing.B) {
	o := newOffice(b)
	requests, tokens := make([][]byte, b.N), make([]string, b.N)
	for i := range b.N {
		requests[i], tokens[i] = request(b, newKey(b)), o.token()
	}
	b.ResetTimer()
	for i := range b.N {
		_, err := o.Enrol(o.ctx, tokens[i], requests[i], enrolment.Claims{Name: "Laptop"})
		o.must(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "enrolments/s")
}
