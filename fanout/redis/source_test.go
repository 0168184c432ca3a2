package redis

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/fanout/fanouttest"
	"github.com/carillon-ws/carillon/fanout/redis/redistest"
)

// patience is how long a test waits for what should come at once; the machine is shared.
const patience = 15 * time.Second

// heard is one call of a [fanout.Sink].
type heard struct {
	channel, payload string
	lost             bool
}

func (h heard) String() string {
	if h.lost {
		return "Lost"
	}
	return fmt.Sprintf("%.80q on %q", h.payload, h.channel)
}

// running is a Source whose Run is under way, the Sink of what it hears, and its log.
type running struct {
	*Source
	heard chan heard
	log   *logTap
	gate  chan struct{} // Publish waits until it is closed; nil: never waits
	stop  context.CancelFunc
	done  chan error
}

func (rs *running) Publish(channel, payload string) {
	if rs.gate != nil {
		<-rs.gate
	}
	rs.heard <- heard{channel: channel, payload: payload}
}

func (rs *running) Lost(...string)    { rs.heard <- heard{lost: true} }
func (rs *running) Settled(string)    {}
func (rs *running) Flush()            {}
func (rs *running) Fork() fanout.Sink { return rs }

// runRedis runs a source of notifications:* until the test ends.
func runRedis(t *testing.T, cfg Config, opts ...func(*running)) *running {
	t.Helper()
	log := newLogTap()
	cfg.Log = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if cfg.Pattern == "" {
		cfg.Pattern = "notifications:*"
	}
	src, err := NewSource(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	rs := &running{Source: src, heard: make(chan heard, 1<<16), log: log, stop: cancel, done: make(chan error, 1)}
	for _, opt := range opts {
		opt(rs)
	}
	go func() { rs.done <- src.Run(ctx, rs) }()
	t.Cleanup(func() {
		rs.end(t)
		if err := src.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return rs
}

// end cancels Run, checks how it returns, and is how long that took. Further calls do nothing.
func (rs *running) end(t *testing.T) time.Duration {
	t.Helper()
	if rs.stop == nil {
		return 0
	}
	began := time.Now()
	rs.stop()
	rs.stop = nil
	select {
	case err := <-rs.done:
		if err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	case <-time.After(patience):
		t.Fatal("Run does not return")
	}
	if rs.Stats().Up {
		t.Error("Up after Run has returned")
	}
	return time.Since(began)
}

// waitUp and waitDown wait for the log line, which comes after the change of Stats.
func (rs *running) waitUp(t *testing.T) {
	t.Helper()
	rs.log.wait(t, "redis link up")
	if st := rs.Stats(); !st.Up || !st.LostAt.IsZero() || st.LastError != "" {
		t.Errorf("Stats = %+v, want it up", st)
	}
}

func (rs *running) waitDown(t *testing.T) {
	t.Helper()
	rs.log.wait(t, "redis link down, trying again")
}

func (rs *running) next(t *testing.T) heard {
	t.Helper()
	select {
	case h := <-rs.heard:
		return h
	case <-time.After(patience):
		t.Fatalf("nothing heard; stats %+v, log:\n%s", rs.Stats(), rs.log)
		return heard{}
	}
}

func (rs *running) wantNext(t *testing.T, channel, payload string) {
	t.Helper()
	if h := rs.next(t); h != (heard{channel: channel, payload: payload}) {
		t.Fatalf("heard %v, want %v", h, heard{channel: channel, payload: payload})
	}
}

func (rs *running) wantLost(t *testing.T) {
	t.Helper()
	if h := rs.next(t); !h.lost {
		t.Fatalf("heard %v, want Lost", h)
	}
}

// wantNothing checks that nothing was heard beyond what the test has taken.
func (rs *running) wantNothing(t *testing.T) {
	t.Helper()
	if n := len(rs.heard); n != 0 {
		t.Errorf("heard %d more, first %v", n, <-rs.heard)
	}
}

func (rs *running) publish(t *testing.T, channel, payload string) {
	t.Helper()
	n, err := rs.Source.Publish(t.Context(), channel, payload)
	if err != nil || n != 1 {
		t.Fatalf("Publish(%q) = %d, %v, want 1 receiver", channel, n, err)
	}
}

// logTap keeps log lines (one Write each) and passes them on.
type logTap struct {
	lines chan string
	mu    sync.Mutex
	all   bytes.Buffer
}

func newLogTap() *logTap { return &logTap{lines: make(chan string, 1<<12)} }

func (l *logTap) Write(p []byte) (int, error) {
	l.mu.Lock()
	l.all.Write(p)
	l.mu.Unlock()
	if l.lines != nil {
		l.lines <- string(p)
	}
	return len(p), nil
}

func (l *logTap) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// downs is how many lines say that the link went down.
func (l *logTap) downs() int {
	return strings.Count(l.String(), `"msg":"redis link down, trying again"`)
}

// wait takes lines until one has that message.
func (l *logTap) wait(t *testing.T, msg string) map[string]any {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case line := <-l.lines:
			var attrs map[string]any
			if err := json.Unmarshal([]byte(line), &attrs); err != nil {
				t.Fatalf("log line %q: %v", line, err)
			}
			if attrs["msg"] == msg {
				return attrs
			}
		case <-timeout:
			t.Fatalf("log has no %q:\n%s", msg, l)
		}
	}
}

func redisClient(t *testing.T, url string) *goredis.Client {
	t.Helper()
	opt, err := goredis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client := goredis.NewClient(opt)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// ignore calls a Close whose error says nothing to the test.
func ignore(closing func() error) { _ = closing() }

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	fanouttest.Eventually(t, patience, what, holds)
}

// peer is a scripted Redis at the other end of one connection.
type peer struct {
	net.Conn
	in *bufio.Reader
}

// command reads one command and returns its words, the first in lower case; nil when the connection has ended.
func (p peer) command() []string {
	var n int
	if _, err := fmt.Fscanf(p.in, "*%d\r\n", &n); err != nil {
		return nil
	}
	words := make([]string, n)
	for i := range words {
		var size int
		if _, err := fmt.Fscanf(p.in, "$%d\r\n", &size); err != nil {
			return nil
		}
		word := make([]byte, size+2)
		if _, err := io.ReadFull(p.in, word); err != nil {
			return nil
		}
		words[i] = string(word[:size])
	}
	words[0] = strings.ToLower(words[0])
	return words
}

func (p peer) say(s string) { _, _ = io.WriteString(p.Conn, s) }

// subscribe answers what a link sends until it is subscribed, and is whether it got that far.
func (p peer) subscribe() bool {
	for {
		switch cmd := p.command(); {
		case cmd == nil:
			return false
		case cmd[0] == "hello":
			p.say("-ERR unknown command 'HELLO'\r\n") // an old Redis: the shortest answer
		case cmd[0] == "psubscribe":
			p.say("*3\r\n" + bulk("psubscribe") + bulk(cmd[1]) + ":1\r\n")
			return true
		default:
			p.say("-ERR unexpected " + cmd[0] + "\r\n")
		}
	}
}

// discard reads commands and answers none, until the connection ends.
func (p peer) discard() { _, _ = io.Copy(io.Discard, p.in) }

// discarding is discard on a goroutine of its own; it closes the Go channel at the end.
func (p peer) discarding() <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.discard()
	}()
	return ended
}

