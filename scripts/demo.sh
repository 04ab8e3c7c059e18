#!/bin/bash
# From a machine with only Rust to a delivered mail: installs what is missing, builds, starts a throw-away
# PostgreSQL and a mail server with TLS and AUTH under a private CA, and has the conversation of demo.sql as
# a plain role; then a second mail, for which demo-server.sql fetches a token from an issuer of its own; then a third, in
# which demo-report.sql sends a query's result as HTML and CSV; then demo-delivery.sql, whose trigger mails what is
# committed and nothing else. Nothing keeps running afterwards.

. "$(dirname "$0")/lib.sh"
cd "$ROOT"

need_rust
need "${BUILD_PACKAGES[@]}" "${MAIL_PACKAGES[@]}" python3
need_postgres
build_and_install

dir=$(scratch demo)
finish() {
    scripts/cluster.sh stop "$dir/cluster" || true
    as_root scripts/mail-server.sh stop "$dir/mail" || true
    as_root scripts/token-issuer.sh stop "$dir/issuer" || true
    as_root rm -rf "$dir"
}
trap finish EXIT

step "starting PostgreSQL" scripts/cluster.sh start "$dir/cluster"
step "starting Postfix and Dovecot" as_root scripts/mail-server.sh start "$dir/mail"
step "starting the token issuer" as_root scripts/token-issuer.sh start "$dir/issuer" "$dir/mail"
set -a
. "$dir/cluster/env"
. "$dir/mail/env"
. "$dir/issuer/env"
set +a

# Quietly, and reading standard input: with --file, psql would put the file's name before each notice.
run_sql() {
    "$CLUSTER_BIN/psql" --no-psqlrc --quiet --set=ON_ERROR_STOP=1 "$@" 2>&1
}

say "a database, a plain role, and one host that it may talk to"
run_sql <<END
CREATE DATABASE demo;
\connect demo
CREATE EXTENSION utl_smtp;
CREATE EXTENSION utl_mail;
CREATE ROLE app LOGIN;
SELECT dbms_network_acl_admin.append_host_ace(
    host => '$MAIL_HOST', lower_port => $MAIL_SUBMISSION_PORT, upper_port => $MAIL_SUBMISSION_PORT,
    ace => dbms_network_acl_admin.xs\$ace_type(
        privilege_list => dbms_network_acl_admin.xs\$name_list('smtp'), principal_name => 'app')) \g /dev/null
ALTER DATABASE demo SET utl_smtp.wallet_roots = '$MAIL_WALLET';
END

say "the conversation, as the role app (C: is PostgreSQL, S: is the mail server)"
run_sql --username=app --dbname=demo --set=host="$MAIL_HOST" --set=port="$MAIL_SUBMISSION_PORT" \
    --set=wallet="file:$MAIL_WALLET" --set=user="$MAIL_USER" --set=password="$MAIL_PASSWORD" \
    <scripts/demo.sql

# arrived MAILBOX WORD: the file of a mail with this word in MAILBOX, if there is one.
arrived() {
    as_root grep --files-with-matches --recursive --no-messages "$2" "$MAIL_BOXES/$1/new"
}
# show MAILBOX WORD: the mail with this word, as soon as it has arrived.
show() {
    wait_for 60 arrived "$1" "$2" >/dev/null || die "no mail arrived"
    say "the mail as it arrived in $1's mailbox"
    as_root cat "$(arrived "$1" "$2")"
}
show bob 'Sent by the role'

say "the mail server as an object: a token instead of a password, two recipients, one of them unknown to the server"
run_sql --dbname=demo --set=host="$MAIL_HOST" --set=port="$MAIL_SUBMISSION_PORT" --set=wallet="file:$MAIL_WALLET" \
    --set=user="$MAIL_USER" --set=token_endpoint="$ISSUER_TOKEN_ENDPOINT" --set=scope="$ISSUER_SCOPE" \
    --set=client_id="$ISSUER_CLIENT_ID" --set=client_secret="$ISSUER_CLIENT_SECRET" <scripts/demo-server.sql
show carol 'by token'
say "the token requests, from the issuer's log"
as_root cat "$ISSUER_REQUESTS"

say "a report: a query's result as HTML, and as a CSV file, in one statement"
run_sql --dbname=demo <scripts/demo-report.sql
show bob 'Low stock'
say "its table and its file, as a mail reader finds them"
as_root cat "$(arrived bob 'Low stock')" | python3 scripts/demo-parts.py

say "delivery exactly as committed: a trigger mails, one order is rolled back, one is committed"
run_sql --dbname=demo <scripts/demo-delivery.sql
show bob 'order 2'
! arrived bob 'order 1' || die "a mail that was rolled back has arrived"
say "no mail of the order that was rolled back; what the log says of the other"
run_sql --dbname=demo --expanded --command='SELECT * FROM utl_smtp.mail_log'
say "done"
