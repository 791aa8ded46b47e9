package portal

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/templates"
)

const devicesPath = accountPath + "/devices"

const (
	// NamesPath is below which the names lie that certificates give to devices
	// and users; there are no pages.
	NamesPath = "/.well-known/mfa"
	// RevocationListPath is where the list of revoked devices is served.
	RevocationListPath = "/.well-known/mfa/devices.crl"
)

// deviceWay is how the first page of an account leads to the devices; somebody
// who has none sees nothing of it.
func deviceWay(t words, devices []store.Device) []templates.Way {
	if len(devices) == 0 {
		return nil
	}
	latest := slices.MaxFunc(devices, func(a, b store.Device) int { return a.LastSeen.Compare(b.LastSeen) })
	return []templates.Way{{
		Kind: string(assurance.Certificate), Name: t.say("portal.devices.title"), URL: devicesPath,
		State: t.count("portal.devices.state", len(devices)), Daily: true, LastUsed: local(latest.LastSeen),
	}}
}

// devicesOf returns somebody's devices.
func (p *Portal) devicesOf(r *http.Request, v visitor) ([]store.Device, error) {
	devices, err := p.Accounts.DevicesOf(r.Context(), v.user.ID)
	if err != nil {
		return nil, fmt.Errorf("listing devices: %w", err)
	}
	return devices, nil
}

// showDevices lists the machines of somebody's that carry a certificate.
func (p *Portal) showDevices(w http.ResponseWriter, r *http.Request) error {
	v, err := p.member(r)
	if err != nil {
		return err
	}
	devices, err := p.devicesOf(r, v)
	if err != nil {
		return err
	}
	view := templates.DevicesView{Frame: p.frame(r), Done: p.done(w, r)}
	for _, d := range devices {
		own := ownDevice(d)
		own.Withdrawn = p.Withdrawn != nil && p.Withdrawn(d)
		view.Devices = append(view.Devices, own)
	}
	return p.page(w, r, http.StatusOK, "account_devices", view)
}

func ownDevice(d store.Device) templates.OwnDevice {
	return templates.OwnDevice{
		ID: d.ID, Name: d.Name, Serial: d.Serial, Issued: local(d.Issued), Expires: local(d.Expires), Seen: local(d.LastSeen),
	}
}

// askRevoke says what revoking a device ends, before the button.
func (p *Portal) askRevoke(w http.ResponseWriter, r *http.Request) error {
	v, err := p.changer(r)
	if err != nil {
		return err
	}
	devices, err := p.devicesOf(r, v)
	if err != nil {
		return err
	}
	id := r.URL.Query().Get("id")
	i := slices.IndexFunc(devices, func(d store.Device) bool { return d.ID == id })
	if i < 0 {
		return errNotFound
	}
	return p.page(w, r, http.StatusOK, "account_revoke", templates.RevokeView{Frame: p.frame(r), Device: ownDevice(devices[i])})
}

// revoke revokes one of a person's own devices.
func (p *Portal) revoke(w http.ResponseWriter, r *http.Request) error {
	v, err := p.changer(r)
	if err != nil {
		return err
	}
	if err := p.Accounts.RevokeDevice(r.Context(), v.signOn, v.user, r.PostFormValue("id"), p.client(r)); err != nil {
		return fmt.Errorf("revoking a device: %w", err)
	}
	p.finished(w, "revoked", devicesPath)
	return nil
}

// revocationList serves the list of revoked devices to others who trust the CA
// that issued to them.
func (p *Portal) revocationList(w http.ResponseWriter, r *http.Request) error {
	list, err := p.RevocationList(r.Context())
	if err != nil {
		return fmt.Errorf("making the revocation list: %w", err)
	}
	w.Header().Set("Content-Type", "application/pkix-crl")
	w.Header().Set("Cache-Control", "public, max-age=60")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Length", strconv.Itoa(len(list)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(list) // the client went away; there is nobody to tell
	}
	return nil
}
