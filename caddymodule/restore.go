package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/backup"
	"github.com/portcullis-mfa/portcullis/caddymodule/adminapi"
	"github.com/portcullis-mfa/portcullis/caddymodule/commands"
	"github.com/portcullis-mfa/portcullis/keys"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/store/sqlite"
)

func init() { commands.SetRestore(restore) }

// restore implements commands.Restore.
func restore(ctx context.Context, config []byte, from *backup.Reader, voidCodes bool) (adminapi.Restored, error) {
	provisioning, cancel := caddy.NewContext(caddy.Context{Context: ctx})
	defer cancel()
	to, err := findPlaces(provisioning, config)
	if err != nil {
		return adminapi.Restored{}, err
	}
	if err := becomeOwner(to.store); err != nil {
		return adminapi.Restored{}, err
	}
	r := restoration{places: to, from: from, voidCodes: voidCodes}
	if err := r.run(ctx); err != nil {
		return adminapi.Restored{}, err
	}
	m := from.Manifest
	return adminapi.Restored{
		Created: m.Created.Format(time.RFC3339), Portal: m.Portal, Users: m.Users, Store: to.store, VoidedCodes: r.voided,
	}, nil
}

// restorePlaces is where a configuration keeps things.
type restorePlaces struct {
	store   string // the file
	keys    keys.Storage
	storage certmagic.Storage // Caddy's
}

// findPlaces reads from a configuration where it keeps things. It starts nothing, and
// makes nothing.
func findPlaces(ctx caddy.Context, config []byte) (restorePlaces, error) {
	var c struct {
		StorageRaw json.RawMessage `json:"storage,omitempty" caddy:"namespace=caddy.storage inline_key=module"`
		Apps       struct {
			MFA *struct {
				StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=mfa.stores inline_key=module"`
				Keys     string          `json:"keys"`
			} `json:"mfa"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return restorePlaces{}, fmt.Errorf("reading the configuration: %w", err)
	}
	if c.Apps.MFA == nil {
		return restorePlaces{}, errors.New("the configuration has no mfa app")
	}
	at := App{ctx: ctx, StoreRaw: c.Apps.MFA.StoreRaw, Keys: c.Apps.MFA.Keys}
	if err := errors.Join(at.resolveKeys(), at.loadStore()); err != nil {
		return restorePlaces{}, err
	}
	kept, ok := at.store.(*SQLiteStore)
	if !ok {
		return restorePlaces{}, errors.New("a backup can only be restored to a store sqlite")
	}
	to := restorePlaces{store: kept.Path, storage: caddy.DefaultStorage}
	if c.StorageRaw != nil {
		module, err := ctx.LoadModule(&c, "StorageRaw")
		if err != nil {
			return restorePlaces{}, fmt.Errorf("loading the storage module: %w", err)
		}
		if to.storage, err = module.(caddy.StorageConverter).CertMagicStorage(); err != nil {
			return restorePlaces{}, fmt.Errorf("opening Caddy's storage: %w", err)
		}
	}
	to.keys = to.storage
	if at.Keys != "" {
		to.keys = keys.FileStorage(at.Keys)
	}
	return to, nil
}

// restoration is a backup being restored.
type restoration struct {
	places    restorePlaces
	from      *backup.Reader
	voidCodes bool

	set         []byte            // the key set
	authorities map[string][]byte // the files of CAs, by their keys in Caddy's storage
	db          *sqlite.Restored
	voided      int
}

// run reads and checks everything before it puts anything in place. The store goes last,
// since a server doesn't start with keys and without their store.
func (r *restoration) run(ctx context.Context) (err error) {
	r.authorities = make(map[string][]byte)
	defer func() {
		if r.db != nil {
			err = errors.Join(err, r.db.Discard())
		}
	}()
	for {
		entry, err := r.from.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := r.take(ctx, entry); err != nil {
			return err
		}
	}
	if r.db == nil || r.set == nil {
		return errors.New("the backup lacks the store or the key set")
	}
	return r.place(ctx)
}

func (r *restoration) take(ctx context.Context, entry backup.Entry) (err error) {
	key, stored := strings.CutPrefix(entry.Name, prefixStorage)
	switch {
	case entry.Name == entryKeys:
		if r.set, err = entry.ReadSmall(); err != nil {
			return err
		}
		return advise(keys.CheckImport(ctx, r.places.keys, r.set), keys.Places(r.places.keys))
	case entry.Name == entryStore:
		r.db, err = sqlite.Restore(ctx, r.places.store, entry.Content, r.revise)
		return advise(err, r.places.store)
	case stored && isAuthority(key):
		if r.authorities[key], err = entry.ReadSmall(); err != nil {
			return err
		}
		if there, err := r.places.storage.Load(ctx, key); err == nil && !bytes.Equal(there, r.authorities[key]) {
			return fmt.Errorf("there is another CA already: move %s in Caddy's storage aside first", key)
		}
		return nil
	}
	return fmt.Errorf("the backup has an entry %q, which this program doesn't know", entry.Name)
}

// advise says what to do where something is in the way.
func advise(err error, where string) error {
	if errors.Is(err, sqlite.ErrExists) || errors.Is(err, keys.ErrExists) {
		return fmt.Errorf("%w, and restoring overwrites nothing: to replace it, stop the server and move %s aside", err, where)
	}
	return err
}

// revise changes what the restored store holds.
func (r *restoration) revise(ctx context.Context, s store.Store) error {
	return s.Atomically(ctx, func(tx store.Tx) error {
		r.voided = 0
		if r.voidCodes {
			if err := r.voidBackupCodes(ctx, tx); err != nil {
				return err
			}
		}
		return tx.AppendEvent(ctx, audit.New(time.Now(), audit.StoreRestored, "", audit.Fields{audit.By: "administrator"}))
	})
}

func (r *restoration) voidBackupCodes(ctx context.Context, tx store.Tx) error {
	users, err := store.All(ctx, tx.ListUsers)
	if err != nil {
		return err
	}
	for _, user := range users {
		credentials, err := tx.CredentialsOf(ctx, user.ID)
		if err != nil {
			return err
		}
		for _, c := range credentials {
			if c.Kind != assurance.BackupCode {
				continue
			}
			if err := tx.DeleteCredential(ctx, c.ID, c.Version); err != nil {
				return err
			}
			r.voided++
		}
	}
	return nil
}

func (r *restoration) place(ctx context.Context) error {
	if err := keys.Import(ctx, r.places.keys, r.set); err != nil {
		return err
	}
	for key, content := range r.authorities {
		if err := r.places.storage.Store(ctx, key, content); err != nil {
			return fmt.Errorf("storing %s: %w", key, err)
		}
	}
	placed := r.db
	r.db = nil
	if err := placed.Place(); err != nil {
		return err
	}
	return keys.OpenMark(ctx, r.places.keys).Keep(ctx, placed.Incarnation(), placed.Position())
}
