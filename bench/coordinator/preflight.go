package coordinator

import (
	"context"
	"fmt"

	"github.com/carillon-ws/carillon/bench/client"
	"github.com/carillon-ws/carillon/bench/host"
	"github.com/carillon-ws/carillon/bench/report"
	"github.com/carillon-ws/carillon/bench/settings"
	"github.com/carillon-ws/carillon/bench/target"
)

// What a connection costs where, in bytes. Measured here (bench/RESULTS.md), rounded up; a kernel of another
// configuration may need a few hundred bytes more.
const (
	kernelEach  = 4300     // an end of a TCP connection: socket, inode, file, directory entry, epoll item
	kernelFrame = 1300     // a frame that waits in a socket: everybody has one while a broadcast is under way
	gatewayEach = 1000     // user memory of the gateway, with its collector's headroom
	gatewayBase = 24 << 20 // of a gateway's process
	workerEach  = 150      // user memory of bench
	workerBase  = 18 << 20 // of a worker's process
	redisBase   = 16 << 20
)

// preflight refuses, before anything is started, what this machine cannot carry: it names the limit and the fix.
func preflight(cfg *settings.Config) (*report.Preflight, error) {
	files, err := host.OpenFiles()
	if err != nil {
		return nil, err
	}
	p := &report.Preflight{FilesLimit: files}
	procs := processes(cfg, files)
	if len(cfg.Workers) == 0 {
		if err := checkClientFiles(cfg.Connections, max(procs, 1), files, p); err != nil {
			return p, err
		}
	}
	gateways := cfg.OwnGateways()
	if gateways > 0 {
		if err := checkGatewayFiles(cfg.Connections, gateways, files, p); err != nil {
			return p, err
		}
	}
	mem, err := host.ReadMemory()
	if err != nil {
		return p, err
	}
	p.MemoryAvailable = mem.Available
	return p, checkMemory(cfg, gateways, procs, p)
}

func checkClientFiles(connections, procs int, limit uint64, p *report.Preflight) error {
	return checkFiles(connections, procs, fileReserve, limit, p, "worker", "take more processes (-procs %d)")
}

// gatewayReserve is what the gateway keeps free of its own limit, and its listener, Redis link and metrics.
const gatewayReserve = 320

func checkGatewayFiles(connections, gateways int, limit uint64, p *report.Preflight) error {
	return checkFiles(connections, gateways, gatewayReserve, limit, p, "gateway", "start more gateways (-fleet %d)")
}

// checkFiles looks whether so many processes can hold the connections, and have reserve files open besides.
func checkFiles(connections, processes, reserve int, limit uint64, p *report.Preflight, what, fix string) error {
	fullest := uint64((connections+processes-1)/processes + reserve)
	p.FilesNeeded = max(p.FilesNeeded, fullest)
	p.Lines = append(p.Lines, fmt.Sprintf("files      %s a %s (%d of them), %s allowed", report.Thousands(fullest), what, processes, report.Thousands(limit)))
	if fullest <= limit {
		return nil
	}
	need := (connections + int(limit) - reserve - 1) / (int(limit) - reserve)
	return fmt.Errorf("-connections %d with %s needs %d open files each and a process may have %d: raise the limit (ulimit -n %d), or "+fix,
		connections, report.Plural(processes, what), fullest, limit, fullest, need)
}

// checkMemory adds up both ends, as far as they are on this machine.
func checkMemory(cfg *settings.Config, gateways, procs int, p *report.Preflight) error {
	n := int64(cfg.Connections)
	sum := int64(0)
	add := func(what string, bytes int64) {
		sum += bytes
		p.Lines = append(p.Lines, fmt.Sprintf("memory     %-58s %8.1f MiB", what, float64(bytes)/(1<<20)))
	}
	if len(cfg.Workers) == 0 {
		add(fmt.Sprintf("kernel, our ends: %s x %d B", report.Thousands(n), kernelEach), n*kernelEach)
		add(fmt.Sprintf("kernel, a frame waiting in each: %s x %d B", report.Thousands(n), kernelFrame), n*kernelFrame)
		add(fmt.Sprintf("clients: %s x %d B, %d x %d MiB", report.Thousands(n), workerEach, max(procs, 1), workerBase>>20), n*workerEach+int64(max(procs, 1))*workerBase)
	}
	if gateways > 0 {
		add(fmt.Sprintf("kernel, the gateways' ends: %s x %d B", report.Thousands(n), kernelEach), n*kernelEach)
		add(fmt.Sprintf("gateways: %s x %d B, %d x %d MiB", report.Thousands(n), gatewayEach, gateways, gatewayBase>>20), n*gatewayEach+int64(gateways)*gatewayBase)
		add("redis-server", redisBase)
	}
	p.MemoryNeeded = sum
	p.Lines = append(p.Lines, fmt.Sprintf("memory     %-58s %8.1f MiB, available %.1f MiB", "in all", float64(sum)/(1<<20), float64(p.MemoryAvailable)/(1<<20)))
	if sum <= p.MemoryAvailable {
		return nil
	}
	return fmt.Errorf("-connections %d needs %d MiB of memory and %d MiB are available: take fewer, or put the clients on other machines (-workers)",
		cfg.Connections, sum>>20, p.MemoryAvailable>>20)
}

// checkTargets is the part of preflight that needs the gateways: local ports, and what they allow.
func checkTargets(ctx context.Context, cfg *settings.Config, f *target.Fleet, targets []client.Target) error {
	if len(cfg.Workers) == 0 {
		if err := client.CheckPorts(targets, len(cfg.Sources), cfg.Connections); err != nil {
			return err
		}
	}
	numbers, err := f.Metrics(ctx, false)
	if err != nil {
		return err
	}
	limit, known := numbers["ws_connections_limit"]
	if known && float64(cfg.Connections) > limit-numbers["ws_connections_total"] {
		return fmt.Errorf("-connections %d: the gateways allow %.0f and have %.0f: raise their limit (-max-connections, ulimit -n), or give more of them (-url, -fleet)",
			cfg.Connections, limit, numbers["ws_connections_total"])
	}
	return nil
}
