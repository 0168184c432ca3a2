package abuse

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillon-ws/carillon/gateway/gatewaytest"
	"github.com/carillon-ws/carillon/protocol"
)

// told is what a client was told when the gateway stopped.
type told struct {
	after time.Duration // since SIGTERM
	retry int           // milliseconds
}

// drained sends SIGTERM. Every client waits for its 1012.
func (g *target) drained(t *testing.T, clients []*gatewaytest.Client) []told {
	t.Helper()
	all := make([]told, len(clients))
	began := time.Now()
	g.Signal(syscall.SIGTERM)
	each(t, len(clients), func(i int) error {
		closed, err := clients[i].AwaitClose()
		if err != nil {
			return err
		}
		all[i].after = time.Since(began)
		ms, ok := strings.CutPrefix(closed.Reason, "retry=")
		if closed.Code != protocol.CloseServiceRestart || !ok {
			return closed
		}
		if all[i].retry, err = strconv.Atoi(ms); err != nil {
			return err
		}
		return clients[i].Close()
	})
	return all
}

func TestT28RestartHerd(t *testing.T) {
	t.Parallel()
	n, drain := 500, 2*time.Second
	if *full {
		n, drain = 10_000, 10*time.Second
	}
	t.Run("end-drain", func(t *testing.T) {
		g := attacked(t, "-drain", drain.String())
		clients := g.crowd(t, n)
		newcomer := make(chan error, 1)
		go func() { newcomer <- g.turnedAway() }()
		own := longestBeat(t)
		all := g.drained(t, clients)
		late := own()
		if err := <-newcomer; err != nil {
			t.Errorf("a newcomer: %v", err)
		}
		if status := g.ExitStatus(10 * time.Second); status != 0 {
			t.Errorf("exit status %d: %s", status, g.Log())
		}
		judgeDrain(t, all, drain, late)
	})
	t.Run("end-drain-second-signal", func(t *testing.T) {
		g := attacked(t, "-drain", "1m")
		clients := g.crowd(t, 50)
		g.Signal(syscall.SIGTERM)
		if err := g.turnedAway(); err != nil {
			t.Errorf("a newcomer: %v", err)
		}
		began := time.Now()
		g.Signal(syscall.SIGTERM)
		g.ExitStatus(10 * time.Second)
		if took := time.Since(began); tooLate(took, answerWithin) {
			t.Errorf("after the second signal it left in %v", took)
		}
		for _, c := range clients {
			_ = c.Close()
		}
	})
	// Sockets that connect during the drain and send nothing must not count as clients that were told: the last client is
	// told too. It is the bystander, whose pings are answered until then.
	t.Run("end-drain-knocks", func(t *testing.T) {
		g := attacked(t, "-loops", "1", "-drain", "1s")
		first := g.crowd(t, 1)
		silent := make([]*gatewaytest.Client, scale(100, 1000))
		open := func(i int) (err error) {
			silent[i], err = gatewaytest.Connect(g.Addr)
			return err
		}
		each(t, len(silent), open)
		g.awaitSockets(t, 1+float64(len(silent)))
		b := g.bystand(t)          // its slot is far from that of the first
		for _, c := range silent { // their slots are free, and lie before the bystander's
			_ = c.Close()
		}
		g.awaitSockets(t, 2)
		knocked := make(chan error, 1)
		go func() {
			if err := g.turnedAway(); err != nil { // it drains
				knocked <- err
				return
			}
			for i := range silent {
				if err := open(i); err != nil {
					knocked <- err
					return
				}
			}
			knocked <- nil
		}()
		g.drained(t, first)
		var closed *gatewaytest.CloseError
		if err := <-b.ended; !errors.As(err, &closed) || closed.Code != protocol.CloseServiceRestart {
			t.Errorf("the bystander: %v, want %d", err, protocol.CloseServiceRestart)
		}
		if err := <-knocked; err != nil {
			t.Error(err)
		}
		for _, c := range silent {
			if c != nil {
				_ = c.Close()
			}
		}
		if status := g.ExitStatus(10 * time.Second); status != 0 {
			t.Errorf("exit status %d: %s", status, g.Log())
		}
	})
	// During -drain-delay only /readyz changes.
	t.Run("end-drain-delay", func(t *testing.T) {
		g := attacked(t, "-drain-delay", "1h", "-drain", "1h")
		b := g.bystand(t)
		g.Signal(syscall.SIGTERM)
		g.AwaitStatus("/readyz", http.StatusServiceUnavailable)
		if n := g.Metric("ws_draining"); n != 0 {
			t.Errorf("ws_draining is %v", n)
		}
		if err := g.serves(); err != nil { // a newcomer
			t.Error(err)
		}
		if status, body, err := gatewaytest.Get(g.Admin + "/livez"); err != nil || status != http.StatusOK {
			t.Errorf("/livez: %d %s %v", status, body, err)
		}
		b.leave(t)
		began := time.Now()
		g.Signal(syscall.SIGTERM)
		if status := g.ExitStatus(10 * time.Second); status != 128+int(syscall.SIGTERM) {
			t.Errorf("exit status %d after the second signal", status)
		}
		if took := time.Since(began); tooLate(took, answerWithin) {
			t.Errorf("after the second signal it left in %v", took)
		}
	})
	// Load balancers see the drain in /readyz, and operators in ws_draining.
	t.Run("end-drain-readiness", func(t *testing.T) {
		g := attacked(t, "-drain", "1m") // until the clients leave
		clients := g.crowd(t, 50)
		g.Signal(syscall.SIGTERM)
		if err := g.turnedAway(); err != nil {
			t.Errorf("a newcomer: %v", err)
		}
		if status, body, err := gatewaytest.Get(g.Admin + "/readyz"); err != nil || status != http.StatusServiceUnavailable {
			t.Fatalf("/readyz while the gateway drains: %d %s %v", status, body, err)
		}
		if n := g.Metric("ws_draining"); n != 1 {
			t.Errorf("ws_draining is %v", n)
		}
		for _, c := range clients {
			_ = c.Close()
		}
		if status := g.ExitStatus(10 * time.Second); status != 0 {
			t.Errorf("exit status %d: %s", status, g.Log())
		}
	})
	// Clients that are not told yet still get what is published.
	t.Run("end-drain-publications", func(t *testing.T) {
		g := attacked(t, "-drain", "1m") // until the clients leave
		clients := g.crowd(t, 50)
		options, err := redis.ParseURL(g.Redis)
		if err != nil {
			t.Fatal(err)
		}
		publisher := redis.NewClient(options)
		defer publisher.Close() //nolint:errcheck // it is not needed any more
		g.Signal(syscall.SIGTERM)
		if err := g.turnedAway(); err != nil {
			t.Errorf("a newcomer: %v", err)
		}
		if n, err := publisher.Publish(t.Context(), protocol.RedisPrefix+"user:1", "late").Result(); err != nil || n != 1 {
			t.Errorf("a publication during the drain reaches %d gateways, %v", n, err)
		}
		for _, c := range clients {
			_ = c.Close()
		}
	})
}

