#!/usr/bin/env bash
# Checks scripts/carillon.service with systemd-analyze: systemd must understand every line, and the exposure that it
# computes must stay low (1.2 of 10 when this was written). No running systemd is needed. Without systemd-analyze the script
# says so and does nothing.
# Usage: scripts/check-service.sh
set -euo pipefail
cd "$(dirname "$0")"

if ! command -v systemd-analyze >/dev/null; then
	echo "skip: systemd-analyze is not installed, so carillon.service was not checked"
	exit 0
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
# verify fails if the binary is missing.
sed "s|^ExecStart=[^ ]*|ExecStart=$(command -v true)|" carillon.service >"$dir/carillon.service"
systemd-analyze verify --man=no "$dir/carillon.service"
systemd-analyze security --offline=true --threshold=20 "$dir/carillon.service" | tail -1
