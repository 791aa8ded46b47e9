// Package browser installs certificates where programs look for them: as files, and in
// the databases of Chromium and Firefox on Linux (NSS).
package browser

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Files is a folder with a key and a certificate for programs such as curl: key.pem
// and certificate.pem, which has the chain.
type Files string

const (
	keyFile         = "key.pem"
	certificateFile = "certificate.pem"
)

// Name tells the folder from other stores.
func (f Files) Name() string { return string(f) }

// Install writes both files. The certificate comes last: a program that reads between
// the two finds a pair that doesn't fit, and tries again.
func (f Files) Install(_ context.Context, key crypto.Signer, chain []*x509.Certificate) error {
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := f.write(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		return err
	}
	return f.write(certificateFile, encode(chain))
}

func encode(chain []*x509.Certificate) []byte {
	var content []byte
	for _, certificate := range chain {
		content = append(content, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})...)
	}
	return content
}

func (f Files) write(name string, content []byte) error {
	path := filepath.Join(string(f), name)
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Remove deletes the files if they belong to the certificate.
func (f Files) Remove(_ context.Context, chain []*x509.Certificate) error {
	content, err := os.ReadFile(filepath.Join(string(f), certificateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if block, _ := pem.Decode(content); block == nil || !bytes.Equal(block.Bytes, chain[0].Raw) {
		return nil // a newer one has taken their place
	}
	for _, name := range []string{certificateFile, keyFile} {
		if err := os.Remove(filepath.Join(string(f), name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("deleting %s: %w", name, err)
		}
	}
	return nil
}
