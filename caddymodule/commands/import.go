package commands

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/portcullis-mfa/portcullis/caddymodule/adminapi"
	"github.com/portcullis-mfa/portcullis/importing"
	"github.com/portcullis-mfa/portcullis/showable"
)

// maxImportFile is how many bytes a file of users may have.
const maxImportFile = 64 << 20

func importCommand() *cobra.Command {
	var flags importFlags
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Adds the users of another program, with their passwords", Args: exactly(1), SilenceUsage: true,
		Long: `Adds users from a file: csv (with the columns name, display_name, email, groups
separated by semicolons, password_hash, totp and disabled), json (a list of the same),
htpasswd, authelia (users_database.yml) or caddy-security (users.json). The format is
guessed from the file's name unless --format names it.

Password hashes may be bcrypt, argon2, scrypt, yescrypt, PBKDF2 or SHA-crypt. People keep
their passwords, which are hashed again when they first sign in. Users without a password
need an invitation. Users who have only a password need an access code.

If a line is bad, nobody is added. With --skip-bad, the users on the good lines are. Either
way, the command then exits with 1.`,
		Example: `  caddy mfa user import users.csv
  caddy mfa user import users_database.yml --totp totp.csv
  caddy mfa user import /etc/caddy/users --format htpasswd --skip-bad`,
		RunE: func(cmd *cobra.Command, args []string) error { return flags.run(cmd, args[0]) },
	}
	cmd.Flags().StringVar(&flags.format, "format", "", "Format of the file: "+strings.Join(importing.Formats(), ", "))
	cmd.Flags().StringVar(&flags.apps, "totp", "", "File with authenticator apps, as authelia storage user totp export writes it (csv or uri)")
	cmd.Flags().BoolVar(&flags.skipBad, "skip-bad", false, "Add the other users even if some lines are bad")
	return cmd
}

type importFlags struct {
	format, apps string
	skipBad      bool
}

func (f importFlags) run(cmd *cobra.Command, path string) error {
	users, problems, err := f.read(path)
	if err != nil {
		return err
	}
	imported := adminapi.Imported{WithoutPassword: []string{}, WithoutSecond: []string{}}
	if len(users) > 0 && (len(problems) == 0 || f.skipBad) {
		c := call{method: http.MethodPost, path: []string{"users", "import"}, body: adminapi.Import{Users: users, SkipBad: f.skipBad}}
		answer, err := c.send(cmd)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(answer, &imported); err != nil {
			return fmt.Errorf("reading the server's answer: %w", err)
		}
	}
	imported.Problems = append(problems, imported.Problems...)
	slices.SortStableFunc(imported.Problems, func(a, b importing.Problem) int { return cmp.Compare(a.Line, b.Line) })
	if err := printResult(cmd, imported, tellImported); err != nil {
		return err
	}
	switch bad := len(imported.Problems); {
	case bad > 0 && f.skipBad:
		return fmt.Errorf("%d lines were skipped", bad)
	case bad > 0:
		return fmt.Errorf("nobody was added: correct %d lines, or give --skip-bad", bad)
	}
	return nil
}

// read reads the files.
func (f importFlags) read(path string) ([]importing.User, []importing.Problem, error) {
	content, err := readImport(path)
	if err != nil {
		return nil, nil, err
	}
	format := importing.Format(f.format)
	if format == "" {
		if format = importing.Guess(path, content); format == "" {
			return nil, nil, fmt.Errorf("the format of %s can't be guessed from its name: give --format", path)
		}
	}
	users, problems, err := importing.Parse(format, content)
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if f.apps == "" {
		return users, problems, nil
	}
	if content, err = readImport(f.apps); err != nil {
		return nil, nil, err
	}
	apps, err := importing.ParseApps(content)
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", f.apps, err)
	}
	return users, append(problems, importing.Join(users, apps)...), nil
}

func readImport(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxImportFile+1))
	if err == nil && len(content) > maxImportFile {
		err = errors.New("the file is too large: split it")
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return content, nil
}

func tellImported(w io.Writer, done adminapi.Imported) error {
	var text strings.Builder
	for _, p := range done.Problems {
		if p.Line > 0 {
			fmt.Fprintf(&text, "line %d: ", p.Line)
		}
		fmt.Fprintln(&text, showable.Text(p.Error))
	}
	if done.Added > 0 {
		fmt.Fprintf(&text, "Added %d users.\n", done.Added)
	}
	if n := len(done.WithoutPassword); n > 0 {
		fmt.Fprintf(&text, "%d have no password. Invite each of them: caddy mfa user invite NAME\n", n)
	}
	if n := len(done.WithoutSecond); n > 0 {
		fmt.Fprintf(&text, "%d have a password, but no second factor. Each needs a code for the first sign-in: caddy mfa access-code NAME\n", n)
	}
	_, err := io.WriteString(w, text.String())
	return err
}
