package caddymodule

import (
	"context"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/caddymodule/adminapi"
)

// Administration implements adminapi.App.
func (a *App) Administration(ctx context.Context) *adminapi.Server {
	select {
	case <-a.ready:
	case <-ctx.Done():
	}
	s := a.service.Load()
	if s == nil {
		return nil
	}
	server := &adminapi.Server{
		Desk: s.desk, Flows: s.flows, Audit: s.audit, RotateKeys: s.rotateKeys, Backup: a.makeBackup, Sealing: sealing{s.vault}, Serves: a.servesHost, SendTest: s.sendTest, IsWithdrawn: a.isWithdrawn, Health: s.health,
		Portal: a.portal.String(), LinkURL: a.linkURL,
		Logger: a.logger, Bounded: a.bounded,
	}
	if a.Admins != nil {
		server.IsAdmin = a.admins.admits
	}
	return server
}

// rotateKeys makes a new generation of keys.
func (s *service) rotateKeys(ctx context.Context) error {
	if err := s.keys.Rotate(ctx); err != nil {
		return err
	}
	s.audit.Record(ctx, audit.KeysRotated, "", audit.Fields{audit.By: "administrator"})
	return nil
}

// Interface guards
var (
	_ adminapi.App = (*App)(nil)
)
