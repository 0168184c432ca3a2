#!/usr/bin/env bash
# Runs --check, --apply and --undo of tune-host.sh against a real kernel, in a network namespace of its own. Files stand in
# for what all namespaces share (fs.*, vm.*, huge pages, /etc, /var/lib), so nothing on this host changes. Without the right
# to make namespaces the script does nothing: it prints a line that begins with "skip", and exits with 0.
# Usage: scripts/test-tune-host.sh
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" != inside ]; then
	if ! unshare --net --mount true 2>/dev/null; then
		echo "skip: this machine allows no network namespace (unshare --net --mount), so tune-host.sh was not applied for real"
		exit 0
	fi
	exec unshare --net --mount scripts/test-tune-host.sh inside
fi

stand_ins=$(mktemp -d)
trap 'rm -rf "$stand_ins"' EXIT
mount --make-rprivate /
mkdir -p "$stand_ins"/{thp,etc,var}
for dir in fs vm; do
	cp -r "/proc/sys/$dir" "$stand_ins/" 2>/dev/null || true # some may only be written
	mount --bind "$stand_ins/$dir" "/proc/sys/$dir"
done
echo "[always] madvise never" >"$stand_ins/thp/enabled"
mount --bind "$stand_ins/thp" /sys/kernel/mm/transparent_hugepage
mount --bind "$stand_ins/etc" /etc
mount --bind "$stand_ins/var" /var/lib
echo 500000 >/proc/sys/fs/nr_open
echo 1000000 >/proc/sys/fs/epoll/max_user_watches

fail() {
	echo "FAIL: $*" >&2
	exit 1
}
expect() { # FILE VALUE
	local is
	is=$(tr -s '[:blank:]' ' ' <"$1")
	[ "$is" = "$2" ] || fail "$1 is '$is', want '$2'"
	echo "  $1 = $2"
}

default=$(cat /proc/sys/net/core/somaxconn)
[ "$default" -lt 65535 ] || fail "somaxconn is $default in a new namespace: nothing to see"
tune() { ./scripts/tune-host.sh "$@" --connections 1000000 --proxy; }

echo "before:"
tune --check && fail "--check is content with a fresh namespace"
echo "apply:"
# Connection tracking is the host's: from inside a namespace it is read-only, and the script must say so and go on.
if ! tune --apply 2>"$stand_ins/errors"; then
	[ "$(grep -cv 'nf_conntrack_[a-z]* cannot be set here' "$stand_ins/errors")" -eq 0 ] || fail "$(cat "$stand_ins/errors")"
fi
expect /proc/sys/net/core/somaxconn 65535
expect /proc/sys/net/ipv4/tcp_max_syn_backlog 65536
expect /proc/sys/net/ipv4/ip_local_port_range "10000 65535"
expect /proc/sys/fs/nr_open 2001024
expect /proc/sys/fs/epoll/max_user_watches 1125000
expect /sys/kernel/mm/transparent_hugepage/enabled madvise
grep -q '^net.core.somaxconn = 65535$' /etc/sysctl.d/90-carillon.conf || fail "not kept for the next start"
echo "[madvise]" >"$stand_ins/thp/enabled" # as the kernel would show it
echo "again:"
low=$(tune --check | grep '^low' | grep -v nf_conntrack) && fail "--check is not content with what --apply set: $low"
before=$(cat /var/lib/carillon/tune-host.undo /etc/sysctl.d/90-carillon.conf)
tune --apply >/dev/null 2>&1 || true # conntrack again
[ "$before" = "$(cat /var/lib/carillon/tune-host.undo /etc/sysctl.d/90-carillon.conf)" ] || fail "a second --apply changes what the first kept"
echo "undo:"
tune --undo
expect /proc/sys/net/core/somaxconn "$default"
expect /proc/sys/fs/nr_open 500000
expect /sys/kernel/mm/transparent_hugepage/enabled always
for file in /etc/sysctl.d/90-carillon.conf /etc/tmpfiles.d/carillon.conf /var/lib/carillon/tune-host.undo; do
	[ ! -e "$file" ] || fail "$file is left behind"
done
tune --undo 2>/dev/null && fail "--undo without anything to undo succeeds"
echo "ok: checked, applied, applied again and undone"
