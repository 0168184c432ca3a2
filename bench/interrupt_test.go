package main

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/bench/benchtest"
	"github.com/carillon-ws/carillon/bench/coordinator"
	"github.com/carillon-ws/carillon/bench/floor"
	"github.com/carillon-ws/carillon/bench/host"
	"github.com/carillon-ws/carillon/bench/report"
)

// startPausable is a worker elsewhere that says nothing more once pause is closed, and hangs up on nobody.
func startPausable(t *testing.T, pause <-chan struct{}) (addr string) {
	t.Helper()
	addrs, err := host.OwnAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	worker := addrs[0]
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = coordinator.ListenAsWorker(ctx, worker, io.Discard) })
	awaitListener(t, worker)
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() {
		conn, err := front.Accept()
		if err != nil {
			return
		}
		defer conn.Close() //nolint:errcheck // the test's end
		behind, err := net.Dial("tcp", worker)
		if err != nil {
			return
		}
		wg.Go(func() {
			defer behind.Close()         //nolint:errcheck // the test's end
			_, _ = io.Copy(behind, conn) // until the coordinator hangs up
		})
		for buf := make([]byte, 64<<10); ; {
			n, err := behind.Read(buf)
			if err != nil {
				return
			}
			select {
			case <-pause:
				continue
			default:
			}
			if _, err := conn.Write(buf[:n]); err != nil {
				return
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = front.Close()
		wg.Wait()
	})
	return front.Addr().String()
}

func TestInterruptDoesNotWaitForASilentWorker(t *testing.T) {
	t.Parallel()
	steady := &benchtest.Until{Text: "steady", Seen: make(chan struct{})}
	addr := startPausable(t, steady.Seen)
	f := benchtest.StartFloor(t, floor.Each)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	file := filepath.Join(t.TempDir(), "result.json")
	status := make(chan int, 1)
	go func() {
		args := atFloor(f, "-connections 20 -rate 20 -duration 20s -progress plain -workers "+addr+" -json "+file)
		status <- run(ctx, args, io.Discard, steady)
	}()
	<-steady.Seen
	cancel()
	select {
	case got := <-status:
		if got != exitError {
			t.Errorf("exit status %d, want %d", got, exitError)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("bench still waits for a worker that says nothing")
	}
	// What there was until then is told, and told to be that.
	runs, err := report.ReadGroup(file)
	if err != nil {
		t.Fatal(err)
	}
	if r := runs.Runs[0]; r.Error != "interrupted" || r.OK || r.Ramp.Connections != 20 {
		t.Errorf("error %q, ok %v, %d connected, want interrupted, false, 20", r.Error, r.OK, r.Ramp.Connections)
	}
}
