package adminapi

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

func (s *Server) deviceOf(d accounts.Device) Device {
	shown := Device{
		ID: audit.ShortID(d.ID), User: d.User, Name: d.Name, Serial: d.Serial, SHA256: d.Certificate, Issuer: d.Issuer,
		Status: "valid", Reason: d.RevokeReason, Revoked: d.Revoked, Issued: d.Issued, Expires: d.Expires, LastSeen: d.LastSeen,
		Machine: d.Machine, System: d.System, Agent: d.Agent, Protection: d.Protection, Via: d.Via,
	}
	if d.Replaces != "" {
		shown.Replaces = audit.ShortID(d.Replaces)
	}
	switch {
	case !d.Revoked.IsZero():
		shown.Status = "revoked"
	case !time.Now().Before(d.Expires):
		shown.Status = "expired"
	case s.IsWithdrawn(d.Device):
		shown.Status = "revoked_by_its_ca"
	case d.State == store.DeviceSuspended:
		shown.Status = "suspended"
	case d.State != store.DeviceActive || d.UserID == "":
		shown.Status = "pending"
	case d.UserStatus != store.UserActive:
		shown.Status = "user_" + string(d.UserStatus)
	}
	return shown
}

// oneDevice is an operation that comes to a device.
func oneDevice(do func(ctx context.Context, desk *accounts.Desk, r *http.Request) (accounts.Device, error)) operation {
	return func(ctx context.Context, s *Server, r *http.Request) (any, error) {
		device, err := do(ctx, s.Desk, r)
		if err != nil {
			return nil, err
		}
		return s.deviceOf(device), nil
	}
}

func listDevices(ctx context.Context, s *Server, r *http.Request) (any, error) {
	all, err := s.Desk.Devices(ctx, r.URL.Query().Get("user"))
	list := make([]Device, len(all))
	for i, d := range all {
		list[i] = s.deviceOf(d)
	}
	return list, err
}

func showDevice(ctx context.Context, desk *accounts.Desk, r *http.Request) (accounts.Device, error) {
	return desk.Device(ctx, r.PathValue("id"))
}

func renameDevice(ctx context.Context, desk *accounts.Desk, r *http.Request) (accounts.Device, error) {
	var in NewName
	if err := decode(r, &in); err != nil {
		return accounts.Device{}, err
	}
	return desk.RenameDevice(ctx, r.PathValue("id"), in.Name)
}

func revokeDevice(ctx context.Context, desk *accounts.Desk, r *http.Request) (accounts.Device, error) {
	var in Revocation
	if err := decode(r, &in); err != nil {
		return accounts.Device{}, err
	}
	return desk.RevokeDevice(ctx, r.PathValue("id"), in.Reason)
}

// issueDevice makes a certificate. The private key stays with whoever asks.
func issueDevice(ctx context.Context, s *Server, r *http.Request) (any, error) {
	var in NewDevice
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	device, chain, err := s.Desk.IssueDevice(ctx, r.PathValue("name"), in.Name, []byte(in.Request))
	if err != nil {
		return nil, err
	}
	var written strings.Builder
	for _, certificate := range chain {
		written.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}))
	}
	return Issued{Device: s.deviceOf(device), Chain: written.String()}, nil
}

func enrolmentToken(ctx context.Context, s *Server, r *http.Request) (any, error) {
	var in NewName
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	made, err := s.Desk.EnrolmentToken(ctx, r.PathValue("name"), in.Name)
	if err != nil {
		return nil, err
	}
	return EnrolmentToken{Token: made.Secret, User: made.User, Portal: s.Portal, Expires: made.Expires}, nil
}

func suspendDevice(ctx context.Context, desk *accounts.Desk, r *http.Request) (accounts.Device, error) {
	return desk.SuspendDevice(ctx, r.PathValue("id"))
}

func approveDevice(ctx context.Context, desk *accounts.Desk, r *http.Request) (accounts.Device, error) {
	return desk.ApproveDevice(ctx, r.PathValue("id"))
}

func assignDevice(ctx context.Context, desk *accounts.Desk, r *http.Request) (accounts.Device, error) {
	var in NewOwner
	if err := decode(r, &in); err != nil {
		return accounts.Device{}, err
	}
	return desk.AssignDevice(ctx, r.PathValue("id"), in.User)
}

func createFleetToken(ctx context.Context, s *Server, r *http.Request) (any, error) {
	var in NewFleetToken
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	made, err := s.Desk.CreateFleetToken(ctx, accounts.NewFleet{
		Name: in.Name, Most: in.Most, Lifetime: time.Duration(in.Lifetime) * time.Second, From: in.From,
	})
	if err != nil {
		return nil, err
	}
	return EnrolmentToken{Token: made.Secret, Portal: s.Portal, Expires: made.Expires}, nil
}

func listFleetTokens(ctx context.Context, s *Server, _ *http.Request) (any, error) {
	return s.Desk.FleetTokens(ctx)
}

func revokeFleetToken(ctx context.Context, s *Server, r *http.Request) (any, error) {
	return struct{}{}, s.Desk.RevokeFleetToken(ctx, r.PathValue("name"))
}
