#!/bin/bash
# Compiles the extension, without linking it, for versions of PostgreSQL that need not be installed.
#
#   versions.sh [14 15 …]      without numbers: those that `make test` has no server of

. "$(dirname "$0")/lib.sh"
cd "$ROOT"

need_rust
need gcc libc6-dev
versions=("$@")
((${#versions[@]})) || versions=(14 16 17)
# With the selection of check.sh, so that only what knows the version is compiled again.
for version in "${versions[@]}"; do
    step "compiling for PostgreSQL $version" scripts/docs-bindings.sh \
        cargo clippy --locked --workspace --all-targets --no-default-features --features "pg$version" -- -D warnings
done
