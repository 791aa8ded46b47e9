package commands

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/portcullis-mfa/portcullis/backup"
	"github.com/portcullis-mfa/portcullis/caddymodule/adminapi"
	"github.com/portcullis-mfa/portcullis/showable"
)

func backupCommand() *cobra.Command {
	var to lockFlags
	cmd := &cobra.Command{
		Use: "backup FILE", Short: "Writes an encrypted backup of the running server", Args: exactly(1), SilenceUsage: true,
		Long: `Writes one file with the store, the key set and the CA for devices, if it is one of
Caddy's own. The server keeps running. Only the file's owner can read it. It is
encrypted to a passphrase of at least 15 characters, or to public keys of age
(https://age-encryption.org), which suit scheduled backups: the server then holds nothing
that can decrypt them. The file must not exist yet.

Sessions don't survive a restore: everybody has to sign in again.`,
		Example: `  caddy mfa backup portcullis.backup
  caddy mfa backup /backup/$(date +%F).backup --recipient age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p`,
		RunE: func(cmd *cobra.Command, args []string) error {
			lock, err := to.lock(cmd)
			if err != nil {
				return err
			}
			return makeBackup(cmd, args[0], lock)
		},
	}
	cmd.Flags().StringVar(&to.passphraseFile, "passphrase-file", "", "Read the passphrase from the first line of this file instead of asking for it")
	cmd.Flags().StringArrayVar(&to.recipients, "recipient", nil, "Encrypt to this public key of age instead of a passphrase (repeatable)")
	hold(cmd, excludes("passphrase-file", "recipient"))
	return alsoTyped(cmd, "export", "dump", "save")
}

// makeBackup writes the file under another name and puts it in place when it is whole.
func makeBackup(cmd *cobra.Command, path string, lock backup.Lock) (err error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s exists already, or can't be looked for: name a new file", path)
	}
	// CreateTemp gives it mode 0600.
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part-*")
	if err != nil {
		return fmt.Errorf("making the file: %w", err)
	}
	defer func() {
		if err != nil {
			_ = file.Close()
			_ = os.Remove(file.Name())
		}
	}()
	c := call{method: http.MethodPost, path: []string{"backup"}}
	response, err := c.open(cmd)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	m, err := encryptTo(file, response.Body, lock)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("writing the file: %w", err)
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return fmt.Errorf("putting the file in its place: %w", err)
	}
	if asJSON, err := cmd.Flags().GetBool("json"); err == nil && !asJSON {
		cmd.PrintErrf("Portal: %s\n", showable.Text(m.Portal))
	}
	return printResult(cmd, adminapi.BackedUp{
		File: path, Bytes: info.Size(), Created: m.Created.Format(time.RFC3339), Users: m.Users, Entries: m.Entries,
	}, tellBackedUp)
}

// encryptTo encrypts what the server sends, and makes sure that it is a whole backup.
func encryptTo(file io.Writer, sent io.Reader, lock backup.Lock) (backup.Manifest, error) {
	encrypted, err := lock.Encrypt(file)
	if err != nil {
		return backup.Manifest{}, fmt.Errorf("encrypting: %w", err)
	}
	passing := io.TeeReader(sent, encrypted)
	reader, err := backup.Read(passing)
	if err == nil {
		err = reader.Check()
	}
	if err == nil {
		_, err = io.Copy(io.Discard, passing) // what is after the archive's end
	}
	if err != nil {
		return backup.Manifest{}, fmt.Errorf("receiving the backup (the server's log may say more): %w", err)
	}
	if err := encrypted.Close(); err != nil {
		return backup.Manifest{}, fmt.Errorf("writing the file: %w", err)
	}
	return reader.Manifest, nil
}

func tellBackedUp(w io.Writer, b adminapi.BackedUp) error {
	_, err := fmt.Fprintf(w, "Written: %s (%d users, %s). Keep the passphrase or the identity somewhere else: without it, the backup can't be read.\n",
		showable.Text(b.File), b.Users, byteSize(b.Bytes))
	return err
}

// byteSize writes a number of bytes for people.
func byteSize(n int64) string {
	if n < 1_000_000 {
		return fmt.Sprintf("%d KB", (n+999)/1000)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1_000_000)
}

// printResult prints the result of a command that isn't the answer of the server as it is.
func printResult[T any](cmd *cobra.Command, result T, tell func(io.Writer, T) error) error {
	asJSON, err := cmd.Flags().GetBool("json")
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(result)
	}
	return tell(cmd.OutOrStdout(), result)
}
