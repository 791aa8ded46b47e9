package portal

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/devices"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/templates"
)

// devicePath is where somebody goes on as the owner of the device that they sit
// at.
const devicePath = "/sign-in/device"

// errNoDevice says that no certificate was shown that could open what somebody
// wants to open.
var errNoDevice = errors.New("no certificate was shown, or none that counts")

// isCertified reports whether TLS brought a certificate with a request.
func isCertified(r *http.Request) bool { return r.TLS != nil && len(r.TLS.PeerCertificates) > 0 }

// deviceAt returns the device that a request comes from, where its certificate
// alone would open the app that somebody wants to open. Otherwise it is
// errNoDevice, or says what is wrong with the certificate. A certificate is of
// the connection to this host alone, never of one to another.
func (p *Portal) deviceAt(r *http.Request, to destination) (devices.Presented, error) {
	if !isCertified(r) || to.ask().Certificate != assurance.CertificateAlone || !strings.EqualFold(r.TLS.ServerName, p.Origin.Hostname()) {
		return devices.Presented{}, errNoDevice
	}
	return p.Devices.Read(r.Context(), r.TLS.PeerCertificates, p.MaxStaleness)
}

// begin lets the owner of a device in without a click, or shows the form. ended
// is why nobody is signed in.
func (p *Portal) begin(w http.ResponseWriter, r *http.Request, to destination, ended error) error {
	device, err := p.deviceAt(r, to)
	if err != nil {
		return p.withoutDevice(w, r, to, err)
	}
	if !goesAlone(r, to, ended) {
		return p.signInForm(w, r, http.StatusOK, to, templates.SignInView{Device: device.User.Name})
	}
	return p.enterAs(w, r, device, to)
}

// withoutDevice shows the form, with what is wrong with a certificate.
func (p *Portal) withoutDevice(w http.ResponseWriter, r *http.Request, to destination, err error) error {
	var view templates.SignInView
	if !errors.Is(err, errNoDevice) {
		reason, refused := devices.ReasonOf(err)
		if !refused {
			return fmt.Errorf("looking up a device: %w", err)
		}
		p.noteRefusal(r, to, reason, err)
		view.Notice = p.words(r).say("certificate.because." + reason)
	}
	return p.signInForm(w, r, http.StatusOK, to, view)
}

func (p *Portal) noteRefusal(r *http.Request, to destination, reason string, err error) {
	user, fields := devices.Refused(r.TLS.PeerCertificates, err)
	fields[audit.App], fields[audit.Reason], fields[audit.Address] = to.request.Origin, reason, p.Address(r)
	p.Audit.Note(audit.DeviceRefused, user, fields)
}

// goesAlone reports whether a device goes in by itself: when a person goes to a
// page, unless they want to be somebody else, or have signed out.
func goesAlone(r *http.Request, to destination, ended error) bool {
	if to.request.Switch || r.URL.Query().Has("switch") || errors.Is(ended, session.ErrSignedOut) {
		return false
	}
	if _, err := r.Cookie(signedOutCookie); err == nil {
		return false
	}
	destination := r.Header.Get("Sec-Fetch-Dest")
	return r.Method == http.MethodGet && r.Header.Get("Sec-Purpose") == "" && isVisit(r) && (destination == "" || destination == "document")
}

// continueAsDevice lets the owner of a device in who says so.
func (p *Portal) continueAsDevice(w http.ResponseWriter, r *http.Request) error {
	to, err := p.destinationOf(r.PostFormValue("request"))
	if err != nil {
		return err
	}
	device, err := p.deviceAt(r, to)
	if err != nil {
		return p.withoutDevice(w, r, to, err)
	}
	return p.enterAs(w, r, device, to)
}

// signInDevice makes the sign-on of a device's owner, or says as the reading of
// its certificate does why there is none.
func (p *Portal) signInDevice(r *http.Request, device devices.Presented) (authflow.Granted, error) {
	login := authflow.DeviceLogin{ID: device.ID, Expires: device.Expires}
	granted, err := p.Flows.SignInDevice(r.Context(), login, p.portalSession(r).SignOn, p.client(r))
	if errors.Is(err, person.ErrNoDevice) {
		return granted, session.DeviceRevoked
	}
	if err != nil || device.Vouched == nil {
		return granted, err
	}
	// What a new list of its CA names may have been ended just before this was
	// there to be ended.
	withdrawn := device.Vouched()
	if withdrawn == nil {
		return granted, nil
	}
	if err := p.end(r, granted.SignOn.ID, session.EndedDevice); err != nil {
		return granted, err
	}
	return granted, withdrawn
}

// enterAs signs the owner of a device in, in place of the sign-on that the
// browser had, and goes on to the app.
func (p *Portal) enterAs(w http.ResponseWriter, r *http.Request, device devices.Presented, to destination) error {
	granted, err := p.signInDevice(r, device)
	if _, refused := devices.ReasonOf(err); refused {
		return p.withoutDevice(w, r, to, err)
	}
	if err == nil {
		err = p.keep(w, r, granted.Granted, granted.Browser)
	}
	if err != nil {
		return fmt.Errorf("signing a device in: %w", err)
	}
	return p.leave(w, r, granted.SignOn, to)
}
