package caddymodule

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/portcullis-mfa/portcullis/showable"
	"github.com/portcullis-mfa/portcullis/templates"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "mfa",
		Short: "Administers the people, sign-ons, devices and keys of Portcullis",
		Long: `Talks to the running server over Caddy's admin API: at --address, else at the
address in the file that --config names, else at CADDY_ADMIN from the environment,
else at localhost:2019. Each command says on standard error which portal the server
that answered runs. With --json, it prints what the API answered, and only that.`,
		CobraFunc: func(cmd *cobra.Command) {
			flags := cmd.PersistentFlags()
			flags.String("address", "", "Address of the admin endpoint (default: CADDY_ADMIN from the environment, or localhost:2019)")
			flags.StringP("config", "c", "", "Configuration file (to find the admin address in, if --address is not given)")
			flags.StringP("adapter", "a", "", "Name of config adapter to apply (if --config is used)")
			flags.Bool("json", false, "Print JSON")
			asGroup(cmd)
			cmd.AddCommand(setupLinkCommand(), accessCodeCommand(), userCommand(), sessionCommand(), deviceCommand(), keysCommand(), templatesCommand())
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
	return command("setup-link", "Prints a link by which the first administrator sets up", exactly(0),
		func(*cobra.Command, []string) call {
			return call{method: http.MethodPost, path: []string{"setup-link"}}
		},
		as(tellLink))
}

func tellLink(w io.Writer, l linkJSON) error {
	_, err := fmt.Fprintf(w, "%s\n\nIt works once, until %s. Hand it over in a way that only its receiver can read.\n", l.Link, stamp(l.Expires))
	return err
}

func accessCodeCommand() *cobra.Command {
	return command("access-code NAME", "Prints a code by which a user who lost everything sets up a new second factor", exactly(1),
		onUserCall("access-code"), as(tellCode))
}

func tellCode(w io.Writer, c codeJSON) error {
	_, err := fmt.Fprintf(w, "%s\n\nIt works once, until %s, beside the user's password, and only to set up a new second factor.\n"+
		"Make sure that you speak to the right person before you hand it over.\n", c.Code, stamp(c.Expires))
	return err
}

func userCommand() *cobra.Command {
	cmd := group("user", "Adds, lists and changes users")
	cmd.AddCommand(
		addUserCommand(),
		setUserCommand(),
		alsoTyped(command("list", "Lists all users", exactly(0),
			func(*cobra.Command, []string) call { return call{method: http.MethodGet, path: []string{"users"}} },
			as(tellUsers)), "ls"),
		alsoTyped(command("show NAME", "Shows a user with factors, sessions and remembered browsers", exactly(1),
			func(_ *cobra.Command, args []string) call {
				return call{method: http.MethodGet, path: []string{"users", args[0]}}
			},
			as(tellUser)), "get", "info"),
		command("invite NAME", "Prints a new invitation link for a user who hasn't set up yet", exactly(1),
			onUserCall("invite"), as(tellLink)),
		alsoTyped(command("disable NAME", "Bars a user and ends all their sessions", exactly(1),
			onUserCall("disable"), as(tellDisabled)), "block", "suspend", "lock"),
		command("enable NAME", "Lets a disabled user in again", exactly(1),
			onUserCall("enable"), tellDone("Enabled.")),
		command("unlock NAME", "Forgets a user's failed attempts", exactly(1),
			onUserCall("unlock"), tellDone("Unlocked.")),
		resetFactorsCommand(),
		command("forget-browser NAME ID", "Has a remembered browser of a user asked for the second factor again", exactly(2),
			func(_ *cobra.Command, args []string) call {
				return call{method: http.MethodPost, path: []string{"users", args[0], "browsers", args[1], "forget"}}
			},
			tellDone("Forgotten. The browser is asked for the second factor again.")),
		alsoTyped(command("delete NAME", "Deletes a user with everything of theirs, and says what that was", exactly(1),
			func(_ *cobra.Command, args []string) call {
				return call{method: http.MethodDelete, path: []string{"users", args[0]}}
			},
			as(tellDeleted)), "remove", "rm"),
	)
	return cmd
}

func onUserCall(what string) func(*cobra.Command, []string) call {
	return func(_ *cobra.Command, args []string) call {
		return call{method: http.MethodPost, path: []string{"users", args[0], what}}
	}
}

func tellDone(text string) func(io.Writer, []byte) error {
	return func(w io.Writer, _ []byte) error {
		_, err := fmt.Fprintln(w, text)
		return err
	}
}

