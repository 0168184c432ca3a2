#!/usr/bin/env bash
# Checks every shell script with shellcheck, installing it (Debian's package) if it is missing.
# Usage: scripts/lint-scripts.sh
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v shellcheck >/dev/null; then
	if ! command -v apt-get >/dev/null; then
		echo "lint-scripts: please install shellcheck" >&2
		exit 1
	fi
	as_root=()
	[ "$(id -u)" -eq 0 ] || as_root=(sudo)
	"${as_root[@]}" apt-get update -qq
	DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends shellcheck >/dev/null
fi
shellcheck .ci/run scripts/*.sh
