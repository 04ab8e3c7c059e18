#!/bin/bash
# Runs tests/pg_regress on a cluster of cluster.sh; needs the extension installed.
#
#   regress.sh CLUSTER-DIR [test…]      without names: all of tests/pg_regress/sql

. "$(dirname "$0")/lib.sh"

(($# >= 1)) || die "usage: regress.sh CLUSTER-DIR [test…]"
set -a
. "$1/env"
set +a
export REGRESS_OUTPUT=$1/regress PG_CONFIG=$CLUSTER_BIN/pg_config
shift
exec "$ROOT/scripts/installcheck.sh" "$@"
