package est_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"
	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/devices"
	"github.com/portcullis-mfa/portcullis/enrolment"
	"github.com/portcullis-mfa/portcullis/est"
	"github.com/portcullis-mfa/portcullis/quota"
)

// registrar issues one certificate to everybody, and remembers who asked.
type registrar struct {
	certificate *x509.Certificate
	asked       []string
	err         error
}

func (r *registrar) Enrol(_ context.Context, secret string, _ []byte, says enrolment.Claims) (enrolment.Issued, error) {
	r.asked = append(r.asked, strings.TrimSpace("enrol "+secret+" "+says.Former))
	return enrolment.Issued{Certificate: r.certificate}, r.err
}

func (r *registrar) Renew(_ context.Context, fingerprint string, _ []byte, _ enrolment.Claims) (enrolment.Issued, error) {
	r.asked = append(r.asked, "renew "+fingerprint)
	return enrolment.Issued{Certificate: r.certificate}, r.err
}

func (r *registrar) Ask(_ context.Context, _ []byte, says enrolment.Claims) (enrolment.Asking, error) {
	r.asked = append(r.asked, "ask "+says.Name)
	return enrolment.Asking{Secret: "for the machine", Code: "4K7M-9XQ2"}, r.err
}

func (r *registrar) Retire(_ context.Context, fingerprint string, _ enrolment.Claims) error {
	r.asked = append(r.asked, "retire "+fingerprint)
	return r.err
}

// plain keeps nonces as they are, under a prefix.
type plain struct{}

func (plain) Encode(value []byte) (string, error) { return "sealed:" + string(value), nil }

func (plain) Decode(value string) ([]byte, error) {
	opened, ours := strings.CutPrefix(value, "sealed:")
	if !ours {
		return nil, http.ErrNoCookie
	}
	return []byte(opened), nil
}

type desk struct {
	*est.Handler
	t         testing.TB
	registrar *registrar
	key       *ecdsa.PrivateKey
	now       time.Time
}

func newDesk(t testing.TB) *desk {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, registrar: &registrar{certificate: certificate}, key: key, now: time.Now()}
	d.Handler = est.New(est.Settings{
		Registrar: d.registrar, CAs: func() []*x509.Certificate { return []*x509.Certificate{certificate, certificate} },
		Verify: func(presented []*x509.Certificate) error {
			if !presented[0].Equal(certificate) {
				return devices.UnknownIssuer
			}
			return nil
		},
		Nonces:  est.Nonces{Codec: plain{}, Clock: func() time.Time { return d.now }},
		Address: func(*http.Request) string { return "192.0.2.1" }, Logger: zap.NewNop(),
	})
	return d
}

var body = base64.StdEncoding.EncodeToString([]byte("a signing request"))

func (d *desk) post(path, body string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, est.Path+path, strings.NewReader(body))
	for name := range header {
		r.Header[name] = header[name]
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w
}

func (d *desk) get(path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	d.ServeHTTP(w, httptest.NewRequest(http.MethodGet, est.Path+path, nil))
	return w
}

// proof signs what is sent with a key.
func (d *desk) proof(nonce, sent string) http.Header {
	decoded, err := base64.StdEncoding.DecodeString(sent)
	if err != nil {
		d.t.Fatal(err)
	}
	sum := sha256.Sum256(est.Signed(nonce, decoded))
	signature, err := d.key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		d.t.Fatal(err)
	}
	raw := base64.RawURLEncoding
	return http.Header{"Authorization": {est.Scheme + raw.EncodeToString(d.registrar.certificate.Raw) + "." + nonce + "." + raw.EncodeToString(signature)}}
}

