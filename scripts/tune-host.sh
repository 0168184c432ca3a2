#!/usr/bin/env bash
# Sets the kernel parameters that a number of connections needs. A value that is enough stays as it is, and no value is
# lowered except swappiness. `gateway doctor -connections N` lists the same parameters with reasons; a test compares the two.
#
# Usage: scripts/tune-host.sh --check [options]   list what is not enough; exit status 1 if there is something
#        scripts/tune-host.sh --apply [options]   set it now and at every start of the host, and keep the old values
#        scripts/tune-host.sh --undo              put the old values back
#
#   --connections N   connections of the gateway on this host (1000000)
#   --send-buffer B   its -send-buffer in bytes (65536)
#   --proxy           the proxy in front of it runs on this host too
#   --only PREFIX     only keys that begin with PREFIX, such as net.core. (a container has only some keys of its own)
#
# Files: /etc/sysctl.d/90-carillon.conf, /etc/tmpfiles.d/carillon.conf; the old values are in /var/lib/carillon/tune-host.undo.
# The limit of open files is the service's: LimitNOFILE= in scripts/carillon.service, or ulimit -n.
# TUNE_HOST_ROOT=DIR works on a copy of /proc, /sys, /etc and /var below DIR, for tests.
set -euo pipefail

root=${TUNE_HOST_ROOT:-}
sysctl_conf=$root/etc/sysctl.d/90-carillon.conf
tmpfiles_conf=$root/etc/tmpfiles.d/carillon.conf
undo_file=$root/var/lib/carillon/tune-host.undo
huge_pages=/sys/kernel/mm/transparent_hugepage/enabled

die() {
	echo "tune-host: $*" >&2
	exit 2
}

usage() { sed -n '2,/^set -e/{/^set -e/d;s/^# \{0,1\}//;p}' "$0"; }

mode='' connections=1000000 send_buffer=65536 proxy=0 only=''
while [ $# -gt 0 ]; do
	case $1 in
	--check | --apply | --undo) mode=${1#--} ;;
	--connections) connections=${2:?} && shift ;;
	--send-buffer) send_buffer=${2:?} && shift ;;
	--only) only=${2:?} && shift ;;
	--proxy) proxy=1 ;;
	-h | --help) usage && exit 0 ;;
	*) die "unknown argument $1 (--help lists them)" ;;
	esac
	shift
done
[ -n "$mode" ] || die "one of --check, --apply and --undo is needed"
[[ $connections =~ ^[1-9][0-9]{0,8}$ ]] || die "--connections $connections is not a number of connections"
[[ $send_buffer =~ ^[1-9][0-9]{0,8}$ ]] || die "--send-buffer $send_buffer is not a number of bytes"

# read_file FILE: prints its fields, separated by one blank; nothing if it cannot be read.
read_file() {
	local fields=()
	if [ -r "$1" ]; then read -ra fields <"$1" || true; fi
	echo "${fields[*]}"
}

# meminfo KEY: in KiB.
meminfo() {
	local key value _
	while read -r key value _; do
		if [ "$key" = "$1:" ]; then echo "$value"; fi
	done <"$root/proc/meminfo"
}

key_file() { # KEY: where the value lives
	case $1 in
	transparent_hugepage) echo "$root$huge_pages" ;;
	*) echo "$root/proc/sys/${1//.//}" ;;
	esac
}

# now KEY: the value in force.
now() {
	local value
	value=$(read_file "$(key_file "$1")")
	if [ "$1" = transparent_hugepage ]; then # always [madvise] never
		value=${value#*[}
		value=${value%%]*}
	fi
	echo "$value"
}

# The table: KEY RULE VALUE…, one parameter a line, as in gateway/doctor/settings.go, where each has its reason. The
# rules: least and most hold for each field; range is at least as wide; not is anything else.
table() {
	local n=$connections sockets=$connections per_process=1 accept=4096 half_open=1024
	[ "$proxy" -eq 0 ] || sockets=$((3 * n)) per_process=2
	[ "$n" -lt 50000 ] || accept=65535 half_open=65536
	local page pages quarter
	page=$(getconf PAGESIZE)
	# shellcheck disable=SC2017 # whole hundreds of sockets and whole pages, as in Go
	pages=$((sockets + sockets / 100 * (2 * send_buffer / page)))
	quarter=$(($(meminfo MemTotal) * 1024 / page / 4))
	[ "$pages" -le "$quarter" ] || pages=$quarter
	cat <<-END
		fs.nr_open least $((n * per_process + 1024))
		fs.file-max least $((2 * sockets + 100000))
		fs.epoll.max_user_watches least $((n + n / 8))
		net.core.somaxconn least $accept
		net.ipv4.tcp_max_syn_backlog least $half_open
		net.ipv4.tcp_syncookies least 1
		net.core.wmem_max least $send_buffer
		net.ipv4.tcp_mem least $((pages / 2)) $((pages * 2 / 3)) $pages
		net.netfilter.nf_conntrack_max least $((2 * sockets + 65536))
		net.netfilter.nf_conntrack_buckets least $(((2 * sockets + 65536) / 4))
	END
	[ "$(meminfo SwapTotal)" -eq 0 ] || echo "vm.swappiness most 10"
	[ "$proxy" -eq 0 ] || echo "net.ipv4.ip_local_port_range range 10000 65535"
	echo "transparent_hugepage not always"
}

