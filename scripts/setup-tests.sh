#!/usr/bin/env bash
# Installs what the tests need and this machine lacks: redis-server (Debian's package). Does nothing when it is there.
# Usage: scripts/setup-tests.sh
set -euo pipefail

need=()
command -v redis-server >/dev/null || need+=(redis-server)
[ ${#need[@]} -eq 0 ] && exit 0

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
