package templates

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Export writes the embedded files into a directory, to be changed there and
// to override ours. If one of them exists there already, nothing is written.
func Export(directory string) error {
	files := embeddedFiles()
	names := sources{embedded: files}.names()
	for _, name := range names {
		file := filepath.Join(directory, filepath.FromSlash(name))
		if _, err := os.Lstat(file); err == nil {
			return fmt.Errorf("exporting the templates: %s is there already: %w", file, fs.ErrExist)
		}
	}
	for _, name := range names {
		if err := exportFile(files, name, directory); err != nil {
			return fmt.Errorf("exporting the templates: %w", err)
		}
	}
	return nil
}

func exportFile(files fs.FS, name, directory string) error {
	content, err := fs.ReadFile(files, name)
	if err != nil {
		return err
	}
	file := filepath.Join(directory, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	// The flag keeps what somebody puts there meanwhile.
	to, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = to.Write(content)
	return errors.Join(err, to.Close())
}
