package fido

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
)

// spelt is an answer (§5.1.8.1, RegistrationResponseJSON and
// AuthenticationResponseJSON) as far as it is used, with its bytes still written
// as base64url.
type spelt struct {
	ID       string `json:"id"`
	RawID    string `json:"rawId"`
	Response struct {
		ClientDataJSON    string `json:"clientDataJSON"`
		AttestationObject string `json:"attestationObject"`
		AuthenticatorData string `json:"authenticatorData"`
		Signature         string `json:"signature"`
		UserHandle        string `json:"userHandle"`
	} `json:"response"`
}

// checkSpelling refuses an answer that can be read in two ways, or that no
// browser writes so: with a key twice, or bytes in another form than base64url
// without padding (§3, RFC 4648 §5). One answer has one spelling.
func checkSpelling(answer []byte) error {
	if err := checkKeysOnce(answer); err != nil {
		return fmt.Errorf("the answer: %w", err)
	}
	var s spelt
	if err := json.Unmarshal(answer, &s); err != nil {
		return fmt.Errorf("the answer isn't JSON of the right shape: %w", err)
	}
	r := s.Response
	for name, written := range map[string]string{
		"id": s.ID, "rawId": s.RawID, "clientDataJSON": r.ClientDataJSON, "attestationObject": r.AttestationObject,
		"authenticatorData": r.AuthenticatorData, "signature": r.Signature, "userHandle": r.UserHandle,
	} {
		decoded, err := base64.RawURLEncoding.DecodeString(written)
		if err != nil || base64.RawURLEncoding.EncodeToString(decoded) != written {
			return fmt.Errorf("%s isn't base64url without padding", name)
		}
		if name == "clientDataJSON" && written != "" {
			if err := checkKeysOnce(decoded); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// checkKeysOnce refuses JSON in which an object has a key twice, be it in
// another case: encoding/json would take the one for the other.
func checkKeysOnce(content []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(content))
	// One set of keys for each object that is open; of an array it is nil.
	var open []map[string]bool
	isKey := false
	for {
		token, err := decoder.Token()
		if err != nil {
			return fmt.Errorf("reading JSON: %w", err)
		}
		switch token {
		case json.Delim('{'):
			open, isKey = append(open, make(map[string]bool)), true
			continue
		case json.Delim('['):
			open, isKey = append(open, nil), false
			continue
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		default:
			if isKey {
				key := strings.ToLower(strings.ToUpper(token.(string)))
				if keys := open[len(open)-1]; keys[key] {
					return errors.New("a key appears twice")
				}
				open[len(open)-1][key], isKey = true, false
				continue
			}
		}
		if len(open) == 0 {
			return nil
		}
		isKey = open[len(open)-1] != nil
	}
}

// parseNewKey reads the answer of a new key, of which the attestation object
// (§6.5.4) has all of its parts and no other.
func parseNewKey(answer []byte) (*protocol.ParsedCredentialCreationData, error) {
	parsed, err := protocol.ParseCredentialCreationResponseBytes(answer)
	if err != nil {
		return nil, err
	}
	return parsed, checkObject(parsed.Raw.AttestationResponse.AttestationObject)
}

// The first bits of maps and arrays in CBOR (RFC 8949 §3.1).
const (
	cborMap   = 5
	cborArray = 4
)

func checkObject(object []byte) error {
	var parts map[string]webauthncbor.RawMessage
	if err := webauthncbor.Unmarshal(object, &parts); err != nil {
		return fmt.Errorf("the attestation object: %w", err)
	}
	var format string
	if err := webauthncbor.Unmarshal(parts["fmt"], &format); err != nil {
		return fmt.Errorf("the attestation object's format: %w", err)
	}
	kind := byte(cborMap)
	if protocol.AttestationFormat(format) == protocol.AttestationFormatCompound {
		kind = cborArray
	}
	statement := parts["attStmt"]
	if len(parts) != 3 || len(parts["authData"]) == 0 || len(statement) == 0 || statement[0]>>5 != kind {
		return errors.New("the attestation object lacks a part, or has one too many")
	}
	return nil
}
