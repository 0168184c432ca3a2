package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/panjf2000/gnet/v2"
	"github.com/panjf2000/gnet/v2/pkg/buffer/ring"
	"github.com/panjf2000/gnet/v2/pkg/pool/ringbuffer"
	"golang.org/x/sys/unix"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/protocol"
)

// The traps of gnet v2.9.7 that this package is built around, by their number in the reading of its source. Each has
// up to two sides: a test whose name begins with TestGnetTrap pins what gnet itself does, so that an upgrade which
// changes it is noticed; one that begins with TestOurTrap shows that our server is not hurt by it.

var discard = slog.New(slog.DiscardHandler)

// Trap 1: an accept that fails for want of a descriptor ends the loop, cuts all its connections, and Run returns nil.

func childGnetEMFILE() int {
	setFileLimit(64)
	h := &bare{addr: make(chan string, 1)}
	go func() { fmt.Fprintln(os.Stdout, "addr", <-h.addr) }()
	fmt.Fprintln(os.Stdout, "run", h.run())
	return 0
}

func TestGnetTrap01AcceptErrorEndsEngine(t *testing.T) {
	t.Parallel()
	c := startChild(t, "gnet-emfile")
	addr := c.line("addr")
	var conns []*net.TCPConn
	for range 64 {
		p, err := tryDial(t, addr, nil)
		if err != nil {
			break // the engine has ended
		}
		conns = append(conns, p.nc)
	}
	if got := c.line("run"); got != "<nil>" {
		t.Errorf("gnet.Run = %s; it used to hide the error", got)
	}
	for _, nc := range conns {
		if n, err := nc.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Fatal("a connection survived")
		}
	}
}

const childFileLimit = 256

// childServerEMFILE is a server with few descriptors. It prints its statistics for each line it reads.
func childServerEMFILE() int {
	setFileLimit(childFileLimit)
	var log logged
	s, err := New(Config{Addr: "127.0.0.1:0", Loops: 1, Interest: fanout.NewInterest(), Log: slog.New(&log)})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-s.Ready()
		fmt.Fprintln(os.Stdout, "addr", s.Addr())
		_, _ = io.Copy(io.Discard, os.Stdin)
		stats, err := json.Marshal(s.Stats())
		fmt.Fprintln(os.Stdout, "stats", string(stats), err)
		cancel()
	}()
	fmt.Fprintln(os.Stdout, "run", s.Run(ctx))
	for _, line := range log.errors() {
		fmt.Fprintln(os.Stderr, line)
		return 1
	}
	return 0
}

func TestOurTrap01MoreClientsThanDescriptors(t *testing.T) {
	t.Parallel()
	c := startChild(t, "server-emfile")
	addr := c.line("addr")
	most := childFileLimit - reserve(1, 128, childFileLimit)

	// knockAll tries n times at once and returns those that are served.
	knockAll := func(n int) (served []*peer, refused int) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				p, err := tryDial(t, addr, nil)
				if err != nil {
					t.Error(err) // refused by the kernel: nobody listens any more
					return
				}
				_, _ = io.WriteString(p.nc, handshake)
				r, err := http.ReadResponse(p.br, nil)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err != nil: // closed without an answer: beyond the room for answers
					refused++
					_ = p.nc.Close()
				case r.StatusCode == http.StatusServiceUnavailable:
					refused++
					_ = p.nc.Close()
				case r.StatusCode == http.StatusSwitchingProtocols:
					served = append(served, p)
				default:
					t.Errorf("status %d", r.StatusCode)
				}
			})
		}
		wg.Wait()
		return served, refused
	}
	served, refused := knockAll(childFileLimit + 100)
	if len(served) != most || refused != childFileLimit+100-most {
		t.Errorf("%d served and %d refused, want %d served", len(served), refused, most)
	}
	for _, p := range served {
		p.want("connected")
		p.wantPong()
	}
	for _, p := range served[:30] {
		p.write(closeFrame(ws.StatusNormalClosure, ""))
		p.wantClose(ws.StatusNormalClosure)
		_ = p.nc.Close()
	}
	served = served[30:]
	eventually(t, "others get in", func() bool {
		more, _ := knockAll(5)
		for _, p := range more {
			p.want("connected")
		}
		served = append(served, more...)
		return len(served) == most
	})
	for _, p := range served {
		p.wantPong()
	}
	if err := c.hangs(); err != nil {
		t.Fatal(err)
	}
	var stats Stats
	text, _, _ := strings.Cut(c.line("stats"), " ")
	if err := json.Unmarshal([]byte(text), &stats); err != nil {
		t.Fatal(err)
	}
	if stats.Restarts != 0 || stats.Loops[0].Panics != 0 || stats.Loops[0].Connections != int64(most) {
		t.Errorf("Stats = %s", text)
	}
	for _, p := range served {
		p.wantClose(protocol.CloseServiceRestart)
		_ = p.nc.Close()
	}
	if got := c.line("run"); got != "<nil>" {
		t.Errorf("Run = %s", got)
	}
	if err := c.wait(); err != nil {
		t.Errorf("the child: %v, stderr %s", err, c.said())
	}
}

// breakListener makes the next accept of a loop fail for good.
func breakListener(t *testing.T, lp *loop) {
	t.Helper()
	onLoop(t, lp, func() { // whose end the engine waits for before it closes the listener
		fd, err := lp.boot.engine.Dup()
		if err == nil {
			err = errors.Join(unix.Shutdown(fd, unix.SHUT_RDWR), unix.Close(fd))
		}
		if err != nil {
			t.Error(err)
		}
	})
}

