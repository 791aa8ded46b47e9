package commands

import (
	"errors"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// The exit codes of the commands, besides 0 (done) and 1 (failed).
const (
	exitUsage    = 2 // the command line makes no sense
	exitNotFound = 3 // what the command line names doesn't exist
)

// notFound is the error of a server that has nothing of a name.
type notFound struct{ error }

func (e notFound) Unwrap() error { return e.error }

// withExitCodes has a command and those below it exit with the codes that the
// reference promises. Cobra and Caddy know only 0 and 1.
func withExitCodes(cmd *cobra.Command) {
	for _, below := range cmd.Commands() {
		withExitCodes(below)
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return exit(cmd, exitUsage, unknownFlag(cmd, err)) })
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			return exit(cmd, exitUsage, check(cmd, args))
		}
	}
	if check := cmd.PreRunE; check != nil || cmd.HasAvailableFlags() {
		cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
			// Cobra would check the flags only after this function.
			err := errors.Join(cmd.ValidateRequiredFlags(), cmd.ValidateFlagGroups())
			if err == nil && check != nil {
				err = check(cmd, args)
			}
			return exit(cmd, exitUsage, err)
		}
	}
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			err := run(cmd, args)
			switch {
			case errors.As(err, new(unknownCommandError)):
				return exit(cmd, exitUsage, err)
			case errors.As(err, new(notFound)):
				return exit(cmd, exitNotFound, err)
			}
			return err
		}
	}
}

// exit tells an error as Cobra does, and returns one that ends the process with
// a code of its own.
func exit(cmd *cobra.Command, code int, err error) error {
	if err == nil {
		return nil
	}
	cmd.PrintErrln(cmd.ErrPrefix(), err.Error())
	cmd.SilenceErrors = true
	return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return code, nil })(cmd, nil)
}
