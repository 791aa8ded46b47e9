package commands

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/portcullis-mfa/portcullis/accesstoken"
	"github.com/portcullis-mfa/portcullis/caddymodule/adminapi"
	"github.com/portcullis-mfa/portcullis/showable"
)

func tokenCommand() *cobra.Command {
	cmd := group("token", "Creates, lists and revokes service tokens, and revokes app passwords")
	cmd.AddCommand(
		createTokenCommand(),
		command("list", "Lists tokens, including revoked and expired ones", exactly(0),
			func(*cobra.Command, []string) call { return call{method: http.MethodGet, path: []string{"tokens"}} },
			as(tellTokens)),
		ofUser(command("show NAME", "Shows a token and what it is for", exactly(1),
			func(cmd *cobra.Command, args []string) call {
				return onToken(cmd, http.MethodGet, args[0])
			},
			as(tellToken))),
		renewTokenCommand(),
		alsoTyped(revokeTokenCommand(), "delete", "remove", "rm"),
		checkTokenCommand(),
		ofUser(command("resume NAME", "Resumes a token that was suspended because the store was restored from a copy", exactly(1),
			func(cmd *cobra.Command, args []string) call {
				return onToken(cmd, http.MethodPost, args[0], "resume")
			},
			as(tellTokenDone("Resumed")))),
	)
	return cmd
}

// ofUser lets a command take an app password too.
func ofUser(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().String("user", "", "User whose app password NAME is (default: NAME is a service token)")
	return cmd
}

// onToken is a call about a token, for a command that ofUser made.
func onToken(cmd *cobra.Command, method string, path ...string) call {
	c := call{method: method, path: append([]string{"tokens"}, path...)}
	if user := cmd.Flag("user").Value.String(); user != "" {
		c.query = url.Values{"user": {user}}
	}
	return c
}

func tellTokenDone(done string) func(io.Writer, adminapi.Token) error {
	return func(w io.Writer, t adminapi.Token) error {
		of := ""
		if t.User != "" {
			of = " of " + t.User
		}
		_, err := fmt.Fprintf(w, "%s: %s%s.\n", done, showable.Text(t.Name), of)
		return err
	}
}

func createTokenCommand() *cobra.Command {
	var asked adminapi.NewToken
	var from []string
	var expires string
	cmd := command("create NAME", "Creates a service token and prints it once", exactly(1),
		func(_ *cobra.Command, args []string) call {
			asked.Name = args[0]
			return call{method: http.MethodPost, path: []string{"tokens"}, body: asked}
		},
		as(tellMadeToken))
	cmd.Long = `The token lets a program pass gates that say "tokens service", on the hosts and for
the paths, methods and networks given here. The app sees the user name NAME@token.
The token can't be shown again.`
	cmd.PreRunE = func(*cobra.Command, []string) (err error) {
		if asked.Scope.From, err = parseFrom(from); err != nil {
			return err
		}
		asked.Lifetime, err = parseExpires(expires)
		return err
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&asked.Scope.Hosts, "host", nil, "Host that the token works for; may be given several times")
	flags.StringArrayVar(&asked.Scope.Paths, "path", nil, "Path that the token works for, including everything below it; may be given several times (default: all)")
	flags.StringArrayVar(&asked.Scope.Methods, "method", nil, "Method that the token works for, or "+accesstoken.Upgrade+" for WebSockets; may be given several times (default: all)")
	flags.StringArrayVar(&asked.Groups, "group", nil, "Group that the token is in; may be given several times")
	flags.StringArrayVar(&from, "from", nil, "Network that the token works from, such as 192.0.2.0/24; may be given several times (default: all)")
	flags.StringVar(&expires, "expires", "90d", "How long the token works, 366d at most")
	flags.StringVar(&asked.Owner, "owner", "", "User who answers for the token; once they can't sign in any more, it works for 14 more days (default: nobody)")
	hold(cmd, needsOne("host"))
	return cmd
}

func renewTokenCommand() *cobra.Command {
	var asked adminapi.TokenRenewal
	var expires string
	cmd := command("renew NAME", "Gives a token a new secret and prints it once; the old one works for 7 more days", exactly(1),
		func(_ *cobra.Command, args []string) call {
			return call{method: http.MethodPost, path: []string{"tokens", args[0], "renew"}, body: asked}
		},
		as(tellMadeToken))
	cmd.PreRunE = func(*cobra.Command, []string) (err error) {
		asked.Lifetime, err = parseExpires(expires)
		return err
	}
	cmd.Flags().StringVar(&expires, "expires", "90d", "How long the token works from now on, 366d at most")
	cmd.Flags().StringVar(&asked.Owner, "owner", "", "User who answers for the token from now on (default: whoever did before)")
	return cmd
}