func TestOurTrap01LoopThatEndsIsStartedAgain(t *testing.T) {
	t.Parallel()
	var log logged
	s, feeder := startServer(t, func(cfg *Config) {
		cfg.Log = slog.New(&log)
		cfg.SendBuffer, cfg.MaxBacklog = 1, 16<<20
	})
	lp := s.loops[0]
	// Sorts clients by the loop that has them.
	onFirst := func() map[*peer]bool {
		first := make(map[*peer]bool)
		for range 30 {
			before := s.Stats().Loops[0].Upgraded
			p := dialSlow(t, s)
			first[p] = s.Stats().Loops[0].Upgraded > before
			p.subscribe("a")
		}
		return first
	}
	clients := onFirst()
	feeder.Publish("notifications:a", strings.Repeat("x", 200_000))
	eventually(t, "there are backlogs on both loops", func() bool {
		n := s.Stats().Loops
		return n[0].Backlogged > 0 && n[1].Backlogged > 0
	})
	breakListener(t, lp)
	eventually(t, "it ends and is started again", func() bool { return s.Stats().Restarts == 1 })
	eventually(t, "it is said", func() bool { return log.has("ERROR loop ended unasked") })
	for p, first := range clients {
		if first {
			for err := error(nil); err == nil; {
				_, _, err = p.frame() // what was in flight, and the end
			}
			_ = p.nc.Close()
			continue
		}
		p.wantNotification("a", strings.Repeat("x", 200_000))
		p.wantPong()
	}
	eventually(t, "the loop runs again", func() bool { return lp.call(func() {}) })
	onLoop(t, lp, func() {
		if lp.index.Channels() != 0 || lp.n.sockets.Load() != 0 || lp.n.connections.Load() != 0 {
			t.Errorf("it still has %d channels, %d sockets, %d connections", lp.index.Channels(), lp.n.sockets.Load(), lp.n.connections.Load())
		}
	})
	wantNoBacklog(t, s)
	before := s.Stats().Loops[0].Upgraded
	eventually(t, "it takes connections again", func() bool {
		p := dialSlow(t, s)
		p.subscribe("a")
		clients[p] = false
		return s.Stats().Loops[0].Upgraded >= before+5
	})
	feeder.Publish("notifications:a", "again")
	for p, gone := range clients {
		if !gone {
			p.wantNotification("a", "again")
			p.wantPong()
		}
	}
	eventually(t, "it has its self-wake", func() bool {
		has := false
		onLoop(t, lp, func() { has = lp.wake.fd != 0 })
		return has
	})
}

// childEnrollOnEndedEngine enrolls a self-wake with an engine whose loop has ended. It is a process of its own because
// gnet leaves a goroutine behind that waits for ever.
func childEnrollOnEndedEngine() int {
	h := &bare{addr: make(chan string, 1)}
	over := make(chan struct{})
	h.shutdown = func() { close(over) }
	h.tick = func() {
		fd, err := h.engine.Dup()
		if err != nil {
			panic(err)
		}
		_ = unix.Shutdown(fd, unix.SHUT_RDWR)
		_ = unix.Close(fd)
		<-over // the loop has ended; the engine waits for this very function
		_, err = enrollSelfWake(h.engine, over)
		fmt.Fprintln(os.Stdout, "enroll", err)
	}
	fmt.Fprintln(os.Stdout, "run", h.run())
	return 0
}

// A loop that ends while its self-wake is being enrolled must still end, or it could never be started again.
func TestOurTrap01EngineEndsWhileTheSelfWakeIsEnrolled(t *testing.T) {
	t.Parallel()
	c := startChild(t, "gnet-enroll")
	if got := c.line("enroll"); got == "<nil>" {
		t.Error("an engine that has ended took a connection")
	}
	if got := c.line("run"); got != "<nil>" {
		t.Errorf("gnet.Run = %s", got)
	}
}

// Trap 2: Writev changes the caller's slices when it could not write them all.

func TestGnetTrap02WritevChangesItsArgument(t *testing.T) {
	t.Parallel()
	changed := make(chan bool, 1)
	addr := startBare(t, &bare{open: func(c gnet.Conn) gnet.Action {
		batch := make([][]byte, 16)
		for i := range batch {
			batch[i] = make([]byte, 1<<20)
		}
		_, _ = c.Writev(batch)
		changed <- slices.ContainsFunc(batch, func(b []byte) bool { return len(b) != 1<<20 })
		return gnet.None
	}})
	knock(t, addr) // and read nothing
	if !receive(t, "the write", changed) {
		t.Error("gnet no longer changes the slices it is given")
	}
}

