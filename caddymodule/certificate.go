package caddymodule

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddypki"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/accounts"
	"github.com/portcullis-mfa/portcullis/devices"
	"github.com/portcullis-mfa/portcullis/portal"
	"github.com/portcullis-mfa/portcullis/store"
)

// Certificate says which CAs vouch for devices: one in Caddy, one of the operator's own,
// or both.
type Certificate struct {
	// CA is the ID of the CA in Caddy's pki app that issues certificates to devices. It
	// must be used for nothing else. Default: none are issued.
	CA string `json:"ca,omitempty"`
	// Lifetime is how long certificates are valid: at least 1h. No certificate outlasts
	// its CA. Default: 90d, or the lifetime of the CA's intermediates if that is less.
	Lifetime caddy.Duration `json:"lifetime,omitempty"`
	// Agents is a folder with builds of the device agent, which anybody can download
	// from the portal. The files are named mfa-agent-SYSTEM-ARCHITECTURE, with any
	// ending, where SYSTEM is linux, windows or darwin. It requires CA. Default: none
	// are offered.
	Agents string `json:"agents,omitempty"`
	// TrustPoolRaw is the operator's own CA, written in any way that Caddy's client_auth
	// supports except `system`. It requires Map. Default: none.
	TrustPoolRaw json.RawMessage `json:"trust_pool,omitempty" caddy:"namespace=tls.ca_pool.source inline_key=provider"`
	// Map says what identifies the user in a certificate from the operator's CA: email or
	// upn, which are alternative names, or "subject CN", "subject UID" or "subject
	// serialNumber". The first that the certificate contains decides. A value with an @
	// is an e-mail address, any other a sign-in name.
	Map []string `json:"map,omitempty"`
	// CRL is a file with the revocation lists (RFC 5280) of the operator's CA, as PEM or
	// DER. It is read again when it changes. A file that is unsigned, older, partial or
	// unreadable, or that lacks a list which is still valid, is refused, and the previous
	// lists stay in force: the log has an error, and the metric
	// caddy_mfa_file_last_read_successful{file="crl"} is 0. A certificate doesn't count
	// if the file has no list of its CA, or if the CA's next list is more than a day
	// overdue. When a list names a device's certificate, everything that the device
	// opened ends. Default: none, and certificates are revoked by `caddy mfa device
	// revoke`.
	CRL string `json:"crl,omitempty"`

	trust     devices.Trust
	authority *devices.Authority // nil: none are issued
	issuers   devices.Issuers    // of what was issued
}

// resolveCertificate finds the CAs and checks them. It makes nothing that isn't
// there.
func (a *App) resolveCertificate() error {
	if a.Certificate == nil {
		return nil
	}
	if err := a.Certificate.check(); err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	if a.Certificate.CA != "" {
		if err := a.resolveDeviceCA(); err != nil {
			return fmt.Errorf("certificate: ca %s: %w", a.Certificate.CA, err)
		}
	}
	if a.Certificate.Agents != "" {
		folder, err := expand("agents", a.Certificate.Agents)
		if err != nil {
			return fmt.Errorf("certificate: %w", err)
		}
		if about, err := os.Stat(folder); err != nil || !about.IsDir() {
			return fmt.Errorf("certificate: agents %s: there is no such folder", folder)
		}
		a.Certificate.Agents = folder
	}
	if a.Certificate.TrustPoolRaw != nil {
		if err := a.resolveTrustPool(); err != nil {
			return fmt.Errorf("certificate: %w", err)
		}
	}
	return nil
}

// check refuses settings that say nothing, or nothing without others.
func (c *Certificate) check() error {
	pool := c.TrustPoolRaw != nil
	switch {
	case c.CA == "" && !pool:
		return errors.New("it names no CA: write ca NAME for one of Caddy's pki, or trust_pool for your own")
	case c.CA == caddypki.DefaultCAID:
		return fmt.Errorf("ca %s: that CA issues the sites' certificates, which work for clients too: write a separate CA in the global option pki { ca devices }", c.CA)
	case c.CA == "" && c.Lifetime != 0:
		return errors.New("lifetime applies to certificates that are issued here: add ca NAME")
	case c.CA == "" && c.Agents != "":
		return errors.New("agents offers a program that gets its certificates from ca: add ca NAME")
	case c.Lifetime != 0 && time.Duration(c.Lifetime) < time.Hour:
		return fmt.Errorf("lifetime %s: write 1h or more", shown(time.Duration(c.Lifetime)))
	case pool && len(c.Map) == 0:
		return errors.New("trust_pool needs map, which says what in a certificate names its user: write map email")
	case !pool && (len(c.Map) > 0 || c.CRL != ""):
		return errors.New("map and crl apply to certificates from your own CA: add trust_pool")
	}
	return nil
}

