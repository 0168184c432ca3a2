package doctor

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Examine checks whether a host can hold a plan, and returns a result for each check. It changes nothing and takes
// milliseconds.
func Examine(h Host, p Plan) []Result {
	var out []Result
	for _, s := range Settings(h, p) {
		out = append(out, s.result())
	}
	// The limit of open files cannot exceed fs.nr_open, so that fix comes first: people type the fixes from top to bottom.
	out = slices.Insert(out, 1, files(h, p))
	out = append(out, slowConsumers(h, p))
	if !p.Proxy {
		out = append(out, listenPorts(h, p))
	}
	return append(out, memory(h, p), containerMemory(h, p), goMemory(h, p), hugePages(h), cpu(h, p), clockSource(h), clockSync(h))
}

// files checks the limit of open files, which a process reaches first.
func files(h Host, p Plan) Result {
	need := uint64(p.Files)
	r := Result{
		Check: "open files", Status: OK, Needed: "at least " + grouped(need),
		Why: "each connection is an open file; one accept that fails because no file is left ends a whole loop", Source: "man 2 getrlimit; gateway/server/config.go",
	}
	soft, hard, err := h.FileLimit()
	if err != nil {
		return r.skipped(err.Error())
	}
	r.Value = grouped(soft)
	if soft != hard {
		r.Value += ", may be raised to " + grouped(hard)
	}
	// Go raises the soft limit to the hard limit when a program starts, so the hard limit counts.
	if hard >= need {
		return r
	}
	return r.worse(Fail, fmt.Sprintf("ulimit -n %d (as root, in the shell that starts it; under systemd LimitNOFILE=%d, in Docker --ulimit nofile=%d)", need, need, need))
}

// slowConsumers compares the memory that stalled clients can hold in the kernel with what the kernel has for all sockets.
func slowConsumers(h Host, p Plan) Result {
	worst := uint64(p.Connections) / 100 * 2 * uint64(p.SendBuffer)
	r := Result{
		Check: "net.ipv4.tcp_wmem", Status: OK,
		Why:    "memory that a stalled client holds in the kernel. The maximum here has no effect on the gateway: -send-buffer bounds every socket, and the kernel counts it twice",
		Source: "kernel networking/ip-sysctl.rst; man 7 socket; arithmetic",
	}
	wmem, err := h.numbers(sysctlFile("net.ipv4.tcp_wmem"))
	if err != nil || len(wmem) != 3 {
		return r.skipped(unreadable(sysctlFile("net.ipv4.tcp_wmem"), err))
	}
	pages, err := h.numbers(sysctlFile("net.ipv4.tcp_mem"))
	r.Value = fmt.Sprintf("%s; 1 %% of clients stalled: %s", joined(wmem), bytesText(worst))
	if err != nil || len(pages) != 3 {
		r.Needed = "half of tcp_mem, which is not visible here"
		return r
	}
	half := pages[2] * uint64(h.PageSize) / 2
	r.Needed = fmt.Sprintf("at most %s, half of tcp_mem", bytesText(half))
	if worst <= half {
		return r
	}
	fit := max(half/max(2*uint64(p.Connections)/100, 1)>>10, 4)
	fix := fmt.Sprintf("gateway -send-buffer %dKiB", fit)
	more := tcpMem(h, p)
	if more.look(h); more.Want[2]*uint64(h.PageSize)/2 >= worst {
		fix += ", or raise net.ipv4.tcp_mem as above"
	}
	return r.worse(Warn, fix)
}

// listenPorts warns if the kernel may give the port of a listener to an outgoing connection while the gateway restarts.
func listenPorts(h Host, p Plan) Result {
	const key = "net.ipv4.ip_local_port_range"
	r := Result{
		Check: key, Status: OK, Needed: "a range without the gateway's ports, or these ports reserved",
		Why:    "accepted connections need no port from this range. But while the gateway restarts, an outgoing connection may get a port of it that is in the range. A proxy or bench on this host can open this many connections to one address",
		Source: "kernel networking/ip-sysctl.rst",
	}
	v, err := h.numbers(sysctlFile(key))
	if err != nil || len(v) != 2 {
		return r.skipped(unreadable(sysctlFile(key), err))
	}
	r.Value = fmt.Sprintf("%s (%s ports)", joined(v), grouped(v[1]-v[0]+1))
	reserved, _ := h.text(sysctlFile("net.ipv4.ip_local_reserved_ports")) // no file: nothing is reserved
	var exposed []string
	for _, port := range p.Ports {
		if uint64(port) >= v[0] && uint64(port) <= v[1] && !isReserved(reserved, port) {
			exposed = append(exposed, fmt.Sprint(port))
		}
	}
	if len(exposed) == 0 {
		return r
	}
	list := strings.Join(slices.DeleteFunc(append(strings.Split(reserved, ","), exposed...), func(s string) bool { return s == "" }), ",")
	return r.worse(Warn, "sysctl -w net.ipv4.ip_local_reserved_ports="+list+" (for good: a line in /etc/sysctl.d)")
}