func addUserCommand() *cobra.Command {
	var in newUserJSON
	cmd := command("add NAME", "Adds a user and prints an invitation link", exactly(1),
		func(_ *cobra.Command, args []string) call {
			in.Name = args[0]
			return call{method: http.MethodPost, path: []string{"users"}, body: in}
		},
		as(tellLink))
	cmd.Flags().StringVar(&in.Email, "email", "", "E-mail address; also accepted for signing in")
	cmd.Flags().StringVar(&in.DisplayName, "name", "", "Name to show")
	cmd.Flags().StringArrayVar(&in.Groups, "group", nil, "Group; may be given several times")
	return alsoTyped(cmd, "create", "new")
}

func setUserCommand() *cobra.Command {
	var in newUserJSON
	var noGroups bool
	cmd := command("set NAME", "Changes a user; what no flag names stays", exactly(1),
		func(cmd *cobra.Command, args []string) call {
			return call{method: http.MethodPatch, path: []string{"users", args[0]}, body: in.changes(cmd.Flags().Changed, noGroups)}
		},
		as(tellSet))
	flags := cmd.Flags()
	flags.StringVar(&in.Name, "rename", "", "New sign-in name")
	flags.StringVar(&in.DisplayName, "name", "", "Name to show; an empty one removes it")
	flags.StringVar(&in.Email, "email", "", "E-mail address; an empty one removes it")
	flags.StringArrayVar(&in.Groups, "group", nil, "Group, in place of all groups before; may be given several times")
	flags.BoolVar(&noGroups, "no-groups", false, "Remove the user from all groups")
	cmd.MarkFlagsOneRequired("rename", "name", "email", "group", "no-groups")
	cmd.MarkFlagsMutuallyExclusive("group", "no-groups")
	return alsoTyped(cmd, "update", "change", "edit", "modify", "rename")
}

// changes are what the flags that were given ask for.
func (u *newUserJSON) changes(given func(flag string) bool, noGroups bool) changesJSON {
	var c changesJSON
	if given("rename") {
		c.Name = &u.Name
	}
	if given("name") {
		c.DisplayName = &u.DisplayName
	}
	if given("email") {
		c.Email = &u.Email
	}
	if given("group") {
		c.Groups = &u.Groups
	}
	if noGroups {
		c.Groups = new([]string{})
	}
	return c
}

func resetFactorsCommand() *cobra.Command {
	var in resetJSON
	cmd := command("reset-factors NAME", "Removes all second factors of a user, ends their sessions, and prints an access code", exactly(1),
		func(_ *cobra.Command, args []string) call {
			return call{method: http.MethodPost, path: []string{"users", args[0], "reset-factors"}, body: in}
		},
		as(tellReset))
	cmd.Flags().BoolVar(&in.Password, "password", false, "Remove the password too, and print an invitation link")
	return alsoTyped(cmd, "reset")
}

func tellReset(w io.Writer, done resetDoneJSON) error {
	removed := "nothing"
	if len(done.Factors) > 0 {
		removed = strings.Join(done.Factors, ", ")
	}
	_, err := fmt.Fprintf(w, "Removed: %s. Sessions ended: %d.\n\n", removed, done.Ended)
	switch {
	case done.Link != nil:
		return errors.Join(err, tellLink(w, *done.Link))
	case done.Code != nil:
		return errors.Join(err, tellCode(w, *done.Code))
	}
	_, disabledErr := fmt.Fprintln(w, "The user is disabled. Once enabled again, they need `caddy mfa access-code`, or an invitation where the password was removed.")
	return errors.Join(err, disabledErr)
}

func tellSet(w io.Writer, done doneJSON) error {
	return errors.Join(tellUser(w, *done.User), done.warn(w))
}

func tellDisabled(w io.Writer, done doneJSON) error {
	_, err := fmt.Fprintln(w, "Disabled. All sessions of the user have ended.")
	return errors.Join(err, done.warn(w))
}

func tellDeleted(w io.Writer, done doneJSON) error {
	_, err := fmt.Fprintf(w, "Deleted, with all sessions and everything that was set up:\n\n")
	return errors.Join(err, tellUser(w, *done.User), done.warn(w))
}

func (d doneJSON) warn(w io.Writer) error {
	if d.Warning == "" {
		return nil
	}
	_, err := fmt.Fprintf(w, "\nWarning: %s.\n", d.Warning)
	return err
}

