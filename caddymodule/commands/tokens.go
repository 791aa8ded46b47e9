package commands

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/portcullis-mfa/portcullis/accesstoken"
	"github.com/portcullis-mfa/portcullis/caddymodule/adminapi"
)

func tokenCommand() *cobra.Command {
	cmd := group("token", "Creates, lists and revokes service tokens")
	on := func(use, short, operation string, done string) *cobra.Command {
		return command(use, short, exactly(1),
			func(_ *cobra.Command, args []string) call {
				return call{method: http.MethodPost, path: []string{"tokens", args[0], operation}}
			},
			as(func(w io.Writer, t adminapi.Token) error {
				_, err := fmt.Fprintf(w, "%s: %s.\n", done, t.Name)
				return err
			}))
	}
	cmd.AddCommand(
		createTokenCommand(),
		command("list", "Lists tokens, including revoked and expired ones", exactly(0),
			func(*cobra.Command, []string) call { return call{method: http.MethodGet, path: []string{"tokens"}} },
			as(tellTokens)),
		command("show NAME", "Shows a token and what it is for", exactly(1),
			func(_ *cobra.Command, args []string) call {
				return call{method: http.MethodGet, path: []string{"tokens", args[0]}}
			},
			as(tellToken)),
		alsoTyped(on("revoke NAME", "Revokes a token and ends everything in progress with it", "revoke", "Revoked"), "delete", "remove", "rm"),
		on("resume NAME", "Resumes a token that was suspended because the store was restored from a copy", "resume", "Resumed"),
	)
	return cmd
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
	cmd.PreRunE = func(*cobra.Command, []string) error {
		for _, written := range from {
			network, err := netip.ParsePrefix(written)
			if err != nil {
				return fmt.Errorf("--from %s: write a network such as 192.0.2.0/24", written)
			}
			asked.Scope.From = append(asked.Scope.From, network)
		}
		lifetime, err := caddy.ParseDuration(expires)
		if err != nil {
			return fmt.Errorf("--expires %s: write a duration such as 90d", expires)
		}
		asked.Lifetime = int64(lifetime / time.Second)
		return nil
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&asked.Scope.Hosts, "host", nil, "Host that the token works for; may be given several times")
	flags.StringArrayVar(&asked.Scope.Paths, "path", nil, "Path that the token works for, including everything below it; may be given several times (default: all)")
	flags.StringArrayVar(&asked.Scope.Methods, "method", nil, "Method that the token works for, or "+accesstoken.Upgrade+" for WebSockets; may be given several times (default: all)")
	flags.StringArrayVar(&asked.Groups, "group", nil, "Group that the token is in; may be given several times")
	flags.StringArrayVar(&from, "from", nil, "Network that the token works from, such as 192.0.2.0/24; may be given several times (default: all)")
	flags.StringVar(&expires, "expires", "90d", "How long the token works, 366d at most")
	hold(cmd, needsOne("host"))
	return cmd
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
	table := newTable(w, "NAME", "STATUS", "HOSTS", "GROUPS", "EXPIRES")
	for _, t := range all {
		table.row(t.Name, inWords(t.Status), strings.Join(t.Scope.Hosts, ", "), strings.Join(t.Groups, ", "), stamp(t.Expires))
	}
	return table.close()
}

func tellToken(w io.Writer, t adminapi.Token) error {
	table := newTable(w)
	networks := make([]string, len(t.Scope.From))
	for i, network := range t.Scope.From {
		networks[i] = network.String()
	}
	for _, line := range [][2]string{
		{"Name", t.Name}, {"Status", inWords(t.Status)}, {"Hosts", strings.Join(t.Scope.Hosts, ", ")}, {"Paths", strings.Join(t.Scope.Paths, ", ")},
		{"Methods", strings.Join(t.Scope.Methods, ", ")}, {"From", strings.Join(networks, ", ")}, {"Groups", strings.Join(t.Groups, ", ")},
		{"Created", stamp(t.Created)}, {"Expires", stamp(t.Expires)},
	} {
		if line[1] != "" {
			table.row(line[0]+":", line[1])
		}
	}
	return table.close()
}
