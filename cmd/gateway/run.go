package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"gateway/config"
)

func (c *cli) runCommand() *cobra.Command {
	var initFirst bool
	cmd := &cobra.Command{
		Use: "run", Short: "Run the gateway",
		Long: `Run the gateway until it is told to stop.

SIGHUP takes the policy and the certificates anew; what is wrong leaves the old
ones in force. The first SIGTERM or SIGINT drains: no new connections, idle ones
are told, transfers may finish for shutdown_grace. The second ends at once.`,
		Example: "  gateway --config /etc/gateway/gateway.hcl run", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if initFirst {
				if err := c.initWhereMissing(); err != nil {
					return err
				}
			}
			cfg, err := c.loadConfig()
			if err != nil {
				return err
			}
			log := newLog(cfg.Log, c.stderr)
			n, err := openNode(cmd.Context(), cfg, log)
			if err != nil {
				return err
			}
			return runNode(cmd.Context(), n)
		},
	}
	cmd.Flags().BoolVar(&initFirst, "init", false, "first write a configuration where there is none, as 'gateway init' does")
	return cmd
}

// initWhereMissing is for containers, whose first start finds an empty volume.
func (c *cli) initWhereMissing() error {
	path := c.configFile
	if path == "" {
		path = os.Getenv("GATEWAY_CONFIG")
	}
	if path == "" {
		return usage("--init needs --config or $GATEWAY_CONFIG, to know where to write")
	}
	p, err := portSet("high")
	if err != nil {
		return err
	}
	_, err = initialise(filepath.Dir(path), defaultHostname(), p)
	return err
}

// runNode serves until a signal, and closes the node.
func runNode(ctx context.Context, n *node) error {
	tuneCollector()
	serving, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	cut, cutNow := context.WithCancel(context.WithoutCancel(ctx))
	defer cutNow()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	over := make(chan struct{})
	handled := make(chan struct{})
	go func() {
		defer close(handled)
		n.handle(ctx, signals, over, stop, cutNow)
	}()
	n.log.Info("started", "version", buildInfo().Version, "config", n.cfg.File, "policy", n.gate.Policy().Hash())
	for _, d := range n.doors {
		n.log.Info("listening", "listener", d.Name, "protocol", d.Protocol, "address", d.ln.Addr(), "tls", d.TLS)
	}
	notify("READY=1")
	err := n.serve(serving, cut)
	signal.Stop(signals)
	close(over)
	<-handled
	if err != nil {
		n.log.Error("stopping because a part failed", "err", err)
	}
	err = errors.Join(err, n.close())
	n.log.Info("stopped")
	return err
}

// handle acts on signals until over.
func (n *node) handle(ctx context.Context, signals <-chan os.Signal, over <-chan struct{}, stop context.CancelCauseFunc, cut context.CancelFunc) {
	stopping := false
	for {
		var s os.Signal
		select {
		case s = <-signals:
		case <-over:
			return
		}
		switch {
		case s == syscall.SIGHUP && !stopping:
			notify(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", time.Now().UnixMicro()))
			if err := n.reload(ctx); err != nil {
				n.log.Error("not reloaded; what was in force stays in force", "err", err)
			} else {
				n.log.Info("reloaded", "policy", n.gate.Policy().Hash())
			}
			notify("READY=1")
		case s == syscall.SIGHUP:
		case !stopping:
			stopping = true
			notify("STOPPING=1")
			n.log.Info("stopping: transfers may finish; a second signal ends them", "signal", s.String(), "grace", n.cfg.ShutdownGrace)
			stop(nil)
		default:
			n.log.Warn("ending at once", "signal", s.String())
			cut()
		}
	}
}

// untilInterrupted is a context that ends with Ctrl-C, for commands that go on.
func untilInterrupted(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
}

// newLog makes the log as the configuration wants it.
func newLog(cfg config.Log, to io.Writer) *slog.Logger {
	var level slog.Level
	if cfg.Level != "" {
		_ = level.UnmarshalText([]byte(cfg.Level)) // config takes no other words
	}
	opts := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(to, opts))
	}
	return slog.New(slog.NewTextHandler(to, opts))
}