// resolveDeviceCA joins the CA of the pki app that issues to devices.
func (a *App) resolveDeviceCA() error {
	configured, err := a.ctx.AppIfConfigured("pki")
	if err != nil && !errors.Is(err, caddy.ErrNotConfigured) {
		return err
	}
	pki, ok := configured.(*caddypki.PKI)
	if !ok || pki.CAs[a.Certificate.CA] == nil {
		return fmt.Errorf("there is no such CA: in the Caddyfile's global options, write a block pki with a block ca %s in it, and intermediate_lifetime 365d in that", a.Certificate.CA)
	}
	ca, err := pki.GetCA(a.ctx, a.Certificate.CA)
	if err != nil {
		return err
	}
	lifetime, err := a.certificateLifetime(ca)
	if err != nil {
		return err
	}
	if ca.InstallTrust == nil || *ca.InstallTrust {
		a.logger.Warn("Caddy makes this machine trust the CA for devices for sites too, which nothing needs: set install_trust to false in the CA's JSON, or write skip_install_trust in the global options", zap.String("ca", ca.ID))
	}
	a.Certificate.authority = &devices.Authority{
		Signer: func() ([]*x509.Certificate, crypto.Signer) {
			return ca.IntermediateCertificateChain(), ca.IntermediateKey()
		},
		Root: ca.RootCertificate, Lifetime: lifetime, Clock: time.Now, Random: rand.Reader,
		Names: a.portal.JoinPath(portal.NamesPath), List: a.portal.JoinPath(portal.RevocationListPath),
	}
	a.Certificate.trust = append(a.Certificate.trust, devices.Authorised{
		Anchors: func() *x509.CertPool {
			pool := x509.NewCertPool()
			pool.AddCert(ca.RootCertificate())
			return pool
		},
		Intermediates: func() []*x509.Certificate { return a.Certificate.issuers.With(a.Certificate.authority.Between()) },
	})
	return nil
}

// refreshIssuers keeps what the CA issues from at present, and learns what it
// issued from before. It does nothing where nothing is issued.
func (a *App) refreshIssuers(ctx context.Context, rows devices.IssuerRows) error {
	if a.issuer() == nil {
		return nil
	}
	return a.Certificate.issuers.Refresh(ctx, rows, a.Certificate.authority.Between(), time.Now())
}

// certificateLifetime is what was asked for, if the CA can give it, else what it
// can give. Caddy's intermediates live for 7 days unless told otherwise.
func (a *App) certificateLifetime(ca *caddypki.CA) (time.Duration, error) {
	whole := time.Duration(ca.IntermediateLifetime)
	if ca.Intermediate != nil {
		own := ca.IntermediateCertificateChain()[0]
		whole = own.NotAfter.Sub(own.NotBefore)
	}
	asked := time.Duration(a.Certificate.Lifetime)
	switch {
	case asked > whole:
		return 0, fmt.Errorf("lifetime %s: the CA's intermediates last %s, and nothing that they sign lasts longer: write a longer intermediate_lifetime in its pki block", shown(asked), shown(whole))
	case asked != 0:
		return asked, nil
	case whole < devices.DefaultLifetime:
		a.logger.Warn("device certificates last no longer than the CA's intermediates: write a longer intermediate_lifetime in its pki block, or lifetime in certificate",
			zap.String("ca", ca.ID), zap.Duration("intermediate_lifetime", whole))
		return whole, nil
	}
	return devices.DefaultLifetime, nil
}

// resolveTrustPool joins the operator's own CA.
func (a *App) resolveTrustPool() error {
	c := a.Certificate
	module, err := a.ctx.LoadModule(c, "TrustPoolRaw")
	if err != nil {
		return fmt.Errorf("trust_pool: %w", err)
	}
	source, ok := module.(caddytls.CA)
	if !ok {
		return fmt.Errorf("trust_pool: %T isn't a pool of CAs", module)
	}
	if _, ok := module.(*caddytls.SystemCAPool); ok {
		return errors.New("trust_pool system: any public CA could then say who somebody is: name your own CA's file")
	}
	// Without a pool crypto/x509 would ask the roots of the system.
	if pool := source.CertPool(); pool == nil || pool.Equal(x509.NewCertPool()) {
		return errors.New("trust_pool: there is no CA certificate in it: name a PEM file that contains one")
	}
	operators := devices.Authorised{Anchors: source.CertPool}
	for _, written := range c.Map {
		attribute, err := devices.ParseAttribute(written)
		if err != nil {
			return err
		}
		operators.Owners = append(operators.Owners, attribute)
	}
	if operators.Revocations, err = a.openRevocations(source); err != nil {
		return fmt.Errorf("crl: %w", err)
	}
	for i := range c.trust {
		c.trust[i].Superior = operators.Revocations // the CA held here may be below the operator's
	}
	c.trust = append(c.trust, operators)
	return nil
}