// awaitSockets waits until the gateway has so many sockets.
func (g *target) awaitSockets(t *testing.T, want float64) {
	t.Helper()
	gatewaytest.Eventually(t, gatewaytest.Patience, "the sockets are not those", func() bool {
		return g.Metric("ws_sockets_active") == want
	})
}

// turnedAway connects again and again until the answer is 503 with Retry-After, as for a new client during the drain.
func (g *target) turnedAway() error {
	for began := time.Now(); time.Since(began) < gatewaytest.Patience; {
		k := knock(g.Addr)
		switch {
		case k.c != nil: // SIGTERM is still on its way
			_ = k.c.Close()
		case k.refused != nil && k.refused.Status == http.StatusServiceUnavailable && k.refused.RetryAfter != "":
			return nil
		case k.refused != nil:
			return k.refused
		default:
			return k.cut
		}
	}
	return errors.New("is served all the time")
}

// longestBeat measures the delays of the machine itself. The function that it returns ends that and returns the longest.
func longestBeat(t *testing.T) func() time.Duration {
	t.Helper()
	m := newMetronome(t)
	done, longest := make(chan struct{}), make(chan time.Duration)
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		worst, last := time.Duration(0), time.Now()
		for {
			select {
			case <-tick.C:
				_, _ = m.beat() // without a metronome no delay is found, and the test may only be too strict
				worst, last = max(worst, time.Since(last)), time.Now()
			case <-done:
				longest <- worst
				return
			}
		}
	}()
	return func() time.Duration {
		close(done)
		return <-longest
	}
}

