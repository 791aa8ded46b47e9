package portal

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

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
// who has none, and can't add one, sees nothing of it.
func deviceWay(t words, devices []store.Device, canAdd bool) []templates.Way {
	way := templates.Way{Kind: string(assurance.Certificate), Name: t.say("portal.devices.title"), URL: devicesPath, Daily: true}
	switch {
	case len(devices) == 0 && !canAdd:
		return nil
	case len(devices) == 0:
		way.State = t.say("portal.devices.none")
		return []templates.Way{way}
	}
	latest := slices.MaxFunc(devices, func(a, b store.Device) int { return a.LastSeen.Compare(b.LastSeen) })
	way.State, way.LastUsed = t.count("portal.devices.state", len(devices)), local(latest.LastSeen)
	return []templates.Way{way}
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
	if p.Enrolments != nil {
		view.Add = addDevicePath
	}
	for _, d := range devices {
		own := ownDevice(d)
		if i := slices.IndexFunc(devices, func(other store.Device) bool { return other.ID == d.Replaces }); i >= 0 {
			own.Replaces = devices[i].Name
		}
		own.Withdrawn = p.Withdrawn != nil && p.Withdrawn(d)
		view.Devices = append(view.Devices, own)
	}
	return p.page(w, r, http.StatusOK, "account_devices", view)
}

func ownDevice(d store.Device) templates.OwnDevice {
	return templates.OwnDevice{
		ID: d.ID, Name: d.Name, Serial: d.Serial, Issued: local(d.Issued), Expires: local(d.Expires), Seen: local(d.LastSeen),
		System: systemName(d.System), Agent: d.Agent, InFile: d.Protection == "file", Suspended: d.State == store.DeviceSuspended,
	}
}

// changerOf returns who wants to change a device of their own, and the device.
func (p *Portal) changerOf(r *http.Request, id string) (visitor, store.Device, error) {
	v, err := p.changer(r)
	if err != nil {
		return visitor{}, store.Device{}, err
	}
	devices, err := p.devicesOf(r, v)
	if err != nil {
		return visitor{}, store.Device{}, err
	}
	i := slices.IndexFunc(devices, func(d store.Device) bool { return d.ID == id })
	if i < 0 {
		return visitor{}, store.Device{}, errNotFound
	}
	return v, devices[i], nil
}

// showRenameDevice asks for another name.
func (p *Portal) showRenameDevice(w http.ResponseWriter, r *http.Request) error {
	_, d, err := p.changerOf(r, r.URL.Query().Get("id"))
	if err != nil {
		return err
	}
	return p.renameDeviceForm(w, r, http.StatusOK, d, d.Name, templates.Message{})
}

func (p *Portal) renameDeviceForm(w http.ResponseWriter, r *http.Request, status int, d store.Device, typed string, message templates.Message) error {
	return p.page(w, r, status, "account_rename", templates.RenameView{
		Frame: p.frame(r), Kind: templates.KindTexts{URL: devicesPath}, ID: d.ID, Name: d.Name, Typed: typed, Error: message,
	})
}

// renameDevice gives one of a person's own devices another name.
func (p *Portal) renameDevice(w http.ResponseWriter, r *http.Request) error {
	v, d, err := p.changerOf(r, r.PostFormValue("id"))
	if err != nil {
		return err
	}
	name := strings.TrimSpace(r.PostFormValue("name"))
	err = p.Accounts.RenameDevice(r.Context(), v.signOn, d.ID, name, p.client(r))
	if refusal, ok := p.refusalOf(w, r, form{}, err); ok {
		return p.renameDeviceForm(w, r, refusal.status, d, name, refusal.message)
	}
	if err != nil {
		return fmt.Errorf("renaming a device: %w", err)
	}
	p.finished(w, "renamed", devicesPath)
	return nil
}

// askRevoke says what revoking a device ends, before the button.
func (p *Portal) askRevoke(w http.ResponseWriter, r *http.Request) error {
	_, d, err := p.changerOf(r, r.URL.Query().Get("id"))
	if err != nil {
		return err
	}
	return p.page(w, r, http.StatusOK, "account_revoke", templates.RevokeView{Frame: p.frame(r), Device: ownDevice(d)})
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
