package test

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// Packages come from npm in the versions that the lock file pins by their hashes.
//
//go:embed package.json
var npmPackage []byte

//go:embed package-lock.json
var npmLock []byte

// installedPackages returns the folder of the packages from npm, node_modules.
var installedPackages = sync.OnceValues(installPackages)

// installPackages has npm install into the user's cache, once for each lock file,
// and runs nothing of what it installs.
func installPackages() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the user's cache folder: %w", err)
	}
	sum := sha256.Sum256(append(npmPackage, npmLock...))
	folder := filepath.Join(cache, "portcullis-test", "npm-"+hex.EncodeToString(sum[:8]))
	packages := filepath.Join(folder, "node_modules")
	if _, err := os.Stat(packages); err == nil {
		return packages, nil
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o700); err != nil {
		return "", fmt.Errorf("making the cache folder: %w", err)
	}
	fresh, err := os.MkdirTemp(filepath.Dir(folder), "npm-new-")
	if err != nil {
		return "", fmt.Errorf("making a folder to install into: %w", err)
	}
	defer func() { _ = os.RemoveAll(fresh) }()
	for name, content := range map[string][]byte{"package.json": npmPackage, "package-lock.json": npmLock} {
		if err := os.WriteFile(filepath.Join(fresh, name), content, 0o600); err != nil {
			return "", fmt.Errorf("writing %s: %w", name, err)
		}
	}
	install := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = fresh
	if output, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w\n%s", err, output)
	}
	// Another process may have been faster with the same.
	if err := os.Rename(fresh, folder); err != nil {
		if _, missing := os.Stat(packages); missing != nil {
			return "", fmt.Errorf("keeping what npm installed: %w", err)
		}
	}
	return packages, nil
}
