#!/bin/sh
# Makes what compose.yaml wants in secrets/, with passwords of its own. Files that
# are there are left alone. Others can't enter the folder; in it, the files are
# readable, since each container reads them as a user of its own.
set -eu
cd "$(dirname "$0")"
mkdir -p -m 700 secrets
chmod 700 secrets
cd secrets
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
write() { # NAME: writes standard input to a new file
  [ -e "$1" ] && { cat >/dev/null; echo "secrets/$1 is there already: it was left as it is"; return; }
  cat >"$1.new"
  chmod 644 "$1.new"
  mv "$1.new" "$1"
  echo "secrets/$1 is new"
}
random | write postgres_password
random | write grafana_password
printf 'postgres:5432:metaim:metaim:%s\n' "$(cat postgres_password)" | write pgpass
write bitcoin.conf <<CONF
# A node that prunes nothing, with the two limits that it wants to be told.
server=1
datadir=/data
maxstackmemoryusageconsensus=200000000
excessiveblocksize=10000000000
rpcuser=metaim
rpcpassword=$(random)
rpcbind=0.0.0.0
rpcallowip=0.0.0.0/0
CONF
password=$(sed -n 's/^rpcpassword=//p' bitcoin.conf)
write metaim.toml <<TOML
node-rpc = "http://metaim:$password@node:8332"
TOML
