package fido

import (
	"encoding/json"
	"fmt"

	"github.com/go-webauthn/webauthn/protocol"

	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/templates"
)

// Announcement returns the templates.FIDOSignals of a person: which of their
// credentials there are, and what they are called (§5.1.10.3, §5.1.10.4). An
// authenticator may delete for good what isn't named, so all must be given.
func (f *Factor) Announcement(who factors.Subject, all []factors.Credential) (any, error) {
	owner, err := ownerOf(who, all)
	if err != nil {
		return nil, err
	}
	accepted, err := json.Marshal(protocol.NewSignalAllAcceptedCredentials(f.party.Config.RPID, owner))
	if err != nil {
		return nil, fmt.Errorf("writing a signal of accepted credentials: %w", err)
	}
	details, err := json.Marshal(protocol.NewSignalCurrentUserDetails(f.party.Config.RPID, owner))
	if err != nil {
		return nil, fmt.Errorf("writing a signal of user details: %w", err)
	}
	return templates.FIDOSignals{Accepted: string(accepted), Details: string(details)}, nil
}

// WebAuthnCredentialIDs are the ids of the credentials.
func (o owner) WebAuthnCredentialIDs() [][]byte {
	ids := make([][]byte, len(o.keys))
	for i, key := range o.keys {
		ids[i] = key.ID
	}
	return ids
}
