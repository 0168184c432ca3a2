package redistest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/fanout/fanouttest"
)

// patience is how long servers may take to agree; it takes a second or two, and here machines are shared.
const patience = 60 * time.Second

// MasterName is the name by which the Sentinels of [StartSentinel] know the master.
const MasterName = "main"

// Watched is a master with one replica, and three Sentinels that watch them.
type Watched struct {
	Master, Replica *Server // at the start
	Sentinels       []*Server
	tb              testing.TB
}

// StartSentinel starts the five processes. A master that does not answer for a second is replaced.
func StartSentinel(tb testing.TB) *Watched {
	tb.Helper()
	return StartSentinelWithPasswords(tb, "", "")
}

// StartSentinelWithPasswords is StartSentinel with a password for master and replica, and one for the Sentinels.
func StartSentinelWithPasswords(tb testing.TB, pass, sentinelPass string) *Watched {
	tb.Helper()
	var args []string
	conf := ""
	if pass != "" {
		args = []string{"--requirepass", pass, "--masterauth", pass}
		conf = fmt.Sprintf("sentinel auth-pass %s %s\n", MasterName, pass)
	}
	if sentinelPass != "" {
		conf += fmt.Sprintf("requirepass %s\n", sentinelPass)
	}
	w := &Watched{tb: tb, Master: startAnnounced(tb, args)}
	host, port := split(tb, w.Master.Addr())
	w.Replica = startAnnounced(tb, append([]string{"--replicaof", host + " " + port}, args...))
	w.Master.pass, w.Replica.pass = pass, pass
	w.eventually("the replica is linked", func() bool { return strings.Contains(w.Replica.Do("INFO", "replication"), "master_link_status:up") })
	for range 3 {
		s := Reserve(tb)
		s.pass = sentinelPass
		own, ownPort := split(tb, s.Addr())
		s.conf = filepath.Join(s.dir, "sentinel.conf")
		text := fmt.Sprintf("bind %s\nport %s\ndir %s\nsentinel announce-ip %s\nsentinel announce-port %s\n"+
			"sentinel monitor %s %s %s 2\nsentinel down-after-milliseconds %s 1000\nsentinel failover-timeout %s 4000\n",
			own, ownPort, s.dir, own, ownPort, MasterName, host, port, MasterName, MasterName) + conf
		if err := os.WriteFile(s.conf, []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
		s.Restart()
		w.Sentinels = append(w.Sentinels, s)
	}
	w.eventually("the Sentinels know each other and the replica", func() bool {
		for _, s := range w.Sentinels {
			if master := s.Do("SENTINEL", "MASTER", MasterName); field(master, "num-other-sentinels") != "2" || field(master, "num-slaves") != "1" {
				return false
			}
		}
		return true
	})
	return w
}

// startAnnounced starts a server that tells others its address: they would see the source of its connections.
func startAnnounced(tb testing.TB, args []string) *Server {
	tb.Helper()
	s := Reserve(tb)
	host, port := split(tb, s.Addr())
	s.args = append([]string{"--replica-announce-ip", host, "--replica-announce-port", port, "--repl-diskless-sync-delay", "0"}, args...)
	s.Restart()
	return s
}

// URL is for the Sentinels, as redis+sentinel://.
func (w *Watched) URL() string {
	return fmt.Sprintf("redis+sentinel://%s?master_name=%s&addr=%s&addr=%s",
		w.Sentinels[0].Addr(), MasterName, w.Sentinels[1].Addr(), w.Sentinels[2].Addr())
}

// WaitMaster waits until most Sentinels name s as the master.
func (w *Watched) WaitMaster(s *Server) {
	w.tb.Helper()
	w.eventually("the Sentinels name another master", func() bool {
		agree := 0
		for _, sentinel := range w.Sentinels {
			master := sentinel.Do("SENTINEL", "MASTER", MasterName)
			if net.JoinHostPort(field(master, "ip"), field(master, "port")) == s.Addr() {
				agree++
			}
		}
		return agree > len(w.Sentinels)/2
	})
}

func (w *Watched) eventually(what string, holds func() bool) {
	w.tb.Helper()
	fanouttest.Eventually(w.tb, patience, what, holds)
}

// field finds a field of redis-cli's raw answer: names and values by turns, a line each.
func field(answer, name string) string {
	lines := strings.Split(answer, "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		if lines[i] == name {
			return lines[i+1]
		}
	}
	return ""
}

