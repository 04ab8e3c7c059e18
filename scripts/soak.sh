#!/bin/bash
# Mixed good and bad conversations in one backend and then in ten, whose memory, descriptors and time must stay flat;
# then SQLsmith's random queries; then crashes at random while mail is queued and sent.
#
#   soak.sh [COUNT]    COUNT conversations in each of the two rounds, and as many queries (50000); a crash for every
#                      fifty of them

. "$(dirname "$0")/lib.sh"
cd "$ROOT"

count=${1:-50000}
[[ $count =~ ^[1-9][0-9]*$ ]] || die "usage: soak.sh [COUNT]"

need_rust
need "${BUILD_PACKAGES[@]}" "${JUDGE_PACKAGES[@]}"
need_postgres
build_and_install

scratch_in_memory
dir=$(scratch soak)
finish() {
    local status=$?
    scripts/cluster.sh stop "$dir/cluster" || true
    if ((status)); then
        say "failed; the server's log is in $dir"
    else
        as_root rm -rf "$dir"
    fi
}
trap finish EXIT

step "starting PostgreSQL" scripts/cluster.sh start "$dir/cluster"
step "building the soak" cargo build --locked --release --package e2e --bin soak
say "soaking"
UTL_SMTP_CLUSTER=$dir/cluster/env "${CARGO_TARGET_DIR:-target}/release/soak" "$count"
say "random queries"
UTL_SMTP_CLUSTER=$dir/cluster/env UTL_SMTP_SQLSMITH=$count UTL_SMTP_SEED=$RANDOM \
    cargo test --locked --package e2e --test sqlsmith -- --nocapture
say "random crashes"
UTL_SMTP_CLUSTER=$dir/cluster/env UTL_SMTP_KILLS=$((count / 50 + 1)) \
    cargo test --locked --package e2e --test delivery -- storm:: --nocapture
say "done"
