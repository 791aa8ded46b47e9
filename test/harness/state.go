package harness

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// State is files of a server's data folder by their slashed paths, as a
// stopped server left them.
type State map[string][]byte

// State reads all below one folder of the data folder. A server that still
// runs would be writing meanwhile, so it fails the test.
func (s *Server) State(folder string) State {
	s.t.Helper()
	if s.Running() {
		s.t.Fatal("the state of a server is copied once it has stopped")
	}
	state := State{}
	root := os.DirFS(s.DataDir())
	err := fs.WalkDir(root, folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(root, path)
		state[path] = text
		return err
	})
	if err != nil {
		s.t.Fatalf("copying the server's state: %v", err)
	}
	return state
}

// restore writes the files into an empty data folder, each for its owner alone.
func (state State) restore(t testing.TB, folder string) {
	t.Helper()
	for path, text := range state {
		file := filepath.Join(folder, filepath.FromSlash(path))
		err := os.MkdirAll(filepath.Dir(file), 0o700)
		if err == nil {
			err = os.WriteFile(file, text, 0o600)
		}
		if err != nil {
			t.Fatal(fmt.Errorf("bringing a server's state back: %w", err))
		}
	}
}