func bulk(s string) string { return "$" + strconv.Itoa(len(s)) + "\r\n" + s + "\r\n" }

func pmessage(channel, payload string) string {
	return "*4\r\n" + bulk("pmessage") + bulk("notifications:*") + bulk(channel) + bulk(payload)
}

// dialling makes a source dial into serve, which runs on a goroutine per connection with the number of the try, from 1.
// With refuse it decides which tries are refused. Connections are in memory, so that it works in a synctest bubble.
func dialling(serve func(try int, p peer), refuse func(try int) bool) func(*running) {
	return func(rs *running) {
		try := 0
		rs.dial = func(context.Context, string, string) (net.Conn, error) {
			try++
			if refuse != nil && refuse(try) {
				return nil, errors.New("connection refused")
			}
			near, far := net.Pipe()
			go func(try int) {
				defer ignore(far.Close)
				serve(try, peer{Conn: far, in: bufio.NewReader(far)})
			}(try)
			return near, nil
		}
	}
}

// It is not parallel because AllocsPerRun counts the whole process.
func TestAllocationsPerPublication(t *testing.T) {
	const runs = 1000
	feed := func(try int, p peer) {
		if p.subscribe() {
			p.say(strings.Repeat(pmessage("notifications:user:42", `{"title":"hi"}`), runs+1))
			p.discard()
		}
	}
	src, err := NewSource(Config{URL: "redis://peer", Pattern: "notifications:*"})
	if err != nil {
		t.Fatal(err)
	}
	defer ignore(src.Close)
	dialling(feed, nil)(&running{Source: src})
	lk, err := src.newKeeper("", src.where()).open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer lk.close()
	allocs := testing.AllocsPerRun(runs, func() {
		if reply, err := lk.receive(t.Context(), ownDeadlines); err != nil {
			t.Fatal(reply, err)
		}
	})
	// go-redis: the array and four strings boxed in it, each with its bytes; the Message; two for the calls.
	const want = 12
	if allocs > want {
		t.Errorf("%v allocations a publication, want at most %d", allocs, want)
	}
	t.Logf("%v allocations a publication", allocs)
}

func TestSilentLinkIsPingedAndLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up time.Time
		var pings []time.Duration
		rs := runRedis(t, Config{URL: "redis://peer"}, dialling(func(try int, p peer) {
			if !p.subscribe() {
				return
			}
			if try > 1 {
				p.discard()
				return
			}
			up = time.Now()
			for cmd := p.command(); cmd != nil; cmd = p.command() {
				pings = append(pings, time.Since(up))
				if cmd[0] != "ping" {
					t.Errorf("command %q, want ping", cmd)
				}
			}
		}, nil))
		rs.wantLost(t)
		rs.waitDown(t)
		synctest.Wait()
		if d := time.Since(up); d != 2500*time.Millisecond {
			t.Errorf("noticed after %v, want 2.5 s", d)
		}
		if st := rs.Stats(); st.Up || st.LastError != errSilent.Error() || !st.LostAt.Equal(time.Now()) {
			t.Errorf("Stats = %+v", st)
		}
		rs.waitUp(t)
		rs.wantLost(t)
		synctest.Wait()
		const half = 500 * time.Millisecond
		if want := []time.Duration{half, 2 * half, 3 * half, 4 * half}; !slices.Equal(pings, want) {
			t.Errorf("pings at %v, want %v", pings, want)
		}
		rs.end(t)
	})
}

// A publication that trickles in keeps the link alive although no ping is ever answered, and comes out whole: with
// go-redis's own read timeout its second half would be read as the next reply.
func TestAnyByteIsLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rs := runRedis(t, Config{URL: "redis://peer"}, dialling(func(_ int, p peer) {
			if !p.subscribe() {
				return
			}
			ended := p.discarding()
			for i, b := range []byte(pmessage("notifications:slow", "all of it")) {
				pause := 400 * time.Millisecond
				if i%10 == 9 {
					pause = 2400 * time.Millisecond
				}
				<-time.After(pause)
				if _, err := p.Write([]byte{b}); err != nil {
					t.Errorf("write: %v", err)
					return
				}
			}
			p.say(pmessage("notifications:fast", "next"))
			<-ended
		}, nil))
		rs.wantLost(t)
		for _, want := range []heard{{channel: "notifications:slow", payload: "all of it"}, {channel: "notifications:fast", payload: "next"}} {
			if h := <-rs.heard; h != want {
				t.Fatalf("heard %v, want %v", h, want)
			}
		}
		rs.end(t)
		if n := rs.Stats().Reconnects; n != 0 {
			t.Errorf("Reconnects = %d, want 0", n)
		}
	})
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const refused = 12
		var tries []time.Time
		rs := runRedis(t, Config{URL: "redis://peer"}, dialling(func(_ int, p peer) {
			if p.subscribe() {
				p.discard()
			}
		}, func(try int) bool {
			tries = append(tries, time.Now())
			return try <= refused
		}))
		rs.wantLost(t) // the gateway's clients may have waited
		line := rs.log.wait(t, "redis link up")
		rs.end(t)

		low := 25 * time.Millisecond
		high := 2 * low
		for i := 1; i < len(tries); i++ {
			if d := tries[i].Sub(tries[i-1]); d < low || d > high {
				t.Errorf("wait %d = %v, want %v..%v", i, d, low, high)
			}
			high = min(2*high, time.Second)
			low = high / 2
		}
		if n := rs.log.downs(); n != 1 {
			t.Errorf("%d lines for %d tries, want 1:\n%s", n, len(tries), rs.log)
		}
		if n := line["tries"]; n != float64(refused+1) {
			t.Errorf("tries = %v, want %d", n, refused+1)
		}
		if st := rs.Stats(); st.Reconnects != 0 {
			t.Errorf("Reconnects = %d before any loss", st.Reconnects)
		}
	})
}

// A Redis that takes connections and answers nothing, as one that is stopped: a try ends after a second, and the next
// one follows at once, so that the second after the return has a try in it.
func TestSilentHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries []time.Time
		rs := runRedis(t, Config{URL: "redis://peer"}, dialling(func(try int, p peer) {
			if try > 5 && !p.subscribe() {
				return
			}
			p.discard()
		}, func(int) bool {
			tries = append(tries, time.Now())
			return false
		}))
		rs.wantLost(t)
		rs.end(t)
		for i := 1; i < len(tries); i++ {
			if d := tries[i].Sub(tries[i-1]); d != time.Second {
				t.Errorf("try %d after %v, want 1 s", i+1, d)
			}
		}
	})
}

// A link that is cut as soon as it is up is not dialled twenty times a second.
func TestFlappingKeepsItsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		rs := runRedis(t, Config{URL: "redis://peer"}, dialling(func(_ int, p peer) { p.subscribe() }, nil))
		for range 20 {
			rs.wantLost(t)
		}
		if d := time.Since(began); d < 8*time.Second {
			t.Errorf("20 links in %v", d)
		}
		rs.end(t)
	})
}

func TestRunEndsAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name   string
		serve  func(try int, p peer)
		refuse func(int) bool
	}{
		{"subscribed", func(_ int, p peer) { p.subscribe(); p.discard() }, nil},
		{"waiting for a reply", func(_ int, p peer) { p.discard() }, nil},
		{"between tries", nil, func(int) bool { return true }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rs := runRedis(t, Config{URL: "redis://peer"}, dialling(tt.serve, tt.refuse))
				<-time.After(10*time.Second + 7*time.Millisecond)
				synctest.Wait()
				if d := rs.end(t); d != 0 {
					t.Errorf("Run took %v to return", d)
				}
			})
		})
	}
}

// Replies that no Redis should send are skipped if they can be read to their end, and cost the link otherwise.
func TestOddReplies(t *testing.T) {
	const cut = "end of the stream in a reply"
	for _, tt := range []struct {
		name, reply string
		redial      bool
	}{
		{"pong", "*2\r\n" + bulk("pong") + bulk(""), false},
		{"simple pong", "+PONG\r\n", false},
		{"error", "-ERR strange\r\n", false},
		{"number", ":5\r\n", false},
		{"nil", "$-1\r\n", false},
		{"nil array", "*-1\r\n", false},
		{"another kind", "*2\r\n" + bulk("whatever") + bulk("x"), false},
		{"another subscription", "*3\r\n" + bulk("subscribe") + bulk("x") + ":2\r\n", false},
		{"array as payload", "*3\r\n" + bulk("message") + bulk("x") + "*1\r\n" + bulk("y"), false},
		{"number as payload", "*3\r\n" + bulk("message") + bulk("x") + ":1\r\n", false},
		// go-redis panics on the next six.
		{"empty array", "*0\r\n", true},
		{"nil payload", "*4\r\n" + bulk("pmessage") + bulk("notifications:*") + bulk("x") + "$-1\r\n", true},
		{"error inside", "*3\r\n-ERR x\r\n" + bulk("x") + bulk("y"), true},
		{"impossible length", "$9223372036854775807\r\n", true},
		{"number as kind", "*1\r\n:1\r\n", true},
		{"too few words", "*2\r\n" + bulk("pmessage") + bulk("notifications:*"), true},
		{"not RESP", "HTTP/1.1 400 Bad Request\r\n", true},
		{"read only", "-READONLY You can't write against a read only replica.\r\n", true},
		{"unsubscribed", "*3\r\n" + bulk("punsubscribe") + bulk("notifications:*") + ":0\r\n", true},
		{cut, "*4\r\n$8\r\npmess", true},
		{"message in a RESP3 push", ">3\r\n" + bulk("message") + bulk("notifications:odd") + bulk("pushed"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rs := runRedis(t, Config{URL: "redis://peer"}, dialling(func(try int, p peer) {
					if !p.subscribe() {
						return
					}
					ended := p.discarding()
					if try == 1 {
						p.say(pmessage("notifications:a", "before") + tt.reply)
						if tt.name == cut {
							return
						}
					}
					p.say(pmessage("notifications:a", "after"))
					<-ended
				}, nil))
				rs.wantLost(t)
				rs.wantNext(t, "notifications:a", "before")
				h := rs.next(t)
				if tt.redial {
					if !h.lost {
						t.Errorf("heard %v, want Lost", h)
					}
					h = rs.next(t)
				}
				if h != (heard{channel: "notifications:a", payload: "after"}) {
					t.Errorf("heard %v, want what came after; log:\n%s", h, rs.log)
				}
				rs.end(t)
				skipped := uint64(1)
				if tt.redial || strings.Contains(tt.name, "pong") {
					skipped = 0
				}
				if st := rs.Stats(); st.Unexpected != skipped {
					t.Errorf("Unexpected = %d, want %d", st.Unexpected, skipped)
				}
				if n := rs.log.downs(); (n > 0) != tt.redial {
					t.Errorf("redialled: %v, want %v; log:\n%s", n > 0, tt.redial, rs.log)
				}
			})
		})
	}
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, name, err string }{
		{in: "redis://127.0.0.1:6379", name: "redis://127.0.0.1:6379"},
		{in: "redis://user:hunter2@example.com:6379/3?dial_timeout=2s", name: "redis://***@example.com:6379/3"},
		{in: "redis://:hunter2@[::1]", name: "redis://***@[::1]"},
		{in: "rediss://:hunter2@example.com", name: "rediss://***@example.com"},
		{in: "unix://:hunter2@/run/redis.sock", name: "unix://***@/run/redis.sock"},
		{in: "redis://:a%2Fhunter2@h", name: "redis://***@h"},
		{in: "", err: "empty"},
		{in: "localhost:6379", err: "want redis://"},
		{in: "127.0.0.1:6379", err: "want redis://host:port"},
		{in: "http://:hunter2@h", err: "http://***@h: redis: invalid URL scheme: http"},
		{in: "redis://:hunter2@h/x", err: "invalid database number"},
		{in: "redis://:hunter2@h?password=hunter2", err: "unexpected option: password"},
		{in: "redis://:hunter2@h:port", err: "percent-encoded"},
		{in: "redis://:x/hunter2@h", err: "redis://***@h: unreadable"},
		{in: "redis://:1/hunter2@h", err: "redis://***@h: unreadable"},
		{in: "redis://:hunter2#x@h", err: "redis://***@h: unreadable"},
		{in: "redis://:hunter2?x@h", err: "redis://***@h: unreadable"},
		{in: "redis://:1?hunter2@h", err: "redis://***@h: unreadable"},
		{in: "redis://:hunter2%zz@h", err: "redis://***@h: unreadable"},
		{in: "redis://:x@y/hunter2@h", err: "redis://***@h: unreadable"},
		{in: "redis://:hunter2 @h", err: "redis://***@h: unreadable"},
	} {
		src, err := NewSource(Config{URL: tt.in, Pattern: "notifications:*"})
		switch {
		case tt.err == "" && err != nil:
			t.Errorf("NewSource(%q): %v", tt.in, err)
		case tt.err == "":
			if src.String() != tt.name {
				t.Errorf("NewSource(%q) = %v, want %s", tt.in, src, tt.name)
			}
			if err := src.Close(); err != nil {
				t.Error(err)
			}
		case err == nil || !strings.Contains(err.Error(), tt.err):
			t.Errorf("NewSource(%q) = %v, want an error with %q", tt.in, err, tt.err)
		case strings.Contains(err.Error(), "hunter2"):
			t.Errorf("NewSource(%q): the password is in %q", tt.in, err)
		}
	}
	if _, err := NewSource(Config{URL: "redis://h"}); err == nil {
		t.Error("no error without a pattern")
	}
}

