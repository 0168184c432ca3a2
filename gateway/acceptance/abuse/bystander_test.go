package abuse

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/gateway/gatewaytest"
)

const (
	mib = 1 << 20

	// timerSlack is how late a timer may be: the gateway's timers are counted in seconds.
	timerSlack = 2 * time.Second

	// answerWithin is how long an answer to a client that behaves may take.
	answerWithin = time.Second
)

// target is a gateway under attack.
type target struct {
	*gatewaytest.Process
	options []gatewaytest.Option // how clients that behave connect
	head    []string             // lines of their request head
}

// attacked starts a gateway for an attack.
func attacked(t *testing.T, args ...string) *target {
	t.Helper()
	args = append([]string{"-loops", "2", "-drain", "0"}, args...)
	return &target{Process: gatewaytest.Start(t, binary, args...)}
}

// withstands runs an attack as a subtest with a bystander. No answer to the bystander may be late, a new client must be
// served afterwards, and the gateway's memory may never grow by more than bound bytes.
func (g *target) withstands(t *testing.T, name string, bound int, attack func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		before := g.RSS()
		g.ResetPeak()
		b := g.bystand(t)
		attack(t)
		b.leave(t)
		if grown := g.PeakRSS() - before; grown > bound {
			t.Errorf("memory grew by %.1f MiB, want at most %d", float64(grown)/mib, bound/mib)
		}
		if err := g.serves(); err != nil {
			t.Errorf("a fresh client is not served: %v", err)
		}
		if n := g.Metric("loop_panics_total") + g.Metric("loop_restarts_total"); n != 0 {
			t.Errorf("%v handlers or loops failed", n)
		}
	})
}

// dial connects a client that behaves.
func (g *target) dial() (*gatewaytest.Client, error) {
	c, err := gatewaytest.Connect(g.Addr, g.options...)
	if err != nil {
		return nil, err
	}
	if err := c.Upgrade(gatewaytest.Head(g.head...)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// serves connects a client that behaves: it subscribes, pings and leaves.
func (g *target) serves() error {
	c, err := g.dial()
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // nothing depends on how it goes
	return errors.Join(c.Subscribe("user:fresh"), c.Ping())
}

// bystander is one client that behaves.
type bystander struct {
	stop  func()
	ended chan error
}

// bystand connects the bystander. It pings and subscribes again and again until leave is called.
func (g *target) bystand(t *testing.T) *bystander {
	t.Helper()
	c, err := g.dial()
	if err != nil {
		t.Fatalf("the bystander: %v", err)
	}
	done := make(chan struct{})
	b := &bystander{stop: sync.OnceFunc(func() { close(done) }), ended: make(chan error, 1)}
	control := newMetronome(t)
	go func() {
		defer c.Close() //nolint:errcheck // nothing depends on how it goes
		b.ended <- bystandUntil(done, c, control)
	}()
	t.Cleanup(b.stop)
	return b
}

// leave ends the bystander and judges how it was served.
func (b *bystander) leave(t *testing.T) {
	t.Helper()
	b.stop()
	if err := <-b.ended; err != nil {
		t.Errorf("the bystander: %v", err)
	}
}

func bystandUntil(done <-chan struct{}, c *gatewaytest.Client, control *metronome) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		if err := c.SetDeadline(time.Now().Add(gatewaytest.Patience)); err != nil {
			return err
		}
		ask, what := c.Ping, "ping"
		if n%10 == 0 {
			ask, what = func() error { return c.Subscribe(fmt.Sprintf("bystander:%d", n%200)) }, "subscribe"
		}
		began := time.Now()
		if err := ask(); err != nil {
			return fmt.Errorf("%s %d: %w", what, n, err)
		}
		took := time.Since(began)
		// An echo without a gateway tells how long this machine itself delays an answer.
		own, err := control.beat()
		if err != nil {
			return err
		}
		if tooLate(took, answerWithin+2*own) {
			return fmt.Errorf("%s %d was answered after %v; the machine alone took %v", what, n, took, own)
		}
		if n < 3 { // also if the attack is short
			<-tick.C
			continue
		}
		select {
		case <-tick.C:
		case <-done:
			return nil
		}
	}
}

// metronome is an echo over loopback inside the test. It shows whether the gateway is slow or the machine is busy.
type metronome struct {
	nc net.Conn
}

func newMetronome(t *testing.T) *metronome {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // it is not needed any more
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	echo, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = io.Copy(echo, echo) // until the test closes the other end
		_ = echo.Close()
	}()
	t.Cleanup(func() { _ = nc.Close() })
	return &metronome{nc}
}

// beat returns how long one byte takes to come back.
func (m *metronome) beat() (time.Duration, error) {
	began := time.Now()
	b := []byte{1}
	if _, err := m.nc.Write(b); err != nil {
		return 0, err
	}
	_, err := io.ReadFull(m.nc, b)
	return time.Since(began), err
}

// each runs f for 0 to n-1 at the same time. Errors fail the test; it prints the first ones.
func each(t *testing.T, n int, f func(i int) error) {
	t.Helper()
	errs := make(chan error, n)
	for i := range n {
		go func() { errs <- f(i) }()
	}
	failed := 0
	for range n {
		if err := <-errs; err != nil {
			if failed++; failed <= 3 {
				t.Error(err)
			}
		}
	}
	if failed > 0 {
		t.Fatalf("%d of %d failed", failed, n)
	}
}

// ownFiles is how many descriptors a gateway may open for itself after it is ready: the connection that the canary is
// published on, both ends of it with an embedded Redis, and one more of each.
const ownFiles = 4

// filesBack waits until the gateway has at most as many descriptors as before, and its own.
func (g *target) filesBack(t *testing.T, before int, patience time.Duration) {
	t.Helper()
	last := 0
	gatewaytest.Eventually(t, scale(gatewaytest.Patience, patience), "descriptors are still held", func() bool {
		last = g.Files()
		return last <= before+ownFiles
	})
}

// readControl reads a frame. A close frame is a *gatewaytest.CloseError.
func readControl(c *gatewaytest.Client) (ws.Header, []byte, error) {
	h, payload, err := c.ReadFrame()
	if err == nil && h.OpCode == ws.OpClose {
		code, reason := ws.ParseCloseFrameData(payload)
		err = &gatewaytest.CloseError{Code: code, Reason: reason}
	}
	return h, payload, err
}
