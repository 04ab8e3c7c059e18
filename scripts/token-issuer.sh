#!/bin/bash
# A private issuer of OAuth 2.0 access tokens for one run: oauth2-mock-server of npm behind the checks of
# tests/servers/token-issuer/issuer.js, over TLS under the CA of a mail server that accepts its tokens. As root.
#
#   token-issuer.sh start DIR MAIL    MAIL: the DIR of a mail-server.sh that has started
#   token-issuer.sh stop DIR
#
# DIR/env tells the endpoint, and what a client needs for each grant: a secret, a certificate and its key, a
# service account. DIR/requests has a line of JSON for each request. Tokens are for alice@example.test.

. "$(dirname "$0")/lib.sh"

CLIENT_ID=0b9c7f52-6d0e-4c8e-9d3b-5a1f4f6f2c11
# Characters that a form and HTTP Basic must encode.
CLIENT_SECRET='k~V8Q+w/7=c%2B:9'
SERVICE_ACCOUNT=mailer@example-project.iam.gserviceaccount.test

start() {
    local port='' pid
    mail=$(realpath "$mail")
    [[ -e $mail/tls/ca.key ]] || die "no mail server in $mail"
    need openssl curl
    packages
    mkdir -p "$dir"
    chmod 755 "$dir"
    free_ports port
    endpoint=https://localhost:$port/token
    keys >"$dir/openssl.log" 2>&1 || { cat "$dir/openssl.log" >&2; die "openssl failed"; }
    service_account >"$dir/service-account.json"
    config >"$dir/config.json"
    chmod 600 "$dir/config.json" "$dir/signing.key"
    node "$packages/issuer.js" "$dir/config.json" "$port" >"$dir/issuer.log" 2>&1 </dev/null &
    pid=$!
    echo "$pid" >"$dir/pid"
    wait_for 60 answers "$port" || { cat "$dir/issuer.log" >&2; die "the token issuer does not answer"; }
    environment "$port" >"$dir/env"
}

# Node.js and the packages of package-lock.json, kept in .build for the next run.
packages() {
    local source=$ROOT/tests/servers/token-issuer
    { command -v node && command -v npm; } >/dev/null || need nodejs npm
    packages=$ROOT/.build/token-issuer
    mkdir -p "$packages"
    exec {lock}>"$packages/lock"
    flock "$lock"
    if ! cmp -s "$source/package-lock.json" "$packages/installed"; then
        cp "$source/package.json" "$source/package-lock.json" "$packages/"
        step "installing the packages of the token issuer" \
            npm ci --prefix "$packages" --ignore-scripts --no-audit --no-fund --no-update-notifier
        cp "$source/package-lock.json" "$packages/installed"
    fi
    exec {lock}>&-
    cp "$source/issuer.js" "$packages/"
}

# The certificate of the issuer; the key that signs tokens, whose public part the mail server gets; the key and the
# certificate of the client; the key of the service account.
keys() {
    signing_key_id=$(openssl rand -hex 8)
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=login.example.test' \
        -keyout "$dir/server.key" -out "$dir/server.csr"
    openssl x509 -req -in "$dir/server.csr" -CA "$mail/tls/ca.pem" -CAkey "$mail/tls/ca.key" -days 365 \
        -set_serial "0x$signing_key_id" -out "$dir/server.pem" -extfile <(
            echo 'basicConstraints = critical, CA:FALSE'
            echo 'keyUsage = critical, digitalSignature'
            echo 'extendedKeyUsage = serverAuth'
            echo 'subjectAltName = DNS:localhost, DNS:login.example.test, IP:127.0.0.1'
        )
    openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj '/CN=the application' \
        -keyout "$dir/client.key" -out "$dir/client.pem"
    openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$dir/service-account.key"
    openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$dir/signing.key"
    mkdir -p "$mail/token-keys/default/RS256"
    openssl pkey -in "$dir/signing.key" -pubout -out "$mail/token-keys/default/RS256/$signing_key_id"
    chmod 644 "$dir/client.key"
}

# A JSON string of standard input.
quoted() {
    sed 's/\\/\\\\/g; s/"/\\"/g' | awk '{ printf "%s\\n", $0 }' | sed 's/^/"/; s/$/"/'
}

service_account() {
    cat <<END
{
  "type": "service_account",
  "project_id": "example-project",
  "private_key_id": "$signing_key_id",
  "private_key": $(quoted <"$dir/service-account.key"),
  "client_email": "$SERVICE_ACCOUNT",
  "client_id": "104857600000000000001",
  "token_uri": "$endpoint"
}
END
}

config() {
    cat <<END
{
  "host": "localhost",
  "tls_certificate": "$dir/server.pem",
  "tls_key": "$dir/server.key",
  "signing_key": $(quoted <"$dir/signing.key"),
  "signing_key_id": "$signing_key_id",
  "client_id": "$CLIENT_ID",
  "client_secret": "$CLIENT_SECRET",
  "client_certificate": $(quoted <"$dir/client.pem"),
  "service_account": {
    "client_email": "$SERVICE_ACCOUNT",
    "public_key": $(openssl pkey -in "$dir/service-account.key" -pubout | quoted)
  },
  "mailbox": "$(sed -n 's/^MAIL_USER=//p' "$mail/env")",
  "log": "$dir/requests"
}
END
}

environment() {
    cat <<END
ISSUER_HOST=localhost
ISSUER_PORT=$1
ISSUER_TOKEN_ENDPOINT=$endpoint
ISSUER_AUTHORIZE_ENDPOINT=${endpoint%/token}/authorize
ISSUER_CA=$mail/wallet/ca.pem
ISSUER_WALLET=$mail/wallet
ISSUER_CLIENT_ID=$CLIENT_ID
ISSUER_CLIENT_SECRET=$CLIENT_SECRET
ISSUER_CLIENT_KEY=$dir/client.key
ISSUER_CLIENT_CERTIFICATE=$dir/client.pem
ISSUER_SERVICE_ACCOUNT=$dir/service-account.json
ISSUER_SCOPE=https://mail.example.test/.default
ISSUER_REQUESTS=$dir/requests
END
}

stop() {
    local pid
    pid=$(cat "$dir/pid" 2>/dev/null) || return 0
    kill "$pid" 2>/dev/null || return 0
    wait_for 60 gone "$pid" || true
}

gone() {
    ! kill -0 "$1" 2>/dev/null
}

[[ $# == 3 && $1 == start || $# == 2 && $1 == stop ]] || die "usage: $0 start DIR MAIL | stop DIR"
((EUID == 0)) || die "as root, since it adds to the mail server: sudo $0 $*"
dir=$(realpath -m "$2")
mail=${3:-}
"$1"