// A server that knows no AUTH sends its arguments back.
func TestPasswordStaysOutOfTexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rs := runRedis(t, Config{URL: "redis://:hunter2@peer"}, dialling(func(_ int, p peer) {
			for cmd := p.command(); cmd != nil; cmd = p.command() {
				p.say("-ERR unknown command, with args beginning with: " + strings.Join(cmd, " ") + "\r\n")
			}
		}, nil))
		line := rs.log.wait(t, "redis link down, trying again")
		if reason := fmt.Sprint(line["reason"]); !strings.Contains(reason, "auth ***") {
			t.Errorf("reason = %q, want it without the password", reason)
		}
		_, err := rs.Source.Publish(t.Context(), "notifications:a", "x")
		if err == nil {
			t.Error("Publish without AUTH = nil")
		}
		for _, s := range []string{rs.log.String(), rs.Stats().LastError, rs.String(), fmt.Sprint(err)} {
			if strings.Contains(s, "hunter2") {
				t.Errorf("the password is in %q", s)
			}
		}
		rs.end(t)
	})
}

func TestHears(t *testing.T) {
	t.Parallel()
	mini := miniredis.RunT(t)
	rs := runRedis(t, Config{URL: "redis://" + mini.Addr() + "/7"})
	rs.waitUp(t)
	rs.wantLost(t) // whoever subscribed before has waited in vain
	rs.publish(t, "notifications:user:42", `{"title":"hi"}`)
	rs.wantNext(t, "notifications:user:42", `{"title":"hi"}`)
	n, err := rs.Source.Publish(t.Context(), "elsewhere", "x")
	if n != 0 || err != nil {
		t.Errorf("Publish(elsewhere) = %d, %v, want 0 receivers", n, err)
	}
	rs.publish(t, "notifications:", "four")
	rs.wantNext(t, "notifications:", "four")
	rs.wantNothing(t)
	if st := rs.Stats(); st != (Stats{Messages: 2, Bytes: 18, Up: true}) {
		t.Errorf("Stats = %+v", st)
	}
}

func TestWrongPassword(t *testing.T) {
	t.Parallel()
	mini := miniredis.RunT(t)
	mini.RequireAuth("right-hunter2")
	rs := runRedis(t, Config{URL: "redis://:wrong-hunter2@" + mini.Addr(), MaxRetry: 20 * time.Millisecond, MinRetry: 5 * time.Millisecond})
	line := rs.log.wait(t, "redis link down, trying again")
	if reason := fmt.Sprint(line["reason"]); !strings.Contains(reason, "WRONGPASS") {
		t.Errorf("reason = %q, want WRONGPASS", reason)
	}
	eventually(t, "it tries again", func() bool { return mini.TotalConnectionCount() > 5 })
	rs.end(t)
	if n := strings.Count(rs.log.String(), "\n"); n != 1 {
		t.Errorf("%d log lines, want 1:\n%s", n, rs.log)
	}
	if strings.Contains(rs.log.String(), "hunter2") {
		t.Errorf("the password is in the log:\n%s", rs.log)
	}
	rs.wantNothing(t)
}