// parseFrom returns the networks that a token works from.
func parseFrom(written []string) (networks []netip.Prefix, err error) {
	for _, one := range written {
		network, err := netip.ParsePrefix(one)
		if err != nil {
			return nil, fmt.Errorf("--from %s: write a network such as 192.0.2.0/24", one)
		}
		networks = append(networks, network)
	}
	return networks, nil
}

// parseExpires returns a lifetime in seconds.
func parseExpires(written string) (int64, error) {
	lifetime, err := caddy.ParseDuration(written)
	if err != nil {
		return 0, fmt.Errorf("--expires %s: write a duration such as 90d", written)
	}
	return int64(lifetime / time.Second), nil
}

// onStandardInput stands for a token where the name of one could be.
const onStandardInput = "-"

func revokeTokenCommand() *cobra.Command {
	var held adminapi.HeldToken
	cmd := ofUser(command("revoke NAME|-", "Revokes a token and ends everything in progress with it; with -, the one on standard input", exactly(1),
		func(cmd *cobra.Command, args []string) call {
			if args[0] == onStandardInput {
				return call{method: http.MethodPost, path: []string{"held-token", "revoke"}, body: held}
			}
			return onToken(cmd, http.MethodPost, args[0], "revoke")
		},
		as(tellTokenDone("Revoked"))))
	cmd.PreRunE = func(cmd *cobra.Command, args []string) (err error) {
		if accesstoken.IsOurs(args[0]) {
			return errTokenTyped
		}
		if args[0] == onStandardInput {
			held.Token, err = readToken(cmd)
		}
		return err
	}
	return cmd
}

func checkTokenCommand() *cobra.Command {
	var held adminapi.HeldToken
	cmd := command("check -", "Shows what the token on standard input is for, and whether it works", exactly(1),
		func(*cobra.Command, []string) call {
			return call{method: http.MethodPost, path: []string{"held-token", "check"}, body: held}
		},
		as(tellToken))
	cmd.PreRunE = func(cmd *cobra.Command, args []string) (err error) {
		if args[0] != onStandardInput {
			return errTokenTyped
		}
		held.Token, err = readToken(cmd)
		return err
	}
	return cmd
}

// errTokenTyped says that a token is where other users of the machine can see it.
var errTokenTyped = errors.New("write -, and pass the token on standard input: other users of this machine can see what a command line holds")

// readToken reads a token from standard input.
func readToken(cmd *cobra.Command) (string, error) {
	const longest = 1024
	read, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), longest))
	if err != nil {
		return "", fmt.Errorf("reading the token from standard input: %w", err)
	}
	return strings.TrimSpace(string(read)), nil
}

func tellMadeToken(w io.Writer, made adminapi.MadeToken) error {
	_, err := fmt.Fprintf(w, "%s\n", made.Token)
	return err
}

func tellTokens(w io.Writer, all []adminapi.Token) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "No tokens.")
		return err
	}
	table := newTable(w, "NAME", "USER", "STATUS", "HOSTS", "GROUPS", "EXPIRES")
	for _, t := range all {
		table.row(t.Name, t.User, inWords(t.Status), strings.Join(t.Scope.Hosts, ", "), strings.Join(t.Groups, ", "), stamp(t.Expires))
	}
	return table.close()
}

func tellToken(w io.Writer, t adminapi.Token) error {
	table := newTable(w)
	lastUsed := "never"
	if !t.LastUsed.IsZero() {
		lastUsed = stamp(t.LastUsed)
	}
	networks := make([]string, len(t.Scope.From))
	for i, network := range t.Scope.From {
		networks[i] = network.String()
	}
	for _, line := range [][2]string{
		{"Name", t.Name}, {"User", t.User}, {"Owner", t.Owner}, {"Status", inWords(t.Status)}, {"Hosts", strings.Join(t.Scope.Hosts, ", ")}, {"Paths", strings.Join(t.Scope.Paths, ", ")},
		{"Methods", strings.Join(t.Scope.Methods, ", ")}, {"From", strings.Join(networks, ", ")}, {"Groups", strings.Join(t.Groups, ", ")},
		{"Created", stamp(t.Created)}, {"Expires", stamp(t.Expires)}, {"Last used", lastUsed},
	} {
		if line[1] != "" {
			table.row(line[0]+":", line[1])
		}
	}
	return table.close()
}
