#!/bin/bash
# Makes the packages and uses them in a clean tree: the files of Debian's PostgreSQL and nothing else, with a dpkg
# database of its own. PostgreSQL finds its files from where its programs lie, so no chroot is needed.
#
#   package-test.sh MAIL-DIR      MAIL-DIR is of mail-server.sh, which is running

. "$(dirname "$0")/lib.sh"
cd "$ROOT"

(($# == 1)) || die "usage: package-test.sh MAIL-DIR"
. "$1/env"
unset PG_CONFIG
need_postgres
major=$(major_of "$PG_CONFIG")
version=$(sed -n "s/^default_version = '\(.*\)'/\1/p" utl_smtp.control)
name=postgresql-$major-utl-smtp

dir=$(scratch package)
tree=$dir/root
finish() {
    PG_CONFIG=$tree$PG_CONFIG scripts/cluster.sh stop "$dir/cluster" || true
    as_root rm -rf "$dir"
}
trap finish EXIT

# The files of installed packages; what else lies in their directories stays behind.
copy_packages() {
    mkdir -p "$tree"
    dpkg --listfiles "$@" | sort -u | while read -r file; do
        [[ -d $file && ! -L $file || ! -e $file ]] || printf '%s\n' "${file#/}"
    done | tar --create --directory=/ --files-from=- | tar --extract --directory="$tree"
    mkdir -p "$tree"/var/lib/dpkg/{info,updates}
    touch "$tree/var/lib/dpkg/status"
}

dpkg_there() {
    as_root dpkg --root="$tree" --force-depends "$@"
}

sql() {
    (
        set -a
        . "$dir/cluster/env"
        "$CLUSTER_BIN/psql" --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --command="$1" 2>&1
    )
}

converses() {
    local code
    sql "CREATE EXTENSION utl_smtp" >/dev/null || die "CREATE EXTENSION failed"
    [[ $(sql "SELECT extversion FROM pg_extension WHERE extname = 'utl_smtp'") == "$version" ]] ||
        die "not version $version"
    code=$(sql "SELECT (utl_smtp.quit(utl_smtp.open_connection('$MAIL_HOST', $MAIL_PLAIN_PORT, 10))).code")
    [[ $code == 221 ]] || die "no conversation: $code"
    sql "DROP EXTENSION utl_smtp"
}

# Every relative link of the shipped pages leads to a shipped file.
links_resolve() {
    local page target broken=
    [[ -e $1/README.md && -e $1/docs/performance.md ]] || die "no pages in $1"
    while IFS=: read -r page target; do
        target=${target#*](}
        target=${target%)}
        target=${target%%#*}
        [[ -z $target || $target == *://* || -e $(dirname "$page")/$target ]] || broken+=" ${page#"$tree"}:$target"
    done < <(grep --recursive --only-matching --include='*.md' '](\S[^)]*)' "$1")
    [[ -z $broken ]] || die "broken links:$broken"
}

traces() {
    find "$tree" -path "$tree/var/lib/dpkg" -prune -o -iname '*utl*smtp*' -print
}

step "packing" make package
deb=.build/package/${name}_$version-1_$(dpkg --print-architecture).deb
tarball=.build/package/utl_smtp-$version-pg$major-$(uname -m).tar.gz

step "a clean tree with Debian's PostgreSQL $major" copy_packages "postgresql-$major" "postgresql-client-$major"
PG_CONFIG=$tree$PG_CONFIG step "starting it" scripts/cluster.sh start "$dir/cluster"
[[ -z $(traces) ]] || die "the tree is not clean: $(traces)"
[[ $(sql "CREATE EXTENSION utl_smtp" || true) == *"is not available"* ]] || die "the extension is there already"

say "installing $(basename "$deb")"
dpkg_there --install "$deb" >/dev/null 2>&1 || die "dpkg refused it"
[[ -z $(dpkg_there --verify "$name") ]] || die "what dpkg installed is not what was packed"
dpkg_there --status "$name" | grep -q "^Depends: postgresql-$major, .*libc6 (>= " || die "no sound dependencies"
links_resolve "$tree/usr/share/doc/$name"
converses
dpkg_there --purge "$name" >/dev/null 2>&1
[[ -z $(traces) ]] || die "left behind: $(traces)"

say "unpacking $(basename "$tarball")"
diff <(dpkg-deb --fsys-tarfile "$deb" | tar --list | sort) <(tar --list --gzip --file="$tarball" | sort) ||
    die "the tarball and the .deb differ"
tar --extract --gzip --directory="$tree" --file="$tarball"
converses