func TestOurTrap02SharedFramesStayAsTheyAre(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops, cfg.SendBuffer, cfg.MaxBacklog = 1, 1, 16<<20 })
	slow, fast := dialSlow(t, s), dial(t, s)
	slow.subscribe("a")
	fast.subscribe("a")
	var frames []*protocol.Frame
	var want []string
	for i := range 50 {
		f, _ := protocol.NewNotification("a", pad(fmt.Sprint(i), 10_000), 1)
		frames = append(frames, f)
		want = append(want, string(f.Bytes()))
	}
	release := blockLoop(t, s.loops[0])
	for _, f := range frames {
		s.loops[0].Post(fanout.Item{Channel: "a", Frame: f})
	}
	s.loops[0].Wake()
	release()
	for _, p := range []*peer{fast, slow} {
		for i := range frames {
			p.wantNotification("a", pad(fmt.Sprint(i), 10_000))
		}
	}
	for i, f := range frames {
		if string(f.Bytes()) != want[i] {
			t.Fatalf("frame %d has changed", i)
		}
	}
	wantNoBacklog(t, s)
}

// Trap 3: more than 1,024 slices for Writev close the connection.

func TestGnetTrap03WritevOf1025Slices(t *testing.T) {
	t.Parallel()
	failed := make(chan error, 1)
	addr := startBare(t, &bare{open: func(c gnet.Conn) gnet.Action {
		batch := make([][]byte, 1025)
		for i := range batch {
			batch[i] = []byte("x")
		}
		_, err := c.Writev(batch)
		failed <- err
		return gnet.None
	}})
	knock(t, addr)
	if err := receive(t, "the write", failed); !errors.Is(err, unix.EINVAL) {
		t.Errorf("Writev = %v; it used to be EINVAL", err)
	}
}

func TestOurTrap03BacklogOfManySmallFrames(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) { cfg.Loops, cfg.SendBuffer = 1, 1 })
	p := dialSlow(t, s)
	p.subscribe("a")
	const n = 5000
	for i := range n {
		feeder.Publish("notifications:a", fmt.Sprint(i))
	}
	eventually(t, "more than 1,024 frames wait", func() bool {
		frames := 0
		onLoop(t, s.loops[0], func() {
			if e := s.loops[0].conns.at(1).ext; e != nil {
				frames = len(e.backlog.frames)
			}
		})
		return frames > 1024
	})
	for i := range n {
		p.wantNotification("a", fmt.Sprint(i))
	}
	wantNoBacklog(t, s)
}

// Trap 4: a write that fails calls OnClose before it returns, in the middle of whatever walk it is part of.

func TestGnetTrap04OnCloseInsideWrite(t *testing.T) {
	t.Parallel()
	asked, reset := make(chan struct{}), make(chan struct{})
	inside := make(chan bool, 1)
	writing, closed := false, false // both on the loop
	addr := startBare(t, &bare{
		traffic: func(c gnet.Conn) gnet.Action {
			_, _ = c.Discard(-1)
			close(asked)
			<-reset
			writing = true
			_, _ = c.Write([]byte("x"))
			_, _ = c.Write([]byte("x"))
			writing = false
			inside <- closed
			return gnet.None
		},
		close: func(gnet.Conn) { closed = writing },
	})
	nc := knock(t, addr)
	_, _ = nc.Write([]byte("x"))
	receive(t, "OnTraffic", asked)
	(&peer{t: t, nc: nc}).reset()
	close(reset)
	if !receive(t, "the write", inside) {
		t.Error("gnet no longer calls OnClose inside Write")
	}
}

func TestOurTrap04PeersAreGoneInTheMiddleOfAWalk(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) { cfg.Loops = 1 })
	var stay, leave []*peer
	for i := range 300 {
		p := dial(t, s)
		p.subscribe("a")
		if i%3 == 0 {
			stay = append(stay, p)
		} else {
			leave = append(leave, p)
		}
	}
	lp := s.loops[0]
	blocked, free := make(chan struct{}), make(chan struct{})
	lp.call(func() {
		close(blocked)
		<-free
		lp.takeMail() // before it looks at its sockets: it learns of the resets by its own writes
		lp.sendTurn(1 << 62)
	})
	receive(t, "the loop", blocked)
	for _, p := range leave {
		p.reset()
	}
	feeder.Publish("notifications:a", "1")
	feeder.Lost()
	feeder.Publish("notifications:a", "2")
	close(free)
	for _, p := range stay {
		p.wantNotification("a", "1")
		p.want("gap")
		p.wantNotification("a", "2")
		p.wantPong()
	}
	eventually(t, "they are gone", func() bool { return sockets(s) == int64(len(stay)) })
	if n := closedAs(s, "write_error"); n == 0 {
		t.Error("no write failed: nothing was tried here")
	}
}

// Trap 5: Write on a connection that is closed writes to whoever has its descriptor now.

// Not parallel: the descriptor must be given to the next connection.
func TestGnetTrap05StaleConnWritesToAStranger(t *testing.T) {
	opened := make(chan gnet.Conn, 1)
	addr := startBare(t, &bare{open: func(c gnet.Conn) gnet.Action { opened <- c; return gnet.None }})
	for range 100 {
		knock(t, addr)
		a := receive(t, "a connection", opened)
		el, fd := a.EventLoop(), a.Fd()
		var stranger *peer
		execute(t, el, func() { // the stranger's own end must not take it: it is there before
			stranger, _ = tryDial(t, addr, nil)
			_ = el.Close(a)
		})
		b := receive(t, "the stranger's connection", opened)
		if b.Fd() != fd {
			continue // something else took it
		}
		execute(t, el, func() { _, _ = a.Write([]byte("secret")) })
		got := make([]byte, len("secret"))
		if _, err := io.ReadFull(stranger.nc, got); err != nil || string(got) != "secret" {
			t.Errorf("read %q, %v; gnet no longer writes to strangers", got, err)
		}
		return
	}
	t.Error("no descriptor was given to the next connection")
}

