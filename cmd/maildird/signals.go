package main

import (
	"context"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// interruptible returns a context that ends with Ctrl-C or SIGTERM, so that the
// command can clean up.
func interruptible(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
}
