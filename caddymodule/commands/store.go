package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/portcullis-mfa/portcullis/store/postgres"
	"github.com/portcullis-mfa/portcullis/store/sqlite"
	"github.com/portcullis-mfa/portcullis/store/transfer"
)

func storeCommand() *cobra.Command {
	cmd := group("store", "Manages where users and sessions are kept")
	cmd.AddCommand(storeCopyCommand())
	return cmd
}

func storeCopyCommand() *cobra.Command {
	var from, to string
	cmd := &cobra.Command{
		Use: "copy --from STORE --to STORE", Short: "Copies one store into another, empty one, and checks the copy",
		Long: `Copies one store into another, empty one, and checks the copy. A STORE is the path of
an SQLite file, or the address of a PostgreSQL database (postgres://…). Placeholders
such as {env.PORTCULLIS_DATABASE} keep its password off the command line. Stop the
server first. People stay signed in, and the keys stay as they are.`,
		Args: exactly(0), SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return copyStore(cmd.Context(), from, to, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "The store to copy")
	cmd.Flags().StringVar(&to, "to", "", "The store to copy it to, which is created if it doesn't exist")
	return cmd
}

// copied is a store that can be copied from and to.
type copied interface {
	transfer.Target
	io.Closer
}

func copyStore(ctx context.Context, from, to string, out, progress io.Writer) (err error) {
	if from == "" || to == "" {
		return errors.New("give both --from and --to")
	}
	source, err := openStore(ctx, from, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := openStore(ctx, to, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	counts, err := transfer.Copy(ctx, source, target, func(c transfer.Count) {
		fmt.Fprintf(progress, "%s: %d\n", c.Table, c.Rows)
	})
	if err != nil {
		return err
	}
	for _, c := range counts {
		if _, err := fmt.Fprintf(out, "%s: %d\n", c.Table, c.Rows); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(out, "Copied and checked.")
	return err
}

func openStore(ctx context.Context, where string, mayCreate bool) (copied, error) {
	where, err := caddy.NewReplacer().ReplaceOrErr(where, true, true)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(where, "postgres://") || strings.HasPrefix(where, "postgresql://") {
		open := postgres.OpenExisting
		if mayCreate {
			open = postgres.Open
		}
		return opened(open(ctx, postgres.Settings{URL: where}))
	}
	open := sqlite.OpenExisting
	if mayCreate {
		open = sqlite.Open
	}
	return opened(open(ctx, where))
}

func opened[S copied](s S, err error) (copied, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}
