package commands

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/portcullis-mfa/portcullis/caddymodule/adminapi"
)

func sessionCommand() *cobra.Command {
	cmd := group("session", "Lists and ends sessions")
	cmd.AddCommand(listSessionsCommand(), endSessionCommand())
	return cmd
}

func listSessionsCommand() *cobra.Command {
	var user string
	cmd := command("list", "Lists live sessions", exactly(0),
		func(*cobra.Command, []string) call {
			c := call{method: http.MethodGet, path: []string{"sessions"}}
			if user != "" {
				c.query = url.Values{"user": {user}}
			}
			return c
		},
		as(tellSessions))
	cmd.Flags().StringVar(&user, "user", "", "Only this user's sessions")
	return alsoTyped(cmd, "ls", "show")
}

func endSessionCommand() *cobra.Command {
	var user string
	cmd := command("end [ID]", "Ends one session, or all of a user's sessions with --user", nil,
		func(_ *cobra.Command, args []string) call {
			if user != "" {
				return call{method: http.MethodPost, path: []string{"users", user, "end-sessions"}}
			}
			return call{method: http.MethodPost, path: []string{"sessions", args[0], "end"}}
		},
		as(func(w io.Writer, e adminapi.Ended) error {
			_, err := fmt.Fprintf(w, "Ended: %d.\n", e.Ended)
			return err
		}))
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if (len(args) == 1) == (user != "") || len(args) > 1 {
			return errors.New("give one session ID, or --user NAME")
		}
		return nil
	}
	cmd.Flags().StringVar(&user, "user", "", "End all of this user's sessions, and forget all their remembered browsers")
	return alsoTyped(cmd, "delete", "remove", "revoke", "kill", "stop")
}

func tellSessions(w io.Writer, sessions []adminapi.Session) error {
	if len(sessions) == 0 {
		_, err := fmt.Fprintln(w, "No live sessions.")
		return err
	}
	table := newTable(w, "ID", "USER", "STARTED", "LAST SEEN", "FACTORS", "ADDRESS")
	for _, s := range sessions {
		table.row(s.ID, s.User, stamp(s.Started), stamp(s.LastSeen), strings.Join(s.Factors, ","), s.Address)
	}
	return table.close()
}

// tellOwnSessions lists sessions of one user, whose name stands above.
func tellOwnSessions(w io.Writer, sessions []adminapi.Session) error {
	table := newTable(w, "ID", "STARTED", "LAST SEEN", "FACTORS", "ADDRESS")
	for _, s := range sessions {
		table.row(s.ID, stamp(s.Started), stamp(s.LastSeen), strings.Join(s.Factors, ","), s.Address)
	}
	return table.close()
}
