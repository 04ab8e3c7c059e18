#!/bin/bash
# Runs a command whose cargo compiles for a PostgreSQL without its headers: with the bindings that pgrx-pg-sys has
# for its own documentation. They were made on x86-64: elsewhere the code compiles, but must not run.
#
#   docs-bindings.sh COMMAND…

set -euo pipefail

# As cargo's RUSTC_WRAPPER this script gets rustc's command line. The cfg `docsrs` selects those bindings. Only this
# crate may see it: others take it as a request for unstable features.
if [[ -n ${WRAPS_RUSTC:-} ]]; then
    [[ " $* " != *" --crate-name pgrx_pg_sys "* ]] || set -- "$@" --cfg docsrs
    exec "$@"
fi
WRAPS_RUSTC=1 DOCS_RS=1 RUSTC_WRAPPER=$(realpath "$0") exec "$@"
