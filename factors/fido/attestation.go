package fido

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/metadata"
	"github.com/go-webauthn/webauthn/metadata/providers/memory"
	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
	"github.com/google/uuid"

	"github.com/portcullis-mfa/portcullis/factors"
)

// Attestation says which authenticators may be enrolled. They have to prove
// what they are by certificates that their makers gave them (§6.5), which the
// metadata knows.
type Attestation struct {
	Metadata *Metadata
	// Allow are the AAGUIDs of those that may be, if not all; Deny of those that
	// may not.
	Allow, Deny []uuid.UUID
	// Level is how highly they have to be certified.
	Level Level
}

// Level is a level of FIDO's authenticator certification; 0: none.
type Level int

// levels are the names of the levels, from the lowest.
var levels = []string{"L1", "L1plus", "L2", "L2plus", "L3", "L3plus"}

// ParseLevel reads a level's name.
func ParseLevel(name string) (Level, error) {
	i := slices.Index(levels, name)
	if i < 0 {
		return 0, fmt.Errorf("level %q: write %s", name, strings.Join(levels, ", "))
	}
	return Level(i + 1), nil
}

// ParseAAGUID reads an AAGUID as makers publish it.
func ParseAAGUID(text string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil || len(text) != 36 {
		return uuid.Nil, fmt.Errorf("AAGUID %q: write it like ee882879-721c-4913-9775-3dfcce97072a", text)
	}
	return id, nil
}

// configure has go-webauthn ask for a proof, and follow the certificates in it
// to those in the metadata. Everything else is decided by bars, which says why.
//
// The proof is asked for as "direct", never as "enterprise": that would tell
// one key from another of its kind, for makers who list this RP ID alone.
func (a *Attestation) configure(config *webauthn.Config) error {
	if a.Metadata == nil {
		return errors.New("attestation needs metadata")
	}
	provider, err := memory.New(
		memory.WithMetadata(a.Metadata.entries), memory.WithValidateTrustAnchor(true), memory.WithValidateAAGUID(true),
		memory.WithValidateEntry(false), memory.WithValidateStatus(false), memory.WithValidateAttestationTypes(false),
	)
	if err != nil {
		return fmt.Errorf("setting up metadata: %w", err)
	}
	config.AttestationPreference, config.MDS = protocol.PreferDirectAttestation, provider
	return nil
}

// barred refuses an authenticator that isn't let in; err is what go-webauthn
// says of its answer.
func (f *Factor) barred(object protocol.AttestationObject, err error) (factors.Verdict, bool) {
	var reason factors.Reason
	switch {
	case f.attestation == nil, err != nil && !isUntrusted(err):
		return factors.Verdict{}, false
	case err != nil:
		f.explain("following the certificates of a new key", explained(err))
		reason = factors.Unproven
	default:
		reason = f.attestation.bars(object, f.clock())
	}
	if reason == "" {
		return factors.Verdict{}, false
	}
	made := object.AuthData.AttData
	return factors.Verdict{
		Reason: reason, Closes: true, Barred: true, Model: f.model(made.AAGUID), Made: factors.Made{Unique: unique(made.CredentialID)},
	}, true
}

// isUntrusted reports whether go-webauthn refused an answer for what the
// metadata says of its certificates.
func isUntrusted(err error) bool {
	for failed := new(protocol.Error); errors.As(err, &failed); err = failed.Err {
		if failed.Type == protocol.ErrMetadata.Type {
			return true
		}
	}
	return false
}

// bars says why an authenticator that has answered rightly may not be enrolled;
// empty: it may.
func (a *Attestation) bars(object protocol.AttestationObject, now time.Time) factors.Reason {
	id, err := uuid.FromBytes(object.AuthData.AttData.AAGUID)
	if err != nil || !isAttested(object) {
		return factors.Unattested
	}
	entry, known := a.Metadata.entries[id]
	switch {
	case slices.Contains(a.Deny, id), len(a.Allow) > 0 && !slices.Contains(a.Allow, id):
		return factors.Disallowed
	case !known || id == uuid.Nil:
		return factors.Unlisted
	case isWithdrawn(entry.StatusReports, certificates(object), now):
		return factors.Withdrawn
	case certified(entry.StatusReports, now) < a.Level:
		return factors.Uncertified
	}
	return ""
}

// isAttested reports whether an authenticator has shown certificates that lead
// to its maker's: some show nothing, or sign with the new key itself. U2F signs
// nothing of the AAGUID (§8.6), so that one key of a maker could be said to be
// any other of theirs.
func isAttested(object protocol.AttestationObject) bool {
	shown := metadata.AuthenticatorAttestationTypes{metadata.AuthenticatorAttestationType(object.Type)}
	return protocol.AttestationFormat(object.Format) != protocol.AttestationFormatFIDOUniversalSecondFactor &&
		shown.HasCertificateTrustPath() && len(certificates(object)) > 0
}

// certificates are those that an authenticator showed, in DER.
func certificates(object protocol.AttestationObject) [][]byte {
	shown, _ := object.AttStatement["x5c"].([]any)
	var made [][]byte
	for _, one := range shown {
		if der, ok := one.([]byte); ok {
			made = append(made, der)
		}
	}
	return made
}

// isWithdrawn reports whether authenticators of a kind are known to be unsafe,
// or aren't supported any more. What is said of one batch holds for those that
// show its certificate.
func isWithdrawn(reports []metadata.StatusReport, shown [][]byte, now time.Time) bool {
	isShown := func(batch *x509.Certificate) bool {
		return batch != nil && slices.ContainsFunc(shown, func(der []byte) bool { return bytes.Equal(der, batch.Raw) })
	}
	return slices.ContainsFunc(metadata.EffectiveStatusReports(reports, now), func(r metadata.StatusReport) bool {
		concerned := r.Certificate == nil && r.BatchCertificate == nil || isShown(r.Certificate) || isShown(r.BatchCertificate)
		return concerned && metadata.IsUndesiredAuthenticatorStatus(r.Status)
	})
}

// certified returns the highest level that holds. Reports stand oldest first,
// and one that says "not certified" ends those before it.
func certified(reports []metadata.StatusReport, now time.Time) Level {
	var highest Level
	for _, r := range metadata.EffectiveStatusReports(reports, now) {
		if r.Status == metadata.NotFidoCertified {
			highest = 0
		}
		name, _ := strings.CutPrefix(string(r.Status), "FIDO_CERTIFIED_")
		if level, err := ParseLevel(name); err == nil {
			highest = max(highest, level)
		}
	}
	return highest
}

// describe returns what the metadata calls an authenticator; empty: nothing is
// known of it.
func (a *Attestation) describe(id uuid.UUID) string {
	if a == nil {
		return ""
	}
	entry, known := a.Metadata.entries[id]
	if !known {
		return ""
	}
	return cleaned(entry.MetadataStatement.Description)
}

// picture returns what the metadata has to show of a model; empty: nothing.
func (a *Attestation) picture(aaguid []byte) string {
	id, err := uuid.FromBytes(aaguid)
	if a == nil || err != nil {
		return ""
	}
	return a.Metadata.pictures[id]
}

// maxModel bounds what metadata may call an authenticator, in code points: it
// becomes the name of credentials.
const maxModel = 64

// cleaned makes one short line of what metadata calls an authenticator.
func cleaned(description string) string {
	line := []rune(strings.Join(strings.Fields(strings.ToValidUTF8(description, "")), " "))
	return strings.TrimSpace(string(line[:min(len(line), maxModel)]))
}
