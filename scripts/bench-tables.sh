#!/usr/bin/env bash
# Prints the tables of bench/RESULTS.md that show how the cost grows with connections, channels and loops, and how long a
# bystander waits. Each row is one run of bench with a gateway and a redis-server of its own. About five minutes.
# Usage: scripts/bench-tables.sh   (after make build; needs redis-server and node)
set -euo pipefail
cd "$(dirname "$0")/.."

out=$(mktemp -d)
redis-server --port 0 --unixsocket "$out/redis.sock" --save "" --daemonize no >/dev/null &
redis=$!
trap 'kill "$redis" 2>/dev/null; rm -rf "$out"' EXIT
until [ -S "$out/redis.sock" ]; do read -rt 0.05 <> <(:) || true; done

# row NAME LOOPS FLAGS…: one run, one line of the table.
row() {
	local name=$1 loops=$2
	shift 2
	./bin/bench -redis "unix://$out/redis.sock" -gateway ./bin/gateway -gateway-args "-loops $loops" \
		-json "$out/r.json" "$@" >/dev/null 2>&1 || [ $? -eq 5 ] # invalid: its row says so
	node -e '
		const [name, file] = process.argv.slice(1), r = JSON.parse(require("fs").readFileSync(file))
		const cells = [name, Math.round(r.steady.deliveriesPerSecond).toLocaleString("en"), r.serverCPU.us.toFixed(2),
			Math.round(r.server.rssPerConnection), r.server.connectCPU.us.toFixed(0), r.server.goroutines, r.steady.lost]
		if (!r.valid) cells[0] += " (bench did not keep up)"
		if (r.ping) cells.push((r.ping.p50Us / 1000).toFixed(1), (r.ping.p99Us / 1000).toFixed(1))
		console.log("| " + cells.join(" | ") + " |")
	' "$name" "$out/r.json"
}

head="deliveries/s | CPU us/delivery | RSS B/connection | connect us | goroutines | lost |"
echo "| connections, one channel, 4 in flight, one loop | $head"
echo "|---|---|---|---|---|---|---|"
for n in 1000 5000 10000 19000; do row "$n" 1 -connections "$n" -max-inflight 4 -duration 4s; done
echo
echo "| channels, 19,000 connections, 200 in flight, one loop | $head"
echo "|---|---|---|---|---|---|---|"
for n in 1 1000 19000; do row "$n" 1 -connections 19000 -channels "$n" -max-inflight 200 -duration 4s; done
echo
echo "| loops, 10,000 connections, 1,000 channels, 200 in flight | $head"
echo "|---|---|---|---|---|---|---|"
for n in 1 2 4 8; do row "$n" "$n" -connections 10000 -channels 1000 -max-inflight 200 -duration 4s; done
echo
echo "| a bystander pings every 10 ms, 19,000 subscribers, one loop | $head ping p50 ms | ping p99 ms |"
echo "|---|---|---|---|---|---|---|---|---|"
for n in 1 4 24 200; do row "$n in flight" 1 -connections 19000 -max-inflight "$n" -duration 6s -ping-every 10ms; done
