package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// misuse returns the error for a wrong command line, which includes the usage.
func misuse(cmd *cobra.Command, format string, args ...any) error {
	return exitError{fmt.Errorf("%s: %w; usage: %s", cmd.CommandPath(), fmt.Errorf(format, args...), cmd.UseLine()), exitMisuse}
}

// required checks that all required flags are given.
func required(cmd *cobra.Command, _ []string) error {
	var missing []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Annotations[cobra.BashCompOneRequiredFlag] != nil && f.Value.String() == "" {
			missing = append(missing, "--"+f.Name)
		}
	})
	if len(missing) > 0 {
		return misuse(cmd, "%s is missing", strings.Join(missing, ", "))
	}
	return nil
}

// atMost accepts at most n arguments.
func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return misuse(cmd, "unexpected argument %q", args[n])
		}
		return nil
	}
}

// one requires exactly one argument, which is not empty, as an unset variable of a script is. what
// describes it.
func one(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 || args[0] == "" {
			return misuse(cmd, "%s is missing", what)
		}
		return atMost(1)(cmd, args)
	}
}

// configFlag adds the flag --config, which most commands need.
func configFlag(cmd *cobra.Command) *string {
	path := cmd.Flags().StringP("config", "c", "", "path of maildird.toml")
	if err := cmd.MarkFlagRequired("config"); err != nil {
		panic(err)
	}
	if err := cmd.MarkFlagFilename("config", "toml"); err != nil {
		panic(err)
	}
	return path
}

// userFlag adds the flag --user. The shell completes it from the configuration at path.
func userFlag(cmd *cobra.Command, path *string) *string {
	user := cmd.Flags().String("user", "", "work on this user only")
	if err := cmd.RegisterFlagCompletionFunc("user", func(cmd *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return completeUser(path)(cmd, nil, word)
	}); err != nil {
		panic(err) // the flag exists
	}
	return user
}
