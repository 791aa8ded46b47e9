package caddymodule

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/store/sqlite"
)

// StoreModule is a guest module of the namespace mfa.stores. Provisioning one
// creates nothing.
type StoreModule interface {
	// Open opens the store. Where there is none yet it makes one if mayCreate is
	// true, and else returns store.ErrMissing and makes nothing. It is called
	// when the app starts. The caller closes the store.
	Open(ctx context.Context, mayCreate bool) (store.Store, error)
	// AdviceIfMissing says how to bring back a store that is gone, as the beginning of
	// a sentence.
	AdviceIfMissing() string
	// Key names the store within this process: configurations whose stores
	// have one key share one open store across reloads.
	Key() string
}

func init() {
	caddy.RegisterModule(SQLiteStore{})
}

// SQLiteStore keeps everything in one SQLite file. It suits one machine; it
// needs no server and no upkeep.
type SQLiteStore struct {
	// Path is the file. A relative path starts from the working directory.
	// Default: portcullis/portcullis.db in Caddy's data directory.
	Path string `json:"path,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (SQLiteStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "mfa.stores.sqlite",
		New: func() caddy.Module { return new(SQLiteStore) },
	}
}

// Provision makes the path absolute.
func (s *SQLiteStore) Provision(caddy.Context) error {
	path, err := expand("path", s.Path)
	if err != nil {
		return err
	}
	if path == "" {
		path = filepath.Join(caddy.AppDataDir(), "portcullis", "portcullis.db")
	}
	if s.Path, err = filepath.Abs(path); err != nil {
		return fmt.Errorf("path %s: %w", path, err)
	}
	return nil
}

// Key implements StoreModule: the absolute path.
func (s *SQLiteStore) Key() string { return s.Path }

// AdviceIfMissing implements StoreModule.
func (s *SQLiteStore) AdviceIfMissing() string {
	return "put its file back together with the one that ends in -wal, mount the disk that it is on"
}

// Open implements StoreModule.
func (s *SQLiteStore) Open(ctx context.Context, mayCreate bool) (store.Store, error) {
	open := sqlite.OpenExisting
	if mayCreate {
		open = sqlite.Open
	}
	db, err := open(ctx, s.Path)
	if err != nil {
		return nil, err
	}
	return db, nil
}

// checkStore has a store that can tell say whether it is still where it was
// opened, and has room.
func (s *service) checkStore(ctx context.Context) error {
	if placed, ok := s.store.(interface{ Check(context.Context) error }); ok {
		return placed.Check(ctx)
	}
	return nil
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. Syntax:
//
//	sqlite [PATH]
//	sqlite {
//		path PATH
//	}
func (s *SQLiteStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the module's name
	if d.NextArg() {
		s.Path = d.Val()
	}
	if d.NextArg() {
		return d.Errf("store sqlite takes one path, and %q is a second: remove it, or put quotes around a path that contains spaces", d.Val())
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if d.Val() != "path" {
			return unknownOption(d, "store sqlite", "the only option is path")
		}
		if err := oneArgument(d, &s.Path); err != nil {
			return err
		}
	}
	return nil
}

// Interface guards
var (
	_ StoreModule           = (*SQLiteStore)(nil)
	_ caddy.Provisioner     = (*SQLiteStore)(nil)
	_ caddyfile.Unmarshaler = (*SQLiteStore)(nil)
)
