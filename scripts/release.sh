#!/bin/bash
# Freezes the current version as released and begins the next one: writes sql/utl_smtp--CURRENT.sql and an empty
# sql/utl_smtp--CURRENT--NEXT.sql, and raises the version wherever it is written. Review and commit what it changed.
#
#   release.sh NEXT

. "$(dirname "$0")/lib.sh"
cd "$ROOT"

need_rust
(($# == 1)) && [[ $1 =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || die "usage: release.sh NEXT, such as 0.3.0"
next=$1
current=$(sed -n "s/^default_version = '\(.*\)'/\1/p" utl_smtp.control)
[[ ! -e sql/utl_smtp--$current.sql ]] || die "version $current is released already"

# freeze EXTENSION FOLDER: the install script of this version, and an upgrade script to the next one.
freeze() {
    cat "$2"/*.sql >"sql/$1--$current.sql"
    cat >"sql/$1--$current--$next.sql" <<END
-- From $current to $next: whatever changed in $2, as statements that change it.
\echo Use "ALTER EXTENSION $1 UPDATE TO '$next'" to load this file. \quit
END
}
for upgrade in sql/utl_*--*--"$current".sql; do
    [[ -e $upgrade ]] || continue
    awk -f scripts/include.awk "$upgrade" >"$upgrade.new"
    mv "$upgrade.new" "$upgrade"
done
freeze utl_smtp sql/install
freeze utl_mail sql/utl_mail
sed -i "s/^default_version = '$current'/default_version = '$next'/" utl_smtp.control utl_mail.control
sed -i "s/^version = \"$current\"/version = \"$next\"/" Cargo.toml
sed -i "s/\"version\": \"$current\"/\"version\": \"$next\"/" META.json
for manifest in Cargo.toml fuzz/Cargo.toml; do
    cargo update --workspace --quiet --manifest-path "$manifest"
done
