package caddymodule

import (
	"context"

	"github.com/portcullis-mfa/portcullis/audit"
)

// rotateKeys makes a new generation of keys.
func (s *service) rotateKeys(ctx context.Context) error {
	if err := s.keys.Rotate(ctx); err != nil {
		return err
	}
	s.audit.Record(ctx, audit.KeysRotated, "", audit.Fields{audit.By: "administrator"})
	return nil
}
