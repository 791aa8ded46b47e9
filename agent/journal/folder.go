package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Folder is a folder on disk that only its owner can read.
type Folder string

// Open makes the folder if it isn't there.
func Open(path string) (Folder, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", fmt.Errorf("making a folder: %w", err)
	}
	return Folder(path), nil
}

// Read implements Files.
func (f Folder) Read(name string) ([]byte, error) { return os.ReadFile(filepath.Join(string(f), name)) }

// Write implements Files: it writes a temporary file, and renames it once it is on
// the disk.
func (f Folder) Write(name string, content []byte) (err error) {
	file, err := os.CreateTemp(string(f), "."+name+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close(), os.Remove(file.Name()))
		}
	}()
	if _, err = file.Write(content); err != nil {
		return err
	}
	if err = file.Sync(); err != nil {
		return err
	}
	if err = os.Rename(file.Name(), filepath.Join(string(f), name)); err != nil {
		return err
	}
	if err := syncFolder(string(f)); err != nil {
		return err
	}
	return file.Close()
}

// syncFolder has the names in a folder survive a power failure, where the system can.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	_ = folder.Sync() // not on Windows
	return folder.Close()
}

// Remove implements Files.
func (f Folder) Remove(name string) error { return os.Remove(filepath.Join(string(f), name)) }

var _ Files = Folder("")
