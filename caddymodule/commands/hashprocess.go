package commands

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/portcullis-mfa/portcullis/hashprocess"
)

// hashCommand is the name of the command that hashes passwords for a server.
const hashCommand = "hash-passwords"

// runs says that this program's command line is Caddy's, with our commands.
var runs atomic.Bool

func hashPasswordsCommand() *cobra.Command {
	runs.Store(true)
	return &cobra.Command{
		Use: hashCommand, Short: "Hashes passwords for the server, which runs this command itself", Args: exactly(0), Hidden: true, SilenceUsage: true,
		RunE: func(*cobra.Command, []string) error { return hashprocess.Serve(os.Stdin, os.Stdout) },
	}
}

// HashProcess returns a command that hashes passwords: this program's own. A program
// without Caddy's command line, such as a test, has none.
func HashProcess() (*exec.Cmd, error) {
	if !runs.Load() {
		return nil, hashprocess.ErrNotRunning
	}
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	if runtime.GOOS == "linux" {
		program = "/proc/self/exe" // this very version, even after an upgrade
	}
	cmd := exec.Command(program, "mfa", hashCommand)
	cmd.Env = []string{} // secrets may be in ours
	return cmd, nil
}
