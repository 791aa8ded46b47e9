// Package est speaks EST (RFC 7030), by which machines enrol for certificates and
// renew them. It reads requests and writes answers; package enrolment decides.
//
// A client proves who it is by a one-time token as the password of HTTP Basic
// authentication, by the certificate that it has in TLS, or, where TLS can't carry
// one, by a signature with that certificate's key (see Proof). The package must not
// know Caddy or the store.
package est

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/smallstep/pkcs7"
	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/devices"
	"github.com/portcullis-mfa/portcullis/earlydata"
	"github.com/portcullis-mfa/portcullis/enrolment"
	"github.com/portcullis-mfa/portcullis/quota"
	"github.com/portcullis-mfa/portcullis/upload"
)

// Path is the path below which everything is served (RFC 7030 §3.2.2).
const Path = "/.well-known/est/"

// maxBody bounds a request in bytes: a signing request in base64.
const maxBody = 96 << 10

// Registrar enrols machines and renews their certificates; package enrolment offers
// it.
type Registrar interface {
	Enrol(ctx context.Context, secret string, request []byte, says enrolment.Claims) (enrolment.Issued, error)
	Renew(ctx context.Context, fingerprint string, request []byte, says enrolment.Claims) (enrolment.Issued, error)
	Ask(ctx context.Context, request []byte, says enrolment.Claims) (enrolment.Asking, error)
	Retire(ctx context.Context, fingerprint string, says enrolment.Claims) error
}

// Settings are what a Handler is made of. All fields are needed.
type Settings struct {
	Registrar Registrar
	// CAs returns the certificates of the CA, its anchor included.
	CAs func() []*x509.Certificate
	// Verify returns nil if a certificate leads to the CA, whoever presents it.
	Verify func(presented []*x509.Certificate) error
	// Confirm is the page on which people type the codes of machines without a browser.
	Confirm string
	// Nonces seals what clients sign.
	Nonces Nonces
	// Address returns the client's address, as trusted proxies determine it.
	Address func(*http.Request) string
	Logger  *zap.Logger
}

// Handler serves Path. It is safe for concurrent use.
type Handler struct {
	Settings
	mux *http.ServeMux
}

// New returns a Handler.
func New(s Settings) *Handler {
	h := &Handler{s, http.NewServeMux()}
	h.mux.HandleFunc("GET "+Path+"cacerts", h.caCertificates)
	h.mux.HandleFunc("GET "+Path+"csrattrs", h.attributes)
	h.mux.HandleFunc("GET "+Path+"nonce", h.nonce)
	h.mux.HandleFunc("POST "+Path+"simpleenroll", h.enrol)
	h.mux.HandleFunc("POST "+Path+"simplereenroll", h.renew)
	h.mux.HandleFunc("POST "+Path+"retire", h.retire)
	h.mux.HandleFunc("POST "+Path+"ask", h.ask)
	return h
}

// ServeHTTP answers every request below Path.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodPost {
		upload.Ignore(w, r)
	} else if earlydata.Carried(r) {
		upload.Ignore(w, r)
		refuse(w, http.StatusTooEarly, "Send the request again.")
		return
	}
	// A page in a browser has no business here. What browsers add to its requests
	// no client of EST sends.
	if r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" && r.Method == http.MethodPost {
		upload.Ignore(w, r)
		refuse(w, http.StatusForbidden, "This address is for programs.")
		return
	}
	h.mux.ServeHTTP(w, r)
}

// caCertificates serves the certificates of the CA (RFC 7030 §4.1).
func (h *Handler) caCertificates(w http.ResponseWriter, _ *http.Request) { h.answer(w, h.CAs()) }

// attributes says that signing requests need nothing but a key (RFC 7030 §4.5).
func (*Handler) attributes(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusNoContent)
}