func TestOurTrap05NothingReachesAStranger(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) { cfg.Loops, cfg.SendBuffer = 1, 1 })
	stop := make(chan struct{})
	var publishing sync.WaitGroup
	publishing.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			default:
			}
			for range 5 {
				feeder.Publish("notifications:secret", strings.Repeat("x", 2000))
			}
			<-tick.C
		}
	})
	same := 0
	for range 10 {
		var listeners []*peer
		fds := make(map[int32]bool)
		for i := range 12 {
			p := dialSlow(t, s) // it does not read: it has a backlog when it goes
			p.send(`{"type":"subscribe","channel":"secret"}`)
			if i%2 == 0 {
				p.want("subscribed")
			}
			listeners = append(listeners, p)
		}
		onLoop(t, s.loops[0], func() {
			for slot := uint32(1); slot <= s.loops[0].conns.used; slot++ {
				if c := s.loops[0].conns.at(slot); c.state == stateOpen {
					fds[c.fd] = true
				}
			}
		})
		for i, p := range listeners {
			if i%2 == 0 {
				p.reset()
			} else {
				_ = p.nc.Close()
			}
		}
		for i := range 12 {
			p := dial(t, s)
			own := fmt.Sprint("own:", i)
			p.subscribe(own)
			feeder.Publish("notifications:"+own, "mine")
			p.wantNotification(own, "mine")
			p.wantPong() // and nothing of what its descriptor's last owner was to hear
			onLoop(t, s.loops[0], func() {
				for fd := range fds {
					for slot := uint32(1); slot <= s.loops[0].conns.used; slot++ {
						if c := s.loops[0].conns.at(slot); c.state == stateOpen && c.fd == fd {
							same++
							delete(fds, fd)
						}
					}
				}
			})
			p.reset()
		}
	}
	close(stop)
	publishing.Wait()
	if same == 0 {
		t.Error("no descriptor was used twice: nothing was tried here")
	}
	eventually(t, "all are gone", func() bool { return sockets(s) == 0 })
	wantNoBacklog(t, s)
}

// Trap 6: a task that executes itself again keeps the loop from its sockets.

func TestGnetTrap06SelfExecuteStarvesIO(t *testing.T) {
	t.Parallel()
	const n = 20_000
	runs := 0 // on the loop
	opened := make(chan gnet.Conn, 1)
	readAt := make(chan int, 1)
	addr := startBare(t, &bare{
		open: func(c gnet.Conn) gnet.Action { opened <- c; return gnet.None },
		traffic: func(c gnet.Conn) gnet.Action {
			_, _ = c.Discard(-1)
			readAt <- runs
			return gnet.None
		},
	})
	nc := knock(t, addr)
	el := receive(t, "the connection", opened).EventLoop()
	var again task
	again = func() error {
		if runs++; runs == 1 {
			_, _ = nc.Write([]byte("x")) // from now on there is something to read
		}
		if runs < n {
			return el.Execute(context.Background(), again)
		}
		return nil
	}
	if err := el.Execute(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, "the byte", readAt); got != n {
		t.Errorf("the byte was read after %d runs; it used to wait for all %d", got, n)
	}
}

// A ping is answered in the middle of a fan-out that takes long.
func TestOurTrap06PingDuringASaturatingFanout(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) { cfg.Loops = 1 })
	const n = 100
	channels := make([]string, n)
	for i := range channels {
		channels[i] = fmt.Sprint("c", i)
	}
	for range n {
		dial(t, s).subscribe(channels...) // the sockets' buffers hold it all: nobody need read
	}
	p := dial(t, s)
	p.subscribe("first", "last")
	before := s.Stats().Loops[0]
	release := blockLoop(t, s.loops[0])
	feeder.Publish("notifications:first", "x")
	for _, channel := range channels {
		feeder.Publish("notifications:"+channel, "x")
	}
	feeder.Publish("notifications:last", "x")
	release()
	p.wantNotification("first", "x")
	p.send(`{"type":"ping"}`)
	p.want("pong") // before the last
	p.wantNotification("last", "x")
	after := s.Stats().Loops[0]
	if turns, slices := after.Turns-before.Turns, after.Slices-before.Slices; turns != 1 || slices < 3 {
		t.Errorf("%d turns in %d slices, want one in many", turns, slices)
	}
}

// Clients may come before the loop has its self-wake: what takes long then must not stand still.
func TestOurTrap06LoopWithoutItsSelfWake(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) { cfg.Loops = 1 })
	lp := s.loops[0]
	p := dial(t, s)
	p.subscribe("a")
	var wake selfWake
	onLoop(t, lp, func() { wake, lp.wake = lp.wake, selfWake{} })
	for i := range 20 {
		release := blockLoop(t, lp) // uses the slice up
		feeder.Publish("notifications:a", fmt.Sprint(i))
		release()
		p.wantNotification("a", fmt.Sprint(i))
	}
	onLoop(t, lp, func() { lp.wake = wake })
}

// Trap 7: with more than 1,024 tasks queued, AsyncWrite overtakes Execute.

