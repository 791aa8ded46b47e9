package fido

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-webauthn/webauthn/metadata"
	"github.com/google/uuid"
)

// metadataHost is whom FIDO's root has the signing certificate issued to. The
// root is that of a public authority: others have certificates from it, too.
const metadataHost = "mds.fidoalliance.org"

// signatures are the algorithms that a BLOB may be signed with.
var signatures = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// Metadata says what is known of authenticators. It doesn't change once read.
type Metadata struct {
	// NextUpdate is when the FIDO Alliance meant to publish a newer one.
	NextUpdate time.Time
	// Unread is how many entries can't be read. Nothing is known of what they
	// are about.
	Unread int

	entries  map[uuid.UUID]*metadata.Entry
	pictures map[uuid.UUID]string
}

// ReadMetadata reads a BLOB of the FIDO Metadata Service (version 3.1.1, §3.1.7
// and §3.2), once its signature leads to the root; nil: FIDO's own. It asks
// nobody, so certificates of the signer that were revoked aren't known. A BLOB
// whose time is over is still read, as of the time when it was right.
func ReadMetadata(blob []byte, root *x509.Certificate, now time.Time) (*Metadata, error) {
	signed, err := jose.ParseSignedCompact(string(bytes.TrimSpace(blob)), signatures)
	if err != nil {
		return nil, fmt.Errorf("it isn't a signed BLOB of the FIDO Metadata Service: %w", err)
	}
	payload, err := parsePayload(signed.UnsafePayloadWithoutVerification())
	if err != nil {
		return nil, err
	}
	if payload.nextUpdate.Before(now) {
		now = payload.nextUpdate
	}
	options, err := trust(root, now)
	if err != nil {
		return nil, err
	}
	chains, err := signed.Signatures[0].Protected.Certificates(options)
	if err != nil {
		return nil, fmt.Errorf("its signer isn't trusted: %w", err)
	}
	if _, err := signed.Verify(chains[0][0].PublicKey); err != nil {
		return nil, fmt.Errorf("its signature is wrong: %w", err)
	}
	return payload.index()
}

// payload is what a BLOB says, its entries unread.
type payload struct {
	NextUpdate string            `json:"nextUpdate"`
	Entries    []json.RawMessage `json:"entries"`

	nextUpdate time.Time
}

func parsePayload(text []byte) (p payload, err error) {
	if err := json.Unmarshal(text, &p); err != nil {
		return p, fmt.Errorf("reading what it says: %w", err)
	}
	if p.nextUpdate, err = time.Parse(time.DateOnly, p.NextUpdate); err != nil {
		return p, fmt.Errorf("reading when another follows it: %w", err)
	}
	return p, nil
}

// trust says by whom a BLOB has to be signed.
func trust(root *x509.Certificate, at time.Time) (x509.VerifyOptions, error) {
	options := x509.VerifyOptions{
		Roots: x509.NewCertPool(), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	if root == nil {
		der, err := base64.StdEncoding.DecodeString(metadata.ProductionMDSRoot)
		if err != nil {
			return options, fmt.Errorf("reading FIDO's root certificate: %w", err)
		}
		if root, err = x509.ParseCertificate(der); err != nil {
			return options, fmt.Errorf("reading FIDO's root certificate: %w", err)
		}
		options.DNSName = metadataHost
	}
	options.Roots.AddCert(root)
	return options, nil
}

// index reads the entries. One that can't be read spoils no other: what it is
// about isn't known then.
func (p payload) index() (*Metadata, error) {
	made := &Metadata{
		NextUpdate: p.nextUpdate, entries: make(map[uuid.UUID]*metadata.Entry), pictures: make(map[uuid.UUID]string),
	}
	for _, text := range p.Entries {
		var entry metadata.EntryJSON
		if err := json.Unmarshal(text, &entry); err != nil {
			made.Unread++
			continue
		}
		parsed, err := entry.Parse()
		switch {
		case err != nil:
			made.Unread++
		case parsed.AaGUID != uuid.Nil: // it is of FIDO2
			if picture := entry.MetadataStatement.Icon; isPicture(picture) {
				made.pictures[parsed.AaGUID] = picture
			}
			// The pictures are most of it, and kept but once.
			parsed.MetadataStatement.Icon, parsed.MetadataStatement.IconDark = nil, nil
			parsed.MetadataStatement.ProviderLogoLight, parsed.MetadataStatement.ProviderLogoDark = nil, nil
			made.entries[parsed.AaGUID] = &parsed
		}
	}
	if len(made.entries) == 0 {
		return nil, errors.New("it has no entry about a security key")
	}
	return made, nil
}

// maxPicture bounds a picture in bytes, as it is written.
const maxPicture = 32 << 10

// isPicture reports whether an icon is a data URL (RFC 2397) as the metadata may
// have it, of a size that a page bears.
func isPicture(icon string) bool {
	for _, kind := range []string{"image/png", "image/svg+xml"} {
		if written, ok := strings.CutPrefix(icon, "data:"+kind+";base64,"); ok && len(icon) <= maxPicture {
			_, err := base64.StdEncoding.Strict().DecodeString(written)
			return err == nil
		}
	}
	return false
}

// ReadRoot reads the certificate, in PEM or DER, that signers of metadata are
// trusted by in the place of FIDO's.
func ReadRoot(content []byte) (*x509.Certificate, error) {
	if block, _ := pem.Decode(content); block != nil {
		content = block.Bytes
	}
	root, err := x509.ParseCertificate(content)
	if err != nil {
		return nil, fmt.Errorf("reading a root certificate: %w", err)
	}
	return root, nil
}
