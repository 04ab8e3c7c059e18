#!/bin/bash
# Compiles the extension, without linking it, for versions of PostgreSQL that need not be installed: pgrx-pg-sys has
# bindings of each for its own documentation, and the cfg `docsrs` makes it use them.
#
#   versions.sh [14 15 …]      without numbers: those that the other tests have no headers of

. "$(dirname "$0")/lib.sh"
cd "$ROOT"

# As cargo's RUSTC_WRAPPER this script gets rustc's command line. The cfg is for the one crate; others would
# take it as a wish for unstable features.
if [[ -n ${VERSIONS_WRAPS_RUSTC:-} ]]; then
    [[ " $* " != *" --crate-name pgrx_pg_sys "* ]] || set -- "$@" --cfg docsrs
    exec "$@"
fi

need_rust
need gcc libc6-dev
versions=("$@")
((${#versions[@]})) || versions=(14 16 17)
for version in "${versions[@]}"; do
    step "compiling for PostgreSQL $version" env VERSIONS_WRAPS_RUSTC=1 DOCS_RS=1 \
        RUSTC_WRAPPER="$ROOT/scripts/versions.sh" \
        cargo clippy --locked --no-default-features --features "pg$version" -- -D warnings
done
