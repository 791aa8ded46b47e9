package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/backup"
	"github.com/portcullis-mfa/portcullis/caddymodule/adminapi"
	"github.com/portcullis-mfa/portcullis/caddymodule/commands"
	"github.com/portcullis-mfa/portcullis/keys"
	"github.com/portcullis-mfa/portcullis/store/sqlite"
)

// The names of a backup's entries. Entries of Caddy's storage have their key after the
// prefix.
const (
	entryStore    = "store.db"
	entryKeys     = "keys.json"
	prefixStorage = "storage/"
)

// authorities is the prefix of the keys under which Caddy's storage keeps CAs. Nothing
// else is taken from there, or put there.
const authorities = "pki/authorities/"

var errNotSQLite = caddy.APIError{HTTPStatus: http.StatusConflict, Err: errors.New("only a store sqlite can be backed up: back up the database with its own tools, and the key set as a file")}

// makeBackup copies the store, and after it the keys, since keys that the store doesn't
// need do no harm, and those of the device CA.
func (a *App) makeBackup(ctx context.Context) (adminapi.Stream, error) {
	s := a.service.Load()
	db, ok := s.store.(*sqlite.DB)
	if !ok {
		return nil, errNotSQLite
	}
	users, err := db.CountUsers(ctx)
	if err != nil {
		return nil, err
	}
	copied, err := db.Copy(ctx)
	if err != nil {
		return nil, err
	}
	small, err := a.keptBeside(ctx)
	if err != nil {
		return nil, errors.Join(err, copied.Close())
	}
	s.audit.Record(ctx, audit.BackupMade, "", audit.Fields{audit.By: "administrator"})
	return &archive{
		manifest: backup.Manifest{Created: time.Now().UTC().Truncate(time.Second), Version: commands.Version(), Portal: a.portal.String(), Users: users},
		entries:  append(small, backup.Entry{Name: entryStore, Size: copied.Size(), Content: copied}), close: copied.Close,
	}, nil
}

// keptBeside returns what is kept outside of the store.
func (a *App) keptBeside(ctx context.Context) ([]backup.Entry, error) {
	set, err := keys.Export(ctx, a.keyStorage())
	if err != nil {
		return nil, err
	}
	entries := []backup.Entry{backup.Small(entryKeys, set)}
	if a.Certificate == nil || a.Certificate.CA == "" {
		return entries, nil
	}
	storage, prefix := a.ctx.Storage(), authorities+certmagic.StorageKeys.Safe(a.Certificate.CA)
	names, err := storage.List(ctx, prefix, true)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(names) == 0 {
		a.logger.Warn("the backup doesn't contain the CA for devices, whose files are elsewhere: back them up yourself", zap.String("ca", a.Certificate.CA))
		return entries, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for the CA for devices: %w", err)
	}
	for _, name := range names {
		if info, err := storage.Stat(ctx, name); err != nil || !info.IsTerminal {
			continue // a folder
		}
		content, err := storage.Load(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("reading the CA for devices: %w", err)
		}
		entries = append(entries, backup.Small(prefixStorage+path.Clean(name), content))
	}
	return entries, nil
}

// isAuthority reports whether a key of Caddy's storage belongs to a CA, whatever a backup
// says that was made by somebody else.
func isAuthority(key string) bool {
	return strings.HasPrefix(key, authorities) && path.Clean(key) == key && !strings.ContainsAny(key, "\\:")
}

// archive is a backup that is being sent.
type archive struct {
	manifest backup.Manifest
	entries  []backup.Entry
	close    func() error
}

// WriteTo implements adminapi.Stream.
func (b *archive) WriteTo(w io.Writer) (int64, error) {
	return 0, backup.Write(w, b.manifest, b.entries)
}

// Close implements adminapi.Stream.
func (b *archive) Close() error { return b.close() }
