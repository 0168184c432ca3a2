package doctor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Setting is a kernel parameter with the value that a plan needs, and what it is now. scripts/tune-host.sh has the same
// table.
type Setting struct {
	Key    string
	Now    []uint64 // nil: it is not there, or not visible from here
	Want   []uint64 // what to set, field by field; equal to Now when that is enough
	Needed string   // for people: "at least 4096"

	severity    Status
	why, source string
	absent      string // why Now is nil
}

// Enough reports whether the kernel's value will do.
func (s Setting) Enough() bool { return slices.Equal(s.Now, s.Want) }

// Settings lists the kernel parameters that matter for a plan on this host.
func Settings(h Host, p Plan) []Setting {
	n := uint64(p.Connections)
	busy := n >= 50_000
	list := []Setting{
		atLeast("fs.nr_open", n*perProcess(p)+1024, Fail,
			"ceiling of any process's limit of open files; 1,024 covers what the gateway keeps for itself", "kernel admin-guide/sysctl/fs.rst"),
		atLeast("fs.file-max", 2*p.sockets()+100_000, Fail,
			"open files of the whole host: twice, because sockets that close linger while their clients return, and 100,000 for the rest", "kernel admin-guide/sysctl/fs.rst"),
		atLeast("fs.epoll.max_user_watches", n+n/8, Fail,
			"each connection is watched once, a slow one twice; small hosts default to less than a million", "kernel admin-guide/sysctl/fs.rst"),
		atLeast("net.core.somaxconn", choose(busy, 65_535, 4096), Warn,
			"accept queue of each loop: all clients may return within seconds; 65,535 is the most that counts", "kernel networking/ip-sysctl.rst; gnet takes it as its backlog"),
		atLeast("net.ipv4.tcp_max_syn_backlog", choose(busy, 65_536, 1024), Warn,
			"handshakes under way per listener", "kernel networking/ip-sysctl.rst"),
		atLeast("net.ipv4.tcp_syncookies", 1, Warn,
			"without the fallback a SYN flood keeps newcomers out", "kernel networking/ip-sysctl.rst"),
		atLeast("net.core.wmem_max", uint64(p.SendBuffer), Warn,
			"the kernel cuts -send-buffer down to it", "man 7 socket, SO_SNDBUF"),
		tcpMem(h, p),
		atLeast("net.netfilter.nf_conntrack_max", 2*p.sockets()+65_536, Fail,
			"a stateful firewall drops new clients beyond it; twice, because old entries outlive a reconnect by minutes. Better still: notrack the port", "kernel networking/nf_conntrack-sysctl.rst"),
		atLeast("net.netfilter.nf_conntrack_buckets", (2*p.sockets()+65_536)/4, Warn,
			"longer chains than four make every packet slower", "kernel networking/nf_conntrack-sysctl.rst"),
	}
	if swap, err := h.meminfo("SwapTotal"); err == nil && swap > 0 {
		list = append(list, atMost("vm.swappiness", 10, Warn,
			"a page that comes back from disk stops a loop and everyone on it", "kernel admin-guide/sysctl/vm.rst"))
	}
	if p.Proxy {
		list = append(list, portRange(n))
	}
	idle := !tracking(h)
	for i := range list {
		list[i].look(h)
		if idle && list[i].Key == "net.netfilter.nf_conntrack_max" {
			list[i].severity = Warn
			list[i].why += ". Nothing is tracked now: it counts once a rule asks for the state of a connection"
		}
	}
	return list
}

// tracking reports whether the firewall follows connections at present: the module may be there without a rule.
func tracking(h Host) bool {
	count, err := h.numbers(sysctlFile("net.netfilter.nf_conntrack_count"))
	return err == nil && count[0] > 0
}

// perProcess is how many files a connection takes in the process that needs most of them.
func perProcess(p Plan) uint64 { return choose(p.Proxy, 2, 1) }

func choose(which bool, yes, no uint64) uint64 {
	if which {
		return yes
	}
	return no
}

