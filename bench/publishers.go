package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/carillon-ws/carillon/bench/floor"
	"github.com/carillon-ws/carillon/bench/wire"
)

// Ways to publish, as -publish names them.
const (
	publishRedis = "redis" // PUBLISH, a batch per round trip
	publishHTTP  = "http"  // POST /publish/CHANNEL at the admin listeners, or at a URL with {channel} in it
	publishExec  = "exec:" // a command that reads "CHANNEL PAYLOAD" lines
)

// newPublisher connects to what the gateways hear publications from.
func newPublisher(ctx context.Context, cfg *config, f *fleet, stderr io.Writer) (wire.Publisher, error) {
	switch {
	case strings.HasPrefix(cfg.publish, publishExec):
		return startCommandPublisher(strings.TrimPrefix(cfg.publish, publishExec), stderr)
	case cfg.publish == publishHTTP:
		var bases []string
		for _, g := range f.all() {
			if g.admin == nil {
				return nil, fmt.Errorf("-publish http needs the gateway's admin listener (-admin)")
			}
			bases = append(bases, g.admin.base+"/publish/{channel}")
		}
		return newHTTPPublisher(bases), nil
	case strings.Contains(cfg.publish, "://"):
		return newHTTPPublisher([]string{cfg.publish}), nil
	}
	return dialPublisher(ctx, f.redis)
}

// dialPublisher connects to Redis, or to a floor server's control address.
func dialPublisher(ctx context.Context, rawURL string) (wire.Publisher, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	if u.Scheme == floor.Scheme {
		return floor.Dial(ctx, u.Host)
	}
	return newRedisPublisher(ctx, rawURL)
}

// httpPublisher posts each publication by itself, to the URLs in turn.
type httpPublisher struct {
	urls []string // {channel} stands for the channel's name
	next int
	http http.Client
}

func newHTTPPublisher(urls []string) *httpPublisher {
	return &httpPublisher{urls: urls, http: http.Client{Timeout: 10 * time.Second}}
}

func (p *httpPublisher) Publish(ctx context.Context, batch []wire.Publication) error {
	for i := range batch {
		name := url.PathEscape(strings.TrimPrefix(batch[i].Channel, "notifications:"))
		to := strings.ReplaceAll(p.urls[p.next%len(p.urls)], "{channel}", name)
		p.next++
		if err := p.post(ctx, to, batch[i].Payload); err != nil {
			return err
		}
	}
	return nil
}

func (p *httpPublisher) post(ctx context.Context, to string, payload []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(payload))
	if err != nil {
		return err
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end, or given up
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("POST %s: %s: %s", to, resp.Status, bytes.TrimSpace(text))
	}
	return err
}

func (p *httpPublisher) Close() error {
	p.http.CloseIdleConnections()
	return nil
}

// commandPublisher hands publications to a program, one "CHANNEL PAYLOAD" a line: how a server is published to that
// neither Redis nor HTTP reaches.
type commandPublisher struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	buf  []byte
	once sync.Once
	err  error
}

// commandTime is how long a command may take to end after its input has.
const commandTime = 10 * time.Second

func startCommandPublisher(command string, stderr io.Writer) (*commandPublisher, error) {
	cmd := exec.Command("sh", "-c", command)        //nolint:noctx // Close ends its input, and so it
	cmd.Stderr, cmd.WaitDelay = stderr, time.Second // its children may keep stderr open
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("-publish %s: %w", command, err)
	}
	return &commandPublisher{cmd: cmd, in: in}, nil
}

func (p *commandPublisher) Publish(ctx context.Context, batch []wire.Publication) error {
	defer context.AfterFunc(ctx, func() { _ = p.in.Close() })() // a command that does not read keeps nobody
	p.buf = wire.AppendLines(p.buf[:0], batch)
	_, err := p.in.Write(p.buf)
	return err
}

func (p *commandPublisher) Close() error {
	p.once.Do(func() {
		_ = p.in.Close() // its end is what the command waits for
		impatient := time.AfterFunc(commandTime, func() { _ = p.cmd.Process.Kill() })
		defer impatient.Stop()
		p.err = p.cmd.Wait()
	})
	return p.err
}
