package publish

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

	"github.com/carillon-ws/carillon/bench/client"
	"github.com/carillon-ws/carillon/bench/floor"
	"github.com/carillon-ws/carillon/bench/wire"
)

// Dial connects to Redis, or to a floor server's control address.
func Dial(ctx context.Context, rawURL string) (wire.Publisher, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	if u.Scheme == floor.Scheme {
		return floor.Dial(ctx, u.Host)
	}
	return DialRedis(ctx, rawURL)
}

// HTTP posts each publication by itself, to the URLs in turn.
type HTTP struct {
	urls []string // {channel} stands for the channel's name
	next int
	http http.Client
}

// NewHTTP posts to these URLs.
func NewHTTP(urls []string) *HTTP {
	return &HTTP{urls: urls, http: http.Client{Timeout: 10 * time.Second}}
}

// Publish posts a batch, one after the other.
func (p *HTTP) Publish(ctx context.Context, batch []wire.Publication) error {
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

func (p *HTTP) post(ctx context.Context, to string, payload []byte) error {
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

// Close gives up the connections.
func (p *HTTP) Close() error {
	p.http.CloseIdleConnections()
	return nil
}

// Command hands publications to a program, one "CHANNEL PAYLOAD" a line: how a server is published to that
// neither Redis nor HTTP reaches.
type Command struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	buf  []byte
	once sync.Once
	err  error
}

// commandTime is how long a command may take to end after its input has.
const commandTime = 10 * time.Second

// StartCommand starts the program, in a shell.
func StartCommand(command string, stderr io.Writer) (*Command, error) {
	cmd := exec.Command("sh", "-c", command)        //nolint:noctx // Close ends its input, and so it
	cmd.Stderr, cmd.WaitDelay = stderr, time.Second // its children may keep stderr open
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("-publish %s: %w", command, err)
	}
	return &Command{cmd: cmd, in: in}, nil
}

// Publish writes a batch, a line each.
func (p *Command) Publish(ctx context.Context, batch []wire.Publication) error {
	defer context.AfterFunc(ctx, func() { _ = p.in.Close() })() // a command that does not read keeps nobody
	p.buf = wire.AppendLines(p.buf[:0], batch)
	_, err := p.in.Write(p.buf)
	return err
}

// Close ends the program's input, and waits for it.
func (p *Command) Close() error {
	p.once.Do(func() {
		_ = p.in.Close() // its end is what the command waits for
		impatient := time.AfterFunc(commandTime, func() { _ = p.cmd.Process.Kill() })
		defer impatient.Stop()
		p.err = p.cmd.Wait()
	})
	return p.err
}

// ChannelName is a channel's name as Redis carries it.
func ChannelName(s *client.Speech, ch int) string { return "notifications:" + s.ChannelName(ch) }
