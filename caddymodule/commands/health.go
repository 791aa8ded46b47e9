package commands

import (
	"fmt"
	"io"
	"net/http"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/portcullis-mfa/portcullis/caddymodule/adminapi"
)

func healthCommand() *cobra.Command {
	cmd := command("health", "Checks whether the server can do its work", exactly(0),
		func(*cobra.Command, []string) call { return call{method: http.MethodGet, path: []string{"health"}} },
		as(tellHealth))
	cmd.Long = `Checks the store, the clock, the feed of changes, the keys and the outbox of the running
server.
The exit status is 0 if all is well, so this can be the health check of a container.`
	return alsoTyped(cmd, "status", "check", "ping")
}

func tellHealth(w io.Writer, h adminapi.Health) error {
	for _, c := range h.Checks {
		if _, err := fmt.Fprintf(w, "%s: ok\n", c.Name); err != nil {
			return err
		}
	}
	return nil
}

// module is the path of the Go module whose version is told.
const module = "github.com/portcullis-mfa/portcullis"

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Prints the version of Portcullis in this program", Args: exactly(0), SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), Version())
			return err
		},
	}
}

// Version returns the version that this program was built from: that of a
// dependency if Caddy was built with the module, and else the program's own.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, dependency := range info.Deps {
		if dependency.Path == module {
			return dependency.Version
		}
	}
	return info.Main.Version
}
