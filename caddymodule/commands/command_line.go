package commands

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// group makes a command that only holds others.
func group(name, short string) *cobra.Command {
	cmd := &cobra.Command{Use: name, Short: short}
	asGroup(cmd)
	return cmd
}

// asGroup has a command that only holds others show them, and refuse a name
// that is none of theirs: cobra would show the same page for a mistyped name and
// call that a success.
func asGroup(cmd *cobra.Command) {
	showHelp := cmd.HelpFunc()
	cmd.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if unknown := cmd.Flags().Args(); cmd.HasSubCommands() && len(unknown) > 0 {
			// Cobra takes no error from here, and would exit with 0.
			cmd.PrintErrln(cmd.ErrPrefix(), unknownCommand(cmd, unknown[0]))
			os.Exit(exitUsage)
		}
		showHelp(cmd, args)
	})
	cmd.SilenceUsage = true
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return unknownCommand(cmd, args[0])
	}
}

// typos is how many letters may differ between what was typed and a command
// that is suggested.
const typos = 2

// unknownCommandError says that there is no command of a name.
type unknownCommandError struct{ error }

func unknownCommand(cmd *cobra.Command, typed string) error {
	cmd.SuggestionsMinimumDistance = typos
	hint := fmt.Sprintf("%s --help lists them", cmd.CommandPath())
	if meant := cmd.SuggestionsFor(typed); len(meant) > 0 {
		slices.Sort(meant)
		meant = slices.Compact(meant) // a name can be near, and suggested for the word
		hint = "did you mean " + strings.Join(meant, " or ") + "?"
	}
	return unknownCommandError{fmt.Errorf("unknown command %q for %q: %s", typed, cmd.CommandPath(), hint)}
}

// alsoTyped names words that people type for a command, which is suggested then.
func alsoTyped(cmd *cobra.Command, words ...string) *cobra.Command {
	cmd.SuggestFor = words
	return cmd
}

// exactly takes as many arguments as the command's usage names.
func exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		return wrongArguments(cmd, args)
	}
}

// atMost takes that many arguments or fewer.
func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) <= n {
			return nil
		}
		return wrongArguments(cmd, args)
	}
}

func wrongArguments(cmd *cobra.Command, args []string) error {
	given := "nothing was given"
	if len(args) > 0 {
		given = fmt.Sprintf("%q was given", strings.Join(args, " "))
	}
	usage := cmd.CommandPath()
	if _, arguments, takes := strings.Cut(cmd.Use, " "); takes {
		usage += " " + arguments
	}
	return fmt.Errorf("write %s: %s", usage, given)
}

// A flagRule says what is wrong with the flags that were given.
type flagRule func(given func(flag string) bool) error

// needsOne wants at least one of some flags.
func needsOne(flags ...string) flagRule {
	return func(given func(string) bool) error {
		if slices.ContainsFunc(flags, given) {
			return nil
		}
		last := len(flags) - 1
		list := "--" + flags[last]
		if last > 0 {
			list = "--" + strings.Join(flags[:last], ", --") + " or " + list
		}
		return fmt.Errorf("give %s", list)
	}
}

// excludes wants none of the others beside a flag.
func excludes(flag string, others ...string) flagRule {
	return func(given func(string) bool) error {
		if !given(flag) {
			return nil
		}
		if i := slices.IndexFunc(others, given); i >= 0 {
			return fmt.Errorf("--%s and --%s can't be given together", flag, others[i])
		}
		return nil
	}
}

// hold has a command check rules before it runs. Cobra's own rules speak of
// groups of flags.
func hold(cmd *cobra.Command, rules ...flagRule) {
	next := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		for _, rule := range rules {
			if err := rule(cmd.Flags().Changed); err != nil {
				return fmt.Errorf("%w: see %s --help", err, cmd.CommandPath())
			}
		}
		if next == nil {
			return nil
		}
		return next(cmd, args)
	}
}

// unknownFlag adds where to find the flags that there are.
func unknownFlag(cmd *cobra.Command, err error) error {
	return fmt.Errorf("%w: see %s --help", err, cmd.CommandPath())
}
