package portal

import (
	"fmt"
	"net/http"

	"github.com/portcullis-mfa/portcullis/templates"
)

const (
	// TypedPath is the address that people type to confirm a machine without a browser.
	TypedPath = "/device"

	typedDevicePath = devicesPath + "/code"
)

// leadTyped leads from the address that people type to the page.
func (p *Portal) leadTyped(w http.ResponseWriter, _ *http.Request) error {
	p.redirect(w, typedDevicePath)
	return nil
}

// askTyped asks for the code that a machine shows.
func (p *Portal) askTyped(w http.ResponseWriter, r *http.Request) error {
	if _, err := p.changer(r); err != nil {
		return err
	}
	return p.typedForm(w, r, http.StatusOK, templates.Message{})
}

func (p *Portal) typedForm(w http.ResponseWriter, r *http.Request, status int, message templates.Message) error {
	return p.page(w, r, status, "device_code", templates.DeviceCodeView{Frame: p.frame(r), Error: message})
}

// answerTyped shows which machine waits for a code. Once its person has confirmed that,
// the machine becomes their device.
func (p *Portal) answerTyped(w http.ResponseWriter, r *http.Request) error {
	v, err := p.changer(r)
	if err != nil {
		return err
	}
	code, confirms := r.PostFormValue("code"), r.PostFormValue("user") != ""
	if confirms && r.PostFormValue("user") != v.user.ID {
		return errAnother
	}
	act := p.Enrolments.FindDevice
	if confirms {
		act = p.Enrolments.AdmitDevice
	}
	found, err := act(r.Context(), v.signOn, code, p.client(r))
	if refusal, ok := p.refusalOf(w, r, form{field: "code", wrong: sayingEither("portal.device_code.malformed", "portal.device_code.wrong")}, err); ok {
		return p.typedForm(w, r, refusal.status, refusal.message)
	}
	if err != nil {
		return fmt.Errorf("reading the code of a machine: %w", err)
	}
	if confirms {
		p.finished(w, "device_confirmed", devicesPath)
		return nil
	}
	return p.page(w, r, http.StatusOK, "device_confirm", templates.DeviceConfirmView{
		Frame: p.frame(r), Name: nameOfMachine(found.Name), System: systemName(found.System), Address: found.Address, At: local(found.At),
		User: v.user.Name, UserID: v.user.ID, Action: typedDevicePath, Code: code, Cancel: devicesPath,
	})
}
