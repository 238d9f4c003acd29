package main

import (
	"github.com/spf13/cobra"
)

func completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print a shell completion script",
		Long: "Print the script that lets a shell complete commands, flags, files and users:\n\n" +
			"    maildird completion bash > /etc/bash_completion.d/maildird\n" +
			"    maildird completion zsh > \"${fpath[1]}/_maildird\"\n" +
			"    maildird completion fish > ~/.config/fish/completions/maildird.fish",
		Args:      one("the shell"),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			root, out := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			}
			return misuse(cmd, "no completion for %q, only for bash, zsh and fish", args[0])
		},
	}
}
