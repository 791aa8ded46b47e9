package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/portcullis-mfa/portcullis/backup"
	"github.com/portcullis-mfa/portcullis/caddymodule/adminapi"
	"github.com/portcullis-mfa/portcullis/showable"
)

// Restore puts a backup where a configuration (JSON) keeps things, and removes all
// backup codes if voidCodes is true.
type Restore func(ctx context.Context, config []byte, from *backup.Reader, voidCodes bool) (adminapi.Restored, error)

// putBack is what the command restores with.
var putBack Restore

// SetRestore says what the command restores with. Package caddymodule knows where a
// configuration keeps things, and this package can't import it.
func SetRestore(r Restore) { putBack = r }

func restoreCommand() *cobra.Command {
	var with keyFlags
	var voidCodes bool
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "Restores a backup while the server is stopped", Args: exactly(1), SilenceUsage: true,
		Long: `Puts the store, the key set and the CA for devices where the configuration keeps
them: the file that --config names, or the Caddyfile in this folder. It overwrites
nothing, so it works on a machine that has no store yet. Run it as the user who runs the
server. If root runs it, it switches to the owner of the store's folder.

Sessions, invitations and links end, and tokens are suspended. Whatever was removed,
revoked or reported lost after the backup was made is back: remove, revoke or report it
again. Backup codes that had been used since work again, unless --void-codes removes them
all: people are then given new ones at their next sign-in.

Restore only files that nobody else could have written: anybody can encrypt a file to a
public key.`,
		Example: `  caddy mfa restore portcullis.backup --config /etc/caddy/Caddyfile
  caddy mfa restore 2026-11-30.backup --identity key.txt --void-codes`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return restore(cmd, args[0], with, voidCodes)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&with.passphraseFile, "passphrase-file", "", "Read the passphrase from the first line of this file instead of asking for it")
	flags.StringVar(&with.identityFile, "identity", "", "Decrypt with the identities in this file of age-keygen")
	flags.BoolVar(&voidCodes, "void-codes", false, "Remove all backup codes, since some may have been used after the backup was made")
	hold(cmd, excludes("passphrase-file", "identity"))
	return alsoTyped(cmd, "import", "recover")
}

func restore(cmd *cobra.Command, path string, with keyFlags, voidCodes bool) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening the backup: %w", err)
	}
	defer file.Close()
	config, err := givenConfig(cmd)
	if err != nil {
		return err
	}
	key, err := with.key(cmd)
	if err != nil {
		return err
	}
	plain, err := key.Decrypt(file)
	if err != nil {
		return err
	}
	from, err := backup.Read(plain)
	if err != nil {
		return err
	}
	restored, err := putBack(cmd.Context(), config, from, voidCodes)
	if err != nil {
		return err
	}
	return printResult(cmd, restored, tellRestored)
}

// givenConfig loads the configuration file of --config, or the Caddyfile in the working
// directory.
func givenConfig(cmd *cobra.Command) ([]byte, error) {
	file, err := cmd.Flags().GetString("config")
	if err != nil {
		return nil, err
	}
	adapter, err := cmd.Flags().GetString("adapter")
	if err != nil {
		return nil, err
	}
	config, _, _, err := caddycmd.LoadConfig(file, adapter)
	if err != nil {
		return nil, fmt.Errorf("loading the configuration: %w", err)
	}
	if len(config) == 0 {
		return nil, errors.New("there is no Caddyfile in this folder: name the configuration with --config")
	}
	return config, nil
}

func tellRestored(w io.Writer, r adminapi.Restored) error {
	_, err := fmt.Fprintf(w, `Restored %d users of %s, as of %s, to %s.
Everybody has to sign in again, and tokens are suspended (caddy mfa token resume NAME).
What was removed, revoked or reported lost after the backup was made counts again.
`, r.Users, showable.Text(r.Portal), showable.Text(r.Created), showable.Text(r.Store))
	if err == nil && r.VoidedCodes > 0 {
		_, err = fmt.Fprintf(w, "Removed the backup codes of %d users.\n", r.VoidedCodes)
	}
	return err
}
