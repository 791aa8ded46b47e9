package caddymodule

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/store/postgres"
)

func init() {
	caddy.RegisterModule(PostgresStore{})
}

// PostgresStore keeps everything in a PostgreSQL database, which any number of nodes can
// share. Any node can answer any request.
type PostgresStore struct {
	// URL is the database's address, as libpq reads it. If the database is on another
	// machine, sslmode=verify-full is required. Placeholders are allowed, and keep the
	// password out of the configuration.
	URL string `json:"url,omitempty"`
	// Listen is the address at which a node listens for changes and brings the schema up
	// to date, if URL is the address of a pooler that works by transaction. With "off",
	// the node asks for changes every 250 ms instead. Default: the same as URL.
	Listen string `json:"listen,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (PostgresStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "mfa.stores.postgres",
		New: func() caddy.Module { return new(PostgresStore) },
	}
}

// Provision expands placeholders. It connects to nothing.
func (s *PostgresStore) Provision(caddy.Context) (err error) {
	for setting, address := range map[string]*string{"url": &s.URL, "listen": &s.Listen} {
		if *address, err = expand(setting, *address); err != nil {
			return err
		}
	}
	return nil
}

var errNoDatabase = errors.New("store postgres needs the address of a database: write store postgres postgres://USER@HOST/DATABASE?sslmode=verify-full")

// Validate refuses addresses that are wrong, or that would send secrets in the clear.
func (s *PostgresStore) Validate() error {
	if strings.TrimSpace(s.URL) == "" {
		return errNoDatabase
	}
	return s.settings().Check()
}

func (s *PostgresStore) settings() postgres.Settings {
	return postgres.Settings{URL: s.URL, Listen: s.Listen, Warn: func(doing string, err error) {
		// Of the configuration that is in force: a store outlives the one that opened it.
		caddy.Log().Named("mfa.store").Error(doing, zap.Error(err))
	}}
}

// Key implements StoreModule. It is a hash, since the addresses contain a password.
func (s *PostgresStore) Key() string {
	hash := sha256.Sum256([]byte(s.URL + "\x00" + s.Listen))
	return "postgres " + hex.EncodeToString(hash[:])
}

// AdviceIfMissing implements StoreModule.
func (s *PostgresStore) AdviceIfMissing() string {
	return "restore the database from a backup"
}

// Open implements StoreModule.
func (s *PostgresStore) Open(ctx context.Context, mayCreate bool) (store.Store, error) {
	open := postgres.OpenExisting
	if mayCreate {
		open = postgres.Open
	}
	db, err := open(ctx, s.settings())
	if err != nil {
		return nil, err
	}
	return db, nil
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. Syntax:
//
//	postgres [URL]
//	postgres [URL] {
//		url    URL
//		listen URL|off
//	}
func (s *PostgresStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the module's name
	if d.NextArg() {
		s.URL = d.Val()
	}
	if d.NextArg() {
		return d.Errf("store postgres takes one address, and %q is a second: remove it, or put quotes around an address that contains spaces", d.Val())
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var into *string
		switch d.Val() {
		case "url":
			into = &s.URL
		case "listen":
			into = &s.Listen
		default:
			return unknownOption(d, "store postgres", "the options are url and listen")
		}
		if err := oneArgument(d, into); err != nil {
			return err
		}
	}
	if s.URL == "" {
		return d.WrapErr(errNoDatabase)
	}
	return nil
}

// Interface guards
var (
	_ StoreModule           = (*PostgresStore)(nil)
	_ caddy.Provisioner     = (*PostgresStore)(nil)
	_ caddy.Validator       = (*PostgresStore)(nil)
	_ caddyfile.Unmarshaler = (*PostgresStore)(nil)
)
