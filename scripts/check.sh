#!/bin/bash
# What can be said of the source without running it: its form, the compiler's and clippy's opinion, and
# that each crate depends only on the one before it.

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

need_rust
need "${BUILD_PACKAGES[@]}"
need_postgres
feature=pg$("$PG_CONFIG" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/')

step "rustfmt" cargo fmt --all --check
step "the crates depend in one direction" eval \
    'refuses smtp-core smtp-net pgrx rustls && refuses smtp-net pgrx'
step "a panic unwinds, as pgrx needs" eval '! grep -rn "panic *= *.abort" Cargo.toml crates .cargo'
step "clippy" env PGRX_PG_CONFIG_PATH="$PG_CONFIG" cargo clippy --locked --workspace --all-targets \
    --no-default-features --features "$feature" -- -D warnings