func TestAnswersAreCertsOnly(t *testing.T) {
	d := newDesk(t)
	basic := http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("anybody:token"))}}
	for name, test := range map[string]struct {
		answer *httptest.ResponseRecorder
		want   int
	}{"cacerts": {d.get("cacerts"), 2}, "simpleenroll": {d.post("simpleenroll", body, basic), 1}} {
		if got := test.answer.Header().Get("Content-Type"); test.answer.Code != http.StatusOK || !strings.HasPrefix(got, "application/pkcs7-mime") ||
			test.answer.Header().Get("Content-Transfer-Encoding") != "base64" {
			t.Errorf("%s: %d, %v", name, test.answer.Code, test.answer.Header())
		}
		der, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(test.answer.Body.String(), "\r\n", ""))
		if err != nil {
			t.Fatal(err)
		}
		message, err := pkcs7.Parse(der)
		if err != nil || len(message.Certificates) != test.want {
			t.Errorf("%s: %d certificates (%v)", name, len(message.Certificates), err)
		}
	}
	if got := d.get("csrattrs").Code; got != http.StatusNoContent {
		t.Errorf("csrattrs: %d", got)
	}
}

func TestRenewalByASignature(t *testing.T) {
	d := newDesk(t)
	nonce := d.get("nonce").Body.String()
	good := d.proof(nonce, body)
	if got := d.post("simplereenroll", body, good).Code; got != http.StatusOK {
		t.Fatalf("a good one: %d", got)
	}
	other := base64.StdEncoding.EncodeToString([]byte("another signing request"))
	bad := map[string]func() *httptest.ResponseRecorder{
		"nothing":         func() *httptest.ResponseRecorder { return d.post("simplereenroll", body, nil) },
		"another request": func() *httptest.ResponseRecorder { return d.post("simplereenroll", other, good) },
		"for another purpose": func() *httptest.ResponseRecorder {
			return d.post("retire", base64.StdEncoding.EncodeToString([]byte("retire")), good)
		},
		"a nonce of its own": func() *httptest.ResponseRecorder { return d.post("simplereenroll", body, d.proof("bWFkZSB1cA", body)) },
		"a header of no parts": func() *httptest.ResponseRecorder {
			return d.post("simplereenroll", body, http.Header{"Authorization": {"Device x"}})
		},
		"a huge header": func() *httptest.ResponseRecorder {
			return d.post("simplereenroll", body, http.Header{"Authorization": {"Device " + strings.Repeat("x", 1<<16)}})
		},
		"an old nonce": func() *httptest.ResponseRecorder {
			d.now = d.now.Add(5 * time.Minute)
			return d.post("simplereenroll", body, good)
		},
	}
	d.registrar.asked = nil
	for name, send := range bad {
		before := d.now
		if got := send(); got.Code != http.StatusUnauthorized || len(d.registrar.asked) > 0 {
			t.Errorf("%s: %d, %v", name, got.Code, d.registrar.asked)
		}
		d.now = before
	}
}

func TestBrowsersAndMistakesAreRefused(t *testing.T) {
	d := newDesk(t)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("anybody:token"))
	for name, test := range map[string]struct {
		body   string
		header http.Header
		status int
	}{
		"no token":         {body, nil, http.StatusUnauthorized},
		"W01, a page":      {body, http.Header{"Authorization": {basic}, "Origin": {"https://evil.example"}}, http.StatusForbidden},
		"W01, null":        {body, http.Header{"Authorization": {basic}, "Origin": {"null"}}, http.StatusForbidden},
		"W01, by metadata": {body, http.Header{"Authorization": {basic}, "Sec-Fetch-Site": {"same-origin"}}, http.StatusForbidden},
		"early data":       {body, http.Header{"Authorization": {basic}, "Early-Data": {"1"}}, http.StatusTooEarly},
		"not base64":       {"{}", http.Header{"Authorization": {basic}}, http.StatusBadRequest},
		"nothing":          {"", http.Header{"Authorization": {basic}}, http.StatusBadRequest},
		"W04, 2 MiB":       {strings.Repeat("A", 2<<20), http.Header{"Authorization": {basic}}, http.StatusBadRequest},
	} {
		if got := d.post("simpleenroll", test.body, test.header); got.Code != test.status || len(d.registrar.asked) > 0 {
			t.Errorf("%s: %d, want %d, asked %v", name, got.Code, test.status, d.registrar.asked)
		}
	}
	for err, status := range map[error]int{
		devices.Expired: 401, devices.UnknownIssuer: 403,
		enrolment.ErrRefused: 401, enrolment.ErrExpired: 401, enrolment.ErrInactive: 403, enrolment.ErrKeyTaken: 403, enrolment.ErrClone: 409,
		enrolment.ErrRevoked: 410, http.ErrServerClosed: 503,
	} {
		d.registrar.err = err
		if got := d.post("simpleenroll", body, http.Header{"Authorization": {basic}}); got.Code != status {
			t.Errorf("%v: %d, want %d", err, got.Code, status)
		}
	}
	if got := d.get("elsewhere").Code; got != http.StatusNotFound {
		t.Errorf("elsewhere: %d", got)
	}
}