func split(tb testing.TB, addr string) (host, port string) {
	tb.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		tb.Fatal(err)
	}
	return host, port
}

// Sharing is a Cluster: three masters, and a replica of each.
type Sharing struct {
	Masters, Replicas []*Server // at the start; Replicas[i] is of Masters[i]
	tb                testing.TB
}

// The first and last slot of each master.
var ranges = [3][2]int{{0, 5460}, {5461, 10922}, {10923, 16383}}

// StartCluster starts the six processes. A master that does not answer for two seconds is replaced. args are added to
// their command lines.
func StartCluster(tb testing.TB, args ...string) *Sharing {
	tb.Helper()
	c := &Sharing{tb: tb}
	start := func() *Server {
		s := Reserve(tb)
		host, _ := split(tb, s.Addr())
		s.args = append([]string{
			"--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-announce-ip", host,
			"--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0",
		}, args...)
		s.Restart()
		return s
	}
	for i := range ranges {
		s := start()
		s.Do("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(ranges[i][0]), strconv.Itoa(ranges[i][1]))
		s.Do("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		c.Masters = append(c.Masters, s)
	}
	for range ranges {
		c.Replicas = append(c.Replicas, start())
	}
	host, port := split(tb, c.Masters[0].Addr())
	all := c.all()
	for _, s := range all[1:] {
		s.Do("CLUSTER", "MEET", host, port)
	}
	c.eventually("the nodes know each other", func() bool {
		for _, s := range all {
			if strings.Count(s.Do("CLUSTER", "NODES"), "connected") != len(all) || strings.Contains(s.Do("CLUSTER", "NODES"), "handshake") {
				return false
			}
		}
		return true
	})
	for i, s := range c.Replicas {
		s.Do("CLUSTER", "REPLICATE", c.Masters[i].Do("CLUSTER", "MYID"))
	}
	c.eventually("the Cluster is well", func() bool {
		for _, s := range all {
			if !strings.Contains(s.Do("CLUSTER", "INFO"), "cluster_state:ok") || strings.Count(s.Do("CLUSTER", "NODES"), "slave ") != len(c.Replicas) {
				return false
			}
		}
		for _, s := range c.Replicas {
			if !strings.Contains(s.Do("INFO", "replication"), "master_link_status:up") {
				return false
			}
		}
		return true
	})
	return c
}

func (c *Sharing) all() []*Server { return append(append([]*Server(nil), c.Masters...), c.Replicas...) }

// URL is for the Cluster, as redis+cluster://.
func (c *Sharing) URL() string {
	return fmt.Sprintf("redis+cluster://%s?addr=%s&addr=%s", c.Masters[0].Addr(), c.Masters[1].Addr(), c.Masters[2].Addr())
}

// MoveSlots gives slots without keys to another master, as resharding does.
func (c *Sharing) MoveSlots(from, to *Server, slots ...int) {
	c.tb.Helper()
	source, target := from.Do("CLUSTER", "MYID"), to.Do("CLUSTER", "MYID")
	for _, slot := range slots {
		n := strconv.Itoa(slot)
		for _, answer := range []string{
			to.Do("CLUSTER", "SETSLOT", n, "IMPORTING", source),
			from.Do("CLUSTER", "SETSLOT", n, "MIGRATING", target),
			to.Do("CLUSTER", "SETSLOT", n, "NODE", target),
			from.Do("CLUSTER", "SETSLOT", n, "NODE", target),
		} {
			if answer != "OK" {
				c.tb.Fatalf("CLUSTER SETSLOT %s: %s", n, answer)
			}
		}
	}
}

// WaitOwner waits until the replica has become a master.
func (c *Sharing) WaitOwner(s *Server) {
	c.tb.Helper()
	c.eventually("the replica is promoted", func() bool { return strings.HasPrefix(s.Do("ROLE"), "master") })
}

func (c *Sharing) eventually(what string, holds func() bool) {
	c.tb.Helper()
	fanouttest.Eventually(c.tb, patience, what, holds)
}
