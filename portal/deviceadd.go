package portal

import (
	"fmt"
	"net/http"

	"github.com/portcullis-mfa/portcullis/templates"
)

const (
	addDevicePath   = devicesPath + "/add"
	deviceTokenPath = devicesPath + "/token"
)

// showAddDevice says how to add a device.
func (p *Portal) showAddDevice(w http.ResponseWriter, r *http.Request) error {
	if _, err := p.member(r); err != nil {
		return err
	}
	return p.page(w, r, http.StatusOK, "device_add", templates.AddDeviceView{
		Frame: p.frame(r), Portal: p.Origin.String(), Code: typedDevicePath, Token: deviceTokenPath,
	})
}

// askDeviceToken offers a one-time token for a machine that has no agent.
func (p *Portal) askDeviceToken(w http.ResponseWriter, r *http.Request) error {
	if _, err := p.changer(r); err != nil {
		return err
	}
	return p.page(w, r, http.StatusOK, "device_token", templates.DeviceTokenView{Frame: p.frame(r)})
}

// makeDeviceToken makes one and shows it, this once.
func (p *Portal) makeDeviceToken(w http.ResponseWriter, r *http.Request) error {
	v, err := p.changer(r)
	if err != nil {
		return err
	}
	made, err := p.Enrolments.DeviceToken(r.Context(), v.signOn, p.client(r))
	if err != nil {
		return fmt.Errorf("making a token for a device: %w", err)
	}
	return p.page(w, r, http.StatusOK, "device_token", templates.DeviceTokenView{
		Frame: p.frame(r), Secret: made.Secret, Until: local(made.Expires),
	})
}
