package commands

import (
	"cmp"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/portcullis-mfa/portcullis/caddymodule/adminapi"
	"github.com/portcullis-mfa/portcullis/showable"
)

func notifyCommand() *cobra.Command {
	cmd := group("notify", "Tests whether messages can be sent")
	test := command("test ADDRESS", "Sends a test message and shows what the server answered", exactly(1),
		func(_ *cobra.Command, args []string) call {
			return call{method: http.MethodPost, path: []string{"notify", "test"}, body: adminapi.TestMessage{To: args[0]}}
		},
		as(tellHandedOver))
	test.Long = `Sends a test message to an e-mail address, or to a phone number such as
+491701234567, and shows what the server answered. If the server didn't accept the message, the command says what to do.`
	cmd.AddCommand(test)
	return cmd
}

func tellHandedOver(w io.Writer, handed adminapi.HandedOver) error {
	_, err := fmt.Fprintf(w, "Handed over. The server answered: %s\n"+
		"Only the server knows whether the message arrives. Its ID is %s.\n", cmp.Or(showable.Text(handed.Answer), "accepted"), handed.ID)
	return err
}
