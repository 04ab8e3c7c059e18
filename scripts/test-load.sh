#!/bin/bash
# Do the end-to-end tests pass however busy the machine is? Runs them again and again beside programs that only compute, with
# servers of its own, and prints a line for each run. Several may run at once.
#
#   test-load.sh RUNS [VERSION]     VERSION of PostgreSQL: 15 (Debian's) or 18 (see postgres.sh); or PG_CONFIG
#
# $BURNERS programs compute meanwhile (4). A run that takes longer than $LONGEST seconds (3000) has failed.

. "$(dirname "$0")/lib.sh"
cd "$ROOT"

(($# == 1 || $# == 2)) || die "usage: test-load.sh RUNS [VERSION]"
runs=$1
need_rust
need "${BUILD_PACKAGES[@]}" "${MAIL_PACKAGES[@]}" "${JUDGE_PACKAGES[@]}"
case ${2:-15} in
15) need_postgres ;;
18) PG_CONFIG=${PG_CONFIG:-$(scripts/postgres.sh 18)} ;;
*) [[ -n ${PG_CONFIG:-} ]] || die "PostgreSQL ${2:-} by PG_CONFIG only" ;;
esac

scratch_in_memory
dir=$(scratch load)
failed=0
burners=()
finish() {
    local status=$?
    ((${#burners[@]} == 0)) || kill "${burners[@]}" 2>/dev/null || true
    scripts/cluster.sh stop "$dir/cluster" || true
    as_root scripts/mail-server.sh stop "$dir/mail" || true
    as_root scripts/exim.sh stop "$dir/exim" || true
    as_root scripts/opensmtpd.sh stop "$dir/opensmtpd" || true
    as_root scripts/token-issuer.sh stop "$dir/issuer" || true
    if ((status)); then
        say "the logs are in $dir"
    else
        as_root rm -rf "$dir"
    fi
}
trap finish EXIT
trap 'exit 130' INT TERM

# Another instance may be using what is installed: only what differs is replaced.
install_if_new() {
    local stage
    stage=.build/pg$(major_of "$PG_CONFIG")
    step "building the extension for $("$PG_CONFIG" --version)" make build
    if cmp -s "$stage/utl_smtp.so" "$("$PG_CONFIG" --pkglibdir)/utl_smtp.so" &&
        (cd "$stage" && sha256sum ./*.sql) |
        (cd "$("$PG_CONFIG" --sharedir)/extension" && sha256sum --check --status) 2>/dev/null; then
        return
    fi
    build_and_install
}

# burn SECONDS: keeps a processor busy as long as this script lives, and no longer than that.
burn() {
    timeout "$1" bash -c "while kill -0 $$ 2>/dev/null; do for ((i = 0; i < 100000; i++)); do :; done; done" &
    burners+=($!)
}

# What failed, as SUITE TEST, and what had been running for a minute when the run was cut off.
failures() {
    awk '
        / Running (tests|src|unittests)/ { suite = $2; sub(/^tests\//, "", suite); sub(/(\/main)?\.rs$/, "", suite) }
        /^test .* \.\.\. FAILED$/ { print suite, $2 }
        /^test .* has been running for over/ { slow[$2] = suite }
        /^test .* \.\.\. (ok|FAILED)$/ { delete slow[$2] }
        /^error: / && !/test failed|targets? failed/ { print }
        END { for (name in slow) print slow[name], name, "did not end" }
    ' "$1" | sort -u
}

PG_CONFIG=$(runnable "$PG_CONFIG" "$dir")
export PG_CONFIG
install_if_new
step "compiling the end-to-end tests" cargo test --locked --package e2e --no-run
step "starting Postfix and Dovecot" as_root scripts/mail-server.sh start "$dir/mail"
step "starting Exim" as_root scripts/exim.sh start "$dir/exim"
step "starting OpenSMTPD" as_root scripts/opensmtpd.sh start "$dir/opensmtpd"
step "starting the token issuer" as_root scripts/token-issuer.sh start "$dir/issuer" "$dir/mail"
step "starting PostgreSQL $(major_of "$PG_CONFIG")" scripts/cluster.sh start "$dir/cluster"
export UTL_SMTP_CLUSTER=$dir/cluster/env UTL_SMTP_MAIL=$dir/mail/env UTL_SMTP_EXIM=$dir/exim/env
export UTL_SMTP_OPENSMTPD=$dir/opensmtpd/env UTL_SMTP_TOKEN_ISSUER=$dir/issuer/env

longest=${LONGEST:-3000}
for ((i = 0; i < ${BURNERS:-4}; i++)); do
    burn $((runs * longest))
done
for ((run = 1; run <= runs; run++)); do
    began=$(date +%s)
    log=$dir/run-$run.log
    # Each run begins as test.sh does: tests search the mailboxes.
    as_root find "$dir/mail/mail" -type f -delete
    # As many threads as in test.sh.
    if RUST_TEST_THREADS=6 timeout --kill-after=10 "$longest" \
        cargo test --locked --no-fail-fast --package e2e >"$log" 2>&1 </dev/null; then
        say "run $run: passed in $(($(date +%s) - began)) s"
        rm -f "$log"
    else
        failed=$((failed + 1))
        say "run $run: failed after $(($(date +%s) - began)) s: $log"
        failures "$log" | sed 's/^/    /'
    fi
done
say "$((runs - failed)) of $runs runs passed"
((failed == 0))
