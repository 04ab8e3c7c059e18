#!/bin/bash
# A throw-away PostgreSQL cluster of $PG_CONFIG, never run as root.
#
#   cluster.sh start DIR ['setting = value'…]   DIR/env tells how to reach it, DIR/log is its log; DIR/pristine is what
#                                               initdb made, which $CLUSTER_PRISTINE may name to save another initdb;
#                                               $CLUSTER_PORT: its port, in place of one that is free
#   cluster.sh stop DIR

. "$(dirname "$0")/lib.sh"

usage() {
    die "usage: cluster.sh start DIR ['setting = value'…] | stop DIR"
}

# Runs a server program as its user. RUST_BACKTRACE must not reach the server: pgrx would put a backtrace
# into the DETAIL of each error. The allocator returns large pieces at once instead of keeping them as long as a
# small one lies above: what a backend has grown by is then a leak. CLUSTER_ALLOCATOR=default leaves it as it comes.
as_server() (
    cd "$dir"
    unset RUST_BACKTRACE RUST_LOG PGDATA PGHOST PGPORT PGUSER PGDATABASE PGOPTIONS
    [[ ${CLUSTER_ALLOCATOR:-} == default ]] || export MALLOC_MMAP_THRESHOLD_=65536
    if ((EUID == 0)); then
        runuser -u "$(server_user)" -- "$@"
    else
        "$@"
    fi
)

start() {
    mkdir -p "$dir/socket"
    chmod 755 "$dir"
    ((EUID != 0)) || chown "$(server_user)" "$dir" "$dir/socket"
    if [[ -n ${CLUSTER_PRISTINE:-} ]]; then
        as_server cp -a "$CLUSTER_PRISTINE" "$dir/data"
    else
        as_server "$bin/initdb" --pgdata="$dir/data" --username=postgres --auth=trust --encoding=UTF8 \
            --locale=C.UTF-8 --no-sync >"$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log" >&2; exit 1; }
        as_server cp -a "$dir/data" "$dir/pristine"
    fi
    settings "$@" >>"$dir/data/postgresql.conf"

    local port=${CLUSTER_PORT:-}
    [[ -n $port ]] || free_ports port
    as_server "$bin/pg_ctl" start --wait --timeout=300 --silent --pgdata="$dir/data" --log="$dir/log" \
        --options="-p $port" </dev/null || { tail -n 20 "$dir/log" >&2; die "PostgreSQL did not start"; }
    environment "$port" >"$dir/env"
}

settings() {
    cat <<END
listen_addresses = '127.0.0.1'
unix_socket_directories = '$dir/socket'
fsync = off
synchronous_commit = off
full_page_writes = off
max_worker_processes = 64
log_line_prefix = '%m [%p] %q%u@%d '
lc_messages = 'C'
END
    printf '%s\n' "$@"
}

environment() {
    cat <<END
PGHOST=127.0.0.1
PGPORT=$1
PGUSER=postgres
PGDATABASE=postgres
CLUSTER_SOCKET=$dir/socket
CLUSTER_DATA=$dir/data
CLUSTER_LOG=$dir/log
CLUSTER_BIN=$bin
CLUSTER_USER=$(server_user)
CLUSTER_PID=$(head -n 1 "$dir/data/postmaster.pid")
END
}

stop() {
    [[ -e $dir/data/postmaster.pid ]] || return 0
    as_server "$bin/pg_ctl" stop --silent --mode=immediate --pgdata="$dir/data"
}

(($# >= 2)) || usage
action=$1
dir=$(realpath -m "$2")
shift 2
bin=$("${PG_CONFIG:-pg_config}" --bindir)
case $action in
start) start "$@" ;;
stop) stop ;;
*) usage ;;
esac
