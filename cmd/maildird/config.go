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
	cmd := group(&cobra.Command{Use: "config", Short: "Check the configuration"})
	check := &cobra.Command{
		Use:   "check --config FILE",
		Short: "Check the configuration and the files it names",
		Long: "Read maildird.toml, the users file, the aliases file and the certificate as \"serve\" would,\n" +
			"connect to the relay and fetch the keys of the OAuth issuer if there are any, and print\n" +
			"one line for each problem. The exit code is 1 if there are any. Lines that begin with\n" +
			"\"warning: \" are about what may be intended, such as a certificate that is not for the\n" +
			"hostname, or may pass, such as a relay that is down, and do not change the exit code.",
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
			return errors.New("the configuration has problems")
		}
		fmt.Fprintln(cmd.OutOrStdout(), "The configuration is good.")
		return nil
	}
	cmd.AddCommand(check)
	return cmd
}
