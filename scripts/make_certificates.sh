#!/bin/sh
# Certificates for trying out TLS: an authority of its own, and what it signs for Kafka, the model server and clients.
#
#   sh scripts/make_certificates.sh [FOLDER] [DAYS]        certificates, 365
#
# docker-compose.tls.yml mounts FOLDER/kafka, FOLDER/models and FOLDER/client; deploy/README.md makes Secrets of them.
# Containers run as other users than yours, so the files within are readable, and FOLDER itself is yours alone.
# Anybody with FOLDER/ca.key can make further certificates: for production use the authority that you have.
set -eu
folder=${1:-certificates}
days=${2:-365}

stop() {
    printf 'make_certificates: %s\n' "$*" >&2
    exit 1
}

command -v openssl >/dev/null || stop "openssl is missing; install the package of that name"
case $days in *[!0-9]* | '') stop "DAYS ($days) must be a number" ;; esac
[ ! -e "$folder" ] || stop "$folder exists and stays as it is; remove it first, or name another folder"

umask 077
mkdir -p "$folder/kafka" "$folder/models" "$folder/client"
cd "$folder"

new_key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

# sign NAME COMMON-NAME SUBJECT-ALTERNATIVE-NAMES: NAME.key and NAME.crt
sign() {
    new_key "$1.key"
    openssl req -new -key "$1.key" -subj "/O=riverlens/CN=$2" -out "$1.csr"
    cat >extensions.cnf <<EOF
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = $3
EOF
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days "$days" -sha256 \
        -extfile extensions.cnf -out "$1.crt" 2>/dev/null
    rm "$1.csr" extensions.cnf
}

# A PEM file as a text within quotes.
quoted() { awk '{ printf "%s\\n", $0 }' "$1"; }

new_key ca.key
openssl req -x509 -new -key ca.key -days "$days" -sha256 -subj "/O=riverlens/CN=riverlens demo authority" \
    -addext "basicConstraints = critical, CA:TRUE" -addext "keyUsage = critical, keyCertSign, cRLSign" -out ca.crt

sign kafka/kafka kafka "DNS:kafka, DNS:localhost, IP:127.0.0.1"
# Key and certificate in one file, as Kafka takes them.
cat kafka/kafka.key kafka/kafka.crt >kafka/kafka.pem
rm kafka/kafka.key kafka/kafka.crt
cat >kafka/client.properties <<'EOF'
security.protocol=SSL
ssl.truststore.type=PEM
ssl.truststore.location=/certs/ca.crt
ssl.keystore.type=PEM
ssl.keystore.location=/certs/kafka.pem
EOF

sign models/models model-server "DNS:model-server, DNS:localhost, IP:127.0.0.1"
# TensorFlow Serving's SSLConfig holds the PEM texts themselves.
cat >models/ssl.config <<EOF
server_key: "$(quoted models/models.key)"
server_cert: "$(quoted models/models.crt)"
custom_ca: "$(quoted ca.crt)"
client_verify: true
EOF
rm models/models.key models/models.crt

sign client/tls riverlens "DNS:riverlens"

cp ca.crt kafka/ca.crt
cp ca.crt client/ca.crt
rm -f ca.srl
chmod 755 kafka models client
chmod 644 kafka/* models/* client/*
printf 'make_certificates: %s/kafka, %s/models, %s/client: valid for %s days\n' "$folder" "$folder" "$folder" "$days"