func TestOverTLS(t *testing.T) {
	t.Parallel()
	mini := miniredis.NewMiniRedis()
	if err := mini.StartTLS(&tls.Config{Certificates: []tls.Certificate{selfSigned(t)}, MinVersion: tls.VersionTLS12}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mini.Close)

	rs := runRedis(t, Config{URL: "rediss://" + mini.Addr() + "?skip_verify=true"})
	rs.waitUp(t)
	rs.wantLost(t)
	rs.publish(t, "notifications:a", "over TLS")
	rs.wantNext(t, "notifications:a", "over TLS")

	distrustful := runRedis(t, Config{URL: "rediss://" + mini.Addr()})
	line := distrustful.log.wait(t, "redis link down, trying again")
	if reason := fmt.Sprint(line["reason"]); !strings.Contains(reason, "x509") {
		t.Errorf("reason = %q, want one of x509", reason)
	}
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(crand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{cert}, PrivateKey: key}
}

func TestPayloads(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rs := runRedis(t, Config{URL: server.URL()})
	rs.waitUp(t)
	rs.wantLost(t)
	for _, payload := range []string{
		"", "\x00\x00", "\xff\xfe not UTF-8 \xc3", "\r\n*1\r\n$4\r\nPING\r\n", "-ERR looks like one\r\n",
		strings.Repeat("0123456789abcdef", 1<<16), "\u2028 and 💥", "last",
	} {
		rs.publish(t, "notifications:\xffodd\r\n", payload)
		rs.wantNext(t, "notifications:\xffodd\r\n", payload)
	}
	if st := rs.Stats(); st.Unexpected != 0 || st.Reconnects != 0 || st.Messages != 8 {
		t.Errorf("Stats = %+v", st)
	}
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rs := runRedis(t, Config{URL: "unix://" + server.Socket()})
	rs.waitUp(t)
	rs.wantLost(t)
	rs.publish(t, "notifications:a", "by file")
	rs.wantNext(t, "notifications:a", "by file")
}

func TestAbsentAtStart(t *testing.T) {
	t.Parallel()
	server := redistest.Reserve(t)
	rs := runRedis(t, Config{URL: server.URL()})
	rs.waitDown(t)
	if st := rs.Stats(); st.Up || !strings.Contains(st.LastError, "refused") || st.LostAt.IsZero() {
		t.Errorf("Stats = %+v", st)
	}
	if _, err := rs.Source.Publish(t.Context(), "notifications:a", "x"); err == nil {
		t.Error("Publish without a Redis = nil")
	}
	server.Restart()
	began := time.Now()
	rs.wantLost(t)
	wantWithin(t, "up after Redis has come", began, time.Second)
	rs.waitUp(t)
	rs.publish(t, "notifications:a", "x")
	rs.wantNext(t, "notifications:a", "x")
}

// A client that is killed is back before a person could look, and says that it was away.
func TestClientKilled(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rs := runRedis(t, Config{URL: server.URL()})
	rs.waitUp(t)
	rs.wantLost(t)
	client := redisClient(t, server.URL())
	for i := range 3 {
		began := time.Now()
		if n, err := client.Do(t.Context(), "client", "kill", "type", "pubsub").Int(); n != 1 || err != nil {
			t.Fatalf("CLIENT KILL = %d, %v", n, err)
		}
		rs.wantLost(t)
		wantWithin(t, "back after CLIENT KILL", began, time.Second)
		rs.waitUp(t)
		rs.publish(t, "notifications:a", "x")
		rs.wantNext(t, "notifications:a", "x")
		if n := rs.Stats().Reconnects; n != uint64(i+1) {
			t.Errorf("Reconnects = %d, want %d", n, i+1)
		}
	}
	// Three losses, three links healed, and no second subscription left behind.
	if n := client.PubSubNumPat(t.Context()).Val(); n != 1 {
		t.Errorf("%d patterns at Redis, want 1", n)
	}
}

func TestKilledAndBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rs := runRedis(t, Config{URL: server.URL()})
	rs.waitUp(t)
	rs.wantLost(t)
	for range 2 {
		began := time.Now()
		server.Kill()
		rs.waitDown(t)
		wantWithin(t, "kill -9 noticed", began, time.Second)
		server.Restart()
		began = time.Now()
		rs.wantLost(t)
		wantWithin(t, "back after Redis", began, time.Second)
		rs.waitUp(t)
		rs.publish(t, "notifications:a", "x")
		rs.wantNext(t, "notifications:a", "x")
	}
}