func TestGnetTrap07TasksAreReordered(t *testing.T) {
	t.Parallel()
	opened := make(chan gnet.Conn, 1)
	addr := startBare(t, &bare{open: func(c gnet.Conn) gnet.Action { opened <- c; return gnet.None }})
	knock(t, addr)
	c := receive(t, "the connection", opened)
	el := c.EventLoop()
	const n = 1500
	blocked, free, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	ran, wrote := 0, 0 // on the loop
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(el.Execute(t.Context(), task(func() error { close(blocked); <-free; return nil })))
	receive(t, "the loop", blocked)
	for range n {
		must(el.Execute(t.Context(), task(func() error {
			if ran++; ran == n {
				close(done)
			}
			return nil
		})))
	}
	must(c.AsyncWrite([]byte("x"), func(gnet.Conn, error) error { wrote = ran; return nil }))
	close(free)
	receive(t, "all tasks", done)
	if wrote == 0 || wrote == n {
		t.Errorf("the write, posted last, ran after %d of %d tasks; it used to overtake some", wrote, n)
	}
}

func TestOurTrap07OrderOfALongQueue(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) { cfg.Loops = 1 })
	p := dial(t, s)
	p.subscribe("a")
	release := blockLoop(t, s.loops[0])
	var calls []int // on the loop
	const n = 3000
	for i := range n {
		feeder.Publish("notifications:a", fmt.Sprint(i))
		s.loops[0].call(func() { calls = append(calls, i) })
	}
	release()
	for i := range n {
		p.wantNotification("a", fmt.Sprint(i))
	}
	onLoop(t, s.loops[0], func() {
		if len(calls) != n || !slices.IsSorted(calls) {
			t.Errorf("%d calls, in order: %v", len(calls), slices.IsSorted(calls))
		}
	})
}

// Trap 8: what is left inside gnet lies in a ring, and rings become as large as the largest traffic made them.

func TestGnetTrap08RingsGrowForAll(t *testing.T) {
	t.Parallel()
	var pool ringbuffer.Pool
	const size = 16 << 10
	large := ring.New(size)
	for range 42_001 {
		pool.Put(large)
		pool.Get()
	}
	for range 100 { // the pool may have it once more
		if r := pool.Get(); r != large {
			if r.Len() != size {
				t.Errorf("a new ring has %d bytes: the pool no longer makes them as large as the last were", r.Len())
			}
			return
		}
	}
	t.Error("the pool makes no new ring")
}

func TestGnetTrap08LeftoversStayInGnet(t *testing.T) {
	t.Parallel()
	buffered := make(chan int, 1)
	opened := make(chan gnet.Conn, 1)
	addr := startBare(t, &bare{
		open:    func(c gnet.Conn) gnet.Action { opened <- c; return gnet.None },
		traffic: func(c gnet.Conn) gnet.Action { return gnet.None },
	})
	nc := knock(t, addr)
	c := receive(t, "the connection", opened)
	_, _ = nc.Write([]byte("abc"))
	eventually(t, "three bytes stay inside", func() bool {
		execute(t, c.EventLoop(), func() { buffered <- c.InboundBuffered() })
		return <-buffered == 3
	})
}

// Nothing is left inside gnet, whatever is unfinished: half a head, half a frame, a stalled reader, a connection that
// lingers. Nor was its outbound buffer ever used.
func TestOurTrap08NothingIsLeftInGnet(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) {
		cfg.Loops, cfg.SendBuffer, cfg.MaxBacklog, cfg.MaxConnections = 1, 1, 16<<20, 5
	})
	lp := s.loops[0]
	stalled := dialSlow(t, s)
	stalled.subscribe("a")
	feeder.Publish("notifications:a", strings.Repeat("x", 4<<20))
	dialRaw(t, s).write(handshake[:30])
	dial(t, s).write(clientFrame(true, ws.OpText, "hello")[:7])
	dial(t, s).write(clientFrame(false, ws.OpText, strings.Repeat("x", 1000)))
	lingering := dial(t, s)
	lingering.write("\x81\x02hi" + strings.Repeat("more", 100))
	lingering.wantClose(ws.StatusProtocolError)
	refused := dialRaw(t, s)
	refused.write(handshake)
	refused.wantStatus(http.StatusServiceUnavailable)
	eventually(t, "all is as far as it goes", func() bool {
		n := make(map[string]int)
		onLoop(t, lp, func() {
			for slot := uint32(1); slot <= lp.conns.used; slot++ {
				c := lp.conns.at(slot)
				if c.state == stateFree {
					continue
				}
				if in, out := c.gc.InboundBuffered(), c.gc.OutboundBuffered(); in != 0 || out != 0 {
					t.Fatalf("%d bytes in and %d out are left inside gnet, state %d", in, out, c.state)
				}
				switch e := c.ext; {
				case e == nil:
				case e.head != nil:
					n["head"]++
				case e.reader.Mid():
					n["message"]++
				case !e.backlog.empty():
					n["backlog"]++
				}
			}
		})
		return n["head"] == 1 && n["message"] == 2 && n["backlog"] == 1
	})
	inbound := reflect.ValueOf(firstConn(t, lp)).Elem().FieldByName("inboundBuffer")
	if !inbound.IsValid() {
		t.Fatal("gnet's connection has no inboundBuffer any more: look how it keeps leftovers now")
	}
}

func firstConn(t *testing.T, lp *loop) (gc gnet.Conn) {
	t.Helper()
	onLoop(t, lp, func() { gc = lp.conns.at(1).gc })
	if gc == nil {
		t.Fatal("there is no connection")
	}
	return gc
}

