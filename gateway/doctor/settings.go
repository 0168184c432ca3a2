package doctor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Setting is a kernel parameter: its present value, and the value that a plan needs. scripts/tune-host.sh has the same table.
type Setting struct {
	Key    string
	Now    []uint64 // the present value; nil: it does not exist, or cannot be read from here
	Want   []uint64 // the value to set, field by field; equal to Now if that is enough
	Needed string   // for people: "at least 4096"

	severity    Status
	why, source string
	absent      string // why Now is nil
}

// Enough reports whether the present value is enough.
func (s Setting) Enough() bool { return slices.Equal(s.Now, s.Want) }

// Settings lists the kernel parameters that matter for a plan on this host.
func Settings(h Host, p Plan) []Setting {
	n := uint64(p.Connections)
	busy := n >= 50_000
	list := []Setting{
		atLeast("fs.nr_open", n*perProcess(p)+1024, Fail,
			"highest limit of open files that a process can have; 1,024 are for the gateway's other files", "kernel admin-guide/sysctl/fs.rst"),
		atLeast("fs.file-max", 2*p.sockets()+100_000, Fail,
			"open files of the whole host: twice as many as sockets, because a closing socket stays a while when its client has come back, and 100,000 for the rest", "kernel admin-guide/sysctl/fs.rst"),
		atLeast("fs.epoll.max_user_watches", n+n/8, Fail,
			"an epoll watches each connection, and a second one each slow connection; on small hosts the default is less than a million", "kernel admin-guide/sysctl/fs.rst"),
		atLeast("net.core.somaxconn", choose(busy, 65_535, 4096), Warn,
			"accept queue of each loop: all clients may reconnect within seconds; more than 65,535 has no effect", "kernel networking/ip-sysctl.rst; gnet takes it as its backlog"),
		atLeast("net.ipv4.tcp_max_syn_backlog", choose(busy, 65_536, 1024), Warn,
			"unfinished TCP handshakes of each listener", "kernel networking/ip-sysctl.rst"),
		atLeast("net.ipv4.tcp_syncookies", 1, Warn,
			"without SYN cookies a SYN flood keeps new clients out", "kernel networking/ip-sysctl.rst"),
		atLeast("net.core.wmem_max", uint64(p.SendBuffer), Warn,
			"the kernel lowers -send-buffer to this value", "man 7 socket, SO_SNDBUF"),
		tcpMem(h, p),
		atLeast("net.netfilter.nf_conntrack_max", 2*p.sockets()+65_536, Fail,
			"over it a stateful firewall drops new clients; twice as many as sockets, because an old entry stays for minutes after a reconnect. Better: exclude the port from tracking (notrack)", "kernel networking/nf_conntrack-sysctl.rst"),
		atLeast("net.netfilter.nf_conntrack_buckets", (2*p.sockets()+65_536)/4, Warn,
			"with more than four entries for each bucket every packet takes longer", "kernel networking/nf_conntrack-sysctl.rst"),
	}
	if swap, err := h.meminfo("SwapTotal"); err == nil && swap > 0 {
		list = append(list, atMost("vm.swappiness", 10, Warn,
			"while a page is read back from disk, a loop and all its clients wait", "kernel admin-guide/sysctl/vm.rst"))
	}
	if p.Proxy {
		list = append(list, portRange(n))
	}
	idle := !tracking(h)
	for i := range list {
		list[i].look(h)
		if idle && list[i].Key == "net.netfilter.nf_conntrack_max" {
			list[i].severity = Warn
			list[i].why += ". Nothing is tracked now; the limit counts when a firewall rule looks at the state of connections"
		}
	}
	return list
}

// tracking reports whether the firewall tracks connections now. The module may be loaded without a rule that needs it.
func tracking(h Host) bool {
	count, err := h.numbers(sysctlFile("net.netfilter.nf_conntrack_count"))
	return err == nil && count[0] > 0
}

// perProcess returns how many files a connection needs in the process with most files: the proxy, or else the gateway.
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

// tcpMem returns how many pages of data all sockets of the host may have queued. Idle sockets queue nothing. A broadcast
// puts a page into each until it is acknowledged, and one client in a hundred may be stalled with a full send buffer, which
// the kernel counts twice. It never asks for more than a quarter of the memory: then the memory check fails instead. The
// three fields have the kernel's own proportions.
func tcpMem(h Host, p Plan) Setting {
	page := uint64(h.PageSize)
	pages := p.sockets() + p.sockets()/100*(2*uint64(p.SendBuffer)/page)
	if total, err := h.meminfo("MemTotal"); err == nil {
		pages = min(pages, total/page/4)
	}
	want := []uint64{pages / 2, pages * 2 / 3, pages}
	return Setting{
		Key: "net.ipv4.tcp_mem", Want: want, Needed: "at least " + joined(want), severity: Warn,
		why:    "pages of data that are queued in all sockets of the host; over the last field, data of any socket is dropped. Needed: a page for each, and a full -send-buffer for 1 % of the clients",
		source: "kernel networking/ip-sysctl.rst; arithmetic",
	}
}

// portRange is the setting for the host of a proxy. With it the proxy has 55,536 ports to each address of a gateway. The
// range begins above the usual listeners (8080, 9090, 6379): their ports could not be bound again while an outgoing
// connection has them.
func portRange(connections uint64) Setting {
	const first, last = 10_000, 65_535
	needed := fmt.Sprintf("%d %d", first, last)
	if addresses := (connections + last - first) / (last - first + 1); addresses > 1 {
		needed += fmt.Sprintf(", and gateways at %d addresses or more", addresses)
	}
	return Setting{
		Key: "net.ipv4.ip_local_port_range", Want: []uint64{first, last}, Needed: needed, severity: Fail,
		why:    "the proxy needs a port for each connection to one address of a gateway",
		source: "kernel networking/ip-sysctl.rst (limits of different parity)",
	}
}

// look reads the present value, and corrects Want so that no field gets worse than it is.
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

// result returns the result of the check of a setting.
func (s Setting) result() Result {
	r := Result{Check: s.Key, Status: OK, Value: joined(s.Now), Needed: s.Needed, Why: s.why, Source: s.source}
	switch {
	case s.Now == nil && strings.HasPrefix(s.Key, "net.netfilter."):
		return r.skipped("this host does not track connections")
	case s.Now == nil:
		return r.skipped(s.absent + " (in a container: read it on the host)")
	case s.Enough():
		return r
	default:
		return r.worse(s.severity, fmt.Sprintf("sysctl -w %s=%s", s.Key, quoted(s.Want)))
	}
}

// quoted returns a value quoted for a shell.
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

// grouped returns 1000000 as 1,000,000.
func grouped(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