// judgeDrain wants the closes spread evenly over the window, and each with a retry= of its own. late is the longest delay of
// the machine itself: if it is more than half a part of the histogram, the spread cannot be judged.
func judgeDrain(t *testing.T, all []told, drain, late time.Duration) {
	t.Helper()
	bins := scale(4, 10) // the machine may delay the gateway and not the metronome, but hardly for half a second
	histogram := make([]int, bins)
	own, sum := map[int]bool{}, 0
	window := max(drain, 5*time.Second) // after a short drain the retry= are spread over more than the drain
	for _, c := range all {
		histogram[min(bins-1, int(c.after*time.Duration(bins)/drain))]++
		own[c.retry] = true
		sum += c.retry
		if c.retry < 0 || c.retry >= int(window.Milliseconds()) {
			t.Errorf("retry=%d is outside of %v", c.retry, window)
		}
		if c.after > drain+timerSlack+late {
			t.Errorf("one was told after %v", c.after)
		}
	}
	t.Logf("closes in each part of %v: %v; the machine's own delays reached %v", drain, histogram, late)
	for i, got := range histogram {
		if late > drain/time.Duration(2*bins) {
			break
		}
		// A busy machine moves some to the next part.
		if even := len(all) / bins; got < even*5/10 || got > even*15/10 {
			t.Errorf("%d closes in part %d, want about %d", got, i+1, even)
		}
	}
	if len(own) < min(len(all), int(window.Milliseconds()))/2 {
		t.Errorf("%d clients were told to return at %d moments only", len(all), len(own))
	}
	if mean, even := sum/len(all), int(window.Milliseconds())/2; mean < even*8/10 || mean > even*12/10 {
		t.Errorf("clients return after %d ms in the mean, want about %d", mean, even)
	}
}

func TestT29ExposedInternals(t *testing.T) {
	t.Parallel()
	g := attacked(t)
	paths := []string{
		"/metrics", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/profile", "/debug/vars", "/livez", "/readyz", "/publish/user:1",
		"/disconnect", "/health", "/admin", "/index.html", "/ws/../metrics", "/ws/", "//ws", "/ws/metrics", "/.git/config", "/..%2fmetrics",
	}
	g.withstands(t, "hs-internals", 8*mib, func(t *testing.T) {
		for _, path := range paths {
			for _, head := range []string{
				"GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
				strings.Replace(gatewaytest.Head(), "/ws", path, 1),
			} {
				wantStatus(t, g.Addr, path, head, http.StatusNotFound)
			}
			wantStatus(t, g.Addr, "POST "+path, "POST "+path+" HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n", http.StatusNotFound, http.StatusMethodNotAllowed)
		}
		for _, path := range []string{"/metrics", "/debug/pprof/"} { // the paths of the admin listener
			if status, _, err := gatewaytest.Get(g.Admin + path); err != nil || status != http.StatusOK {
				t.Errorf("%s of the admin listener: status %d, %v", path, status, err)
			}
		}
	})
}

