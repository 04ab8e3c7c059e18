#!/bin/bash
# Everything that must hold, against real servers: with PostgreSQL of $PG_CONFIG, or without it Debian's 15 and
# then 18 (see postgres.sh).

. "$(dirname "$0")/lib.sh"
cd "$ROOT"

# Those below the extension, which need no PostgreSQL.
CRATES=()
for manifest in crates/*/Cargo.toml; do
    CRATES+=(--package "$(basename "$(dirname "$manifest")")")
done

chosen=${PG_CONFIG:-}
need_rust
need "${BUILD_PACKAGES[@]}" "${MAIL_PACKAGES[@]}" "${JUDGE_PACKAGES[@]}"
need_postgres
pg_configs=("$PG_CONFIG")
[[ -n $chosen ]] || pg_configs+=("$(scripts/postgres.sh 18)")

scratch_in_memory
dir=$(scratch test)
jobs=()
finish() {
    local status=$? server job
    for job in "${jobs[@]}"; do
        kill -- "-$job" 2>/dev/null || true
    done
    for server in "$dir"/cluster-*; do
        [[ ! -e $server/env ]] || PG_CONFIG=$(sed -n 's/^CLUSTER_BIN=//p' "$server/env")/pg_config \
            scripts/cluster.sh stop "$server" || true
    done
    as_root scripts/mail-server.sh stop "$dir/mail" || true
    as_root scripts/exim.sh stop "$dir/exim" || true
    as_root scripts/opensmtpd.sh stop "$dir/opensmtpd" || true
    as_root scripts/token-issuer.sh stop "$dir/issuer" || true
    if ((status)); then
        say "failed; the servers' logs are in $dir"
    else
        as_root rm -rf "$dir"
    fi
}
trap finish EXIT

build_all() {
    local pg_config
    for pg_config in "${pg_configs[@]}"; do
        make build PG_CONFIG="$pg_config"
    done
}

# Everything that needs a cluster: the SQL surface, then conversations with real servers and hostile peers.
suite() {
    local pg_config major
    pg_config=$(runnable "$1" "$dir")
    major=$(major_of "$pg_config")
    export PG_CONFIG=$pg_config
    build_and_install
    step "starting PostgreSQL $major" scripts/cluster.sh start "$dir/cluster-$major"
    say "pg_regress on PostgreSQL $major: the SQL surface"
    scripts/regress.sh "$dir/cluster-$major"
    say "end to end on PostgreSQL $major: real servers and hostile peers"
    # They wait more than they compute.
    RUST_TEST_THREADS=6 UTL_SMTP_CLUSTER=$dir/cluster-$major/env \
        cargo test --locked --no-fail-fast --package e2e
    scripts/cluster.sh stop "$dir/cluster-$major"
}

# start LOG COMMAND…: runs a command beside this script, in a process group of its own.
start() {
    local log=$1
    shift
    set -m
    "$@" >"$log" 2>&1 </dev/null &
    set +m
    jobs+=($!)
}

# The release builds and the checks have directories of their own below target: neither waits for the other.
start "$dir/build.log" build_all
builds=${jobs[0]}
scripts/check.sh
# Compiled by the same commands that run them: what else is selected may change the features of what they share.
step "compiling the tests of the crates" cargo test --locked "${CRATES[@]}" --no-run
say "crates: known answers and properties"
cargo test --locked "${CRATES[@]}"
step "compiling the end-to-end tests" cargo test --locked --package e2e --no-run
step "building the extension for ${#pg_configs[@]} versions of PostgreSQL" \
    tail --pid="$builds" --follow "$dir/build.log"
wait "$builds" || { tail -n 60 "$dir/build.log" >&2; die "the extension does not build"; }
jobs=()

step "starting Postfix and Dovecot" as_root scripts/mail-server.sh start "$dir/mail"
step "starting Exim" as_root scripts/exim.sh start "$dir/exim"
step "starting OpenSMTPD" as_root scripts/opensmtpd.sh start "$dir/opensmtpd"
step "starting the token issuer" as_root scripts/token-issuer.sh start "$dir/issuer" "$dir/mail"
export UTL_SMTP_MAIL=$dir/mail/env UTL_SMTP_EXIM=$dir/exim/env UTL_SMTP_OPENSMTPD=$dir/opensmtpd/env
export UTL_SMTP_TOKEN_ISSUER=$dir/issuer/env

compgen -G 'sql/utl_smtp--*--*.sql' >/dev/null || say "no upgrade is tested: no version was released before this one"
# At the same time, as they mostly wait: each has a cluster of its own, and what they share knows them apart by process
# number. The output of the first is shown as it comes, that of the others after it.
for pg_config in "${pg_configs[@]}"; do
    start "$dir/suite-$(major_of "$pg_config").log" suite "$pg_config"
done
failed=()
for index in "${!pg_configs[@]}"; do
    major=$(major_of "${pg_configs[index]}")
    tail --pid="${jobs[index]}" --lines=+1 --follow "$dir/suite-$major.log"
    wait "${jobs[index]}" || failed+=("PostgreSQL $major")
done
jobs=()
((${#failed[@]} == 0)) || die "failed on ${failed[*]}"

if [[ -z $chosen ]]; then
    # Compiling for another version occupies one processor.
    start "$dir/versions.log" scripts/versions.sh
    say "packages: made, installed into a clean tree, used"
    scripts/package-test.sh "$dir/mail"
fi
say "fuzzing, a few seconds for each target"
scripts/fuzz.sh 5
if [[ -z $chosen ]]; then
    say "the other versions of PostgreSQL"
    tail --pid="${jobs[0]}" --lines=+1 --follow "$dir/versions.log"
    wait "${jobs[0]}" || die "it does not compile for each version of PostgreSQL"
    jobs=()
fi

say "done"
