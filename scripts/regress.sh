#!/bin/bash
# Runs tests/pg_regress with PostgreSQL's own pg_regress on a running cluster; needs the extension installed.
#
#   regress.sh CLUSTER-DIR MAIL-DIR [test…]      without names: all of tests/pg_regress/sql
#
# The tests find the mail server in the environment (MAIL_HOST, MAIL_PLAIN_PORT …, see mail-server.sh).

. "$(dirname "$0")/lib.sh"

(($# >= 2)) || die "usage: regress.sh CLUSTER-DIR MAIL-DIR [test…]"
set -a
. "$1/env"
. "$2/env"
set +a
output=$1/regress
shift 2
tests=("$@")
if ((${#tests[@]} == 0)); then
    tests=("$ROOT"/tests/pg_regress/sql/*.sql)
    tests=("${tests[@]##*/}")
    tests=("${tests[@]%.sql}")
fi

psql="$CLUSTER_BIN/psql"
"$psql" -qX -c 'DROP DATABASE IF EXISTS regress' -c 'CREATE DATABASE regress' 2>/dev/null
mkdir -p "$output"
runner=$(dirname "$("${PG_CONFIG:-pg_config}" --pgxs)")/../test/regress/pg_regress
if ! "$runner" --use-existing --dbname=regress --bindir="$CLUSTER_BIN" --host="$PGHOST" --port="$PGPORT" \
    --user="$PGUSER" --inputdir="$ROOT/tests/pg_regress" --outputdir="$output" "${tests[@]}"; then
    cat "$output/regression.diffs" >&2 || true
    exit 1
fi
