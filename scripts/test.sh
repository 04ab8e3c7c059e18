#!/bin/bash
# Everything that must hold, against PostgreSQL of $PG_CONFIG (without it: Debian's 15) and real servers.

. "$(dirname "$0")/lib.sh"
cd "$ROOT"

need_rust
need "${BUILD_PACKAGES[@]}" "${MAIL_PACKAGES[@]}"
need_postgres

scripts/check.sh
build_and_install

dir=$(scratch test)
finish() {
    local status=$?
    scripts/cluster.sh stop "$dir/cluster" || true
    as_root scripts/mail-server.sh stop "$dir/mail" || true
    as_root scripts/exim.sh stop "$dir/exim" || true
    as_root scripts/opensmtpd.sh stop "$dir/opensmtpd" || true
    if ((status)); then
        say "failed; the servers' logs are in $dir"
    else
        as_root rm -rf "$dir"
    fi
}
trap finish EXIT

step "starting PostgreSQL" scripts/cluster.sh start "$dir/cluster"
step "starting Postfix and Dovecot" as_root scripts/mail-server.sh start "$dir/mail"
step "starting Exim" as_root scripts/exim.sh start "$dir/exim"
step "starting OpenSMTPD" as_root scripts/opensmtpd.sh start "$dir/opensmtpd"
export UTL_SMTP_CLUSTER=$dir/cluster/env UTL_SMTP_MAIL=$dir/mail/env
export UTL_SMTP_EXIM=$dir/exim/env UTL_SMTP_OPENSMTPD=$dir/opensmtpd/env

say "crates: known answers and properties"
cargo test --locked --package smtp-core --package smtp-net

say "pg_regress: the SQL surface"
scripts/regress.sh "$dir/cluster" "$dir/mail"

say "end to end: real servers and hostile peers"
cargo test --locked --package e2e

say "done"