// Trap 9: the build tag gc_opt makes closing many connections slow; poll_opt hides pointers from the collector.

func TestGnetTrap09BuildTags(t *testing.T) {
	t.Parallel()
	opened := make(chan gnet.Conn, 1)
	addr := startBare(t, &bare{open: func(c gnet.Conn) gnet.Action { opened <- c; return gnet.None }})
	knock(t, addr)
	c := receive(t, "the connection", opened)
	store := reflect.ValueOf(c).Elem().FieldByName("loop").Elem().FieldByName("connections")
	if !store.IsValid() || !store.FieldByName("connMap").IsValid() {
		t.Errorf("gnet keeps its connections in %v: built with gc_opt, or changed", store.Type())
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "-tags" && regexp.MustCompile(`gc_opt|poll_opt`).MatchString(setting.Value) {
				t.Errorf("built with -tags %s", setting.Value)
			}
		}
	}
}

// Trap 10: gnet's outbound buffer has no bound.

func TestGnetTrap10OutboundIsUnbounded(t *testing.T) {
	t.Parallel()
	buffered := make(chan int, 1)
	addr := startBare(t, &bare{open: func(c gnet.Conn) gnet.Action {
		chunk := make([]byte, 1<<20)
		for range 20 {
			if _, err := c.Write(chunk); err != nil {
				break
			}
		}
		buffered <- c.OutboundBuffered()
		return gnet.Close
	}})
	knock(t, addr)
	if n := receive(t, "the writes", buffered); n < 10<<20 {
		t.Errorf("gnet buffered %d of 20 MiB; it used to take everything", n)
	}
}

// That our backlog has a bound is shown by the tests of slow consumers. Here: gnet's write path is not used at all.
func TestOurTrap10GnetNeverWritesForUs(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	writes := regexp.MustCompile(`\.(AsyncWrite|AsyncWritev|Writev|Flush|ReadFrom|SendTo)\(|\bgc\.(Write|Next|Read)\b`)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if found := writes.Find(text); found != nil {
			t.Errorf("%s uses gnet's %s", name, found)
		}
	}
}

// Trap 11: OnBoot runs before the loop exists, OnTick on a goroutine of its own, OnShutdown before anything is closed.

// goroutine returns the number of the calling goroutine.
func goroutine() string {
	var buf [64]byte
	return strings.Fields(string(buf[:runtime.Stack(buf[:], false)]))[1]
}

func TestGnetTrap11CallbacksOffTheLoop(t *testing.T) {
	t.Parallel()
	ids := make(chan string, 3)
	var open atomic.Int32
	left := make(chan int32, 1)
	h := &bare{
		tick: func() { ids <- goroutine() },
		open: func(c gnet.Conn) gnet.Action {
			open.Add(1)
			ids <- goroutine()
			return gnet.None
		},
		close:    func(gnet.Conn) { open.Add(-1) },
		shutdown: func() { left <- open.Load() },
	}
	addr := startBare(t, h)
	tick := receive(t, "OnTick", ids)
	knock(t, addr)
	if loop := receive(t, "OnOpen", ids); loop == tick {
		t.Error("OnTick runs on the loop now")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := h.engine.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if n := receive(t, "OnShutdown", left); n != 1 {
		t.Errorf("%d connections were open in OnShutdown; it used to run before they are closed", n)
	}
}

// Trap 12: with SO_REUSEPORT each loop of an engine has a listener of its own, and Dup gives the first one only. We
// have an engine a loop, so the options set through Dup reach every connection.

func TestGnetTrap12DupSeesTheFirstListener(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0") // the second listener would take another port if it could choose
	if err != nil {
		t.Fatal(err)
	}
	h := &bare{listen: ln.Addr().String()}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	opened := make(chan gnet.Conn, 1)
	h.open = func(c gnet.Conn) gnet.Action { opened <- c; return gnet.None }
	addr := startBare(t, h, gnet.WithNumEventLoop(2))
	fd, err := h.engine.Dup()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd) //nolint:errcheck // a copy
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 12_345); err != nil {
		t.Fatal(err)
	}
	got := make(map[int]bool)
	eventually(t, "one connection has the option and one has not", func() bool {
		knock(t, addr)
		c := receive(t, "a connection", opened)
		timeout, err := unix.GetsockoptInt(c.Fd(), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		if err != nil {
			t.Fatal(err)
		}
		got[timeout] = true
		return got[12_345] && len(got) == 2
	})
}

func TestOurTrap12EveryConnectionHasTheOptions(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops, cfg.SendBuffer = 4, 20_000 })
	eventually(t, "each loop has a connection", func() bool {
		dial(t, s)
		for _, n := range s.Stats().Loops {
			if n.Connections == 0 {
				return false
			}
		}
		return true
	})
	for _, lp := range s.loops {
		onLoop(t, lp, func() {
			for slot := uint32(1); slot <= lp.conns.used; slot++ {
				fd := int(lp.conns.at(slot).fd)
				for _, want := range []struct{ level, name, value int }{
					{unix.SOL_SOCKET, unix.SO_SNDBUF, 40_000}, // the kernel doubles it for its own needs
					{unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentLow},
					{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds())},
					{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
				} {
					if got, err := unix.GetsockoptInt(fd, want.level, want.name); err != nil || got != want.value {
						t.Errorf("loop %d: option %d = %d, %v; want %d", lp.id, want.name, got, err, want.value)
					}
				}
			}
		})
	}
}

