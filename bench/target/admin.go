package target

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Info is what the gateway's admin listener says about it.
type Info struct {
	Name          string `json:"name"`
	Version       string `json:"version"`
	PID           int    `json:"pid"`
	URL           string `json:"url"`
	Redis         string `json:"redis"`
	RedisEmbedded bool   `json:"redisEmbedded"`
	Loops         int    `json:"loops"`
}

// Admin asks a gateway's admin listener.
type Admin struct {
	Base string // http://host:port
	http http.Client
}

func newAdminClient(base string) *Admin {
	return &Admin{
		Base: strings.TrimSuffix(base, "/"),
		// No idle connection is kept: it would be one more in the gateway's memory that is measured.
		http: http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
	}
}

// get reads what is at a path.
func (a *Admin) get(ctx context.Context, path string, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.Base+path, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end, or given up
	if resp.StatusCode == http.StatusNotFound {
		return fmt.Errorf("GET %s%s: %w", a.Base, path, errNotFound)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s%s: %s", a.Base, path, resp.Status)
	}
	return read(io.LimitReader(resp.Body, 4<<20))
}

func (a *Admin) ready(ctx context.Context) error {
	return a.get(ctx, "/readyz", func(io.Reader) error { return nil })
}

func (a *Admin) info(ctx context.Context) (i Info, err error) {
	err = a.get(ctx, "/info", func(r io.Reader) error { return json.NewDecoder(r).Decode(&i) })
	return i, err
}

// Metrics reads the numbers of /metrics by name, labels included as they are written there.
func (a *Admin) Metrics(ctx context.Context) (map[string]float64, error) {
	numbers := map[string]float64{}
	err := a.get(ctx, "/metrics", func(r io.Reader) error {
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			line := lines.Text()
			at := max(strings.LastIndexByte(line, ' '), 0)
			if v, err := strconv.ParseFloat(strings.TrimSpace(line[at:]), 64); err == nil && !strings.HasPrefix(line, "#") {
				numbers[line[:at]] = v
			}
		}
		return lines.Err()
	})
	return numbers, err
}

// collect makes the gateway collect its garbage: asking for a heap profile does that first. A gateway without the
// profile is left alone.
func (a *Admin) collect(ctx context.Context) error {
	err := a.get(ctx, "/debug/pprof/heap?gc=1", func(r io.Reader) error {
		_, err := io.Copy(io.Discard, r)
		return err
	})
	if errors.Is(err, errNotFound) {
		return nil
	}
	return err
}

var errNotFound = errors.New(http.StatusText(http.StatusNotFound))