// enrol answers simpleenroll (RFC 7030 §4.2.1).
func (h *Handler) enrol(w http.ResponseWriter, r *http.Request) {
	_, secret, given := r.BasicAuth()
	if !given {
		upload.Ignore(w, r)
		h.failed(w, r, enrolment.ErrRefused)
		return
	}
	request, err := readRequest(w, r)
	if err != nil {
		refuse(w, http.StatusBadRequest, "Send a signing request: "+err.Error())
		return
	}
	says := h.claims(r)
	if proof := r.Header.Get("Device-Former"); proof != "" && len(proof) < maxProof {
		former, err := h.signer(proof, request)
		if err != nil {
			h.failed(w, r, err)
			return
		}
		says.Former = devices.Fingerprint(former)
	}
	issued, err := h.Registrar.Enrol(r.Context(), secret, request, says)
	if errors.Is(err, enrolment.ErrWaiting) { // RFC 7030 §4.2.3
		w.Header().Set("Retry-After", waitFor)
		w.WriteHeader(http.StatusAccepted)
		return
	}
	h.issued(w, r, issued, err)
}

// waitFor is how many seconds a machine waits before it asks again whether somebody has
// confirmed.
const waitFor = "5"

// ask lets a machine without a browser wait for somebody to type a code (RFC 8628 §3.2).
// Its device_code is the password that simpleenroll then takes. EST has no such operation.
func (h *Handler) ask(w http.ResponseWriter, r *http.Request) {
	request, err := readRequest(w, r)
	if err != nil {
		refuse(w, http.StatusBadRequest, "Send a signing request: "+err.Error())
		return
	}
	made, err := h.Registrar.Ask(r.Context(), request, h.claims(r))
	if exceeded := new(quota.Exceeded); errors.As(err, &exceeded) {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(exceeded.RetryAfter.Seconds()))))
		refuse(w, http.StatusTooManyRequests, "Too many machines are asking. Try again later.")
		return
	}
	if err != nil {
		h.failed(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{ // the client went away; there is nobody to tell
		"device_code": made.Secret, "user_code": made.Code, "verification_uri": h.Confirm,
		"expires_in": int(enrolment.CodeLifetime.Seconds()), "interval": 5,
	})
}

// renew answers simplereenroll (RFC 7030 §4.2.2). TLS has shown that the client holds
// the key of the certificate, or Proof does.
func (h *Handler) renew(w http.ResponseWriter, r *http.Request) {
	request, fingerprint, ok := h.shownWith(w, r)
	if !ok {
		return
	}
	issued, err := h.Registrar.Renew(r.Context(), fingerprint, request, h.claims(r))
	h.issued(w, r, issued, err)
}

// shownWith reads what a client sends, and the fingerprint of the certificate that it
// shows to hold the key of. If there is none, it answers and returns false.
func (h *Handler) shownWith(w http.ResponseWriter, r *http.Request) (sent []byte, fingerprint string, ok bool) {
	sent, err := readRequest(w, r)
	if err != nil {
		refuse(w, http.StatusBadRequest, "Send a signing request: "+err.Error())
		return nil, "", false
	}
	presented, err := h.presented(r, sent)
	if err == nil {
		err = h.Verify(presented)
	}
	if err != nil {
		h.failed(w, r, err)
		return nil, "", false
	}
	return sent, devices.Fingerprint(presented[0]), true
}

// retirement is what a client sends, in base64, to have its device revoked.
const retirement = "retire"

