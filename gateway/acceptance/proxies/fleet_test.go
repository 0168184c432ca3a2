package proxies

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/carillon-ws/carillon/fanout/fanouttest"
)

const (
	channel = "room"
	// dialing is how many clients connect at a time. A TLS handshake mostly needs a CPU, and there are few.
	dialing = 64
	// perSource is how many clients share a source address, so that its ports do not run out.
	perSource = 2500
)

// fleet is many clients of one proxy. Each subscribes to the channel, connects again when its connection ends, and counts
// the publications that it got.
type fleet struct {
	addr   string // address of the proxy
	ctx    context.Context
	tokens chan struct{} // one for each handshake under way
	wg     sync.WaitGroup

	// Atomic.
	subscribed atomic.Int64 // clients that are subscribed now
	drops      atomic.Int64 // connections that ended before the fleet did
	refused    atomic.Int64 // dials that failed

	mu        sync.Mutex
	heard     map[int]int // Guarded by mu. Clients by publication.
	why       string      // Guarded by mu. The last reason for a drop or a failed dial.
	announced chan struct{}
}

// launch connects n clients through a proxy and returns when all are subscribed.
func launch(t *testing.T, addr string, n int) *fleet {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f := &fleet{addr: addr, ctx: ctx, tokens: make(chan struct{}, dialing), heard: map[int]int{}, announced: make(chan struct{}, 1)}
	for i := range n {
		f.wg.Go(func() { f.live(i) })
	}
	t.Cleanup(func() {
		cancel()
		f.wg.Wait()
	})
	f.awaitSubscribed(t, n)
	return f
}

func (f *fleet) awaitSubscribed(t *testing.T, n int) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("%d of %d subscribed, %d drops, %d failed dials, last: %s", f.subscribed.Load(), n, f.drops.Load(), f.refused.Load(), f.reason())
		}
	}()
	fanouttest.Eventually(t, patience, fmt.Sprintf("%d clients are subscribed", n), func() bool { return f.subscribed.Load() == int64(n) })
}

func (f *fleet) reason() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.why
}

func (f *fleet) because(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.why = err.Error()
}

// live runs one client until the fleet ends.
func (f *fleet) live(i int) {
	for f.ctx.Err() == nil {
		conn, err := f.join(i)
		if err == nil {
			f.subscribed.Add(1)
			err = f.listen(conn)
			f.subscribed.Add(-1)
			_ = conn.Close()
			if f.ctx.Err() == nil {
				f.drops.Add(1)
			}
		} else if f.ctx.Err() == nil {
			f.refused.Add(1)
		}
		f.because(err)
		select {
		case <-time.After(rand.N(500 * time.Millisecond)):
		case <-f.ctx.Done():
		}
	}
}

// join dials, subscribes and reads the answer.
func (f *fleet) join(i int) (*wsConn, error) {
	select {
	case f.tokens <- struct{}{}:
	case <-f.ctx.Done():
		return nil, f.ctx.Err()
	}
	defer func() { <-f.tokens }()
	conn, err := dial(f.ctx, f.addr, net.IPv4(127, 0, byte(1+i/perSource), 2), nil)
	if err != nil {
		return nil, err
	}
	err = conn.send(`{"type":"subscribe","channel":"` + channel + `"}`)
	for kind := ""; err == nil && kind != "subscribed"; {
		var m message
		m, err = conn.read()
		kind = m.Type
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// listen counts publications until the connection ends.
func (f *fleet) listen(conn *wsConn) error {
	stop := context.AfterFunc(f.ctx, func() { _ = conn.Close() })
	defer stop()
	for {
		m, err := conn.read()
		if err != nil {
			return err
		}
		number, err := strconv.Atoi(m.Data)
		if m.Type != "notification" || err != nil {
			return fmt.Errorf("unexpected %+v", m)
		}
		f.mu.Lock()
		f.heard[number]++
		f.mu.Unlock()
		select {
		case f.announced <- struct{}{}:
		default:
		}
	}
}

// awaitHeard returns when n clients have heard a publication.
func (f *fleet) awaitHeard(t *testing.T, number, n int) {
	t.Helper()
	deadline := time.After(patience)
	for {
		f.mu.Lock()
		heard := f.heard[number]
		f.mu.Unlock()
		if heard == n {
			return
		}
		if heard > n {
			t.Fatalf("publication %d was heard %d times by %d clients", number, heard, n)
		}
		select {
		case <-f.announced:
		case <-deadline:
			t.Fatalf("publication %d is heard by %d of %d clients; %d drops, last: %s", number, heard, n, f.drops.Load(), f.reason())
		}
	}
}

// message has the fields of a gateway's message that are needed here.
type message struct{ Type, Channel, Data, Code string }

// wsConn is a client's end of a WebSocket connection.
type wsConn struct {
	net.Conn
	in io.Reader // the bytes that came with the handshake, then the connection
}

func (c *wsConn) Read(p []byte) (int, error) { return c.in.Read(p) }

// dial connects through a proxy with TLS, from a source address.
func dial(ctx context.Context, addr string, source net.IP, header http.Header) (*wsConn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	local := net.Dialer{LocalAddr: &net.TCPAddr{IP: source}}
	d := ws.Dialer{NetDial: local.DialContext, TLSConfig: certificate.client, Header: ws.HandshakeHeaderHTTP(header)}
	conn, buffered, _, err := d.Dial(ctx, "wss://"+addr+"/ws")
	if err != nil {
		return nil, err
	}
	c := &wsConn{Conn: conn, in: conn}
	if buffered != nil {
		early, err := io.ReadAll(io.LimitReader(buffered, int64(buffered.Buffered())))
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		ws.PutReader(buffered)
		c.in = io.MultiReader(bytes.NewReader(early), conn)
	}
	return c, nil
}

func (c *wsConn) send(text string) error { return wsutil.WriteClientText(c, []byte(text)) }

// read returns the next message. It answers pings.
func (c *wsConn) read() (message, error) {
	text, err := wsutil.ReadServerText(c)
	if err != nil {
		return message{}, err
	}
	var m message
	return m, json.Unmarshal(text, &m)
}