// Trap 13: gnet does not recover: one panic ends the process.

func childGnetPanic() int {
	h := &bare{addr: make(chan string, 1), traffic: func(gnet.Conn) gnet.Action { panic("in OnTraffic") }}
	go func() { fmt.Fprintln(os.Stdout, "addr", <-h.addr) }()
	fmt.Fprintln(os.Stdout, "run", h.run())
	return 0
}

func TestGnetTrap13PanicEndsTheProcess(t *testing.T) {
	t.Parallel()
	c := startChild(t, "gnet-panic")
	_, _ = knock(t, c.line("addr")).Write([]byte("x"))
	if err := c.wait(); err == nil || !strings.Contains(c.said(), "panic: in OnTraffic") {
		t.Errorf("the child ended with %v; gnet may recover now", err)
	}
}

func TestOurTrap13PanicCostsOneConnection(t *testing.T) {
	t.Parallel()
	var log logged
	s, feeder := startServer(t, func(cfg *Config) { cfg.Loops, cfg.Log = 1, slog.New(&log) })
	lp := s.loops[0]
	var others []*peer
	for range 20 {
		p := dial(t, s)
		p.subscribe("a")
		others = append(others, p)
	}
	wantOthers := func(panics uint64) {
		t.Helper()
		feeder.Publish("notifications:a", fmt.Sprint(panics))
		for _, p := range others {
			p.wantNotification("a", fmt.Sprint(panics))
			p.wantPong()
		}
		if n := s.Stats().Loops[0].Panics; n != panics {
			t.Errorf("Panics = %d, want %d", n, panics)
		}
	}

	// In the handler of an open connection.
	var index *fanout.Index[member]
	p := dial(t, s)
	onLoop(t, lp, func() { index, lp.index = lp.index, &fanout.Index[member]{} }) // its zero value cannot be subscribed to
	p.write(clientFrame(true, ws.OpText, `{"type":"ping"}`) + clientFrame(true, ws.OpText, `{"type":"subscribe","channel":"b"}`))
	p.want("pong") // what was answered before is sent
	p.wantClose(ws.StatusInternalServerError)
	onLoop(t, lp, func() { lp.index = index })
	_ = p.nc.Close()
	wantOthers(1)

	// In a handshake.
	upgrader := lp.upgrader
	p = dialRaw(t, s)
	onLoop(t, lp, func() { lp.upgrader = nil })
	p.write(handshake)
	p.wantStatus(http.StatusInternalServerError)
	p.wantEOF()
	onLoop(t, lp, func() { lp.upgrader = upgrader })
	_ = p.nc.Close()
	wantOthers(2)

	onLoop(t, lp, func() { lp.panics = panicLog{} }) // one line a second is logged
	// In what is called from outside: no connection is lost, nor what else is in the mailbox.
	release := blockLoop(t, lp)
	feeder.Publish("notifications:a", "before")
	lp.call(func() { panic("in a call") })
	called := make(chan struct{})
	lp.call(func() { close(called) })
	feeder.Publish("notifications:a", "after")
	release()
	for _, p := range others {
		p.wantNotification("a", "before")
		p.wantNotification("a", "after")
	}
	receive(t, "the call behind the one that failed", called)
	wantOthers(3)

	// In the fan-out, at its end: nobody knows any more who has got what, so a gap is told.
	onLoop(t, lp, func() { lp.published = func(int64) { lp.published = lp.countPublication; panic("in a turn") } })
	feeder.Publish("notifications:a", "x")
	for _, p := range others {
		p.wantNotification("a", "x")
		if m := p.want("gap"); m.Channel != "a" || m.Dropped != 1 {
			t.Errorf("%+v, want a gap of one on a", m)
		}
	}
	eventually(t, "it is counted", func() bool { return s.Stats().Loops[0].Panics == 4 })
	wantOthers(4)
	// In OnOpen.
	var conns, broken arena
	func() {
		defer func() { _ = recover() }()
		broken.records.Put(1 << 20) // a record that does not exist: this panics, and so does the next take
	}()
	onLoop(t, lp, func() { conns, lp.conns = lp.conns, broken })
	p = dialRaw(t, s)
	p.wantEOF()
	onLoop(t, lp, func() { lp.conns = conns })
	wantOthers(5)

	eventually(t, "only those are gone", func() bool { return sockets(s) == int64(len(others)) })
	if !log.has("ERROR connection handler failed") || !log.has("ERROR handler failed") {
		t.Errorf("it was not said: %q", log.errors())
	}
}

// A connection that cannot be taken out of the index must not stay in it when its descriptor goes to a stranger.
func TestOurTrap13PanicInOnCloseStartsTheLoopAgain(t *testing.T) {
	t.Parallel()
	var log logged
	s, feeder := startServer(t, func(cfg *Config) { cfg.Loops, cfg.Log = 1, slog.New(&log) })
	lp := s.loops[0]
	for range 5 {
		dial(t, s).subscribe("a")
	}
	p := dial(t, s)
	p.subscribe("b")
	onLoop(t, lp, func() { lp.index = &fanout.Index[member]{} }) // which knows nothing of them
	p.reset()
	eventually(t, "the loop runs again", func() bool { return s.Stats().Restarts == 1 && lp.call(func() {}) })
	if n := s.sockets.Load(); n != 0 {
		t.Errorf("%d sockets are counted on a new loop", n)
	}
	p = dial(t, s)
	p.subscribe("a")
	feeder.Publish("notifications:a", "x")
	p.wantNotification("a", "x")
	p.wantPong()
	eventually(t, "the books agree", func() bool { return sockets(s) == 1 && connections(s) == 1 && s.sockets.Load() == 1 })
}

