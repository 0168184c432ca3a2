#!/usr/bin/env bash
# Runs the article's load test (bench/article) against a gateway of its own with an embedded Redis: 10,000 clients of the
# npm package ws. All must connect, stay connected and get their notifications. About 20 seconds.
# Usage: scripts/bench-article.sh   (after make build; needs Node 20 with npm)
set -euo pipefail
cd "$(dirname "$0")/.."

(cd bench/article && npm ci --silent --no-audit --no-fund)
log=$(mktemp)
./bin/gateway serve -addr 127.0.0.1:0 -admin 127.0.0.1:0 -log-format text 2>"$log" &
gateway=$!
trap 'kill "$gateway" 2>/dev/null; rm -f "$log"' EXIT
# The kernel chooses the ports, and the gateway prints them at start.
told() { sed -nE "s|^ +$1 +[a-z]+://127\.0\.0\.1:([0-9]+)/.*|\1|p" "$log"; }
for _ in $(seq 100); do
	curl -fsS "http://127.0.0.1:$(told admin)/readyz" >/dev/null 2>&1 && break
	kill -0 "$gateway" 2>/dev/null || { cat "$log" >&2; exit 1; }
	read -rt 0.1 <> <(:) || true
done
node bench/article/loadtest.mjs "$(told clients)" "$(told admin)"