// Stopped, Redis looks alive to the kernel: connections open, bytes are taken.
func TestStopped(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rs := runRedis(t, Config{URL: server.URL()})
	rs.waitUp(t)
	rs.wantLost(t)
	client := redisClient(t, server.URL())
	server.Stop()
	began := time.Now()
	rs.waitDown(t)
	wantWithin(t, "SIGSTOP noticed", began, 3*time.Second)

	began = time.Now()
	if _, err := rs.Source.Publish(t.Context(), "notifications:a", "x"); err == nil {
		t.Error("Publish to a stopped Redis = nil")
	}
	wantWithin(t, "Publish given up", began, 2500*time.Millisecond)

	server.Continue()
	began = time.Now()
	rs.wantLost(t)
	wantWithin(t, "back after SIGCONT", began, 2*time.Second)
	rs.waitUp(t)
	eventually(t, "one subscription is left", func() bool { return client.PubSubNumPat(t.Context()).Val() == 1 })
	if n := rs.log.downs(); n != 1 {
		t.Errorf("%d lines about the loss, want 1:\n%s", n, rs.log)
	}
}

func TestBehindFailingNetwork(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		fail   func(*redistest.Proxy)
		notice time.Duration
	}{
		{"black hole", func(p *redistest.Proxy) { p.Set(redistest.Blackhole) }, 3 * time.Second},
		{"refuse", func(p *redistest.Proxy) { p.Set(redistest.Refuse) }, time.Second},
		{"reset", func(p *redistest.Proxy) { p.Set(redistest.Reset) }, time.Second},
		{"cut", (*redistest.Proxy).Cut, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			proxy := redistest.NewProxy(t, server.Addr())
			rs := runRedis(t, Config{URL: proxy.URL()})
			rs.waitUp(t)
			rs.wantLost(t)
			client := redisClient(t, server.URL())

			tt.fail(proxy)
			began := time.Now()
			rs.waitDown(t)
			wantWithin(t, tt.name+" noticed", began, tt.notice)
			before := proxy.Accepted()
			if tt.name == "black hole" || tt.name == "reset" {
				eventually(t, "it tries again", func() bool { return proxy.Accepted() > before+1 })
			}
			proxy.Set(redistest.Pass)
			began = time.Now()
			rs.wantLost(t)
			wantWithin(t, "back after "+tt.name, began, 2*time.Second)
			rs.waitUp(t)
			if err := client.Publish(t.Context(), "notifications:a", "x").Err(); err != nil {
				t.Fatal(err)
			}
			rs.wantNext(t, "notifications:a", "x")
			rs.wantNothing(t)
			if n := rs.Stats().Reconnects; n != 1 {
				t.Errorf("Reconnects = %d, want 1", n)
			}
		})
	}
}

// The feeder never blocks; if it did, Redis would cut the link, and that must be told too.
func TestCutAsSlow(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--client-output-buffer-limit", "pubsub", "256kb", "0", "0")
	gate := make(chan struct{})
	rs := runRedis(t, Config{URL: server.URL()}, func(rs *running) { rs.gate = gate })
	rs.waitUp(t)
	rs.wantLost(t)
	client := redisClient(t, server.URL())
	payload := strings.Repeat("x", 64<<10)
	sent := 0
	for receivers := int64(1); receivers > 0; sent++ { // until the kernel's buffers and Redis's are full
		var err error
		if receivers, err = client.Publish(t.Context(), "notifications:a", payload).Result(); err != nil {
			t.Fatal(err)
		}
	}
	close(gate)
	got := 0
	for h := rs.next(t); !h.lost; h = rs.next(t) {
		got++
	}
	if got == 0 || got >= sent {
		t.Errorf("heard %d of %d before Lost", got, sent)
	}
	rs.waitUp(t)
	rs.publish(t, "notifications:a", "x")
	rs.wantNext(t, "notifications:a", "x")
}

