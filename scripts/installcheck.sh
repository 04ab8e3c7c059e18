#!/bin/bash
# Runs tests/pg_regress with PostgreSQL's own pg_regress on a running server: the one that libpq's environment
# names (PGHOST, PGPORT, PGUSER …), as a superuser. $PG_CONFIG must be of that server's version, and the
# extension be installed there. Makes and drops the database "utl_smtp_regress" and roles "regress_…".
#
#   installcheck.sh [test…]      without names: all of tests/pg_regress/sql

. "$(dirname "$0")/lib.sh"

database=utl_smtp_regress
output=${REGRESS_OUTPUT:-$ROOT/.build/regress}
tests=("$@")
if ((${#tests[@]} == 0)); then
    tests=("$ROOT"/tests/pg_regress/sql/*.sql)
    tests=("${tests[@]##*/}")
    tests=("${tests[@]%.sql}")
fi

pg_config=${PG_CONFIG:-pg_config}
bin=$("$pg_config" --bindir)
runner=$(dirname "$("$pg_config" --pgxs)")/../test/regress/pg_regress

maintenance() {
    "$bin/psql" --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --dbname="${PGDATABASE:-postgres}" "$@"
}

# Commands apart, because neither DROP nor CREATE DATABASE runs in one transaction with another statement.
maintenance --command="SET client_min_messages = error" \
    --command="DROP DATABASE IF EXISTS $database" \
    --command="CREATE DATABASE $database TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'" \
    --command="ALTER DATABASE $database SET lc_messages = 'C'"
mkdir -p "$output"
if ! "$runner" --use-existing --dbname="$database" --bindir="$bin" \
    --inputdir="$ROOT/tests/pg_regress" --outputdir="$output" "${tests[@]}"; then
    cat "$output/regression.diffs" >&2 || true
    exit 1
fi
maintenance --command="DROP DATABASE $database"
