package keys

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"fmt"
)

// PushKey returns the key that identifies this server to push services, RFC 8292. It is
// created when it is first asked for, and isn't rotated, since phones are subscribed
// with it.
func (s *Set) PushKey(ctx context.Context) (*ecdsa.PrivateKey, error) {
	if len(s.current.Load().document.Push) == 0 {
		err := s.change(ctx, false, func(doc *document) (bool, error) {
			if len(doc.Push) > 0 {
				return false, nil
			}
			taken := draw{random: s.random}
			doc.Push = taken.bytes(assertionKeySize)
			return true, taken.failure()
		})
		if err != nil {
			return nil, fmt.Errorf("making the key for push services: %w", err)
		}
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), s.current.Load().document.Push)
	if err != nil {
		return nil, fmt.Errorf("reading the key for push services: %w", err)
	}
	return key, nil
}
