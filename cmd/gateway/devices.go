package main

import (
	"context"
	"time"

	"gateway/devices"
	"gateway/policies"
	"gateway/queue"
)

// remind tells the owners of devices and exemptions that their time is nearly over, until ctx is done.
func (n *node) remind(ctx context.Context) error {
	return devices.New(devices.Config{
		DB: n.db, Put: n.put, Recorder: n.recorder, Hostname: n.cfg.Hostname, Log: n.log,
		Devices: func(now time.Time) []policies.DeviceInfo {
			p, _ := n.gate.Policy().(*policies.Policy)
			return p.Endings(now)
		},
	}).Run(ctx)
}

// put puts a message of our own into the queue.
func (n *node) put(ctx context.Context, content []byte, e queue.Envelope) (string, error) {
	draft := n.queue.Draft()
	defer draft.Discard()
	if _, err := draft.Write(content); err != nil {
		return "", err
	}
	return draft.Commit(ctx, e)
}