func atLeast(key string, need uint64, severity Status, why, source string) Setting {
	return Setting{Key: key, Want: []uint64{need}, Needed: "at least " + grouped(need), severity: severity, why: why, source: source}
}

func atMost(key string, need uint64, severity Status, why, source string) Setting {
	s := atLeast(key, need, severity, why, source)
	s.Needed = "at most " + grouped(need)
	return s
}

// tcpMem is how many pages all sockets of the host may have queued. Idle sockets queue nothing; a broadcast puts a page
// into each until it is acknowledged, and one client in a hundred may be stalled with a full send buffer, which the
// kernel counts double. More than a quarter of the memory is never asked for: then the memory check fails instead.
// The kernel's own proportions of the three fields are kept.
func tcpMem(h Host, p Plan) Setting {
	page := uint64(h.PageSize)
	pages := p.sockets() + p.sockets()/100*(2*uint64(p.SendBuffer)/page)
	if total, err := h.meminfo("MemTotal"); err == nil {
		pages = min(pages, total/page/4)
	}
	want := []uint64{pages / 2, pages * 2 / 3, pages}
	return Setting{
		Key: "net.ipv4.tcp_mem", Want: want, Needed: "at least " + joined(want), severity: Warn,
		why:    "pages queued in all sockets of the host; beyond the last everyone's data is dropped. A page each, and 1 % of clients stalled with a full -send-buffer",
		source: "kernel networking/ip-sysctl.rst; arithmetic",
	}
}

// portRange is for the host of a proxy, which has 55,536 ports then to each address of a gateway. It begins above the
// usual listeners (8080, 9090, 6379), which could not be bound again while an outgoing connection has their port.
func portRange(connections uint64) Setting {
	const first, last = 10_000, 65_535
	needed := fmt.Sprintf("%d %d", first, last)
	if addresses := (connections + last - first) / (last - first + 1); addresses > 1 {
		needed += fmt.Sprintf(", and gateways at %d addresses or more", addresses)
	}
	return Setting{
		Key: "net.ipv4.ip_local_port_range", Want: []uint64{first, last}, Needed: needed, severity: Fail,
		why:    "the proxy takes a port for each connection to one address of a gateway",
		source: "kernel networking/ip-sysctl.rst (limits of different parity)",
	}
}

// look reads what is, and corrects Want so that nothing is made worse.
func (s *Setting) look(h Host) {
	name := sysctlFile(s.Key)
	now, err := h.numbers(name)
	if err != nil {
		s.absent = unreadable(name, err)
		return
	}
	if len(now) != len(s.Want) {
		s.absent = fmt.Sprintf("/%s has %d fields, not %d", name, len(now), len(s.Want))
		return
	}
	s.Now = now
	for i := range s.Want {
		switch {
		case strings.HasPrefix(s.Needed, "at most"), s.Key == "net.ipv4.ip_local_port_range" && i == 0:
			s.Want[i] = min(s.Want[i], now[i])
		default:
			s.Want[i] = max(s.Want[i], now[i])
		}
	}
}

// result judges a setting.
func (s Setting) result() Result {
	r := Result{Check: s.Key, Status: OK, Value: joined(s.Now), Needed: s.Needed, Why: s.why, Source: s.source}
	switch {
	case s.Now == nil && strings.HasPrefix(s.Key, "net.netfilter."):
		return r.skipped("no connection tracking here")
	case s.Now == nil:
		return r.skipped(s.absent + " (in a container: look on the host)")
	case s.Enough():
		return r
	default:
		return r.worse(s.severity, fmt.Sprintf("sysctl -w %s=%s", s.Key, quoted(s.Want)))
	}
}

// quoted is a value as a shell takes it.
func quoted(v []uint64) string {
	if len(v) == 1 {
		return joined(v)
	}
	return "'" + joined(v) + "'"
}

func joined(v []uint64) string {
	fields := make([]string, len(v))
	for i, n := range v {
		fields[i] = strconv.FormatUint(n, 10)
	}
	return strings.Join(fields, " ")
}

// grouped writes 1000000 as 1,000,000.
func grouped(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
