package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// ErrExists says that another key set is kept already where one is to be put.
var ErrExists = errors.New("there is another key set already")

// Export returns the stored key set, for a backup.
func Export(ctx context.Context, storage Storage) ([]byte, error) {
	content, err := storage.Load(ctx, StorageKey)
	if err != nil {
		return nil, fmt.Errorf("loading the key set: %w", err)
	}
	if _, err := parse(content); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return content, nil
}

// CheckImport returns why Import would refuse a key set: it can't be read, or another
// one is kept already (ErrExists). The same one may be.
func CheckImport(ctx context.Context, storage Storage, content []byte) error {
	if _, err := parse(content); err != nil {
		return fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	_, err := load(ctx, storage)
	if errors.Is(err, ErrMissing) {
		return nil
	}
	if err != nil && !errors.Is(err, ErrUnreadable) {
		return err
	}
	kept, err := storage.Load(ctx, StorageKey)
	if err != nil {
		return fmt.Errorf("loading the key set: %w", err)
	}
	if !bytes.Equal(kept, content) {
		return ErrExists
	}
	return nil
}

// Import stores a key set that Export returned.
func Import(ctx context.Context, storage Storage, content []byte) error {
	return locked(ctx, storage, func() error {
		if err := CheckImport(ctx, storage, content); err != nil {
			return err
		}
		if err := storage.Store(ctx, StorageKey, content); err != nil {
			return fmt.Errorf("storing the key set: %w", err)
		}
		return nil
	})
}