// While publications keep the link busy nothing is pinged to death, and order holds.
func TestBusyLink(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rs := runRedis(t, Config{URL: server.URL(), Quiet: 20 * time.Millisecond})
	rs.waitUp(t)
	rs.wantLost(t)
	client := redisClient(t, server.URL())
	const batches, size = 40, 500
	for i := range batches {
		_, err := client.Pipelined(t.Context(), func(p goredis.Pipeliner) error {
			for j := range size {
				p.Publish(t.Context(), "notifications:n", strconv.Itoa(i*size+j))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range batches * size {
		rs.wantNext(t, "notifications:n", strconv.Itoa(i))
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, user, reason string
		args               []string
		allow              []any // the command that ends the refusal
	}{
		{"no password", "", "NOAUTH", []string{"--requirepass", "hunter2"}, []any{"config", "set", "requirepass", ""}},
		{"wrong password", ":wrong@", "WRONGPASS", []string{"--requirepass", "hunter2"}, []any{"config", "set", "requirepass", "wrong"}},
		{
			"pattern", "bell:hunter2@", "NOPERM", strings.Fields("--requirepass hunter2 --user bell on >hunter2 resetchannels &other:* +@all"),
			[]any{"acl", "setuser", "bell", "&notifications:*"},
		},
		{
			"psubscribe", "bell:hunter2@", "NOPERM", strings.Fields("--requirepass hunter2 --user bell on >hunter2 allchannels -@all"),
			[]any{"acl", "setuser", "bell", "+psubscribe"}, // not even PING: an error is an answer too
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, tt.args...)
			rs := runRedis(t, Config{URL: "redis://" + tt.user + server.Addr(), Quiet: 50 * time.Millisecond})
			line := rs.log.wait(t, "redis link down, trying again")
			if reason := fmt.Sprint(line["reason"]); !strings.Contains(reason, tt.reason) {
				t.Errorf("reason = %q, want %s", reason, tt.reason)
			}
			admin := redisClient(t, "redis://:hunter2@"+server.Addr())
			if err := admin.Do(t.Context(), tt.allow...).Err(); err != nil {
				t.Fatal(err)
			}
			rs.wantLost(t)
			rs.waitUp(t)
			if err := admin.Publish(t.Context(), "notifications:a", "x").Err(); err != nil {
				t.Fatal(err)
			}
			rs.wantNext(t, "notifications:a", "x")
			<-time.After(2 * silentReads * 50 * time.Millisecond) // as long as an unanswered link would live, twice
			if st := rs.Stats(); !st.Up || st.Reconnects != 0 {
				t.Errorf("Stats = %+v, want it up throughout", st)
			}
			if n := rs.log.downs(); n != 1 {
				t.Errorf("%d lines about the refusal, want 1:\n%s", n, rs.log)
			}
			if strings.Contains(rs.log.String(), "hunter2") {
				t.Errorf("the password is in the log:\n%s", rs.log)
			}
		})
	}
}

// A Redis that comes back with another password: the first reason alone would mislead.
func TestRefusesAfterOutage(t *testing.T) {
	t.Parallel()
	server := redistest.Reserve(t, "--requirepass", "hunter2")
	rs := runRedis(t, Config{URL: server.URL()})
	rs.waitDown(t)
	server.Restart()
	line := rs.log.wait(t, "redis refuses the subscription, trying again")
	if reason := fmt.Sprint(line["reason"]); !strings.Contains(reason, "NOAUTH") {
		t.Errorf("reason = %q, want NOAUTH", reason)
	}
}

func TestRunEndsWhateverRedisDoes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	for _, tt := range []struct {
		name string
		mode redistest.Mode
	}{
		{"pass", redistest.Pass}, {"black hole", redistest.Blackhole}, {"refuse", redistest.Refuse},
	} {
		proxy.Set(tt.mode)
		rs := runRedis(t, Config{URL: proxy.URL()})
		if tt.mode == redistest.Pass {
			rs.waitUp(t)
		} else {
			rs.waitDown(t)
		}
		if d := rs.end(t); d > time.Second {
			t.Errorf("%s: Run took %v to return", tt.name, d)
		}
	}
}

func wantWithin(t *testing.T, what string, began time.Time, limit time.Duration) {
	t.Helper()
	d := time.Since(began)
	t.Logf("%s: %v", what, d.Round(time.Millisecond))
	if d > limit {
		t.Errorf("%s: %v, want at most %v", what, d, limit)
	}
}

// BenchmarkHear is the whole way of a publication from the socket (loopback TCP) to the sink.
func BenchmarkHear(b *testing.B) {
	for _, size := range []int{16, 256, 4096} {
		b.Run(fmt.Sprintf("payload=%d", size), func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer ignore(l.Close)
			go func() {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer ignore(conn.Close)
				if p := (peer{Conn: conn, in: bufio.NewReader(conn)}); p.subscribe() {
					chunk := []byte(strings.Repeat(pmessage("notifications:user:42", strings.Repeat("x", size)), 256))
					for err == nil {
						_, err = conn.Write(chunk)
					}
				}
			}()
			src, err := NewSource(Config{
				URL: "redis://" + l.Addr().String(), Pattern: "notifications:*", Log: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				b.Fatal(err)
			}
			defer ignore(src.Close)
			ctx, cancel := context.WithCancel(b.Context())
			sink := &countdown{left: b.N, done: cancel}
			b.ReportAllocs()
			b.SetBytes(int64(size))
			b.ResetTimer()
			if err := src.Run(ctx, sink); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// countdown is a [fanout.Sink] that calls done at the last of left publications.
type countdown struct {
	left int
	done func()
}

func (c *countdown) Publish(string, string) {
	if c.left--; c.left == 0 {
		c.done()
	}
}

func (*countdown) Lost(...string)      {}
func (*countdown) Settled(string)      {}
func (*countdown) Flush()              {}
func (c *countdown) Fork() fanout.Sink { return c }
