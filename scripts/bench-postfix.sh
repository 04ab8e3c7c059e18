#!/bin/bash
# A Postfix whose queue is filled first and drained later, for the benchmark. As root.
#
#   bench-postfix.sh fill DIR PORT MAILS FILE   MAILS copies of the message in FILE wait in its queue, for 127.0.0.1:PORT
#   bench-postfix.sh release DIR                its queue manager starts, and with it the delivery
#   bench-postfix.sh stop DIR
#
# It delivers as one would set it up for speed: 20 connections from the start, each kept for as many mails as there are.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/mail-lib.sh"

CONNECTIONS=20

fill() {
    local port=$1 mails=$2 message=$3 entrance=''
    free_ports entrance
    mkdir -p "$dir/postfix" "$dir/spool" "$dir/data"
    chmod 755 "$dir"
    chown postfix "$dir/data"
    main_config "$port" >"$dir/postfix/main.cf"
    services "$entrance" >"$dir/postfix/master.cf"
    start
    wait_for 60 answers "$entrance" || die "Postfix does not answer"
    /usr/sbin/smtp-source -4 -d -M client.example.test -f alice@example.test -t bob@example.test -s 20 -m "$mails" \
        -F "$message" "127.0.0.1:$entrance"
    local queued
    queued=$(find "$dir/spool/incoming" -type f -perm -u+x | wc -l)
    ((queued == mails)) || die "$queued mails are queued instead of $mails"
    # Starting again is quick: only what follows `stop` here belongs to the time of the delivery.
    stop
    services '' >"$dir/postfix/master.cf"
}

start() {
    /usr/sbin/postfix -c "$dir/postfix" start >"$dir/postfix-start.log" 2>&1 ||
        { cat "$dir/postfix-start.log" >&2; die "Postfix did not start"; }
}

stop() {
    [[ -e $dir/spool/pid/master.pid ]] || return 0
    local pid
    pid=$(tr -d ' ' <"$dir/spool/pid/master.pid")
    end_process "$pid"
}

main_config() {
    cat <<END
compatibility_level = 3.6
queue_directory = $dir/spool
data_directory = $dir/data
maillog_file = $dir/mail.log
maillog_file_prefixes = $dir
myhostname = mail.example.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
biff = no
relayhost = [127.0.0.1]:$1
smtpd_client_event_limit_exceptions = 127.0.0.1
in_flow_delay = 0
default_process_limit = 100
initial_destination_concurrency = $CONNECTIONS
default_destination_concurrency_limit = $CONNECTIONS
smtp_connection_cache_destinations = [127.0.0.1]:$1
smtp_tls_security_level = none
END
}

# services PORT: to take mail at that port, without a queue manager; services '': to deliver.
services() {
    if [[ -n $1 ]]; then
        echo "127.0.0.1:$1 inet n - n - - smtpd"
    else
        echo "qmgr unix n - n 300 1 qmgr"
    fi
    cat <<'END'
postlog unix-dgram n - n - 1 postlogd
cleanup unix n - n - 0 cleanup
rewrite unix - - n - - trivial-rewrite
bounce  unix - - n - 0 bounce
defer   unix - - n - 0 bounce
trace   unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error   unix - - n - - error
retry   unix - - n - - error
anvil   unix - - n - 1 anvil
scache  unix - - n - 1 scache
showq   unix n - n - - showq
smtp    unix - - n - - smtp
END
}

((EUID == 0)) || die "Postfix starts as root: sudo $0 $*"
(($# >= 2)) || die "usage: bench-postfix.sh fill DIR PORT MAILS FILE | release DIR | stop DIR"
action=$1
dir=$(realpath -m "$2")
shift 2
case $action in
fill) fill "$@" ;;
release) start ;;
stop) stop ;;
*) die "unknown: $action" ;;
esac
