package main

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"maildird/server"
	"maildird/server/config"
)

func configCommand() *cobra.Command {
	cmd := group(&cobra.Command{Use: "config", Short: "Work on the configuration"})
	check := &cobra.Command{
		Use:   "check --config FILE",
		Short: "Check the configuration and the files it names",
		Long: "Read maildird.toml, the users file, the aliases file and the certificate as \"serve\" would,\n" +
			"connect to the relay and get the keys of the OAuth issuer if there are any, and print one\n" +
			"line for each thing that is wrong. The exit code is 1 then. Lines that begin with \"warning: \" are of what may be meant so, as\n" +
			"that the certificate is not for the hostname, and do not change the exit code.",
		Args: atMost(0),
	}
	path := configFlag(check)
	check.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load(*path)
		if err != nil {
			return err
		}
		wrong, doubts := server.Check(cfg, slog.New(slog.DiscardHandler))
		for _, w := range wrong {
			fmt.Fprintln(cmd.OutOrStdout(), w)
		}
		for _, d := range doubts {
			fmt.Fprintln(cmd.OutOrStdout(), "warning: "+d)
		}
		if len(wrong) > 0 {
			return errors.New("the configuration needs work")
		}
		fmt.Fprintln(cmd.OutOrStdout(), "The configuration is good.")
		return nil
	}
	cmd.AddCommand(check)
	return cmd
}
