#!/bin/bash
# A private OpenSMTPD for one run, unpacked but not installed. As root.
#
#   opensmtpd.sh start DIR    DIR/env as mail-server.sh writes it; see mail-lib.sh
#   opensmtpd.sh stop DIR
#
# Only the plain port: OpenSMTPD 6.8, which Debian 12 has, fails each TLS handshake as a server since OpenSSL 3
# (fixed in 7.4), and it does not offer AUTH without TLS.
#
# Its directories are compiled in: it gets its own ones in a mount namespace, which ends with it.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/mail-lib.sh"

start() {
    need libdb5.3 libevent-2.1-7 libssl3 openssl
    need_user opensmtpd opensmtpq
    unpack opensmtpd
    config
    unshare --mount bash -c '
        set -e
        mount -t tmpfs -o mode=755 tmpfs /var/spool
        mount -t tmpfs -o mode=755 tmpfs /var/lib
        mount -t tmpfs -o mode=755 tmpfs /run
        mount --bind "$0/root/usr/libexec" /usr/libexec
        mkdir -p /var/lib/opensmtpd/empty
        mkdir -m 711 /var/spool/smtpd
        exec "$0/root/usr/sbin/smtpd" -d -f "$0/smtpd.conf"
    ' "$dir" </dev/null >"$dir/mail.log" 2>&1 &
    echo $! >"$dir/pid"
    wait_for 60 answers "$plain" || { cat "$dir/mail.log" >&2; die "OpenSMTPD does not answer"; }
    submission=0
    tls=0
    mail_environment >"$dir/env"
}

config() {
    local reader name
    reader=$(mail_reader)
    mkdir -p "$dir/mail"
    chown "$reader" "$dir/mail"
    for name in alice bob carol; do
        printf '%s %s:%s:%s\n' "$name" "$reader" "$(id -g nobody)" "$dir/mail"
    done >"$dir/users"
    cat >"$dir/smtpd.conf" <<END
table users file:$dir/users
smtp max-message-size "$SIZE_LIMIT"

listen on 127.0.0.1 port $plain hostname mail.example.test
action "local" maildir "$dir/mail/%{rcpt.user}" userbase <users>
match from any for domain example.test action "local"
END
    chmod 644 "$dir/smtpd.conf" "$dir/users"
}

stop() {
    local pid
    pid=$(cat "$dir/pid" 2>/dev/null) || return 0
    end_process "$pid"
}

server_main "$@"
