package commands

import (
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/portcullis-mfa/portcullis/caddymodule/adminapi"
	"github.com/portcullis-mfa/portcullis/enrolment"
	"github.com/portcullis-mfa/portcullis/showable"
)

func fleetCommand() *cobra.Command {
	cmd := group("fleet", "Creates, lists and revokes fleet tokens, which enrol many machines")
	cmd.AddCommand(
		createFleetCommand(),
		command("list", "Lists fleet tokens, and how many devices each has made", exactly(0),
			func(*cobra.Command, []string) call {
				return call{method: http.MethodGet, path: []string{"fleet-tokens"}}
			},
			as(tellFleets)),
		command("revoke NAME", "Revokes a fleet token; the devices that it made stay", exactly(1),
			func(_ *cobra.Command, args []string) call {
				return call{method: http.MethodPost, path: []string{"fleet-tokens", args[0], "revoke"}}
			},
			tellDone("Revoked.")),
	)
	return cmd
}

func createFleetCommand() *cobra.Command {
	var asked adminapi.NewFleetToken
	var from []string
	var expires string
	cmd := command("create NAME", "Creates a fleet token, which enrols many machines as pending devices, and prints it once", exactly(1),
		func(_ *cobra.Command, args []string) call {
			asked.Name = args[0]
			return call{method: http.MethodPost, path: []string{"fleet-tokens"}, body: asked}
		},
		as(func(w io.Writer, t adminapi.EnrolmentToken) error {
			_, err := fmt.Fprintf(w, "Token: %s\n\nIt works until %s. On each machine, run:\n\n  mfa-agent enrol %s --token -\n\nand enter the token. The device opens nothing until its user runs mfa-agent confirm on it, or you assign it.\n",
				t.Token, stamp(t.Expires), t.Portal)
			return err
		}))
	cmd.PreRunE = func(*cobra.Command, []string) (err error) {
		if asked.From, err = parseFrom(from); err != nil {
			return err
		}
		asked.Lifetime, err = parseExpires(expires)
		return err
	}
	flags := cmd.Flags()
	flags.IntVar(&asked.Most, "most", 100, "The most devices that it can make")
	flags.StringVar(&expires, "expires", "30d", "How long it works, at most 366d")
	flags.StringArrayVar(&from, "from", nil, "Network that it works from, such as 192.0.2.0/24; may be given several times (default: all)")
	return cmd
}

func tellFleets(w io.Writer, all []enrolment.Fleet) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "No fleet tokens.")
		return err
	}
	table := newTable(w, "NAME", "DEVICES", "EXPIRES")
	for _, f := range all {
		table.row(showable.Text(f.Name), fmt.Sprintf("%d of %d", f.Used, f.Most), stamp(f.Expires))
	}
	return table.close()
}
