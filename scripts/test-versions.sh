#!/bin/bash
# pg_regress and the end-to-end suites on the versions of PostgreSQL that `make test` only compiles for. It does not
# stop at a failure: it shows the output of each suite that failed, and lists them at the end.
#
#   test-versions.sh [14 16 17]                               without numbers: all three
#   SUITES='conversation interrupts' test-versions.sh 14      pg_regress and these suites

. "$(dirname "$0")/lib.sh"
cd "$ROOT"

# sqlsmith: its queries are random and do not depend on the version, and PostgreSQL 14 counts calls too late for it.
left_out=(sqlsmith)

# Tests that cannot pass on a version: the names, or what they begin with.
skipped_on() {
    case $1 in
    14)
        # Does not reserve the prefix of settings.
        echo secrets::no_setting_holds_a_secret
        # Its repeat() fails with another SQLSTATE.
        echo phase::a_message_of_more_than_two_gigabytes_is_counted_and_costs_no_memory
        # The package has no pg_upgrade, and that of PostgreSQL 15 does not upgrade to 14.
        echo lifecycle::pg_upgrade_accepts_the_extension
        ;;
    16)
        # The package has no contrib modules.
        echo secrets::pg_stat_statements_
        ;;
    esac
}

versions=("$@")
((${#versions[@]})) || versions=(14 16 17)

# The servers are made for x86-64, and so are the bindings of docs-bindings.sh.
[[ $(uname -m) == x86_64 ]] || die "these versions can only be tested on x86-64"
need_rust
need "${BUILD_PACKAGES[@]}" "${MAIL_PACKAGES[@]}"

# Failures are read by people: a backtrace of a test's assertion says nothing.
export RUST_BACKTRACE=0
scratch_in_memory
dir=$(scratch versions)
failed=()
finish() {
    local status=$? server
    for server in "$dir"/cluster-*; do
        [[ ! -e $server/env ]] || PG_CONFIG=$(sed -n 's/^CLUSTER_BIN=//p' "$server/env")/pg_config \
            scripts/cluster.sh stop "$server" || true
    done
    for server in mail-server exim opensmtpd token-issuer; do
        as_root "scripts/$server.sh" stop "$dir/$server" || true
    done
    if ((status)); then
        say "failed; the servers' logs are in $dir"
    else
        as_root rm -rf "$dir"
    fi
}
trap finish EXIT

# The names of the suites: files and directories of tests/e2e/tests.
suites() {
    local path name
    for path in tests/e2e/tests/*; do
        name=$(basename "$path" .rs)
        [[ " ${left_out[*]} " == *" $name "* ]] || echo "$name"
    done
}

# judge NAME COMMAND…: runs a suite, says whether it passed and how long it took, and shows its output if it failed.
judge() {
    local name=$1 log=$dir/output began
    shift
    began=$(date +%s)
    if "$@" >"$log" 2>&1 </dev/null; then
        say "  $name: ok, $(($(date +%s) - began)) s"
    else
        failed+=("$name")
        cat "$log"
        say "  $name: FAILED"
    fi
}

# Headers of the server, or pgrx's bindings where the package has none.
build() {
    local wrapper=()
    [[ -d $("$1" --includedir-server) ]] || wrapper=(scripts/docs-bindings.sh)
    "${wrapper[@]}" make build PG_CONFIG="$1"
}

version() {
    local major=$1 pg_config suite test skip=()
    for test in $(skipped_on "$major"); do
        skip+=(--skip "$test")
    done
    pg_config=$(scripts/postgres.sh "$major")
    if ! (step "building the extension for $("$pg_config" --version)" build "$pg_config"); then
        failed+=("$major build")
        return
    fi
    pg_config=$(runnable "$pg_config" "$dir")
    step "installing it" make install PG_CONFIG="$pg_config"
    step "starting PostgreSQL $major" env PG_CONFIG="$pg_config" scripts/cluster.sh start "$dir/cluster-$major"
    judge "$major pg_regress" scripts/regress.sh "$dir/cluster-$major"
    for suite in "${suites[@]}"; do
        judge "$major $suite" env UTL_SMTP_CLUSTER="$dir/cluster-$major/env" \
            cargo test --locked --package e2e --test "$suite" -- "${skip[@]}"
    done
    PG_CONFIG=$pg_config scripts/cluster.sh stop "$dir/cluster-$major"
}

if [[ -n ${SUITES:-} ]]; then read -ra suites <<<"$SUITES"; else mapfile -t suites < <(suites); fi
step "compiling the end-to-end tests" cargo test --locked --package e2e --no-run
step "starting Postfix and Dovecot" as_root scripts/mail-server.sh start "$dir/mail-server"
step "starting Exim" as_root scripts/exim.sh start "$dir/exim"
step "starting OpenSMTPD" as_root scripts/opensmtpd.sh start "$dir/opensmtpd"
step "starting the token issuer" \
    as_root scripts/token-issuer.sh start "$dir/token-issuer" "$dir/mail-server"
export UTL_SMTP_MAIL=$dir/mail-server/env UTL_SMTP_EXIM=$dir/exim/env UTL_SMTP_OPENSMTPD=$dir/opensmtpd/env
export UTL_SMTP_TOKEN_ISSUER=$dir/token-issuer/env
for major in "${versions[@]}"; do
    version "$major"
done
((${#failed[@]} == 0)) || die "failed:$(printf ' [%s]' "${failed[@]}")"
say "done"
