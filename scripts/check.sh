#!/bin/bash
# What can be checked without running the code: format, lints of clippy, rustdoc and shellcheck, the direction of the
# dependencies, one version in all files, and that the mutants still apply.

. "$(dirname "$0")/lib.sh"
cd "$ROOT"

# uses PACKAGE NAME…: of the crates, of rustls and of pgrx, PACKAGE may depend on no others than these, however far down.
uses() {
    local package=$1 tree name
    tree=$(cargo tree --locked --package "$package" --edges normal --prefix none) || die "cargo tree failed"
    for name in crates/* rustls pgrx; do
        name=${name#crates/}
        [[ " $* " == *" $name "* ]] || ! grep -q "^$name v" <<<"$tree" || die "$package depends on $name"
    done
}

crates_depend_in_one_direction() {
    uses dkim-sign
    uses host-acl smtp-core
    uses installation
    uses mail-compose smtp-core
    uses mail-queue smtp-core
    uses oauth2-token smtp-core
    uses pem-wallet smtp-core rustls
    uses smtp-client smtp-core pem-wallet rustls
    uses smtp-core
    uses table-text
    [[ $(declare -f crates_depend_in_one_direction | grep -c "^ *uses ") == $(git ls-files "crates/*/Cargo.toml" | wc -l) ]] ||
        die "a crate has no rule"
}

# PostgreSQL, cargo and PGXN each read the version from a file of their own. The library has cargo's.
versions_agree() {
    local version
    version=$(sed -n "s/^default_version = '\(.*\)'/\1/p" utl_smtp.control)
    grep -qx "version = \"$version\"" Cargo.toml || die "Cargo.toml is not of version $version"
    [[ $(grep -c "\"version\": \"$version\"" META.json) == 3 ]] || die "META.json is not of version $version"
    grep -qx "default_version = '$version'" utl_mail.control || die "utl_mail.control is not of version $version"
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

# pgrx turns a panic into an ERROR by unwinding. Profiles are set in manifests and in cargo's configuration.
panic_unwinds() {
    local files status=0
    mapfile -t files < <(git ls-files --cached --others --exclude-standard '*.toml' '.cargo/*')
    grep -nE '^[^#]*panic *= *["'"']abort" "${files[@]}" || status=$?
    # 0: found; 2: a file could not be read.
    ((status == 1)) || die "panic must be \"unwind\" in every profile"
}

shellcheck_all() {
    local scripts
    mapfile -t scripts < <(git grep --untracked -lE '^#!.*sh$|^# shellcheck shell=')
    shellcheck --severity=warning "${scripts[@]}"
}

need_rust
need "${BUILD_PACKAGES[@]}" git shellcheck
need_postgres
feature=pg$(major_of "$PG_CONFIG")
export PGRX_PG_CONFIG_PATH=$PG_CONFIG

step "rustfmt" cargo fmt --all --check
step "the crates depend in one direction" crates_depend_in_one_direction
step "one version everywhere" versions_agree
step "every mutant applies" mutants_apply
step "a panic unwinds, as pgrx needs" panic_unwinds
step "shellcheck" shellcheck_all
step "clippy" cargo clippy --locked --workspace --all-targets --no-default-features --features "$feature" \
    -- -D warnings
# Twice: the first run finds links from public items to private ones, the second all links of private items.
# --examples includes the features of dev-dependencies, as --all-targets does: nothing is compiled again.
for private in "" --document-private-items; do
    step "rustdoc $private" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --workspace \
        --lib --bins --examples --no-default-features --features "$feature" $private
done
