package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"maildird/server"
	"maildird/server/advice"
	"maildird/server/config"
)

// stopTime is when connections that have not ended are cut in a shutdown. abandonTime is when the
// program ends whatever is still going on: system calls for a disk that stands still cannot be
// interrupted. It is less than the TimeoutStopSec of the service.
const stopTime, abandonTime = 9 * time.Second, 12 * time.Second

func serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Run the server in the foreground",
		Long: "Run the server until SIGTERM or SIGINT, and log to standard error. The line \"ready\" means\n" +
			"that all listeners accept connections; systemd is told then. SIGHUP rereads the users, the\n" +
			"aliases, the certificate and the log level.",
		Args: atMost(0),
	}
	path := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return serve(cmd.Context(), *path, cmd.ErrOrStderr(), nil)
	}
	return cmd
}

// serve runs the server until a signal arrives. ready, if not nil, is called once every
// listener accepts connections; its error stops the server.
func serve(ctx context.Context, path string, logTo io.Writer, ready func(*config.Config, *server.Server) error) error {
	cfg, err := config.Load(path)
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	level.Set(cfg.Log.Level)
	log := logger(cfg, level, logTo)
	// Handle signals before anything starts, so that none is lost.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(stop)
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)

	srv, err := server.Start(cfg, log)
	if err != nil {
		return err
	}
	letThreadsBlock()
	end := func(err error) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
		defer cancel()
		stopped := make(chan error, 1)
		go func() { stopped <- srv.Stop(ctx) }()
		select {
		case failed := <-stopped:
			return errors.Join(err, failed)
		case <-time.After(abandonTime):
			return errors.Join(err, errors.New("stopped without waiting for system calls in progress: a disk does not respond"))
		}
	}
	if ready != nil {
		if err := ready(cfg, srv); err != nil {
			return end(err)
		}
	}
	if err := notifyReady(os.Getenv("NOTIFY_SOCKET")); err != nil {
		log.Warn("cannot tell the service manager that the server is ready", "error", err)
	}
	ended := make(chan struct{})
	defer close(ended)
	go func() { // the disk with the files may not respond, and the server can be stopped nevertheless
		for {
			select {
			case <-hangup:
				reload(srv, cfg, level, log)
			case <-ended:
				return
			}
		}
	}()
	select {
	case sig := <-stop:
		log.Info("stopping", "signal", sig.String())
		return end(nil)
	case err := <-srv.Failed():
		return end(err)
	}
}

// reload handles SIGHUP. It logs settings that require a restart. Anything that has an error
// remains as it was, and does not prevent the rest from being reloaded: a certificate must
// be replaced in time.
func reload(srv *server.Server, cfg *config.Config, level *slog.LevelVar, log *slog.Logger) {
	var kept []string
	keep := func(what string, err error) {
		if err != nil {
			kept = append(kept, what)
			log.Error("cannot be reloaded and is left as it was: "+what, "error", err)
		}
	}
	now, err := config.Load(cfg.Path)
	keep("the configuration", err)
	if err == nil {
		level.Set(now.Log.Level)
		now.Log.Level = cfg.Log.Level
		if changed := config.Changes(cfg, now); len(changed) > 0 {
			log.Warn("the configuration has changes that require a restart", "file", cfg.Path, "settings", strings.Join(changed, " "))
		}
	}
	keep("the users", srv.ReloadUsers())
	keep("the aliases", srv.ReloadAliases())
	keep("the certificate", srv.ReloadCertificate())
	if len(kept) > 0 {
		log.Warn("reloaded in part", "kept", strings.Join(kept, ", "))
		return
	}
	log.Info("reloaded")
}

func logger(cfg *config.Config, level slog.Leveler, to io.Writer) *slog.Logger {
	opt := &slog.HandlerOptions{Level: level}
	format := func(to io.Writer) slog.Handler {
		if cfg.Log.Format == "json" {
			return slog.NewJSONHandler(to, opt)
		}
		return slog.NewTextHandler(to, opt)
	}
	if isJournal(to, os.Getenv("JOURNAL_STREAM")) {
		return slog.New(advice.Handler(newJournalHandler(to, format)))
	}
	return slog.New(advice.Handler(format(to)))
}
