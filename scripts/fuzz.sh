#!/usr/bin/env bash
# Runs every fuzz target of the module, one after the other. What a fuzzer finds stays in testdata/fuzz: commit it
# with the fix.
# Usage: scripts/fuzz.sh [time per target, default 60s]
set -euo pipefail
cd "$(dirname "$0")/.."

time=${1:-60s}
grep -rlE '^func Fuzz[A-Z]' --include='*_test.go' . | xargs -n1 dirname | sort -u | while read -r dir; do
	go test -list '^Fuzz' "$dir" | grep '^Fuzz' | while read -r target; do
		echo "== $dir $target"
		# Minimize by count: minimizing that is still running when the time ends is reported as a failure.
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 100x "$dir"
	done
done
