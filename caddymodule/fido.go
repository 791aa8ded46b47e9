package caddymodule

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/caddymodule/origin"
	"github.com/portcullis-mfa/portcullis/factors/fido"
	"github.com/portcullis-mfa/portcullis/store"
)

// Attestation says which security keys and passkeys people can add: those whose makers
// vouch for them, according to the FIDO Alliance's metadata. Synced passkeys are refused,
// since nobody vouches for those. Keys that were added earlier stay.
type Attestation struct {
	// Metadata is a file that holds the BLOB of the FIDO Metadata Service, as
	// downloaded from https://mds.fidoalliance.org. It is read when the
	// configuration is loaded, and nothing is ever downloaded. Required.
	Metadata string `json:"metadata,omitempty"`
	// MetadataRoot is a file with the root certificate, in PEM or DER, if other metadata
	// is signed under a different one. Default: the FIDO Alliance's.
	MetadataRoot string `json:"metadata_root,omitempty"`
	// Allow are the AAGUIDs of the models that people can add. Default: all in the
	// metadata.
	Allow []string `json:"allow,omitempty"`
	// Deny are the AAGUIDs of models that people can't add. Default: none.
	Deny []string `json:"deny,omitempty"`
	// Certified is the lowest FIDO certification that a model must have: L1, L1plus, L2,
	// L2plus, L3 or L3plus. Default: none.
	Certified string `json:"certified,omitempty"`
}

// checkRPID reads a host to which keys can be bound.
func checkRPID(written string) (string, error) {
	host, err := origin.ParsePattern(written)
	if err != nil {
		return "", err
	}
	if host.Port != "" || host.IsWildcard() {
		return "", fmt.Errorf("%q: write a host alone, such as example.com", written)
	}
	return host.Name, fido.CheckRPID(host.Name)
}

// resolvePlaces completes and checks what keys are bound to.
func (f *FIDO) resolvePlaces(portal string) (err error) {
	written, err := expand("rp_id", f.RPID)
	if err != nil {
		return err
	}
	f.RPID = portal
	if written != "" {
		if f.RPID, err = checkRPID(written); err != nil {
			return fmt.Errorf("rp_id %w", err)
		}
	}
	for i, written := range f.Origins {
		if f.Origins[i], err = parseOrigin(written); err != nil {
			return err
		}
	}
	for i, written := range f.Abandon {
		if f.Abandon[i], err = parseFormer(written); err != nil {
			return err
		}
		if f.Abandon[i] == f.RPID {
			return fmt.Errorf("abandon %s: keys are bound to it now: name only former RP IDs", f.RPID)
		}
	}
	return nil
}

// parseFormer reads an RP ID of before.
func parseFormer(written string) (string, error) {
	expanded, err := expand("abandon", written)
	if err != nil {
		return "", err
	}
	host, err := origin.ParsePattern(expanded)
	if err != nil {
		return "", fmt.Errorf("abandon %w", err)
	}
	return host.Name, nil
}

// parseOrigin reads an address of another site that may use the keys.
func parseOrigin(written string) (string, error) {
	expanded, err := expand("origins", written)
	if err != nil {
		return "", err
	}
	origin, err := parsePortal(expanded)
	if err == nil && origin.Scheme != "https" {
		err = errors.New("the address must begin with https://")
	}
	if err != nil {
		return "", fmt.Errorf("origins %s: %w", written, err)
	}
	return origin.String(), nil
}

// maxMetadata bounds the file of the metadata; it has about 10 MiB.
const maxMetadata = 64 << 20

// resolve reads the files, so that `caddy validate` says what is wrong with
// them.
func (a *Attestation) resolve(logger *zap.Logger) (*fido.Attestation, error) {
	made := new(fido.Attestation)
	err := a.check()
	if err != nil {
		return nil, err
	}
	made.Allow, made.Deny = parseAAGUIDs(a.Allow), parseAAGUIDs(a.Deny)
	if a.Certified != "" {
		if made.Level, err = fido.ParseLevel(a.Certified); err != nil {
			return nil, fmt.Errorf("certified: %w", err)
		}
	}
	made.Metadata, err = a.readMetadata(logger)
	return made, err
}

