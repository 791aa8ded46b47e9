package fido

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/go-webauthn/webauthn/protocol"
	"golang.org/x/net/publicsuffix"
)

// CheckRPID says why no browser would bind a key to the RP ID (§5.4.2). Whether
// those at some origin would is another question, and New's.
func CheckRPID(rpID string) error {
	if err := protocol.ValidateRPID(rpID); err != nil {
		return fmt.Errorf("keys can't be bound to %q: %w", rpID, err)
	}
	return nil
}

// checkPlaces holds the origins against the RP ID, as browsers do. Those within
// it come by themselves, all others have to be among the related ones.
func (c Config) checkPlaces() error {
	if err := CheckRPID(c.RPID); err != nil {
		return err
	}
	for _, origin := range c.Origins {
		if slices.Contains(c.Related, origin) {
			continue
		}
		if err := checkWithin(origin, c.RPID); err != nil {
			return err
		}
	}
	if len(c.Related) == 0 {
		return nil
	}
	_, err := RelatedOrigins(c.Related)
	return err
}

// checkWithin says why browsers would refuse the RP ID at an origin: it has to
// be the host, or a parent domain that one owner can register (§5.1.3, step 8).
func checkWithin(origin, rpID string) error {
	u, err := url.Parse(origin)
	if err != nil {
		return fmt.Errorf("origin %s: %w", origin, err)
	}
	host := u.Hostname()
	if host == rpID {
		return nil
	}
	if !strings.HasSuffix(host, "."+rpID) {
		return fmt.Errorf("rp_id %s is neither the host of %s nor a parent domain of it: write one of these, or %s among the origins", rpID, origin, origin)
	}
	if suffix, _ := publicsuffix.PublicSuffix(rpID); suffix == rpID {
		return fmt.Errorf("rp_id %s is a public suffix, under which other people have sites: write a longer parent domain of %s", rpID, host)
	}
	return nil
}

// checkOrigin says why an answer can't be a browser's: origins are compared
// letter by letter (§13.4.9), of which go-webauthn leaves out the case, and all
// that isn't scheme, host and port.
func (f *Factor) checkOrigin(client protocol.CollectedClientData) error {
	if !slices.Contains(f.party.Config.RPOrigins, client.Origin) {
		return fmt.Errorf("it comes from %q, which no browser writes that way", client.Origin)
	}
	return nil
}

// RelatedOrigins returns the document in which the host of an RP ID names other
// origins that may use the keys which are bound to it (§5.11).
func RelatedOrigins(origins []string) ([]byte, error) {
	for _, origin := range origins {
		if !strings.HasPrefix(origin, "https://") {
			return nil, fmt.Errorf("origin %s: browsers accept keys from other origins only at https://", origin)
		}
	}
	document, err := protocol.NewRelatedOriginsWithLabeler(label, origins...)
	if err != nil {
		return nil, fmt.Errorf("origins: browsers accept at most five registered domain names: %w", err)
	}
	return document.Bytes()
}

// label returns what browsers count origins by, of which they take five at
// most: the label before the public suffix (§5.11.1).
func label(origin string) (string, error) {
	u, err := url.Parse(origin)
	if err != nil {
		return "", err
	}
	domain, err := publicsuffix.EffectiveTLDPlusOne(u.Hostname())
	if err != nil {
		return "", errors.New("its host isn't under a domain that can be registered")
	}
	name, _, _ := strings.Cut(domain, ".")
	return name, nil
}
