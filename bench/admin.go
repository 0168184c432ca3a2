package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// info is what the gateway's admin listener says about it.
type info struct {
	Name          string `json:"name"`
	Version       string `json:"version"`
	PID           int    `json:"pid"`
	URL           string `json:"url"`
	Redis         string `json:"redis"`
	RedisEmbedded bool   `json:"redisEmbedded"`
	Loops         int    `json:"loops"`
}

// adminClient asks a gateway's admin listener.
type adminClient struct {
	base string // http://host:port
	http http.Client
}

func newAdminClient(base string) *adminClient {
	return &adminClient{
		base: strings.TrimSuffix(base, "/"),
		// No idle connection is kept: it would be one more in the gateway's memory that is measured.
		http: http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
	}
}

func (a *adminClient) get(ctx context.Context, path string, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+path, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end, or given up
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s%s: %s", a.base, path, resp.Status)
	}
	return read(io.LimitReader(resp.Body, 4<<20))
}

func (a *adminClient) ready(ctx context.Context) error {
	return a.get(ctx, "/readyz", func(io.Reader) error { return nil })
}

func (a *adminClient) info(ctx context.Context) (i info, err error) {
	err = a.get(ctx, "/info", func(r io.Reader) error { return json.NewDecoder(r).Decode(&i) })
	return i, err
}

// goroutines reads go_goroutines from /metrics; 0 when it is not there.
func (a *adminClient) goroutines(ctx context.Context) int {
	n := 0.0
	err := a.get(ctx, "/metrics", func(r io.Reader) error {
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			if v, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
				n, _ = strconv.ParseFloat(strings.TrimSpace(v), 64)
			}
		}
		return lines.Err()
	})
	if err != nil {
		return 0 // a figure beside the report, not worth a run
	}
	return int(n)
}
