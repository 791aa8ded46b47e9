package portal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"regexp"
	"strings"

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
	agents, err := p.agentsFor(platformOf(r))
	if err != nil {
		return fmt.Errorf("listing the device agents: %w", err)
	}
	return p.page(w, r, http.StatusOK, "device_add", templates.AddDeviceView{
		Frame: p.frame(r), Portal: p.Origin.String(), Agents: agents, Code: typedDevicePath, Token: deviceTokenPath,
	})
}

// agentForm is what the file of a device agent is called: after its system, as in GOOS.
var agentForm = regexp.MustCompile(`^mfa-agent[-_.A-Za-z0-9]*$`)

// agentsFor returns the device agents for a platform.
func (p *Portal) agentsFor(platform string) ([]templates.AgentFile, error) {
	if p.Agents == nil || platform == "" {
		return nil, nil
	}
	system := platform
	if system == "macos" {
		system = "darwin"
	}
	files, err := fs.ReadDir(p.Agents, ".")
	if err != nil {
		return nil, err
	}
	var found []templates.AgentFile
	for _, file := range files {
		if agentForm.MatchString(file.Name()) && strings.Contains(file.Name(), system) && file.Type().IsRegular() {
			found = append(found, templates.AgentFile{Name: file.Name(), URL: agentPath + file.Name()})
		}
	}
	return found, nil
}

// agentPath is below which the device agents can be downloaded, by anybody.
const agentPath = "/agent/"

// serveAgent serves the file of a device agent.
func (p *Portal) serveAgent(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("file")
	if !agentForm.MatchString(name) {
		return errNotFound
	}
	file, err := p.Agents.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return errNotFound
	}
	if err != nil {
		return fmt.Errorf("opening a device agent: %w", err)
	}
	defer func() { _ = file.Close() }() // it was only read
	about, err := file.Stat()
	if err != nil {
		return fmt.Errorf("opening a device agent: %w", err)
	}
	content, seeks := file.(io.ReadSeeker)
	if !about.Mode().IsRegular() || !seeks {
		return errNotFound
	}
	templates.Protect(w.Header(), p.Origin.Scheme == "https")
	w.Header().Set("Cache-Control", "public, no-cache")
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	http.ServeContent(w, r, name, about.ModTime(), content)
	return nil
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
