#!/bin/bash
# Packs what `make install` installs, together with the documentation, the trust anchors and the files for monitoring,
# into .build/package: a tarball, to be unpacked over the root directory, and for Debian's own PostgreSQL a .deb, made
# with Debian's tools. DEBFULLNAME and DEBEMAIL say who packs, as they do for those.

. "$(dirname "$0")/lib.sh"
cd "$ROOT"

need_postgres
major=$(major_of "$PG_CONFIG")
version=$(sed -n "s/^default_version = '\(.*\)'/\1/p" utl_smtp.control)
name=postgresql-$major-utl-smtp
out=$ROOT/.build/package
tree=$out/$name
library=$tree$("$PG_CONFIG" --pkglibdir)/utl_smtp.so

# The same source makes the same packages, byte for byte.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}

stage() {
    local doc=$tree/usr/share/doc/$name
    rm -rf "$tree"
    make --no-print-directory install DESTDIR="$tree"
    strip --strip-unneeded "$library"
    install -d "$doc/docs/bench" "$doc/wallet" "$doc/monitoring"
    install -m 644 README.md SECURITY.md CONTRIBUTING.md CHANGELOG.md LICENSE "$doc/"
    find docs -maxdepth 1 -type f -exec install -m 644 -t "$doc/docs/" {} +
    install -m 644 docs/bench/* "$doc/docs/bench/"
    install -m 644 wallet/* "$doc/wallet/"
    install -m 644 monitoring/* "$doc/monitoring/"
    install -m 644 LICENSE "$doc/copyright"
    gzip -9n <CHANGELOG.md >"$doc/changelog.gz"
    chmod -R u=rwX,go=rX "$tree"
}

tarball() {
    tar --create --gzip --directory="$tree" --sort=name --owner=0 --group=0 --numeric-owner \
        --mtime="@$SOURCE_DATE_EPOCH" --file="$1" .
}

deb() {
    local depends
    need dpkg-dev
    depends=$(library_packages)
    mkdir "$tree/DEBIAN"
    cat >"$tree/DEBIAN/control" <<END
Package: $name
Version: $version-1
Architecture: $(dpkg --print-architecture)
Maintainer: ${DEBFULLNAME:-The utl_smtp contributors} <${DEBEMAIL:-root@localhost}>
Installed-Size: $(du --summarize --apparent-size --block-size=1024 --exclude=DEBIAN "$tree" | cut -f1)
Depends: postgresql-$major, $depends
Recommends: ca-certificates
Section: database
Priority: optional
Homepage: https://github.com/utl-smtp/utl_smtp
Description: Oracle's UTL_SMTP for PostgreSQL $major
 A PostgreSQL extension with the conversational SMTP client of Oracle's UTL_SMTP:
 each call takes one step of the conversation and answers with the server's reply.
 TLS is always verified, and an access control list says which role may talk to
 which host.
END
    (cd "$tree" && find usr -type f -print0 | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
    dpkg-deb --root-owner-group --build "$tree" "$1"
    rm -r "$tree/DEBIAN"
}

# The packages that the library is linked with, in words for Depends. dpkg-shlibdeps wants a source package
# around it.
library_packages() (
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    mkdir "$work/debian"
    printf 'Source: utl-smtp\n\nPackage: %s\nArchitecture: any\n' "$name" >"$work/debian/control"
    cd "$work"
    dpkg-shlibdeps -O "$library" 2>/dev/null | sed -n 's/^shlibs:Depends=//p'
)

step "gathering the files of $name $version" stage
archive=$out/utl_smtp-$version-pg$major-$(uname -m).tar.gz
step "packing $(basename "$archive")" tarball "$archive"
if [[ $("$PG_CONFIG" --pkglibdir) == /usr/lib/postgresql/* ]] && command -v dpkg-deb >/dev/null; then
    archive=$out/${name}_$version-1_$(dpkg --print-architecture).deb
    step "packing $(basename "$archive")" deb "$archive"
fi
