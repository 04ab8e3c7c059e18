#!/bin/bash
# How fast it is, beside its peers and beside the least that a client can do: docs/performance.md explains.
#
#   bench.sh             the workloads, the sink and memory: docs/bench/results.md, results.svg, memory.svg
#   bench.sh scaling     cost against size: docs/bench/scaling.md, scaling-*.svg
#   bench.sh delivery    the queue: docs/bench/delivery.md
#
#   BENCH_ROUNDS=7 BENCH_MILLISECONDS=500 BENCH_MAILS=100000 BENCH_ONLY=W1,W2,memory BENCH_OUTPUT=docs/bench
#   BENCH_PROCESSORS=0 (the list for taskset; empty: all; W5 and the queue have all in any case)
#   BENCH_QUEUED=20000 BENCH_APART_MAILS=200 BENCH_APART_MILLISECONDS=1000 BENCH_PGBENCH_SECONDS=10 BENCH_LOG=10000000
#   BENCH_MAILS_IN_ALL=1000000: of the queue

. "$(dirname "$0")/lib.sh"
cd "$ROOT"

what=${1:-run}
[[ $what == run || $what == scaling || $what == delivery ]] || die "usage: bench.sh [run | scaling | delivery]"
output=${BENCH_OUTPUT:-docs/bench}
processors=${BENCH_PROCESSORS-0}
mkdir -p "$output"

need_rust
need_postgres
major=$(major_of "$PG_CONFIG")
need "${BUILD_PACKAGES[@]}" ca-certificates openssl postfix "postgresql-plpython3-$major" "postgresql-plperl-$major"
[[ $what != delivery ]] || need python3-psycopg
build_and_install
step "building the benchmark" cargo build --release --locked --package bench
bench=${CARGO_TARGET_DIR:-target}/release/bench

dir=$(scratch bench)
finish() {
    scripts/cluster.sh stop "$dir/cluster" || true
    as_root rm -rf "$dir"
}
trap finish EXIT

# Waking a process on another processor costs a virtual machine more than a command does, and differs from run to run: the
# figures would be about that. So all have one processor together, where a wake-up is a change of process.
[[ -z $processors || $what == delivery ]] || taskset --pid --cpu-list "$processors" $$ >/dev/null

"$bench" certificates "$dir"
gcc -O2 -shared -fPIC -I"$("$PG_CONFIG" --includedir-server)" -o "$dir/empty.so" tests/bench/empty.c

# The server sees the sink's CA in its machine's trust store, nobody else does. Where the kernel doesn't allow that, W6
# uses a directory with the same content. What is measured has the allocator that any server has.
start_cluster() {
    export CLUSTER_ALLOCATOR=default
    if [[ $what == delivery ]]; then
        # As a server has it whose mail must not be lost. Deferred mail is not tried again while it is measured beside.
        scripts/cluster.sh start "$dir/cluster" 'fsync = on' 'synchronous_commit = on' 'full_page_writes = on' \
            'max_wal_size = 4GB' "shared_preload_libraries = 'utl_smtp'" 'utl_smtp.retry_minimum = 3600'
        return
    fi
    local store=/etc/ssl/certs/ca-certificates.crt
    if as_root unshare --mount true 2>/dev/null; then
        as_root unshare --mount env PG_CONFIG="$PG_CONFIG" CLUSTER_ALLOCATOR="$CLUSTER_ALLOCATOR" bash -c \
            'mount --bind "$1" "$2" && exec scripts/cluster.sh start "$3"' - "$dir/many/all.pem" "$store" "$dir/cluster"
    else
        scripts/cluster.sh start "$dir/cluster"
    fi
}
step "starting PostgreSQL" start_cluster

say "measuring: anything else at work on this machine shows in the figures"
UTL_SMTP_CLUSTER=$dir/cluster/env "$bench" "$what" "$dir" "$output"
say "done: see $output"