# wanted RULE VALUE NOW: prints what to set: for each field VALUE if it is better than NOW, else NOW.
wanted() {
	local rule=$1 i
	local -a value now out=()
	read -ra value <<<"$2"
	read -ra now <<<"$3"
	if [ "$rule" = not ]; then
		[ "$3" = "$2" ] && echo madvise || echo "$3"
		return
	fi
	for i in "${!value[@]}"; do
		local v=${value[i]} is=${now[i]:-0} smaller=0
		[ "$v" -ge "$is" ] || smaller=1
		case $rule$i in
		most* | range0) [ "$smaller" -eq 1 ] && out+=("$v") || out+=("$is") ;;
		*) [ "$smaller" -eq 1 ] && out+=("$is") || out+=("$v") ;;
		esac
	done
	echo "${out[*]}"
}

# rows: prints KEY|NOW|WANTED for each parameter; NOW is empty if this host does not have it.
rows() {
	local key rule value is
	while read -r key rule value; do
		[[ $key == "$only"* ]] || continue
		is=$(now "$key")
		echo "$key|$is|$(wanted "$rule" "$value" "$is")"
	done < <(table)
}

status=0
check() {
	local key is want
	while IFS='|' read -r key is want; do
		if [ -z "$is" ]; then
			printf '%-4s  %-34s not here\n' skip "$key"
		elif [ "$is" = "$want" ]; then
			printf '%-4s  %-34s %s\n' ok "$key" "$is"
		else
			printf '%-4s  %-34s %s; needed: %s\n' low "$key" "$is" "$want"
			status=1
		fi
	done < <(rows)
}

# write_value KEY VALUE: into the running kernel.
write_value() {
	if ! echo "$2" 2>/dev/null >"$(key_file "$1")"; then
		echo "tune-host: $1 cannot be set here (in a container: set it on the host)" >&2
		status=1
		return 1
	fi
}

# persist: writes the files that set the parameters at the next start of the host. They have every key of the undo file: so
# a run for some parameters (--only), or one that was interrupted, keeps the lines of the others. Each file is written whole
# and then moved into place.
persist() {
	local key value pages=''
	{
		echo "# Written by tune-host.sh; --undo removes it."
		while IFS='=' read -r key _; do
			value=$(now "$key")
			[ -n "$value" ] || continue
			case $key in
			transparent_hugepage) pages=$value ;;
			net.netfilter.*) echo "-$key = $value" ;; # the module may be loaded later: "-" makes that no error
			*) echo "$key = $value" ;;
			esac
		done <"$undo_file"
	} >"$sysctl_conf.new"
	mv "$sysctl_conf.new" "$sysctl_conf"
	[ -z "$pages" ] || echo "w $huge_pages - - - - $pages" >"$tmpfiles_conf"
}

apply() {
	if ! mkdir -p "${sysctl_conf%/*}" "${tmpfiles_conf%/*}" "${undo_file%/*}" || ! touch "$undo_file"; then
		die "--apply needs root"
	fi
	local key is want
	while IFS='|' read -r key is want; do
		if [ -z "$is" ] || [ "$is" = "$want" ]; then continue; fi
		# Write it before the parameter is set, because the script may be interrupted. Keep the first value: it is the one to go
		# back to, however often the script runs.
		grep -q "^$key=" "$undo_file" || echo "$key=$is" >>"$undo_file"
		if write_value "$key" "$want"; then
			printf '%-34s %s -> %s\n' "$key" "$is" "$want"
		elif grep -qx "$key=$is" "$undo_file"; then # it has its old value: nothing to undo
			sed -i "/^$key=/d" "$undo_file"
		fi
	done < <(rows)
	persist
	echo "kept for --undo in $undo_file"
}

undo() {
	[ -e "$undo_file" ] || die "nothing to undo: there is no $undo_file"
	local key value is
	while IFS='=' read -r key value; do
		is=$(now "$key")
		if [ -z "$is" ]; then
			printf '%-34s not here any more\n' "$key"
		elif write_value "$key" "$value"; then
			printf '%-34s %s -> %s\n' "$key" "$is" "$value"
		fi
	done < <(tac "$undo_file")
	[ "$status" -eq 0 ] || exit 1 # the old values are still needed
	rm -f "$sysctl_conf" "$tmpfiles_conf" "$undo_file"
}

case $mode in
check) check ;;
apply) apply ;;
undo) undo ;;
esac
exit "$status"
