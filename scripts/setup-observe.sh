#!/usr/bin/env bash
# Installs what `make observe-test` needs and this machine lacks: Prometheus with promtool, and redis-server (Debian's
# packages). Does nothing when they are there. No service is started.
# Usage: scripts/setup-observe.sh
set -euo pipefail

need=()
command -v prometheus >/dev/null && command -v promtool >/dev/null || need+=(prometheus)
command -v redis-server >/dev/null || need+=(redis-server)
[ ${#need[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
	echo "setup-observe: please install: ${need[*]}" >&2
	exit 1
fi
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
echo "setup-observe: installing ${need[*]}" >&2
"${as_root[@]}" apt-get update -qq
# Services that start by themselves would take the ports that a gateway wants: 6379, and 9090.
printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee /usr/sbin/policy-rc.d >/dev/null
trap '"${as_root[@]}" rm -f /usr/sbin/policy-rc.d' EXIT
"${as_root[@]}" chmod +x /usr/sbin/policy-rc.d
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
