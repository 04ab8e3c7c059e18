#!/bin/bash
# A private Exim for one run, unpacked but not installed. As root.
#
#   exim.sh start DIR    DIR/env as mail-server.sh writes it; see mail-lib.sh
#   exim.sh stop DIR
#
# Beyond what mail-lib.sh says: who shows the certificate of DIR/client may log in by EXTERNAL, as the address in it.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/mail-lib.sh"

CLIENT_KEY_PASSWORD=battery-staple-9

start() {
    need libdb5.3 libgnutls-dane0 libgnutls30 libidn12 libidn2-0 libnsl2 libpcre2-8-0 openssl
    need_user Debian-exim
    unpack exim4-daemon-light
    client_certificate
    config
    "$dir/root/usr/sbin/exim4" -C "$dir/exim.conf" -bd -oP "$dir/exim.pid"
    await_ports || { cat "$dir"/*log >&2; die "Exim does not answer"; }
    log=$dir/log/mainlog
    mail_environment >"$dir/env"
    client_environment >>"$dir/env"
}

# For the application that talks to this server: its certificate, and the key under a password.
client_certificate() {
    mkdir -p "$dir/client"
    (
        cd "$dir/client"
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=the application' \
            -keyout "$dir/tls/client.key" -out "$dir/tls/client.csr"
        openssl x509 -req -in "$dir/tls/client.csr" -CA "$dir/tls/ca.pem" -CAkey "$dir/tls/ca.key" \
            -CAcreateserial -days 365 -out client.pem -extfile <(
                echo 'basicConstraints = critical, CA:FALSE'
                echo 'keyUsage = critical, digitalSignature'
                echo 'extendedKeyUsage = clientAuth'
                echo "subjectAltName = email:$USER_NAME"
            )
        openssl pkcs8 -topk8 -v2 aes-256-cbc -in "$dir/tls/client.key" -out client.key \
            -passout "pass:$CLIENT_KEY_PASSWORD"
        chmod 644 client.pem client.key
    ) >>"$dir/openssl.log" 2>&1 || { cat "$dir/openssl.log" >&2; die "openssl failed"; }
}

client_environment() {
    cat <<END
MAIL_CLIENT_CERTIFICATE=$dir/client/client.pem
MAIL_CLIENT_KEY=$dir/client/client.key
MAIL_CLIENT_KEY_PASSWORD=$CLIENT_KEY_PASSWORD
END
}

config() {
    local user
    user=$(mail_reader)
    mkdir -p "$dir/spool" "$dir/mail" "$dir/log"
    chown "$user" "$dir/spool" "$dir/mail" "$dir/log" "$dir/tls/server.key"
    cat >"$dir/exim.conf" <<END
exim_path = $dir/root/usr/sbin/exim4
exim_user = $user
exim_group = $(id -g nobody)
spool_directory = $dir/spool
log_file_path = $dir/log/%slog
timezone = UTC
primary_hostname = mail.example.test
keep_environment =
never_users =
deliver_drop_privilege

local_interfaces = <; [127.0.0.1]:$submission ; [127.0.0.1]:$plain ; [127.0.0.1]:$tls
tls_on_connect_ports = $tls
tls_certificate = $dir/tls/server.pem
tls_privatekey = $dir/tls/server.key
tls_verify_certificates = $dir/tls/ca.pem
tls_try_verify_hosts = *
tls_advertise_hosts = \${if eq{\$received_port}{$submission}{*}{}}
auth_advertise_hosts = \${if def:tls_in_cipher{*}{}}
message_size_limit = $SIZE_LIMIT
smtputf8_advertise_hosts = *
smtp_enforce_sync
pipelining_advertise_hosts =
pipelining_connect_advertise_hosts =
host_lookup =
rfc1413_hosts =
acl_smtp_mail = from
acl_smtp_rcpt = to
acl_smtp_data = accept

begin acl
from:
  deny condition = \${if and{{eq{\$received_port}{$submission}}{!def:tls_in_cipher}}}
       message = TLS first
  accept
to:
  accept domains = example.test
         verify = recipient
  deny domains = example.test
       message = Unknown user
  accept authenticated = *
  deny message = relay not permitted

begin routers
mailboxes:
  driver = accept
  domains = example.test
  local_parts = alice : bob : carol
  transport = maildir
  no_more
relayed:
  driver = accept
  domains = ! example.test
  address_data = relayed
  transport = maildir

begin transports
maildir:
  driver = appendfile
  directory = $dir/mail/\${if eq{\$address_data}{relayed}{relayed}{\${lookup{\$local_part}lsearch{$dir/boxes}}}}
  maildir_format
  create_directory
  user = $user
  group = $(id -g nobody)
  return_path_add
  delivery_date_add

begin retry
* * F,1h,1m

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = \${if and{{eq{\$auth2}{$USER_NAME}}{eq{\$auth3}{$USER_PASSWORD}}}}
  server_set_id = \$auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = \${if and{{eq{\$auth1}{$USER_NAME}}{eq{\$auth2}{$USER_PASSWORD}}}}
  server_set_id = \$auth1
cram:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = \${if eq{\$auth1}{$USER_NAME}{$USER_PASSWORD}fail}
  server_set_id = \$auth1
external:
  driver = external
  public_name = EXTERNAL
  server_advertise_condition = \$tls_in_certificate_verified
  server_param2 = \${certextract{subj_altname,mail,>:}{\$tls_in_peercert}}
  server_condition = \${if forany{\$auth2}{eq{\$item}{\$auth1}}}
  server_set_id = \$auth1
END
    printf '%s: %s\n' alice alice bob bob carol carol >"$dir/boxes"
    chmod 644 "$dir/exim.conf" "$dir/boxes"
}

stop() {
    local pid
    pid=$(cat "$dir/exim.pid" 2>/dev/null) || return 0
    end_process "$pid"
}

server_main "$@"
