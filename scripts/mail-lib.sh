# shellcheck shell=bash
# What the private mail servers share: their CA, ports, users, and how the tests find them. Sourced after
# lib.sh by a script that defines start and stop and ends with `server_main "$@"`.
#
# Every server of these has three ports of 127.0.0.1: submission (STARTTLS, then AUTH), plain (no TLS, no
# AUTH, local delivery only) and implicit TLS. Mail for alice, bob, carol @example.test lands in
# DIR/mail/NAME/new; anybody else @example.test is refused with 550.

USER_NAME=alice@example.test
USER_PASSWORD=correct-horse-7
SIZE_LIMIT=10485760

# Reads the arguments of the script, and makes what every server needs before its own start.
server_main() {
    [[ $# == 2 && ( $1 == start || $1 == stop ) ]] || die "usage: $0 start DIR | stop DIR"
    ((EUID == 0)) || die "mail servers start as root: sudo $0 $*"
    dir=$(realpath -m "$2")
    if [[ $1 == start ]]; then
        mkdir -p "$dir"
        chmod 755 "$dir"
        certificates
        submission='' plain='' tls=''
        free_ports submission plain tls
    fi
    "$1"
}

certificates() {
    mkdir -p "$dir/tls" "$dir/wallet"
    (
        cd "$dir/tls"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 \
            -subj '/O=utl_smtp test/CN=Private CA' -addext 'keyUsage=critical,keyCertSign,cRLSign' \
            -keyout ca.key -out ca.pem
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=mail.example.test' \
            -keyout server.key -out server.csr
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 365 \
            -out server.pem -extfile <(
                echo 'basicConstraints = critical, CA:FALSE'
                echo 'keyUsage = critical, digitalSignature'
                echo 'extendedKeyUsage = serverAuth'
                echo 'subjectAltName = DNS:localhost, DNS:mail.example.test, IP:127.0.0.1'
            )
    ) >"$dir/openssl.log" 2>&1 || { cat "$dir/openssl.log" >&2; die "openssl failed"; }
    chmod 600 "$dir/tls/server.key"
    install -m 644 "$dir/tls/ca.pem" "$dir/wallet/ca.pem"
}

# Whoever asked for the server may read the mail; delivery programs refuse system users.
mail_reader() {
    if ((${SUDO_UID:-0} >= 1000)); then echo "$SUDO_UID"; else id -u nobody; fi
}

await_ports() {
    local port
    for port in "$submission" "$plain" "$tls"; do
        wait_for 60 answers "$port" || return 1
    done
}

mail_environment() {
    cat <<END
MAIL_HOST=localhost
MAIL_NAME=mail.example.test
MAIL_SUBMISSION_PORT=$submission
MAIL_PLAIN_PORT=$plain
MAIL_TLS_PORT=$tls
MAIL_CA=$dir/wallet/ca.pem
MAIL_WALLET=$dir/wallet
MAIL_USER=$USER_NAME
MAIL_PASSWORD=$USER_PASSWORD
MAIL_TOKEN=${token:-}
MAIL_SIZE_LIMIT=$SIZE_LIMIT
MAIL_BOXES=$dir/mail
MAIL_LOG=${log:-$dir/mail.log}
END
}

# Ends a process that this script has started, and waits until it is gone.
end_process() {
    kill "$1" 2>/dev/null || return 0
    wait_for 60 gone "$1" || true
}

gone() {
    ! kill -0 "$1" 2>/dev/null
}

# unpack PACKAGE…: unpacks Debian packages below DIR/root without installing them, since mail servers exclude
# one another as installed packages. The archives are kept in .build for the next run.
unpack() {
    local package archive archives=$ROOT/.build/debs
    mkdir -p "$archives" "$dir/root"
    for package in "$@"; do
        archive=$(find "$archives" -name "${package}_*.deb" -print -quit)
        if [[ -z $archive ]]; then
            (
                cd "$archives"
                fetch "$package" || { apt-get -q update && fetch "$package"; }
            ) >&2
            archive=$(find "$archives" -name "${package}_*.deb" -print -quit)
        fi
        dpkg -x "$archive" "$dir/root"
    done
}

fetch() {
    apt-get -q -o APT::Sandbox::User=root download "$1"
}

# need_user NAME…: the system users that a server's package would have made; they own nothing and stay.
need_user() {
    local name
    for name in "$@"; do
        id "$name" >/dev/null 2>&1 ||
            useradd --system --user-group --no-create-home --home-dir /nonexistent \
                --shell /usr/sbin/nologin "$name"
    done
}