// isReserved reports whether a port is in a list like 8080,9000-9100.
func isReserved(list string, port int) bool {
	for item := range strings.SplitSeq(list, ",") {
		first, last := 0, 0
		if n, _ := fmt.Sscanf(item, "%d-%d", &first, &last); n == 1 {
			last = first
		}
		if first <= port && port <= last && first > 0 {
			return true
		}
	}
	return false
}

func memory(h Host, p Plan) Result {
	r := Result{
		Check: "memory", Status: OK, Needed: bytesText(p.memory()) + ", within nine tenths of the memory",
		Why:    "a connection needs 1.3 KB in the process, 4.0 KB in the kernel for an idle socket, and a page for queued data",
		Source: "bench/RESULTS.md",
	}
	total, err := h.meminfo("MemTotal")
	if err != nil {
		return r.skipped(err.Error())
	}
	r.Value = bytesText(total)
	if p.memory() <= total/10*9 {
		return r
	}
	return r.worse(Fail, fmt.Sprintf("more memory, or more hosts; this host can hold %s connections", grouped(fit(p, total/10*9))))
}

// fit returns how many connections this much memory can hold, rounded down to thousands.
func fit(p Plan, memory uint64) uint64 {
	if memory <= baseBytes {
		return 0
	}
	each := (p.memory() - baseBytes) / uint64(max(p.Connections, 1))
	return (memory - baseBytes) / max(each, 1) / 1000 * 1000
}

// containerMemory checks the memory limit of the control group. The kernel's memory for sockets counts for it too.
func containerMemory(h Host, p Plan) Result {
	r := Result{
		Check: "cgroup memory", Status: OK, Value: "no limit", Needed: bytesText(p.memory()) + ", within nine tenths of the limit",
		Why: "sockets count for the container's limit too; over the limit the gateway is killed, and all its clients are disconnected", Source: "kernel admin-guide/cgroup-v2.rst; bench/RESULTS.md",
	}
	limit := h.memoryLimit()
	if limit == 0 {
		return r
	}
	r.Value = bytesText(limit)
	if p.memory() <= limit/10*9 {
		return r
	}
	mib := (p.memory()/9*10)>>20 + 1
	return r.worse(Fail, fmt.Sprintf("MemoryMax=%dM in the unit, or docker update --memory %dm CONTAINER", mib, mib))
}

// goMemory checks GOMEMLIMIT. It must leave room for the kernel's share of the container's memory.
func goMemory(h Host, p Plan) Result {
	r := Result{
		Check: "GOMEMLIMIT", Status: OK, Value: "none", Needed: "none, as there is no container limit",
		Why: "with it Go collects garbage more often before the container's limit is reached; memory of the kernel is not part of it", Source: "go.dev/doc/gc-guide; container's limit - 8 KiB a socket - 10 %",
	}
	set := h.MemoryLimit != math.MaxInt64
	if set {
		r.Value = bytesText(uint64(h.MemoryLimit))
	}
	live := uint64(p.Connections)*userBytes + baseBytes/2
	limit := h.memoryLimit()
	if limit == 0 {
		if set && uint64(h.MemoryLimit) < live {
			return r.worse(Warn, fmt.Sprintf("GOMEMLIMIT=%dMiB, or unset it: below the memory in use, Go collects garbage all the time", live>>20))
		}
		return r
	}
	kernel := p.sockets()*kernelBytes + limit/10
	if limit < kernel+live {
		r.Needed = ""
		return r.skipped("the container's limit is too low for any value: see cgroup memory")
	}
	r.Needed = fmt.Sprintf("%s to %s", bytesText(live), bytesText(limit-kernel))
	if set && uint64(h.MemoryLimit) <= limit-kernel && uint64(h.MemoryLimit) >= live {
		return r
	}
	return r.worse(Warn, fmt.Sprintf("gateway -memory-limit %dMiB", (limit-kernel)>>20))
}

