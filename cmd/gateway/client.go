package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"gateway/admin"
	"gateway/config"
)

// loadConfig reads the configuration in force.
func (c *cli) loadConfig() (*config.Config, error) {
	path, err := c.configPath()
	if err != nil {
		return nil, err
	}
	return config.Load(path)
}

// client returns a client of the running gateway, or of the state itself when
// none runs. The caller closes it.
func (c *cli) client(ctx context.Context) (*admin.Client, error) {
	cfg, err := c.loadConfig()
	if err != nil {
		return nil, err
	}
	return c.clientOf(ctx, cfg)
}

func (c *cli) clientOf(ctx context.Context, cfg *config.Config) (*admin.Client, error) {
	client, err := admin.Dial(ctx, socketPath(cfg))
	switch {
	case err == nil:
		return client, nil
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("the state folder %s may be used by its owner only: run this as the gateway's user: %w", cfg.State, err)
	case !admin.NotRunning(err):
		return nil, fmt.Errorf("reach the running gateway: %w", err)
	}
	core, err := c.lockedCore(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return admin.Local(core.service(nil), core.close), nil
}

// lockWait is how long a command waits for another that works on the state.
const lockWait = 5 * time.Second

// lockedCore opens the state, waiting a moment for another command to be done.
func (c *cli) lockedCore(ctx context.Context, cfg *config.Config) (*core, error) {
	log := slog.New(slog.NewTextHandler(c.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	deadline := time.Now().Add(lockWait)
	for {
		core, err := openCore(ctx, cfg, log)
		if !errors.Is(err, errLocked) || time.Now().After(deadline) {
			return core, err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func socketPath(cfg *config.Config) string { return filepath.Join(cfg.State, "control.sock") }

// ask calls one method and closes the client.
func ask[Out any](ctx context.Context, c *cli, method string, in any) (out Out, err error) {
	client, err := c.client(ctx)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	return admin.Call[Out](ctx, client, method, in)
}
