package commands

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/portcullis-mfa/portcullis/backup"
)

// lockFlags say what a backup is encrypted to.
type lockFlags struct {
	passphraseFile string
	recipients     []string
}

func (f lockFlags) lock(cmd *cobra.Command) (backup.Lock, error) {
	if len(f.recipients) > 0 {
		return backup.RecipientLock(f.recipients)
	}
	passphrase, err := passphrase(cmd, f.passphraseFile, "Passphrase for the backup: ", "Once more: ")
	if err != nil {
		return backup.Lock{}, err
	}
	return backup.PassphraseLock(passphrase)
}

// keyFlags say what a backup is decrypted with.
type keyFlags struct{ passphraseFile, identityFile string }

func (f keyFlags) key(cmd *cobra.Command) (backup.Key, error) {
	if f.identityFile != "" {
		file, err := os.Open(f.identityFile)
		if err != nil {
			return backup.Key{}, fmt.Errorf("opening the identity: %w", err)
		}
		defer file.Close()
		return backup.IdentityKey(file)
	}
	passphrase, err := passphrase(cmd, f.passphraseFile, "Passphrase of the backup: ")
	if err != nil {
		return backup.Key{}, err
	}
	return backup.PassphraseKey(passphrase)
}

// passphrase returns the first line of a file, or else what is typed at each prompt. A
// passphrase on the command line could be seen by everybody on the machine.
func passphrase(cmd *cobra.Command, path string, prompts ...string) (string, error) {
	if path != "" {
		return firstLine(path)
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return "", errors.New("there is no terminal to ask for the passphrase: give --passphrase-file, or a public key or identity of age")
	}
	var first string
	for i, prompt := range prompts {
		cmd.PrintErr(prompt)
		typed, err := term.ReadPassword(int(os.Stdin.Fd()))
		cmd.PrintErrln()
		if err != nil {
			return "", fmt.Errorf("reading the passphrase: %w", err)
		}
		if i == 0 {
			first = string(typed)
		} else if first != string(typed) {
			return "", errors.New("the two passphrases don't match")
		}
	}
	return first, nil
}

func firstLine(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("opening the passphrase file: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Scan()
	if err := lines.Err(); err != nil {
		return "", fmt.Errorf("reading the passphrase file: %w", err)
	}
	return strings.TrimSuffix(lines.Text(), "\r"), nil
}
