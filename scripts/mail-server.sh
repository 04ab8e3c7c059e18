#!/bin/bash
# A private mail server for one run: Postfix, with Dovecot for SASL, under a CA of its own. As root.
#
#   mail-server.sh start DIR    DIR/env tells its ports, the wallet, and who may log in
#   mail-server.sh stop DIR
#
# Beyond what mail-lib.sh says: mail that an authenticated user relays elsewhere lands in DIR/mail/relayed/new;
# busy@ and full@example.test are refused with 450 and 552.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/mail-lib.sh"

start() {
    postfix_config
    dovecot_config
    /usr/sbin/dovecot -c "$dir/dovecot.conf"
    /usr/sbin/postfix -c "$dir/postfix" start >"$dir/postfix-start.log" 2>&1 ||
        { cat "$dir/postfix-start.log" >&2; die "Postfix did not start"; }
    await_ports || { tail "$dir/mail.log" >&2; die "Postfix does not answer"; }
    mail_environment >"$dir/env"
}

postfix_config() {
    mkdir -p "$dir/postfix" "$dir/spool" "$dir/data" "$dir/mail"
    chown postfix "$dir/data"
    local reader
    reader=$(mail_reader)
    chown "$reader" "$dir/mail"

    cat >"$dir/postfix/main.cf" <<END
compatibility_level = 3.6
queue_directory = $dir/spool
data_directory = $dir/data
maillog_file = $dir/mail.log
maillog_file_prefixes = $dir
myhostname = mail.example.test
mydestination =
mynetworks =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtputf8_enable = yes
alias_maps =
alias_database =
biff = no
message_size_limit = $SIZE_LIMIT
mailbox_size_limit = 0
virtual_mailbox_limit = 0

virtual_mailbox_domains = example.test
virtual_mailbox_base = $dir/mail
virtual_mailbox_maps = regexp:$dir/postfix/mailboxes
virtual_uid_maps = static:$reader
virtual_gid_maps = static:$(getent passwd "$reader" | cut -d: -f4)
default_transport = virtual

smtpd_banner = \$myhostname ESMTP
smtpd_helo_required = yes
smtpd_forbid_bare_newline = reject
smtpd_forbid_unauth_pipelining = yes
smtpd_reject_unlisted_recipient = yes
smtpd_sender_restrictions = reject_non_fqdn_sender
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_recipient_restrictions = check_recipient_access inline:{
    { busy@example.test = 450 4.2.1 mailbox is busy, try again later },
    { full@example.test = 552 5.2.2 mailbox is full }}
# Tests make mistakes on purpose, many from one address.
smtpd_error_sleep_time = 0
smtpd_client_event_limit_exceptions = 127.0.0.1

smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
smtpd_sasl_security_options = noanonymous
smtpd_tls_cert_file = $dir/tls/server.pem
smtpd_tls_key_file = $dir/tls/server.key
smtpd_tls_auth_only = yes
smtpd_tls_loglevel = 1
smtpd_tls_received_header = yes
END

    cat >"$dir/postfix/mailboxes" <<'END'
/^alice@example\.test$/ alice/
/^bob@example\.test$/ bob/
/^carol@example\.test$/ carol/
/^用户@example\.test$/ carol/
/^(busy|full)@example\.test$/ carol/
!/@example\.test$/ relayed/
END

    cat >"$dir/postfix/master.cf" <<END
127.0.0.1:$submission inet n - n - - smtpd
    -o syslog_name=postfix/submission
    -o smtpd_tls_security_level=encrypt
    -o smtpd_sasl_auth_enable=yes
127.0.0.1:$plain inet n - n - - smtpd
    -o syslog_name=postfix/plain
127.0.0.1:$tls inet n - n - - smtpd
    -o syslog_name=postfix/tls
    -o smtpd_tls_wrappermode=yes
    -o smtpd_sasl_auth_enable=yes
postlog unix-dgram n - n - 1 postlogd
cleanup unix n - n - 0 cleanup
qmgr    unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce  unix - - n - 0 bounce
defer   unix - - n - 0 bounce
trace   unix - - n - 0 bounce
verify  unix - - n - 1 verify
proxymap unix - - n - - proxymap
error   unix - - n - - error
retry   unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil   unix - - n - 1 anvil
tlsmgr  unix - - n 1000? 1 tlsmgr
scache  unix - - n - 1 scache
showq   unix n - n - - showq
flush   unix n - n 1000? 0 flush
END
}

# Passwords for the challenge schemes are kept as they are; tokens are JSON Web Tokens that Dovecot checks
# itself, with a key of this run or with the key that token-issuer.sh adds.
dovecot_config() {
    local key
    key=$(openssl rand -hex 32)
    mkdir -p "$dir/dovecot" "$dir/token-keys/default/HS256"
    printf '%s' "$key" | openssl base64 -A >"$dir/token-keys/default/HS256/default"
    token=$(json_web_token "$key")
    printf '%s:{PLAIN}%s\n' "$USER_NAME" "$USER_PASSWORD" >"$dir/users"
    cat >"$dir/tokens.conf" <<END
introspection_mode = local
local_validation_key_dict = fs:posix:prefix=$dir/token-keys/
username_attribute = sub
END
    cat >"$dir/dovecot.conf" <<END
base_dir = $dir/dovecot
state_dir = $dir/dovecot
log_path = $dir/dovecot.log
protocols =
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login cram-md5 scram-sha-256 xoauth2 oauthbearer
auth_failure_delay = 0
passdb {
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = $dir/tokens.conf
}
passdb {
  driver = passwd-file
  mechanisms = plain login cram-md5 scram-sha-256
  args = $dir/users
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}
# No penalty for an address from which passwords were wrong: all tests come from one.
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service auth {
  unix_listener $dir/spool/private/auth {
    mode = 0660
    user = postfix
    group = postfix
  }
}
END
    # Dovecot makes its socket there before Postfix makes the directory.
    mkdir -p "$dir/spool/private"
    chown postfix "$dir/spool/private"
    chmod 700 "$dir/spool/private"
}

json_web_token() {
    local key=$1 now head body signature
    now=$(date +%s)
    head=$(printf '{"alg":"HS256","typ":"JWT"}' | base64_url)
    body=$(printf '{"sub":"%s","iat":%d,"exp":%d}' "$USER_NAME" "$now" $((now + 86400)) | base64_url)
    signature=$(printf '%s.%s' "$head" "$body" | openssl dgst -sha256 -hmac "$key" -binary | base64_url)
    printf '%s.%s.%s' "$head" "$body" "$signature"
}

base64_url() {
    openssl base64 -A | tr '+/' '-_' | tr -d '='
}

stop() {
    [[ ! -e $dir/spool/pid/master.pid ]] || /usr/sbin/postfix -c "$dir/postfix" stop >/dev/null 2>&1 || true
    local pid
    pid=$(cat "$dir/dovecot/master.pid" 2>/dev/null) || return 0
    end_process "$pid"
}

server_main "$@"
