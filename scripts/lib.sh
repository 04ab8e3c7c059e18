# shellcheck shell=bash
# What the scripts share: progress on the terminal, missing Debian packages, users and free ports.
# Sourced, not run. Everything works as root, or as a user who may call sudo.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
STARTED=${STARTED:-$(date +%s)}
export STARTED

# Building: pgrx needs a C compiler for linking and libclang for the headers of PostgreSQL.
# shellcheck disable=SC2034 # for the scripts that source this, as the next ones
BUILD_PACKAGES=(gcc libc6-dev make clang libclang-dev)
POSTGRES_PACKAGES=(postgresql-15 postgresql-server-dev-15)
# shellcheck disable=SC2034
MAIL_PACKAGES=(postfix dovecot-core openssl)
# Programs that tests run; smtp-sink is Postfix's, promtool Prometheus's.
# shellcheck disable=SC2034
JUDGE_PACKAGES=(sqlsmith python3-dkim python3-nacl opendkim prometheus prometheus-postgres-exporter)

# say TEXT: one line of progress, with the seconds since the first script started.
say() {
    printf '[%4d s] %s\n' $(($(date +%s) - STARTED)) "$*"
}

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# step TEXT COMMAND…: runs a command that may take long. Its output is kept aside and shown only if it
# fails; meanwhile, every ten seconds, its last line tells that it lives.
step() {
    local text=$1 log pid began now status=0 last
    shift
    log=$(mktemp)
    began=$(date +%s)
    say "$text"
    "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.2
        now=$(date +%s)
        if ((now - began > 0 && (now - began) % 10 == 0)) && [[ $now != "${last:-}" ]]; then
            last=$now
            say "  … $(tail -n 1 "$log" | tr -d '\r' | sed 's/^ *//' | cut -c1-70)"
        fi
    done
    wait "$pid" || status=$?
    if ((status)); then
        tail -n 60 "$log" >&2
        rm -f "$log"
        die "failed ($status): $text"
    fi
    rm -f "$log"
}

as_root() {
    if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

# The user a server runs as that refuses to be root (PostgreSQL).
server_user() {
    if ((EUID != 0)); then
        id -un
    elif id postgres >/dev/null 2>&1; then
        echo postgres
    else
        echo nobody
    fi
}

# need PACKAGE…: installs those Debian packages that are missing, and only those. Nothing is removed in
# exchange, and no service is started by the installation.
need() {
    local package missing=()
    for package in "$@"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true) == installed ]] ||
            missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null || die "please install: ${missing[*]}"
    ((EUID == 0)) || command -v sudo >/dev/null || die "as root: apt-get install ${missing[*]}"
    step "looking up Debian packages" as_root apt-get -q update
    step "installing ${missing[*]}" install_quietly "${missing[@]}"
}

install_quietly() (
    policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
        trap 'as_root rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends --no-remove \
        -o DPkg::Lock::Timeout=300 install "$@"
)

# Rust isn't a Debian package here: the toolchain is the one that rust-toolchain.toml names.
need_rust() {
    [[ -d $HOME/.cargo/bin ]] && PATH=$PATH:$HOME/.cargo/bin
    command -v cargo >/dev/null || die "Rust is missing: see https://rustup.rs"
}

# The PostgreSQL to build for: PG_CONFIG if the caller names one, else Debian's 15, installed if need be.
need_postgres() {
    if [[ -z ${PG_CONFIG:-} ]]; then
        need "${POSTGRES_PACKAGES[@]}"
        PG_CONFIG=/usr/lib/postgresql/15/bin/pg_config
    fi
    PG_CONFIG=$(command -v "$PG_CONFIG") || die "no such program: PG_CONFIG=$PG_CONFIG"
    export PG_CONFIG
}

major_of() {
    "$1" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/'
}

# runnable PG_CONFIG DIR: prints PG_CONFIG, or for a PostgreSQL of postgres.sh that of a copy below DIR: the server's
# user may not be able to see .build, and what is installed into the copy goes with DIR.
runnable() {
    local pg_config=$1 home copy
    if [[ $pg_config == "$ROOT"/.build/* ]]; then
        home=${pg_config#"$ROOT/.build/"}
        home=$ROOT/.build/${home%%/*}
        copy=$2/$(basename "$home")
        cp -a "$home" "$copy"
        pg_config=$copy${pg_config#"$home"}
    fi
    echo "$pg_config"
}

# Builds the extension and installs it where PG_CONFIG says.
build_and_install() {
    step "building the extension for $("$PG_CONFIG" --version)" make -C "$ROOT" build
    if [[ -w $("$PG_CONFIG" --pkglibdir) && -w $("$PG_CONFIG" --sharedir)/extension ]]; then
        step "installing the extension" make -C "$ROOT" install
    else
        step "installing the extension" as_root make -C "$ROOT" install PG_CONFIG="$PG_CONFIG"
    fi
}

# free_ports NAME…: sets each variable to a port of 127.0.0.1 for a server that this script starts. The kernel gives them to
# nobody else until the script ends: they are bound, but nobody listens. With SO_REUSEADDR, a server may. It is set
# after the bind: two sockets that have it before may be given the same port.
free_ports() {
    local name holder
    exec {holder}< <(exec perl -MSocket -e '
        for (1 .. shift) {
            my $socket;
            socket($socket, PF_INET, SOCK_STREAM, 0) && bind($socket, pack_sockaddr_in(0, INADDR_LOOPBACK))
                && setsockopt($socket, SOL_SOCKET, SO_REUSEADDR, 1) or die "no port: $!\n";
            push @kept, $socket;
            print +(unpack_sockaddr_in(getsockname $socket))[0], "\n";
        }
        close STDOUT;
        close STDERR;
        select undef, undef, undef, 0.1 while getppid == $ARGV[0];
    ' $# $BASHPID)
    for name in "$@"; do
        read -r -u "$holder" "${name?}"
    done
    exec {holder}<&-
}

answers() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# wait_for SECONDS COMMAND…
wait_for() {
    local end=$(($(date +%s) + $1))
    shift
    until "$@"; do
        (($(date +%s) < end)) || return 1
        sleep 0.1
    done
}

# Puts the scratch directories of tests into memory where there is room, those of scripts started from here, too. A
# database is some three hundred small files: making and removing them costs a file system on disk more processor time
# than the tests themselves.
scratch_in_memory() {
    local type options room
    read -r type options room < <(findmnt --bytes --noheadings --output FSTYPE,OPTIONS,AVAIL /dev/shm) || return 0
    if [[ $type == tmpfs && ,$options, != *,noexec,* ]] && ((room >= 4 << 30)); then
        export UTL_SMTP_SCRATCH=/dev/shm
    fi
}

# A directory for one run, with a short path that every user may traverse: a socket's path has 107 bytes.
scratch() {
    local dir
    dir=$(mktemp -d "${UTL_SMTP_SCRATCH:-/tmp}/utl_smtp.$1.XXXXXX")
    chmod 755 "$dir"
    echo "$dir"
}
