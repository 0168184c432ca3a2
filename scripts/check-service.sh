#!/usr/bin/env bash
# Checks scripts/carillon.service with systemd-analyze: that systemd understands every line, and that its own measure of
# exposure stays low (1.2 of 10 when this was written). Needs no running systemd; without systemd-analyze it says so and
# does nothing.
# Usage: scripts/check-service.sh
set -euo pipefail
cd "$(dirname "$0")"

if ! command -v systemd-analyze >/dev/null; then
	echo "skip: systemd-analyze is not installed, so carillon.service was not checked"
	exit 0
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
# verify wants the binary to be there.
sed "s|^ExecStart=[^ ]*|ExecStart=$(command -v true)|" carillon.service >"$dir/carillon.service"
systemd-analyze verify --man=no "$dir/carillon.service"
systemd-analyze security --offline=true --threshold=20 "$dir/carillon.service" | tail -1