// openRevocations reads the operator's revocation lists, where there are some,
// and checks their signatures as far as the pool shows its certificates.
func (a *App) openRevocations(source caddytls.CA) (*devices.Revocations, error) {
	path, err := expand("crl", a.Certificate.CRL)
	if err != nil || path == "" {
		return nil, err
	}
	file := devices.RevocationFile{
		Path: path, Clock: time.Now,
		Warn: func(message string, err error) {
			a.logger.Error(message, zap.String("crl", path), zap.Error(err))
		},
		Looked: func(err error) { a.metrics.fileRead(fileCRL, err) },
	}
	if shown, ok := source.(caddytls.CertificateProvider); ok {
		file.CAs = shown.Certificates()
	}
	return devices.OpenRevocations(file)
}

// keepList is for how long a revocation list is served that was made once.
const keepList = time.Minute

// revocationList returns what makes the list of revoked devices; nil: none are
// issued here. Anybody may ask for it, so it is made once a minute at most.
func (a *App) revocationList(rows interface {
	RevokedCertificates(ctx context.Context, now time.Time) ([]store.Device, error)
}) func(context.Context) ([]byte, error) {
	if a.issuer() == nil {
		return nil
	}
	var making sync.Mutex
	var list []byte
	var made time.Time
	return func(ctx context.Context) ([]byte, error) {
		making.Lock()
		defer making.Unlock()
		if age := time.Since(made); list != nil && age < keepList {
			return list, nil
		}
		all, err := rows.RevokedCertificates(ctx, time.Now())
		if err != nil {
			return nil, err
		}
		fresh, err := a.Certificate.authority.RevocationList(all)
		if err != nil {
			return nil, err
		}
		list, made = fresh, time.Now()
		return list, nil
	}
}

// issuer is who issues certificates; nil: nobody does.
func (a *App) issuer() accounts.Issuer {
	if a.Certificate == nil || a.Certificate.authority == nil {
		return nil
	}
	return a.Certificate.authority
}

// trust is the CAs whose certificates count; empty: there is none.
func (a *App) trust() devices.Trust {
	if a.Certificate == nil {
		return nil
	}
	return a.Certificate.trust
}

// revocations are the operator's revocation lists; nil: there are none.
func (a *App) revocations() *devices.Revocations {
	for _, ca := range a.trust() {
		if ca.Revocations != nil {
			return ca.Revocations
		}
	}
	return nil
}

func (a *App) unmarshalCertificate(d *caddyfile.Dispenser) error {
	if a.Certificate != nil {
		return givenTwice(d, "certificate")
	}
	a.Certificate = new(Certificate)
	return readBlock(d, "certificate { ca devices }", func() error { return a.Certificate.unmarshalOption(d) }, a.Certificate.check)
}

func (c *Certificate) unmarshalOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "ca":
		return oneArgument(d, &c.CA)
	case "lifetime":
		return duration(d, &c.Lifetime)
	case "agents":
		return oneArgument(d, &c.Agents)
	case "trust_pool":
		return c.unmarshalTrustPool(d)
	case "map":
		return c.unmarshalMap(d)
	case "crl":
		return oneArgument(d, &c.CRL)
	}
	return unknownOption(d, "certificate", "the options are ca, lifetime, agents, trust_pool, map and crl")
}

func (c *Certificate) unmarshalTrustPool(d *caddyfile.Dispenser) error {
	if c.TrustPoolRaw != nil {
		return d.Err("trust_pool is given twice: name all files in one, or combine sources with trust_pool combined")
	}
	if !d.NextArg() {
		return d.Err("trust_pool needs a kind: write trust_pool file /etc/ssl/our-ca.pem")
	}
	name := d.Val()
	if _, err := caddy.GetModule("tls.ca_pool.source." + name); err != nil {
		return d.Errf("there is no trust pool %q: write trust_pool file /etc/ssl/our-ca.pem", name)
	}
	module, err := caddyfile.UnmarshalModule(d, "tls.ca_pool.source."+name)
	if err != nil {
		return fmt.Errorf("trust_pool %s: %w", name, err)
	}
	c.TrustPoolRaw = caddyconfig.JSONModuleObject(module, "provider", name, nil)
	return nil
}

// unmarshalMap reads one line; several are tried in their order.
func (c *Certificate) unmarshalMap(d *caddyfile.Dispenser) error {
	written := strings.Join(d.RemainingArgs(), " ")
	if _, err := devices.ParseAttribute(written); err != nil {
		return d.WrapErr(err)
	}
	c.Map = append(c.Map, written)
	return nil
}

// isWithdrawn reports whether the operator's revocation lists name a device.
func (a *App) isWithdrawn(d store.Device) bool {
	lists := a.revocations()
	return lists != nil && lists.Current().Name(d)
}