// retire revokes a device whose machine no longer wants to be one. EST has no such
// operation.
func (h *Handler) retire(w http.ResponseWriter, r *http.Request) {
	sent, fingerprint, ok := h.shownWith(w, r)
	switch {
	case !ok:
	case string(sent) != retirement:
		refuse(w, http.StatusBadRequest, "Send the word retire in base64.")
	default:
		if err := h.Registrar.Retire(r.Context(), fingerprint, h.claims(r)); err != nil {
			h.failed(w, r, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

// issued answers with a certificate alone: simpleenroll's has exactly one.
func (h *Handler) issued(w http.ResponseWriter, r *http.Request, issued enrolment.Issued, err error) {
	if err != nil {
		h.failed(w, r, err)
		return
	}
	h.answer(w, []*x509.Certificate{issued.Certificate})
}

// answer writes certificates as a certs-only message (RFC 7030 §4.1.3).
func (h *Handler) answer(w http.ResponseWriter, certificates []*x509.Certificate) {
	var der []byte
	for _, certificate := range certificates {
		der = append(der, certificate.Raw...)
	}
	message, err := pkcs7.DegenerateCertificate(der)
	if err != nil {
		h.Logger.Error("encoding certificates", zap.Error(err))
		refuse(w, http.StatusInternalServerError, "Something went wrong here. Try again later.")
		return
	}
	w.Header().Set("Content-Type", "application/pkcs7-mime; smime-type=certs-only")
	w.Header().Set("Content-Transfer-Encoding", "base64")
	_, _ = w.Write([]byte(inLines(base64.StdEncoding.EncodeToString(message)))) // the client went away; there is nobody to tell
}

// inLines breaks base64 as MIME has it (RFC 2045 §6.8).
func inLines(encoded string) string {
	const width = 76
	var lines strings.Builder
	for len(encoded) > width {
		lines.WriteString(encoded[:width] + "\r\n")
		encoded = encoded[width:]
	}
	return lines.String() + encoded + "\r\n"
}

// readRequest reads a signing request: DER in base64 (RFC 7030 §4.2.1).
func readRequest(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := upload.ReadBody(w, r, maxBody)
	if err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	return decodeRequest(body)
}

func decodeRequest(body []byte) ([]byte, error) {
	text := strings.Join(strings.Fields(string(body)), "")
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(der) == 0 {
		return nil, errors.New("not a signing request (PKCS #10) in base64")
	}
	return der, nil
}

// claims are what our agent says of its machine, in headers of its own.
func (h *Handler) claims(r *http.Request) enrolment.Claims {
	return enrolment.Claims{
		Name: r.Header.Get("Device-Name"), Machine: r.Header.Get("Device-Machine"), System: r.Header.Get("Device-System"),
		Agent: r.Header.Get("Device-Agent"), Protection: r.Header.Get("Device-Protection"), Address: h.Address(r),
	}
}

// refusals are the errors that say all that a client needs to know. A 401 asks for
// another token or certificate; a 403 says that none helps; a 409 that the device was
// copied; a 410 that it is gone for good.
var refusals = []struct {
	err    error
	status int
	text   string
}{
	{enrolment.ErrRefused, http.StatusUnauthorized, "This enrolment token doesn't work. It may have expired, or been used. Ask for a new one."},
	{errNoCertificate, http.StatusUnauthorized, "Show the certificate that you want to renew."},
	{enrolment.ErrExpired, http.StatusUnauthorized, "The certificate has expired. Enrol this device again."},
	{devices.Expired, http.StatusUnauthorized, "The certificate has expired. Enrol this device again."},
	{enrolment.ErrInactive, http.StatusForbidden, "This device, or its user, may not get a certificate now. Ask an administrator."},
	{enrolment.ErrKeyTaken, http.StatusForbidden, "Another device has this key. Make a new one."},
	{enrolment.ErrClone, http.StatusConflict, "This device's certificate was already renewed from elsewhere. The device has been suspended. Ask an administrator."},
	{enrolment.ErrRevoked, http.StatusGone, "This device was revoked. Enrol it again."},
}

// failed answers a request that didn't get a certificate.
func (h *Handler) failed(w http.ResponseWriter, r *http.Request, err error) {
	for _, known := range refusals {
		if errors.Is(err, known.err) {
			if known.status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Basic realm="device enrolment"`)
			}
			refuse(w, known.status, known.text)
			return
		}
	}
	var request *devices.RequestError
	if errors.As(err, &request) {
		refuse(w, http.StatusBadRequest, "About your signing request: "+request.Text())
		return
	}
	if _, refused := devices.ReasonOf(err); refused {
		refuse(w, http.StatusForbidden, "This certificate can't be renewed here.")
		return
	}
	h.Logger.Error("enrolling a device", zap.String("path", r.URL.Path), zap.Error(err))
	w.Header().Set("Retry-After", "60")
	refuse(w, http.StatusServiceUnavailable, "Something went wrong here. Try again later.")
}

func refuse(w http.ResponseWriter, status int, text string) { http.Error(w, text, status) }
