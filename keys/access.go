package keys

import (
	"errors"
	"fmt"

	"github.com/portcullis-mfa/portcullis/fileaccess"
)

// inFiles is a Storage that keeps each value in a file of its own.
type inFiles interface {
	Filename(key string) string
}

// Places names where the key set and its mark are kept, for people to find them.
func Places(storage Storage) string {
	if files, ok := storage.(inFiles); ok {
		return files.Filename(StorageKey) + " and " + files.Filename(MarkKey)
	}
	return StorageKey + " and " + MarkKey + " in Caddy's storage"
}

// CheckAccess refuses a key set that others can read, since they could make
// sessions, and one or a mark that others can change. Of a Storage that isn't
// in files it knows nothing. What it takes from the group of a file of this
// user's own it returns, for people to hear of it.
func CheckAccess(storage Storage) (tightened []string, err error) {
	files, ok := storage.(inFiles)
	if !ok {
		return nil, nil
	}
	for _, key := range []string{StorageKey, MarkKey} {
		path := files.Filename(key)
		before, err := fileaccess.Tighten(path)
		if err != nil {
			return nil, fmt.Errorf("keeping others from the key set: %w", err)
		}
		if before != 0 {
			tightened = append(tightened, fmt.Sprintf("%s (mode %04o before)", path, before))
		}
	}
	return tightened, checkAccess(files)
}

func checkAccess(files inFiles) error {
	if err := fileaccess.Private(files.Filename(StorageKey)); err != nil {
		var open *fileaccess.Error
		if errors.As(err, &open) {
			return fmt.Errorf("others can reach the key set: %w; anyone who has read it can forge sessions, "+
				"so where others use this machine, also write caddy mfa keys rotate, and end all sessions", err)
		}
		return fmt.Errorf("looking who can read the key set: %w", err)
	}
	if err := fileaccess.Trusted(files.Filename(MarkKey)); err != nil {
		return fmt.Errorf("others can change the store's mark: %w", err)
	}
	return nil
}
