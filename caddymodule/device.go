package caddymodule

import (
	"context"
	"encoding/pem"
	"net/http"
	"strings"
	"time"

	"github.com/portcullis-mfa/portcullis/accounts"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/store"
)

// The forms in which devices appear in the admin API and in the commands'
// --json.
type (
	deviceJSON struct {
		ID      string    `json:"id"`
		User    string    `json:"user"`
		Name    string    `json:"name"`
		Serial  string    `json:"serial"`
		SHA256  string    `json:"sha256"` // of the certificate
		Issuer  string    `json:"issuer,omitempty"`
		Status  string    `json:"status"`
		Reason  string    `json:"reason,omitempty"`
		Revoked time.Time `json:"revoked,omitzero"`

		Issued   time.Time `json:"issued"`
		Expires  time.Time `json:"expires"`
		LastSeen time.Time `json:"last_seen,omitzero"`
	}
	// newDeviceJSON asks for a certificate, issuedJSON is what comes of it.
	newDeviceJSON struct {
		Name    string `json:"name"`
		Request string `json:"request"` // PEM
	}
	issuedJSON struct {
		Device deviceJSON `json:"device"`
		Chain  string     `json:"chain"` // PEM, the device's own first
		*bundleJSON
	}
	// bundleJSON is what the command itself adds, of what the server never sees.
	bundleJSON struct {
		File     string `json:"file"`
		Password string `json:"password,omitempty"`
	}
	reasonJSON struct {
		Reason string `json:"reason"`
	}
	nameJSON struct {
		Name string `json:"name"`
	}
)

func (a *App) deviceOf(d accounts.Device) deviceJSON {
	shown := deviceJSON{
		ID: audit.ShortID(d.ID), User: d.User, Name: d.Name, Serial: d.Serial, SHA256: d.Certificate, Issuer: d.Issuer,
		Status: "valid", Reason: d.RevokeReason, Revoked: d.Revoked, Issued: d.Issued, Expires: d.Expires, LastSeen: d.LastSeen,
	}
	switch {
	case !d.Revoked.IsZero():
		shown.Status = "revoked"
	case !time.Now().Before(d.Expires):
		shown.Status = "expired"
	case a.isWithdrawn(d.Device):
		shown.Status = "revoked_by_its_ca"
	case d.UserStatus != store.UserActive:
		shown.Status = "user_" + string(d.UserStatus)
	}
	return shown
}

// isWithdrawn reports whether the operator's revocation lists name a device.
func (a *App) isWithdrawn(d store.Device) bool {
	lists := a.revocations()
	return lists != nil && lists.Current().Name(d)
}

// oneDevice is an operation that comes to a device.
func oneDevice(do func(ctx context.Context, desk *accounts.Desk, r *http.Request) (accounts.Device, error)) operation {
	return func(ctx context.Context, app *App, r *http.Request) (any, error) {
		device, err := do(ctx, app.desk(), r)
		if err != nil {
			return nil, err
		}
		return app.deviceOf(device), nil
	}
}

func listDevices(ctx context.Context, app *App, r *http.Request) (any, error) {
	all, err := app.desk().Devices(ctx, r.URL.Query().Get("user"))
	list := make([]deviceJSON, len(all))
	for i, d := range all {
		list[i] = app.deviceOf(d)
	}
	return list, err
}

func showDevice(ctx context.Context, desk *accounts.Desk, r *http.Request) (accounts.Device, error) {
	return desk.Device(ctx, r.PathValue("id"))
}

func renameDevice(ctx context.Context, desk *accounts.Desk, r *http.Request) (accounts.Device, error) {
	var in nameJSON
	if err := decode(r, &in); err != nil {
		return accounts.Device{}, err
	}
	return desk.RenameDevice(ctx, r.PathValue("id"), in.Name)
}

func revokeDevice(ctx context.Context, desk *accounts.Desk, r *http.Request) (accounts.Device, error) {
	var in reasonJSON
	if err := decode(r, &in); err != nil {
		return accounts.Device{}, err
	}
	return desk.RevokeDevice(ctx, r.PathValue("id"), in.Reason)
}

// issueDevice makes a certificate. The private key stays with whoever asks.
func issueDevice(ctx context.Context, app *App, r *http.Request) (any, error) {
	var in newDeviceJSON
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	device, chain, err := app.desk().IssueDevice(ctx, r.PathValue("name"), in.Name, []byte(in.Request))
	if err != nil {
		return nil, err
	}
	var written strings.Builder
	for _, certificate := range chain {
		written.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}))
	}
	return issuedJSON{Device: app.deviceOf(device), Chain: written.String()}, nil
}