func TestT30SubscriptionAuthorization(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key, other := filepath.Join(dir, "key"), filepath.Join(dir, "other")
	for path, secret := range map[string]string{key: "0123456789abcdef0123456789abcdef", other: "fedcba9876543210fedcba9876543210"} {
		if err := os.WriteFile(path, []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mint := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(binary, append([]string{"token"}, args...)...).Output()
		if err != nil {
			t.Fatalf("gateway token %v: %v", args, err)
		}
		return strings.TrimSpace(string(out))
	}
	rights := []string{"-channels", "user:{sub}"}
	ann := mint(append([]string{"-key", key, "-sub", "ann"}, rights...)...)
	bob := mint(append([]string{"-key", key, "-sub", "bob"}, rights...)...)
	forged := mint(append([]string{"-key", other, "-sub", "ann"}, rights...)...)
	broad := mint("-key", key, "-sub", "by", "-channels", "*")
	bearer := func(token string) string { return "Authorization: Bearer " + token }
	// A token without a signature: its header says alg none.
	head, claims, _ := strings.Cut(ann, ".")
	claims, _, _ = strings.Cut(claims, ".")
	unsigned := "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0." + claims + "."

	g := attacked(t, "-jwt-secret", key)
	g.head = []string{bearer(broad)} // the bystander's
	g.withstands(t, "auth-handshake", 8*mib, func(t *testing.T) {
		for name, line := range map[string]string{
			"no token": "X-Nothing: here", "forged": bearer(forged), "unsigned": bearer(unsigned), "no signature": bearer(head + "." + claims + "."),
			"garbage": bearer("garbage"), "empty": "Authorization: Bearer ", "basic": "Authorization: Basic " + ann, "two": bearer(ann) + "\r\n" + bearer(forged),
			"cut": bearer(ann[:len(ann)-4]),
		} {
			wantStatus(t, g.Addr, name, gatewaytest.Head(line), http.StatusUnauthorized, http.StatusBadRequest)
		}
		// A browser cannot read a status: a client that offers carillon.v1 is upgraded, and gets a close code.
		c, err := gatewaytest.Connect(g.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close() //nolint:errcheck // it has ended
		if err := c.Say(gatewaytest.Head("Sec-WebSocket-Protocol: carillon.v1, bearer." + forged)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Response(); err != nil {
			t.Fatal(err)
		}
		if err := endsWith(c, time.Now(), 2*answerWithin, protocol.CloseBadToken); err != nil {
			t.Error(err)
		}
	})
	g.withstands(t, "auth-subscribe", 8*mib, func(t *testing.T) {
		a, b := gatewaytest.MustDial(t, g.Addr, bearer(ann)), gatewaytest.MustDial(t, g.Addr, "Sec-WebSocket-Protocol: carillon.v1, bearer."+bob)
		if err := errors.Join(a.Subscribe("user:ann"), b.Subscribe("user:bob")); err != nil {
			t.Fatal(err)
		}
		for _, channel := range []string{"user:bob", "notifications:user:bob", "user:*", "*", "user:", "user:ann:x", "user:ANN", "user:{sub}", "secret"} {
			if err := a.Send(`{"type":"subscribe","channel":"` + channel + `"}`); err != nil {
				t.Fatal(err)
			}
			if m, err := a.Message(); err != nil || m.Type != "error" || m.Code != "forbidden" {
				t.Errorf("ann subscribes to %s: %+v, %v, want forbidden", channel, m, err)
			}
		}
		if err := errors.Join(g.Publish("user:bob", "for bob"), hears(b, "user:bob", "for bob")); err != nil {
			t.Fatal(err)
		}
		if err := a.Ping(); err != nil { // the answer would come after a notification that is not for her
			t.Errorf("ann: %v", err)
		}
		// With the token of another user in band she does not become that user.
		if err := a.Send(`{"type":"auth","token":"` + bob + `"}`); err != nil {
			t.Fatal(err)
		}
		m, err := a.Message()
		var closed *gatewaytest.CloseError
		if errors.As(err, &closed) && closed.Code == protocol.CloseForbidden {
			return
		}
		if err != nil || m.Type != "error" {
			t.Errorf("ann shows bob's token: %+v, %v", m, err)
		}
	})
	t.Run("auth-expiry", func(t *testing.T) {
		short := mint(append([]string{"-key", key, "-sub", "ann", "-ttl", "2s"}, rights...)...)
		c := gatewaytest.MustDial(t, g.Addr, bearer(short))
		closed, err := c.AwaitClose()
		if err != nil || closed.Code != protocol.CloseTokenExpired {
			t.Errorf("an expired token: %v, %v, want %d", closed, err, protocol.CloseTokenExpired)
		}
		wantStatus(t, g.Addr, "expired", gatewaytest.Head(bearer(short)), http.StatusUnauthorized)
	})
}
