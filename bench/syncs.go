//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// syncsMetric counts how often the gateway's queue had the disk sync.
const syncsMetric = "gateway_queue_syncs_total"

// countSyncs makes a trial note in each how many syncs each of its n messages cost, by
// the gateway's own counter.
func (g *gateway) countSyncs(ctx context.Context, t trial, n int, each *[]float64) trial {
	prepare := t.prepare
	t.prepare = func() (job, error) {
		j, err := prepare()
		work := j.work
		j.work = func() error {
			before, err := g.metric(ctx, syncsMetric)
			if err != nil {
				return err
			}
			if err := work(); err != nil {
				return err
			}
			after, err := g.metric(ctx, syncsMetric)
			*each = append(*each, (after-before)/float64(n))
			return err
		}
		return j, err
	}
	return t
}

// metric reads one that has no labels.
func (g *gateway) metric(ctx context.Context, name string) (float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.addrs["metrics"]+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("no %s at %s", name, g.addrs["metrics"])
}