const hugePagesCheck = "transparent huge pages"

// hugePages warns if the kernel may turn free memory of the process into huge pages, which makes the process grow.
func hugePages(h Host) Result {
	const dir = "sys/kernel/mm/transparent_hugepage/"
	r := Result{
		Check: hugePagesCheck, Status: OK, Needed: "madvise or never",
		Why: "with always, khugepaged turns pages that Go has given back into huge pages again", Source: "go.dev/doc/gc-guide, Linux transparent huge pages",
	}
	text, err := h.text(dir + "enabled")
	if err != nil {
		return r.skipped(unreadable(dir+"enabled", err))
	}
	_, rest, _ := strings.Cut(text, "[")
	r.Value, _, _ = strings.Cut(rest, "]")
	if r.Value != "always" {
		return r
	}
	if v, err := h.numbers(dir + "khugepaged/max_ptes_none"); err == nil && v[0] == 0 {
		r.Value += ", but khugepaged does not fill holes (max_ptes_none 0)"
		return r
	}
	return r.worse(Warn, "echo madvise > /"+dir+"enabled")
}

// cpu checks the CPU quota. The default is one loop for each CPU, whatever the quota; if the quota is less, loops wait for
// each other.
func cpu(h Host, p Plan) Result {
	loops := p.Loops
	if loops == 0 {
		loops = h.CPUs
	}
	quota := h.cpuQuota()
	r := Result{
		Check: "CPU quota", Status: OK, Value: fmt.Sprintf("none, %d CPUs", h.CPUs), Needed: fmt.Sprintf("at least the %d loops", loops),
		Why: "when the quota is used up, the loops and all their clients wait until the next period", Source: "kernel scheduler/sched-bwc.rst",
	}
	if quota == 0 {
		return r
	}
	r.Value = fmt.Sprintf("%.1f of %d CPUs", quota, h.CPUs)
	if quota >= float64(loops) {
		return r
	}
	return r.worse(Warn, fmt.Sprintf("gateway -loops %d, or lift the quota (CPUQuota= in the unit, docker update --cpus)", max(1, int(quota))))
}

// clockSource warns of a clock that takes a system call, or microseconds, to read.
func clockSource(h Host) Result {
	const dir = "sys/devices/system/clocksource/clocksource0/"
	r := Result{
		Check: "clock source", Status: OK, Needed: "tsc, kvm-clock, hyperv_clocksource_tsc_page or arch_sys_counter",
		Why: "the clock is read for each message; to read another clock source takes a system call", Source: "man 7 vdso; kernel timers/timekeeping.rst",
	}
	text, err := h.text(dir + "current_clocksource")
	if err != nil {
		return r.skipped(unreadable(dir+"current_clocksource", err))
	}
	r.Value = text
	if slices.Contains([]string{"tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"}, text) {
		return r
	}
	better := "tsc"
	available, _ := h.text(dir + "available_clocksource") // no file: tsc is named
	for _, name := range []string{"kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter", "tsc"} {
		if slices.Contains(strings.Fields(available), name) {
			better = name
		}
	}
	return r.worse(Warn, fmt.Sprintf("echo %[1]s > /%[2]scurrent_clocksource (for good: clocksource=%[1]s on the kernel's command line)", better, dir))
}

func clockSync(h Host) Result {
	r := Result{
		Check: "clock", Status: OK, Value: "synchronized", Needed: "synchronized, as by NTP",
		Why: "tokens expire by this clock, and notifications have its time", Source: "man 2 adjtimex, STA_UNSYNC",
	}
	synced, err := h.ClockSynced()
	switch {
	case err != nil:
		return r.skipped(err.Error())
	case synced:
		return r
	}
	r.Value = "not synchronized"
	return r.worse(Warn, "timedatectl set-ntp true (the host of a virtual machine may synchronize it without this kernel knowing: compare it with another clock)")
}

// bytesText returns a number of bytes as text for people.
func bytesText(n uint64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	default:
		return fmt.Sprintf("%d KiB", n>>10)
	}
}
