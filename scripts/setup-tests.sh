#!/usr/bin/env bash
# Installs what the tests need and this machine lacks: redis-server and chromium (Debian's packages), and the npm
# packages of the TypeScript client and of bench's page, by their lock files. Does nothing when it is there.
# Usage: scripts/setup-tests.sh
set -euo pipefail
cd "$(dirname "$0")/.."

# npm ci leaves a copy of the lock file. If it is older than the lock file, the packages are out of date.
npm_packages() {
	[ "$1/node_modules/.package-lock.json" -nt "$1/package-lock.json" ] && return
	echo "setup-tests: npm ci in $1" >&2
	(cd "$1" && npm ci --no-progress --loglevel=error >/dev/null && touch node_modules/.package-lock.json)
}

need=()
command -v redis-server >/dev/null || need+=(redis-server)
command -v chromium >/dev/null || need+=(chromium)

if [ ${#need[@]} -gt 0 ]; then
	if ! command -v apt-get >/dev/null; then
		echo "setup-tests: please install: ${need[*]}" >&2
		exit 1
	fi
	as_root=()
	[ "$(id -u)" -eq 0 ] || as_root=(sudo)
	echo "setup-tests: installing ${need[*]}" >&2
	"${as_root[@]}" apt-get update -qq
	# A service that starts by itself would take port 6379 from the embedded Redis.
	printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee /usr/sbin/policy-rc.d >/dev/null
	trap '"${as_root[@]}" rm -f /usr/sbin/policy-rc.d' EXIT
	"${as_root[@]}" chmod +x /usr/sbin/policy-rc.d
	DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
fi

npm_packages protocol/client
npm_packages protocol/client/examples/react
npm_packages bench/report/uplot
