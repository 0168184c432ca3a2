package gatewaytest

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// RSS returns the resident memory of the process in bytes.
func (p *Process) RSS() int { return p.status("VmRSS:") }

// PeakRSS returns the largest RSS since the last ResetPeak.
func (p *Process) PeakRSS() int { return p.status("VmHWM:") }

// ResetPeak sets the peak to the present RSS.
func (p *Process) ResetPeak() {
	p.tb.Helper()
	if err := os.WriteFile(p.proc("clear_refs"), []byte("5"), 0); err != nil { // proc(5): 5 resets the peak
		p.tb.Fatal(err)
	}
}

func (p *Process) proc(name string) string {
	return fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, name)
}

func (p *Process) status(field string) int {
	p.tb.Helper()
	text, err := os.ReadFile(p.proc("status"))
	if err != nil {
		p.tb.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			kib, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			if err != nil {
				p.tb.Fatalf("%s: %v", field, err)
			}
			return kib << 10
		}
	}
	p.tb.Fatalf("no %s in %s", field, text)
	return 0
}

// Files returns how many descriptors the process has open.
func (p *Process) Files() int {
	p.tb.Helper()
	list, err := os.ReadDir(p.proc("fd"))
	if err != nil {
		p.tb.Fatal(err)
	}
	return len(list)
}

// CPU returns the processor time that the process has used, user and system.
func (p *Process) CPU() time.Duration {
	p.tb.Helper()
	text, err := os.ReadFile(p.proc("stat"))
	if err != nil {
		p.tb.Fatal(err)
	}
	// proc(5): the name in parentheses may contain anything; utime and stime are the 12th and 13th field after it.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	ticks := 0
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			p.tb.Fatalf("stat %q: %v", text, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100 // USER_HZ is 100 on every Linux that Go knows
}

// Metric returns the sum of the samples of a metric that have all given labels, as in `reason="full"`.
func (p *Process) Metric(name string, labels ...string) float64 {
	p.tb.Helper()
	_, text, err := Get(p.Admin + "/metrics")
	if err != nil {
		p.tb.Fatal(err)
	}
	sum := 0.0
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		rest, ok := strings.CutPrefix(s.Text(), name)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' || !containsAll(rest, labels) {
			continue
		}
		v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			p.tb.Fatalf("metric %q: %v", s.Text(), err)
		}
		sum += v
	}
	return sum
}

func containsAll(text string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}