// Trap 14: an epoll entry outlives its descriptor while somebody else holds the same socket.

// entries counts what an epoll descriptor watches.
func entries(t *testing.T, epfd int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprint("/proc/self/fdinfo/", epfd))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "tfd:")
}

func TestGnetTrap14EntriesAreDeletedOnClose(t *testing.T) {
	t.Parallel()
	opened := make(chan gnet.Conn, 1)
	addr := startBare(t, &bare{open: func(c gnet.Conn) gnet.Action { opened <- c; return gnet.None }})
	nc := knock(t, addr)
	c := receive(t, "the connection", opened)
	epfd := int(reflect.ValueOf(c).Elem().FieldByName("loop").Elem().FieldByName("poller").Elem().FieldByName("fd").Int())
	before := entries(t, epfd)
	held, err := c.Dup()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(held) //nolint:errcheck // a copy
	el := c.EventLoop()
	execute(t, el, func() { _ = el.Close(c) })
	if after := entries(t, epfd); after != before-1 {
		t.Errorf("%d entries before, %d after a close", before, after)
	}
	_ = nc.Close()
}

func TestOurTrap14WatcherForgetsWhatIsClosed(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) { cfg.Loops, cfg.SendBuffer, cfg.MaxBacklog = 2, 1, 16<<20 })
	idle := entries(t, s.watcher.epfd)
	const n = 12
	var slow []*peer
	for range n {
		p := dialSlow(t, s)
		p.subscribe("a")
		slow = append(slow, p)
	}
	feeder.Publish("notifications:a", strings.Repeat("x", 200_000))
	eventually(t, "all are watched", func() bool { return entries(t, s.watcher.epfd) == idle+n })
	// Somebody else holds the sockets: closing the descriptor alone would not end the watch.
	var held []int
	for _, lp := range s.loops {
		onLoop(t, lp, func() {
			for slot := uint32(1); slot <= lp.conns.used; slot++ {
				fd, err := unix.Dup(int(lp.conns.at(slot).fd))
				if err != nil {
					t.Error(err)
				}
				held = append(held, fd)
			}
		})
	}
	defer func() {
		for _, fd := range held {
			_ = unix.Close(fd)
		}
	}()
	for _, p := range slow[:n/2] { // half of them vanish
		p.reset()
	}
	eventually(t, "they are forgotten", func() bool {
		return sockets(s) == n/2 && entries(t, s.watcher.epfd) == idle+n/2
	})
	for _, p := range slow[n/2:] { // the others catch up
		p.wantNotification("a", strings.Repeat("x", 200_000))
	}
	wantNoBacklog(t, s)
	if got := entries(t, s.watcher.epfd); got != idle {
		t.Errorf("%d entries with no backlog, want %d", got, idle)
	}
	wantReset(t, slow[:n/2])
}

// wantReset makes sure that peers are not used any more.
func wantReset(t *testing.T, peers []*peer) {
	t.Helper()
	for _, p := range peers {
		if _, err := p.nc.Write([]byte("x")); !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write = %v after a reset", err)
		}
	}
}

// Trap 15: an AsyncWrite to a connection that has been closed meanwhile comes too late, and must not reach anybody.

func TestGnetTrap15AsyncWriteAfterClose(t *testing.T) {
	t.Parallel()
	opened := make(chan gnet.Conn, 1)
	addr := startBare(t, &bare{open: func(c gnet.Conn) gnet.Action { opened <- c; return gnet.None }})
	knock(t, addr)
	c := receive(t, "the connection", opened)
	el := c.EventLoop()
	execute(t, el, func() { _ = el.Close(c) })
	result := make(chan error, 1)
	if err := c.AsyncWrite([]byte("x"), func(_ gnet.Conn, err error) error { result <- err; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, "the callback", result); !errors.Is(err, net.ErrClosed) {
		t.Errorf("AsyncWrite = %v, want %v", err, net.ErrClosed)
	}
}

// What the watcher says of a socket that is closed by then, and whose record another connection has, does no harm.
func TestOurTrap15LateNewsOfWritability(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) { cfg.Loops = 1 })
	p := dial(t, s)
	p.subscribe("a")
	lp := s.loops[0]
	for slot := range uint32(512) { // the records that a slab makes at once
		lp.postWritable(slot + 1) // most of them were never given out
	}
	onLoop(t, lp, func() {})
	feeder.Publish("notifications:a", "x")
	p.wantNotification("a", "x")
	wantNoBacklog(t, s)
}

// gnet warns of each event whose socket was closed by an event before it in the same batch: when 5,000 clients are reset
// in the middle of a fan-out that was hundreds of lines in 100 ms.
func TestStaleEventsOfGnetAreNoWarnings(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	gnetLogger{slog.New(slog.NewTextHandler(&out, nil))}.Warnf("received event[fd=%d] of a stale connection", 7)
	if out.Len() > 0 {
		t.Errorf("the log says %q", out.String())
	}
}
