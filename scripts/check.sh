#!/bin/bash
# What can be said of the source without running it: its form, the compiler's and clippy's opinion, that each
# crate depends only on the one before it, that one version is meant everywhere, and that the mutants still fit.

. "$(dirname "$0")/lib.sh"
cd "$ROOT"

# refuses PACKAGE NAME…: PACKAGE must not depend on any NAME, however far down.
refuses() {
    local package=$1 tree name
    shift
    tree=$(cargo tree --locked --package "$package" --edges normal --prefix none)
    for name in "$@"; do
        ! grep -q "^$name v" <<<"$tree" || die "$package depends on $name"
    done
}

# The version is written where PostgreSQL, cargo, PGXN and the library each want it.
versions_agree() {
    local version
    version=$(sed -n "s/^default_version = '\(.*\)'/\1/p" utl_smtp.control)
    grep -qx "version = \"$version\"" Cargo.toml || die "Cargo.toml is not of version $version"
    grep -q "pg_module_magic!(.*version = c\"$version\"" src/lib.rs || die "src/lib.rs is not of version $version"
    [[ $(grep -c "\"version\": \"$version\"" META.json) == 2 ]] || die "META.json is not of version $version"
    # A released version never changes again: sql/install has become another one.
    [[ ! -e sql/utl_smtp--$version.sql ]] || cat sql/install/*.sql | cmp - "sql/utl_smtp--$version.sql" ||
        die "sql/install differs from version $version, which is released: raise the version"
}

# A patch that fits nowhere any more takes nothing away.
mutants_apply() {
    local patch
    for patch in tests/mutants/*.patch; do
        git apply --check "$patch" || die "$patch does not apply: write it anew"
    done
}

need_rust
need "${BUILD_PACKAGES[@]}" git
need_postgres
feature=pg$("$PG_CONFIG" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/')

step "rustfmt" cargo fmt --all --check
step "the crates depend in one direction" eval \
    'refuses smtp-core smtp-net pgrx rustls && refuses smtp-net pgrx'
step "one version everywhere" versions_agree
step "every mutant applies" mutants_apply
step "a panic unwinds, as pgrx needs" eval '! grep -rn "panic *= *.abort" Cargo.toml crates .cargo'
step "clippy" env PGRX_PG_CONFIG_PATH="$PG_CONFIG" cargo clippy --locked --workspace --all-targets \
    --no-default-features --features "$feature" -- -D warnings