func tellUsers(w io.Writer, users []userJSON) error {
	if len(users) == 0 {
		_, err := fmt.Fprintln(w, "No users yet. Run `caddy mfa setup-link` for the first administrator.")
		return err
	}
	table := newTable(w, "NAME", "STATUS", "GROUPS", "E-MAIL", "DISPLAY NAME")
	for _, u := range users {
		table.row(u.Name, u.Status, strings.Join(u.Groups, ","), u.Email, u.DisplayName)
	}
	return table.close()
}

func tellUser(w io.Writer, u userJSON) error {
	table := newTable(w)
	for _, line := range [][2]string{
		{"Name", u.Name}, {"Display name", u.DisplayName}, {"E-mail", u.Email},
		{"Groups", strings.Join(u.Groups, ", ")}, {"Status", u.Status}, {"Created", stamp(u.Created)},
		{"Set up", strings.Join(u.Factors, ", ")},
	} {
		if line[1] != "" {
			table.row(line[0]+":", line[1])
		}
	}
	err := table.close()
	if len(u.Sessions) > 0 {
		_, headErr := fmt.Fprintln(w, "\nSessions:")
		err = errors.Join(err, headErr, tellOwnSessions(w, u.Sessions))
	}
	if len(u.Browsers) > 0 {
		_, headErr := fmt.Fprintln(w, "\nBrowsers that skip the second factor:")
		err = errors.Join(err, headErr, tellBrowsers(w, u.Browsers))
	}
	return err
}

func tellBrowsers(w io.Writer, browsers []browserJSON) error {
	table := newTable(w, "ID", "UNTIL", "LAST SEEN", "IN PLACE OF", "BROWSER")
	for _, b := range browsers {
		table.row(b.ID, stamp(b.Until), stamp(b.LastSeen), b.Factor, b.UserAgent)
	}
	return table.close()
}

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
	cmd.Flags().StringVar(&user, "user", "", "Only this user's")
	return alsoTyped(cmd, "ls", "show")
}

func endSessionCommand() *cobra.Command {
	var user string
	cmd := command("end [ID]", "Ends one session by its id, or with --user all of a user's", nil,
		func(_ *cobra.Command, args []string) call {
			if user != "" {
				return call{method: http.MethodPost, path: []string{"users", user, "end-sessions"}}
			}
			return call{method: http.MethodPost, path: []string{"sessions", args[0], "end"}}
		},
		as(func(w io.Writer, e endedJSON) error {
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

func keysCommand() *cobra.Command {
	cmd := group("keys", "Looks after the key set")
	cmd.AddCommand(command("rotate", "Makes new keys; the old ones are read for as long as something needs them", exactly(0),
		func(*cobra.Command, []string) call {
			return call{method: http.MethodPost, path: []string{"keys", "rotate"}}
		},
		tellDone("New keys are made. In five minutes, when every node has read them, they come into use.")))
	return cmd
}

func templatesCommand() *cobra.Command {
	cmd := group("templates", "Looks after the pages")
	cmd.AddCommand(&cobra.Command{
		Use: "export DIRECTORY", Short: "Writes the built-in pages, texts, styles and scripts, to be changed and named by `templates`",
		Args: exactly(1), SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := templates.Export(args[0]); err != nil {
				return fmt.Errorf("writing the templates: %w", err)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "Written. Keep the files that you change, delete the others, and name the directory in the Caddyfile: mfa { templates %s }\n", args[0])
			return err
		},
	})
	return cmd
}

func tellSessions(w io.Writer, sessions []sessionJSON) error {
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
func tellOwnSessions(w io.Writer, sessions []sessionJSON) error {
	table := newTable(w, "ID", "STARTED", "LAST SEEN", "FACTORS", "ADDRESS")
	for _, s := range sessions {
		table.row(s.ID, stamp(s.Started), stamp(s.LastSeen), strings.Join(s.Factors, ","), s.Address)
	}
	return table.close()
}

// stamp writes a time as all pages do, with its zone.
func stamp(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 MST") }

// table writes aligned columns. What a stranger could have typed is kept from
// steering the terminal.
type table struct {
	out *tabwriter.Writer
	err error
}

func newTable(w io.Writer, head ...string) *table {
	t := &table{out: tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)}
	if len(head) > 0 {
		t.row(head...)
	}
	return t
}

func (t *table) row(cells ...string) {
	for i, cell := range cells {
		cells[i] = showable.Text(cell)
	}
	if _, err := fmt.Fprintln(t.out, strings.Join(cells, "\t")); err != nil && t.err == nil {
		t.err = err
	}
}

func (t *table) close() error { return errors.Join(t.err, t.out.Flush()) }
