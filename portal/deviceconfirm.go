package portal

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/portcullis-mfa/portcullis/enrolment"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/showable"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/templates"
)

// confirmDevicePath is where people confirm that the machine they sit at may become one
// of their devices. The agent on it opens the page, and waits on a port of 127.0.0.1 for
// the browser to bring back a code (RFC 8252 §7.3). PKCE (RFC 7636) makes the code
// useless to anybody but that agent.
const confirmDevicePath = devicesPath + "/confirm"

// Enrolments lets people add machines to their devices. Package selfservice implements it.
type Enrolments interface {
	ConfirmDevice(ctx context.Context, by store.SignOn, w enrolment.Wish, c person.Client) (code string, err error)
	FindDevice(ctx context.Context, by store.SignOn, typed string, c person.Client) (enrolment.Asked, error)
	AdmitDevice(ctx context.Context, by store.SignOn, typed string, c person.Client) (enrolment.Asked, error)
	DeviceToken(ctx context.Context, by store.SignOn, c person.Client) (enrolment.Token, error)
}

// localWish is what an agent asks for on the machine that the browser runs on: JSON in
// base64url without padding, as the parameter "request".
type localWish struct {
	Key       string `json:"key"`       // devices.KeyID
	Challenge string `json:"challenge"` // RFC 7636 §4.2, S256
	State     string `json:"state"`     // brought back to the agent (RFC 6749 §10.12)
	Port      int    `json:"port"`      // of 127.0.0.1, where the agent listens
	Name      string `json:"name"`
	System    string `json:"system"`
}

const maxLocalWish = 2 << 10 // bytes, encoded

var (
	keyIDForm  = regexp.MustCompile(`^[0-9a-f]{64}$`)
	secretForm = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

	errMalformedWish = errors.New("the address isn't one that the device agent opens")
	// errAnother says that somebody else has signed in since a page was shown.
	errAnother = fmt.Errorf("somebody else is signed in: %w", store.ErrConflict)
)

// readLocalWish reads what an agent asks for.
func readLocalWish(encoded string) (localWish, error) {
	var w localWish
	if len(encoded) > maxLocalWish {
		return w, errMalformedWish
	}
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil || json.Unmarshal(decoded, &w) != nil {
		return localWish{}, errMalformedWish
	}
	// Ports below 1024 belong to the system's services.
	if !keyIDForm.MatchString(w.Key) || !secretForm.MatchString(w.Challenge) || !secretForm.MatchString(w.State) || w.Port < 1024 || w.Port > 65535 {
		return localWish{}, errMalformedWish
	}
	w.Name = nameOfMachine(w.Name)
	return w, nil
}

// loopback begins the origins of agents.
const loopback = "http://127.0.0.1:"

// LeadsToAgent reports whether one of the portal's redirects leads to an agent, with a
// code.
func LeadsToAgent(location string) bool { return strings.HasPrefix(location, loopback) }

// origin is where the agent listens.
func (w localWish) origin() string { return loopback + strconv.Itoa(w.Port) }

// answer is where the browser brings an answer, by name and value.
func (w localWish) answer(name, value string) string {
	return w.origin() + "/?" + url.Values{name: {value}, "state": {w.State}}.Encode()
}

// askDevice shows what asks to become a device. It changes nothing.
func (p *Portal) askDevice(w http.ResponseWriter, r *http.Request) error {
	v, err := p.changer(r)
	if err != nil {
		return err
	}
	encoded := r.URL.Query().Get("request")
	wish, err := readLocalWish(encoded)
	if err != nil {
		return err
	}
	return p.page(w, r, http.StatusOK, "device_confirm", templates.DeviceConfirmView{
		Frame: p.frame(r), Name: wish.Name, System: systemName(wish.System), Address: p.Address(r), At: local(p.Clock()),
		User: v.user.Name, UserID: v.user.ID, Action: confirmDevicePath, Request: encoded, Cancel: wish.answer("error", "access_denied"),
	}, wish.origin())
}

// confirmDevice lets the machine become a device of whoever confirms it, and sends the
// browser back to the agent.
func (p *Portal) confirmDevice(w http.ResponseWriter, r *http.Request) error {
	v, err := p.changer(r)
	if err != nil {
		return err
	}
	wish, err := readLocalWish(r.PostFormValue("request"))
	if err != nil {
		return err
	}
	if r.PostFormValue("user") != v.user.ID {
		return errAnother
	}
	code, err := p.Enrolments.ConfirmDevice(r.Context(), v.signOn, enrolment.Wish{
		Key: wish.Key, Challenge: wish.Challenge, Claims: enrolment.Claims{Name: wish.Name},
	}, p.client(r))
	if err != nil {
		return fmt.Errorf("confirming a device: %w", err)
	}
	p.redirect(w, wish.answer("code", code))
	return nil
}

// nameOfMachine is what a machine calls itself, as people see it.
func nameOfMachine(claimed string) string { return cmp.Or(showable.Text(claimed), "?") }

// systemName is what people call a system that a machine says it runs, as GOOS/GOARCH.
func systemName(claimed string) string {
	claimed = showable.Text(claimed)
	system, _, _ := strings.Cut(claimed, "/")
	if name, known := map[string]string{"linux": "Linux", "windows": "Windows", "darwin": "macOS"}[system]; known {
		return name
	}
	return claimed
}