// FuzzProof has strangers renew with a header of theirs.
func FuzzProof(f *testing.F) {
	d := newDesk(f)
	f.Add(d.proof(d.get("nonce").Body.String(), body).Get("Authorization")[len(est.Scheme):])
	f.Add("a.b.c")
	f.Add("..")
	other := base64.StdEncoding.EncodeToString([]byte("another signing request"))
	f.Fuzz(func(t *testing.T, proof string) {
		d.registrar.asked = nil
		d.post("simplereenroll", other, http.Header{"Authorization": {est.Scheme + proof}})
		if len(d.registrar.asked) > 0 {
			t.Errorf("%q renewed", proof)
		}
	})
}

func TestTypedCode(t *testing.T) {
	d := newDesk(t)
	answer := d.post("ask", body, http.Header{"Device-Name": {"box"}})
	if answer.Code != http.StatusOK || !strings.Contains(answer.Body.String(), `"user_code":"4K7M-9XQ2"`) || !strings.Contains(answer.Body.String(), `"device_code":"for the machine"`) {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
	d.registrar.err = &quota.Exceeded{RetryAfter: 90 * time.Second}
	if answer := d.post("ask", body, nil); answer.Code != http.StatusTooManyRequests || answer.Header().Get("Retry-After") != "90" {
		t.Errorf("too many: %d, %v", answer.Code, answer.Header())
	}
	basic := http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("box:secret"))}}
	d.registrar.err = fmt.Errorf("enrolling: %w", enrolment.ErrWaiting)
	if answer := d.post("simpleenroll", body, basic); answer.Code != http.StatusAccepted || answer.Header().Get("Retry-After") == "" {
		t.Errorf("while nobody has confirmed: %d, %v", answer.Code, answer.Header())
	}
}

// TestFormerCertificate takes a machine's word for the certificate that it had only with
// a signature by its key.
func TestFormerCertificate(t *testing.T) {
	d := newDesk(t)
	request, err := base64.StdEncoding.DecodeString(body)
	if err != nil {
		t.Fatal(err)
	}
	nonce, err := d.Nonces.New()
	if err != nil {
		t.Fatal(err)
	}
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("box:secret"))
	for _, forged := range []bool{false, true} {
		sum := sha256.Sum256(est.Signed(nonce, append(request, make([]byte, map[bool]int{true: 1}[forged])...)))
		signature, err := ecdsa.SignASN1(rand.Reader, d.key, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		base := base64.RawURLEncoding
		proof := base.EncodeToString(d.registrar.certificate.Raw) + "." + nonce + "." + base.EncodeToString(signature)
		d.registrar.asked = nil
		answer := d.post("simpleenroll", body, http.Header{"Authorization": {basic}, "Device-Former": {proof}})
		if forged && (answer.Code != http.StatusUnauthorized || d.registrar.asked != nil) {
			t.Errorf("by another's signature: %d, %q", answer.Code, d.registrar.asked)
		}
		if want := "enrol secret " + devices.Fingerprint(d.registrar.certificate); !forged && (len(d.registrar.asked) != 1 || d.registrar.asked[0] != want) {
			t.Errorf("%d, %q", answer.Code, d.registrar.asked)
		}
	}
}
