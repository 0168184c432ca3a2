#!/usr/bin/env bash
# Installs what `make proxy-test` needs and this machine lacks: nginx, haproxy and redis-server (Debian's packages). Does
# nothing when they are there. No service is started.
# Usage: scripts/setup-proxies.sh
set -euo pipefail

need=()
for program in nginx haproxy redis-server; do # each is a package of its own name
	PATH=$PATH:/usr/sbin command -v "$program" >/dev/null || need+=("$program")
done
[ ${#need[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
	echo "setup-proxies: please install: ${need[*]}" >&2
	exit 1
fi
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
echo "setup-proxies: installing ${need[*]}" >&2
"${as_root[@]}" apt-get update -qq
# Services that start by themselves would take ports that others want: 80, and 6379.
printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee /usr/sbin/policy-rc.d >/dev/null
trap '"${as_root[@]}" rm -f /usr/sbin/policy-rc.d' EXIT
"${as_root[@]}" chmod +x /usr/sbin/policy-rc.d
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