// check refuses what is wrong without a look at any file.
func (a *Attestation) check() error {
	for _, text := range slices.Concat(a.Allow, a.Deny) {
		if _, err := fido.ParseAAGUID(text); err != nil {
			return err
		}
	}
	for _, text := range a.Deny {
		if slices.ContainsFunc(a.Allow, func(allowed string) bool { return strings.EqualFold(allowed, text) }) {
			return fmt.Errorf("AAGUID %s is allowed and denied", text)
		}
	}
	if a.Metadata == "" {
		return errors.New("it needs metadata: download the BLOB from https://mds.fidoalliance.org and write metadata FILE")
	}
	return nil
}

// parseAAGUIDs reads what check has found to be right.
func parseAAGUIDs(texts []string) []uuid.UUID {
	var ids []uuid.UUID
	for _, text := range texts {
		id, _ := fido.ParseAAGUID(text)
		ids = append(ids, id)
	}
	return ids
}

func (a *Attestation) readMetadata(logger *zap.Logger) (*fido.Metadata, error) {
	path, blob, err := readSetting("metadata", a.Metadata, maxMetadata)
	if err != nil {
		return nil, err
	}
	root, err := a.readRoot()
	if err != nil {
		return nil, err
	}
	known, err := fido.ReadMetadata(blob, root, time.Now())
	if err != nil {
		return nil, fmt.Errorf("metadata %s: %w", path, err)
	}
	if known.NextUpdate.Before(time.Now()) {
		logger.Warn("the FIDO metadata is out of date: download a newer one and reload",
			zap.String("file", path), zap.Time("next_update", known.NextUpdate))
	}
	if known.Unread > 0 {
		logger.Warn("some entries of the FIDO metadata can't be read, and the keys that they describe are refused",
			zap.String("file", path), zap.Int("entries", known.Unread))
	}
	return known, nil
}

// readRoot returns nil for FIDO's own.
func (a *Attestation) readRoot() (*x509.Certificate, error) {
	if a.MetadataRoot == "" {
		return nil, nil
	}
	path, content, err := readSetting("metadata_root", a.MetadataRoot, maxMetadata)
	if err != nil {
		return nil, err
	}
	root, err := fido.ReadRoot(content)
	if err != nil {
		return nil, fmt.Errorf("metadata_root %s: %w", path, err)
	}
	return root, nil
}

// readSetting reads the file of at most so many bytes that a setting names, and returns
// its path, too.
func readSetting(setting, written string, most int64) (path string, content []byte, err error) {
	if path, err = expand(setting, written); err != nil {
		return "", nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return path, nil, fmt.Errorf("%s: %w", setting, err)
	}
	defer file.Close()
	if content, err = io.ReadAll(io.LimitReader(file, most+1)); err != nil {
		return path, nil, fmt.Errorf("%s: %w", setting, err)
	}
	if int64(len(content)) > most {
		return path, nil, fmt.Errorf("%s %s: it is larger than %d MiB", setting, path, most>>20)
	}
	return path, content, nil
}

// checkOrphans refuses to start where keys that people have would work no more,
// since they are bound to another RP ID, unless the operator gives them up.
func (a *App) checkOrphans(ctx context.Context, s store.Credentials) error {
	if a.FIDO.Off && a.fidoWritten {
		return nil
	}
	counts, err := s.CountByRealm(ctx, assurance.FIDO)
	if err != nil {
		return err
	}
	var lost []string
	for _, c := range counts {
		switch {
		case c.Realm == a.FIDO.RPID && !a.FIDO.Off:
		case slices.Contains(a.FIDO.Abandon, c.Realm):
			a.logger.Warn("security keys and passkeys that are bound to another RP ID no longer work",
				zap.String("rp_id", c.Realm), zap.Int("credentials", c.Credentials), zap.Int("users", c.Users))
		default:
			lost = append(lost, fmt.Sprintf("%d bound to %s, of %d users", c.Credentials, cmp.Or(c.Realm, "nothing"), c.Users))
		}
	}
	if len(lost) == 0 {
		return nil
	}
	return fmt.Errorf("fido: security keys and passkeys would stop working under %s: %s: write rp_id with the former host, or give them up with abandon", a.FIDO.RPID, strings.Join(lost, "; "))
}
