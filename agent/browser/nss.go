package browser

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// NSS is a folder with a database of certificates, as Chromium and Firefox on Linux
// have. It is changed through certutil and pk12util, which come with NSS.
type NSS string

// toolTime bounds each call of a tool: some wait for a password that nobody types.
const toolTime = 30 * time.Second

// Databases returns the databases below a home folder. If Chromium has none yet, there
// is one all the same, where every version of it looks.
func Databases(home string) []NSS {
	var all []NSS
	chromium := []string{".pki/nssdb", ".local/share/pki/nssdb"}
	for _, folder := range chromium {
		if path := filepath.Join(home, folder); exists(filepath.Join(path, "cert9.db")) {
			all = append(all, NSS(path))
		}
	}
	if len(all) == 0 {
		// Newer ones look into the second place only as long as there is no first.
		all = append(all, NSS(filepath.Join(home, chromium[0])))
	}
	for _, pattern := range []string{".mozilla/firefox/*/cert9.db", ".config/mozilla/firefox/*/cert9.db", "snap/firefox/common/.mozilla/firefox/*/cert9.db"} {
		found, _ := filepath.Glob(filepath.Join(home, pattern)) // the pattern is sound
		for _, path := range found {
			all = append(all, NSS(filepath.Dir(path)))
		}
	}
	return all
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Name tells the database from other stores.
func (n NSS) Name() string { return string(n) }

func (n NSS) source() string { return "sql:" + string(n) }

func (n NSS) run(ctx context.Context, tool string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, toolTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, tool, args...) // its standard input is empty
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("%s is missing: install libnss3-tools (Debian, Ubuntu) or nss-tools (Fedora)", tool)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", tool, err, strings.TrimSpace(errs.String()))
	}
	return out.Bytes(), nil
}

// Install imports key and certificates, and reads the certificate back.
func (n NSS) Install(ctx context.Context, key crypto.Signer, chain []*x509.Certificate) error {
	if !exists(filepath.Join(string(n), "cert9.db")) {
		if err := os.MkdirAll(string(n), 0o700); err != nil {
			return err
		}
		if _, err := n.run(ctx, "certutil", "-N", "-d", n.source(), "--empty-password"); err != nil {
			return err
		}
	}
	if nickname, err := n.find(ctx, chain[0]); err != nil || nickname != "" {
		return err
	}
	password := make([]byte, 16)
	rand.Read(password) // never fails
	bundle, err := pkcs12.Modern2023.Encode(key, chain[0], chain[1:], hex.EncodeToString(password))
	if err != nil {
		return fmt.Errorf("writing PKCS #12: %w", err)
	}
	folder, err := os.MkdirTemp("", "mfa-agent-") // mode 0700
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	file, secret := filepath.Join(folder, "device.p12"), filepath.Join(folder, "password")
	if err := errors.Join(os.WriteFile(file, bundle, 0o600), os.WriteFile(secret, []byte(hex.EncodeToString(password)), 0o600)); err != nil {
		return err
	}
	if _, err := n.run(ctx, "pk12util", "-i", file, "-w", secret, "-d", n.source(), "-K", ""); err != nil {
		return err
	}
	nickname, err := n.find(ctx, chain[0])
	if err == nil && nickname == "" {
		err = errors.New("the certificate isn't there after the import")
	}
	return err
}

// Remove deletes the certificate with its key.
func (n NSS) Remove(ctx context.Context, chain []*x509.Certificate) error {
	if !exists(filepath.Join(string(n), "cert9.db")) {
		return nil
	}
	nickname, err := n.find(ctx, chain[0])
	if err != nil || nickname == "" {
		return err
	}
	_, err = n.run(ctx, "certutil", "-F", "-n", nickname, "-d", n.source(), "-f", os.DevNull)
	return err
}

// withKey matches a line of certutil -L: a nickname, and trust that says that there is
// a key.
var withKey = regexp.MustCompile(`(?m)^(.*\S)\s+u,u,u\s*$`)

// find returns the nickname of a certificate; empty: it isn't there.
func (n NSS) find(ctx context.Context, certificate *x509.Certificate) (string, error) {
	listed, err := n.run(ctx, "certutil", "-L", "-d", n.source())
	if err != nil {
		return "", err
	}
	for _, line := range withKey.FindAllSubmatch(listed, -1) {
		nickname := string(line[1])
		shown, err := n.run(ctx, "certutil", "-L", "-n", nickname, "-a", "-d", n.source())
		if err != nil {
			return "", err
		}
		for block, rest := pem.Decode(shown); block != nil; block, rest = pem.Decode(rest) {
			if bytes.Equal(block.Bytes, certificate.Raw) {
				return nickname, nil
			}
		}
	}
	return "", nil
}
