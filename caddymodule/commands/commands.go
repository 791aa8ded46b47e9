package commands

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/portcullis-mfa/portcullis/caddymodule/adminapi"
	"github.com/portcullis-mfa/portcullis/templates"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "mfa",
		Short: "Administers the people, sessions, devices, tokens and keys of Portcullis",
		Usage: "COMMAND",
		Long: `Talks to the running server over Caddy's admin API. The address of the API comes
from --address, or else from the file that --config names, or else from CADDY_ADMIN
in the environment. The default is localhost:2019. On standard error, each command
names the portal of the server that answered. With --json, it prints only the API's
answer. The exit status is 0 if all went well, 2 if the command line is wrong, 3 if
what it names doesn't exist, and 1 for everything else.`,
		CobraFunc: func(cmd *cobra.Command) {
			flags := cmd.PersistentFlags()
			flags.String("address", "", "Address of the admin endpoint (default: CADDY_ADMIN from the environment, or localhost:2019)")
			flags.StringP("config", "c", "", "Configuration file (to find the admin address in, if --address is not given)")
			flags.StringP("adapter", "a", "", "Name of config adapter to apply (if --config is used)")
			flags.Bool("json", false, "Print JSON")
			asGroup(cmd)
			cmd.AddCommand(setupLinkCommand(), accessCodeCommand(), userCommand(), sessionCommand(), deviceCommand(), tokenCommand(), eventsCommand(), notifyCommand(), healthCommand(), backupCommand(), restoreCommand(), keysCommand(), storeCommand(), templatesCommand(), versionCommand(), hashPasswordsCommand())
			withExitCodes(cmd)
		},
	})
}

// command makes a subcommand. What it asks of the server is said by request,
// how the answer is told to a person by tell.
func command(use, short string, args cobra.PositionalArgs, request func(cmd *cobra.Command, args []string) call, tell func(w io.Writer, answer []byte) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: args, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			answer, err := request(cmd, args).send(cmd)
			if err != nil {
				return err
			}
			if asJSON, err := cmd.Flags().GetBool("json"); err != nil || asJSON {
				_, writeErr := cmd.OutOrStdout().Write(answer)
				return errors.Join(err, writeErr)
			}
			return tell(cmd.OutOrStdout(), answer)
		},
	}
}

func setupLinkCommand() *cobra.Command {
	return command("setup-link", "Prints a link for setting up the first administrator's account", exactly(0),
		func(*cobra.Command, []string) call {
			return call{method: http.MethodPost, path: []string{"setup-link"}}
		},
		as(tellLink))
}

func tellLink(w io.Writer, l adminapi.Link) error {
	_, err := fmt.Fprintf(w, "%s\n\nIt works once, until %s. Send it in a way that only the recipient can read.\n", l.Link, stamp(l.Expires))
	return err
}

func accessCodeCommand() *cobra.Command {
	return command("access-code NAME", "Prints a code that lets a user who lost everything set up a new second factor", exactly(1),
		onUserCall("access-code"), as(tellCode))
}

func tellCode(w io.Writer, c adminapi.Code) error {
	_, err := fmt.Fprintf(w, "%s\n\nIt works once, until %s, together with the user's password, and only to set up a new second factor.\n"+
		"Make sure that you're talking to the right person before you hand it over.\n", c.Code, stamp(c.Expires))
	return err
}

func keysCommand() *cobra.Command {
	cmd := group("keys", "Manages the key set")
	cmd.AddCommand(command("rotate", "Makes new keys, and keeps the old ones for reading for as long as something needs them", exactly(0),
		func(*cobra.Command, []string) call {
			return call{method: http.MethodPost, path: []string{"keys", "rotate"}}
		},
		tellDone("New keys have been made. They come into use in five minutes, when every node has read them.")))
	return cmd
}

func templatesCommand() *cobra.Command {
	cmd := group("templates", "Manages the pages")
	cmd.AddCommand(&cobra.Command{
		Use: "export DIRECTORY", Short: "Writes the built-in pages, texts, styles and scripts, for use with the option `templates`",
		Args: exactly(1), SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := templates.Export(args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "Written. Keep the files that you change, delete the others, and name the directory in the Caddyfile: mfa { templates %s }\n", args[0])
			return err
		},
	})
	return cmd
}
