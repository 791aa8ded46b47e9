package commands

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/portcullis-mfa/portcullis/caddymodule/adminapi"
)

func userCommand() *cobra.Command {
	cmd := group("user", "Adds, lists and changes users")
	cmd.AddCommand(
		addUserCommand(),
		importCommand(),
		setUserCommand(),
		alsoTyped(command("list", "Lists all users", exactly(0),
			func(*cobra.Command, []string) call { return call{method: http.MethodGet, path: []string{"users"}} },
			as(tellUsers)), "ls"),
		alsoTyped(command("show NAME", "Shows a user with their factors, sessions and remembered browsers", exactly(1),
			func(_ *cobra.Command, args []string) call {
				return call{method: http.MethodGet, path: []string{"users", args[0]}}
			},
			as(tellUser)), "get", "info"),
		inviteCommand(),
		alsoTyped(command("disable NAME", "Locks a user out and ends all their sessions", exactly(1),
			onUserCall("disable"), as(tellDisabled)), "block", "suspend", "lock"),
		command("enable NAME", "Lets a disabled user in again", exactly(1),
			onUserCall("enable"), tellDone("Enabled.")),
		command("unlock NAME", "Forgets a user's failed attempts", exactly(1),
			onUserCall("unlock"), as(tellUnlocked)),
		resetFactorsCommand(),
		command("forget-browser NAME ID", "Forgets a user's remembered browser, which then needs the second factor again", exactly(2),
			func(_ *cobra.Command, args []string) call {
				return call{method: http.MethodPost, path: []string{"users", args[0], "browsers", args[1], "forget"}}
			},
			tellDone("Forgotten. The browser will be asked for the second factor again.")),
		alsoTyped(command("delete NAME", "Deletes a user and everything that belongs to them, and prints what was deleted", exactly(1),
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

func inviteCommand() *cobra.Command {
	var in adminapi.NewInvitation
	cmd := command("invite NAME", "Prints or sends a new invitation link for a user who hasn't set up their account yet", exactly(1),
		func(_ *cobra.Command, args []string) call {
			return call{method: http.MethodPost, path: []string{"users", args[0], "invite"}, body: in}
		},
		as(tellInvited))
	cmd.Flags().BoolVar(&in.Send, "send", false, "Send the link to the user's e-mail address, and don't print it")
	return cmd
}

func tellInvited(w io.Writer, i adminapi.Invited) error {
	if i.SentTo == "" {
		return tellLink(w, adminapi.Link{Link: i.Link, Expires: i.Expires})
	}
	_, err := fmt.Fprintf(w, "An invitation is on its way to %s. It works once, until %s.\n", i.SentTo, stamp(i.Expires))
	return err
}

func addUserCommand() *cobra.Command {
	var in adminapi.NewUser
	cmd := command("add NAME", "Adds a user and prints or sends an invitation link", exactly(1),
		func(_ *cobra.Command, args []string) call {
			in.Name = args[0]
			return call{method: http.MethodPost, path: []string{"users"}, body: in}
		},
		as(tellInvited))
	cmd.Flags().StringVar(&in.Email, "email", "", "E-mail address; also accepted for signing in")
	cmd.Flags().StringVar(&in.DisplayName, "name", "", "Name to show")
	cmd.Flags().StringArrayVar(&in.Groups, "group", nil, "Group; may be given several times")
	cmd.Flags().BoolVar(&in.Send, "send", false, "Send the invitation link to the user's e-mail address, and don't print it")
	return alsoTyped(cmd, "create", "new")
}

func setUserCommand() *cobra.Command {
	var in adminapi.NewUser
	var noGroups bool
	cmd := command("set NAME", "Changes a user; anything without a flag stays as it is", exactly(1),
		func(cmd *cobra.Command, args []string) call {
			return call{method: http.MethodPatch, path: []string{"users", args[0]}, body: changesTo(&in, cmd.Flags().Changed, noGroups)}
		},
		as(tellSet))
	flags := cmd.Flags()
	flags.StringVar(&in.Name, "rename", "", "New sign-in name")
	flags.StringVar(&in.DisplayName, "name", "", "Name to show; an empty one removes it")
	flags.StringVar(&in.Email, "email", "", "E-mail address; an empty one removes it")
	flags.StringArrayVar(&in.Groups, "group", nil, "Group, replacing all groups that the user was in; may be given several times")
	flags.BoolVar(&noGroups, "no-groups", false, "Remove the user from all groups")
	hold(cmd, needsOne("rename", "name", "email", "group", "no-groups"), excludes("no-groups", "group"))
	return alsoTyped(cmd, "update", "change", "edit", "modify", "rename")
}

// changes are what the flags that were given ask for.
func changesTo(u *adminapi.NewUser, given func(flag string) bool, noGroups bool) adminapi.Changes {
	var c adminapi.Changes
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
	var in adminapi.Reset
	cmd := command("reset-factors NAME", "Removes all second factors of a user, ends their sessions, and prints an access code", exactly(1),
		func(_ *cobra.Command, args []string) call {
			return call{method: http.MethodPost, path: []string{"users", args[0], "reset-factors"}, body: in}
		},
		as(tellReset))
	cmd.Flags().BoolVar(&in.Password, "password", false, "Remove the password too, and print an invitation link")
	return alsoTyped(cmd, "reset")
}

func tellReset(w io.Writer, done adminapi.ResetDone) error {
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
	_, disabledErr := fmt.Fprintln(w, "The user is disabled. Once enabled again, they need `caddy mfa access-code`, or an invitation if the password was removed.")
	return errors.Join(err, disabledErr)
}

func tellSet(w io.Writer, done adminapi.Done) error {
	return errors.Join(tellUser(w, *done.User), warn(w, done))
}

func tellDisabled(w io.Writer, done adminapi.Done) error {
	_, err := fmt.Fprintln(w, "Disabled. All sessions of the user have ended.")
	return errors.Join(err, warn(w, done))
}

func tellDeleted(w io.Writer, done adminapi.Done) error {
	_, err := fmt.Fprintf(w, "Deleted, with all sessions and everything that was set up:\n\n")
	return errors.Join(err, tellUser(w, *done.User), warn(w, done))
}

func warn(w io.Writer, d adminapi.Done) error {
	if d.Warning == "" {
		return nil
	}
	_, err := fmt.Fprintf(w, "\nWarning: %s.\n", d.Warning)
	return err
}

func tellUsers(w io.Writer, users []adminapi.User) error {
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

func tellUser(w io.Writer, u adminapi.User) error {
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
	if !u.PausedUntil.IsZero() {
		_, pausedErr := fmt.Fprintf(w, "\nUntil %s, unknown browsers accept no codes from this user except backup codes: %s\n"+
			"Run `caddy mfa user unlock %s` to let them try again.\n", stamp(u.PausedUntil), wrongCodes, u.Name)
		err = errors.Join(err, pausedErr)
	}
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

// wrongCodes says what a pause means.
const wrongCodes = "somebody who knows the password has entered many wrong ones. Have the user change it."

func tellUnlocked(w io.Writer, done adminapi.Unlocked) error {
	if !done.WasPaused {
		_, err := fmt.Fprintln(w, "Unlocked.")
		return err
	}
	_, err := fmt.Fprintln(w, "Unlocked. Unknown browsers accepted no codes from this user except backup codes: "+wrongCodes)
	return err
}

func tellBrowsers(w io.Writer, browsers []adminapi.Browser) error {
	table := newTable(w, "ID", "UNTIL", "LAST SEEN", "IN PLACE OF", "BROWSER")
	for _, b := range browsers {
		table.row(b.ID, stamp(b.Until), stamp(b.LastSeen), b.Factor, b.UserAgent)
	}
	return table.close()
}
