package harness

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// The environment of a run of the suites.
const (
	// EnvBinary names a binary to test in place of one built here, such as
	// the one that xcaddy made.
	EnvBinary = "PORTCULLIS_BINARY"
	// EnvRace, set to 1, builds the binary with the race detector.
	EnvRace = "PORTCULLIS_RACE"
)

var (
	builtBinary = sync.OnceValues(buildBinary)
	raceBinary  = sync.OnceValues(func() (string, error) { return buildHere(build{race: true}) })
	// addedBinaries are by the folder that was added.
	addedBinaries struct {
		sync.Mutex
		paths map[string]string
	}
)

// Binary returns the path of the binary under test: the one that
// PORTCULLIS_BINARY names, or ./cmd/portcullis, built once per test process.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := builtBinary()
	if err != nil {
		t.Fatalf("the binary under test: %v", err)
	}
	return path
}

// RaceBinary returns the path of ./cmd/portcullis built with the race detector,
// once per test process. It skips the test where another binary is to be tested.
func RaceBinary(t testing.TB) string {
	t.Helper()
	if os.Getenv(EnvBinary) != "" {
		t.Skipf("the binary that %s names has no race detector", EnvBinary)
	}
	path, err := raceBinary()
	if err != nil {
		t.Fatalf("the binary with the race detector: %v", err)
	}
	return path
}

// AddedBinary returns the path of ./cmd/portcullis built as if the files of a folder
// lay in the checkout, each at its relative path, once per test process. It skips
// the test where another binary is to be tested.
func AddedBinary(t testing.TB, folder string) string {
	t.Helper()
	if os.Getenv(EnvBinary) != "" {
		t.Skipf("nothing can be added to the binary that %s names", EnvBinary)
	}
	addedBinaries.Lock()
	defer addedBinaries.Unlock()
	if path, built := addedBinaries.paths[folder]; built {
		return path
	}
	path, err := buildHere(build{race: os.Getenv(EnvRace) == "1", added: folder})
	if err != nil {
		t.Fatalf("the binary with %s added: %v", folder, err)
	}
	if addedBinaries.paths == nil {
		addedBinaries.paths = make(map[string]string)
	}
	addedBinaries.paths[folder] = path
	return path
}

// buildBinary builds the one under test, unless another one is to be tested.
func buildBinary() (string, error) {
	if prebuilt := os.Getenv(EnvBinary); prebuilt != "" {
		path, err := exec.LookPath(prebuilt)
		if err != nil {
			return "", fmt.Errorf("finding what %s names: %w", EnvBinary, err)
		}
		return filepath.Abs(path)
	}
	return buildHere(build{race: os.Getenv(EnvRace) == "1"})
}

// buildHere builds into a folder that outlives the process, so that the
// suites, each a process of its own, don't link the same program one after
// the other.
func buildHere(b build) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	folder, err := buildFolder(root)
	if err != nil {
		return "", err
	}
	unlock, err := lockFolder(folder)
	if err != nil {
		return "", err
	}
	defer unlock()
	return b.run(root, folder)
}

// build is how ./cmd/portcullis is built.
type build struct {
	race  bool
	added string // a folder of files that are built in; empty: none
}

// run compiles and links; where nothing changed, go build leaves the binary alone.
func (b build) run(root, folder string) (string, error) {
	binary := filepath.Join(folder, "portcullis")
	arguments := []string{"build"}
	if b.race {
		binary += "-race"
		arguments = append(arguments, "-race")
	}
	if b.added != "" {
		which := sha256.Sum256([]byte(b.added))
		binary += "-added-" + hex.EncodeToString(which[:4])
		overlay, err := b.overlay(root, folder)
		if err != nil {
			return "", fmt.Errorf("adding files to ./cmd/portcullis: %w", err)
		}
		arguments = append(arguments, "-overlay", overlay)
	}
	command := exec.Command("go", append(arguments, "-o", binary, "./cmd/portcullis")...)
	command.Dir = root
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building ./cmd/portcullis: %w\n%s", err, output)
	}
	return binary, nil
}

// overlay writes the file that tells go build where the added files are.
func (b build) overlay(root, folder string) (string, error) {
	added, err := filepath.Abs(b.added)
	if err != nil {
		return "", err
	}
	replace := make(map[string]string)
	err = filepath.WalkDir(added, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(added, path)
		replace[filepath.Join(root, relative)] = path
		return err
	})
	if err != nil {
		return "", err
	}
	content, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(folder, "overlay.json")
	return overlay, os.WriteFile(overlay, content, 0o600)
}

// moduleRoot finds the folder of go.mod at or above the working directory.
func moduleRoot() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the working directory: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder, nil
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return "", errors.New("no go.mod at or above the working directory")
		}
		folder = parent
	}
}

// buildFolder is one folder per checkout, in the user's cache, where strangers
// can't put a binary for us to run.
func buildFolder(root string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the user's cache folder: %w", err)
	}
	checkout := sha256.Sum256([]byte(root))
	folder := filepath.Join(cache, "portcullis-test", hex.EncodeToString(checkout[:8]))
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", fmt.Errorf("making the build folder: %w", err)
	}
	return folder, nil
}

// lockFolder waits until no other test process builds there.
func lockFolder(folder string) (unlock func(), err error) {
	lock, err := os.OpenFile(filepath.Join(folder, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the build lock: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("taking the build lock: %w", err), lock.Close())
	}
	return func() { _ = lock.Close() }, nil
}
