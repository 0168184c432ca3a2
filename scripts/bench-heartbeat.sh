#!/usr/bin/env bash
# Measures what a heartbeat costs: the CPU time of a gateway with idle connections. Each round has three runs: without a
# heartbeat, with WebSocket pings, which the clients answer, and with message heartbeats, which need no answer.
# Usage: scripts/bench-heartbeat.sh [connections] [rounds]
# It builds first. A run takes about 40 s. The gateway listens on ports that the kernel chooses.
set -euo pipefail
cd "$(dirname "$0")/.."

connections=${1:-19000}
rounds=${2:-3}
every=5 # seconds between heartbeats: few, so that the cost is large enough to measure
window=20

go build -trimpath -o bin/ ./gateway ./bench
log=$(mktemp)
gateway_pid='' bench_pid=''
trap 'rm -f "$log"; [ -z "$bench_pid" ] || kill "$bench_pid" 2>/dev/null || true; [ -z "$gateway_pid" ] || kill "$gateway_pid" 2>/dev/null || true' EXIT

# told LISTENER: prints the URL of clients or admin, which the gateway printed at start.
told() { sed -nE "s|^ +$1 +([a-z]+://127\.0\.0\.1:[0-9]+)/.*|\1|p" "$log"; }

metric() { curl -sf "$(told admin)/metrics" | awk -v name="$1" '$1 == name { printf "%.3f\n", $2 }'; }

# run MODE FLAGS...: prints CPU milliseconds of the gateway in the window.
run() {
	local mode=$1
	shift
	./bin/gateway -addr 127.0.0.1:0 -admin 127.0.0.1:0 -log-format text -drain 0s "$@" 2>"$log" &
	gateway_pid=$!
	until curl -sf "$(told admin)/readyz" >/dev/null; do
		kill -0 "$gateway_pid" || { cat "$log" >&2; exit 1; }
		sleep 0.1
	done
	./bin/bench -url "$(told clients)/ws" -admin "$(told admin)" -connections "$connections" \
		-channels "$connections" -rate 1 -duration 300s >/dev/null 2>&1 &
	bench_pid=$!
	until [ "$(metric ws_subscriptions_active)" = "$connections.000" ]; do sleep 0.2; done
	sleep $((2 * every)) # the ramp is over, and every connection had its first heartbeat
	local before after
	before=$(metric process_cpu_seconds_total)
	sleep "$window"
	after=$(metric process_cpu_seconds_total)
	kill "$bench_pid" "$gateway_pid"
	wait "$bench_pid" "$gateway_pid" 2>/dev/null || true
	bench_pid='' gateway_pid=''
	awk -v m="$mode" -v a="$before" -v b="$after" -v n="$connections" -v w="$window" -v e="$every" \
		'BEGIN { ms = (b - a) * 1000; printf "%-8s %7.0f ms CPU in %d s, %6.2f us a connection and interval\n", m, ms, w, ms * 1000 / n / (w / e) }'
}

for ((i = 1; i <= rounds; i++)); do
	run none -ping-interval 0
	run ping -ping-interval "${every}s"
	run message -ping-interval 0 -heartbeat "$((every + 1))s"
done
