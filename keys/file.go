package keys

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

// lockPoll is how often a held lock is asked for again.
const lockPoll = 20 * time.Millisecond

// fileStorage keeps the key set in one file, the mark in another, and nothing
// else.
type fileStorage struct {
	path string

	mu   sync.Mutex
	lock *os.File // while held
}

// FileStorage keeps the key set in the file at path, readable by its owner
// alone, in a directory that must exist, and the mark beside it under the
// ending .mark. There also stands an empty file with the ending .lock; its lock
// is the operating system's, so it ends with the process that held it, and it
// is the key set's: the mark needs none.
func FileStorage(path string) Storage {
	return &fileStorage{path: path}
}

// String names the file, for errors and logs.
func (f *fileStorage) String() string { return f.path }

// file returns where the value of a key is kept.
func (f *fileStorage) file(key string) (string, error) {
	switch key {
	case StorageKey:
		return f.path, nil
	case MarkKey:
		return f.path + ".mark", nil
	}
	return "", fmt.Errorf("%s holds the key set and its mark only, not %q", f.path, key)
}

// Filename returns the file in which the value of a key is kept, as that of
// Caddy's own storage in files does; "" where there is none.
func (f *fileStorage) Filename(key string) string {
	path, err := f.file(key)
	if err != nil {
		return ""
	}
	return path
}

// checkLock refuses locks of anything but the key set.
func (f *fileStorage) checkLock(key string) error {
	if key != StorageKey {
		return fmt.Errorf("%s.lock is the lock of the key set only, not of %q", f.path, key)
	}
	return nil
}

func (f *fileStorage) Load(_ context.Context, key string) ([]byte, error) {
	path, err := f.file(key)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// Store replaces the file by a rename, after its content has reached the disk.
func (f *fileStorage) Store(_ context.Context, key string, value []byte) error {
	path, err := f.file(key)
	if err != nil {
		return err
	}
	directory := filepath.Dir(path)
	// CreateTemp gives it mode 0600.
	temporary, err := os.CreateTemp(directory, filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	if err := fill(temporary, value); err != nil {
		_ = os.Remove(temporary.Name())
		return err
	}
	if err := os.Rename(temporary.Name(), path); err != nil {
		_ = os.Remove(temporary.Name())
		return err
	}
	return syncDirectory(directory)
}

// fill writes the content, brings it to the disk and closes the file.
func fill(file *os.File, content []byte) error {
	_, err := file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return err
}

// syncDirectory brings a rename to the disk.
func syncDirectory(path string) error {
	if runtime.GOOS == "windows" {
		return nil // which cannot sync a directory, and journals renames
	}
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	defer directory.Close()
	return directory.Sync()
}

func (f *fileStorage) Lock(ctx context.Context, key string) error {
	if err := f.checkLock(key); err != nil {
		return err
	}
	file, err := os.OpenFile(f.path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := waitForLock(ctx, file); err != nil {
		_ = file.Close()
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lock = file
	return nil
}

func waitForLock(ctx context.Context, file *os.File) error {
	poll := time.NewTicker(lockPoll)
	defer poll.Stop()
	for {
		locked, err := tryLock(file)
		if err != nil {
			return fmt.Errorf("locking %s: %w", file.Name(), err)
		}
		if locked {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", file.Name(), ctx.Err())
		case <-poll.C:
		}
	}
}

// Unlock closes the lock file, which ends its lock. The file stays: were it
// removed, one process could lock the old file and another a new one.
func (f *fileStorage) Unlock(_ context.Context, key string) error {
	if err := f.checkLock(key); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lock == nil {
		return fmt.Errorf("%s.lock is not held", f.path)
	}
	err := f.lock.Close()
	f.lock = nil
	return err
}
