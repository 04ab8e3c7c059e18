#!/bin/bash
# Is every guard watched? Takes them away one at a time and runs the suites that ought to notice, in a tree, a
# PostgreSQL and a cluster of its own.
#
#   mutants.sh [NAME…]      the patches of tests/mutants that have NAME in theirs; without names: all
#
# A patch opens with "Guard: …", what it takes away, and "Suites: …", which are run in this order until one fails:
# the name of a crate, e2e:TEST or pg_regress:TEST. What is built stays in .build/mutants, so that the next run and
# the next mutant compile only what changed.

. "$(dirname "$0")/lib.sh"
cd "$ROOT"

# No suite takes as long unless the mutant made it wait for ever.
LONGEST=${MUTANTS_LONGEST:-600}

patches=()
for name in "${@:-}"; do
    found=(tests/mutants/*"$name"*.patch)
    [[ -e ${found[0]} ]] || die "no such mutant: $name"
    patches+=("${found[@]}")
done

need_rust
need "${BUILD_PACKAGES[@]}" "${MAIL_PACKAGES[@]}" "${JUDGE_PACKAGES[@]}" git
need_postgres
# From the repository that this is, whichever one a hook runs in.
unset "${!GIT_@}"

work=$ROOT/.build/mutants
tree=$work/tree
export CARGO_TARGET_DIR=$work/target
export PGRX_PG_CONFIG_PATH=$PG_CONFIG
# Quick to build instead of quick to run.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    CARGO_PROFILE_RELEASE_INCREMENTAL=true CARGO_PROFILE_DEV_DEBUG=0

scratch_in_memory
dir=$(scratch mutants)
finish() {
    stop_cluster
    as_root scripts/mail-server.sh stop "$dir/mail" || true
    as_root scripts/token-issuer.sh stop "$dir/issuer" || true
    git worktree remove --force "$tree" 2>/dev/null || true
    as_root rm -rf "$dir"
}
trap finish EXIT

# PostgreSQL finds its files from where its programs lie: this is a whole one, which nobody else uses.
own_postgres() {
    local home share
    home=$(dirname "$("$PG_CONFIG" --bindir)")
    share=$("$PG_CONFIG" --sharedir)
    tar --create --directory=/ "${home#/}" "${share#/}" | tar --extract --directory="$dir"
}

# The tree as it is now, changes that are not committed included.
own_tree() {
    local commit
    rm -rf "$tree"
    git worktree prune
    commit=$(git -c user.name=mutants -c user.email=mutants@localhost stash create)
    git worktree add --detach "$tree" "${commit:-HEAD}"
}

start_cluster() {
    make -C "$tree" install DESTDIR="$dir" || return
    PG_CONFIG=$dir$PG_CONFIG "$tree/scripts/cluster.sh" start "$dir/cluster"
}

stop_cluster() {
    [[ ! -e $dir/cluster ]] || PG_CONFIG=$dir$PG_CONFIG scripts/cluster.sh stop "$dir/cluster" || true
    as_root rm -rf "$dir/cluster"
}

# compile SUITE: all that it needs, so that what fails afterwards is a test. It is called in a condition, where set -e
# has no effect.
compile() (
    cd "$tree" || return
    case $1 in
    e2e:*) cargo test --locked --package e2e --test "${1#*:}" --no-run ;;
    pg_regress:*) ;;
    *) cargo test --locked --package "$1" --no-run ;;
    esac || return
    [[ $1 != *:* || -e $dir/cluster ]] || start_cluster
)

run() (
    cd "$tree" || return
    case $1 in
    e2e:*) UTL_SMTP_CLUSTER=$dir/cluster/env timeout "$LONGEST" cargo test --locked --package e2e --test "${1#*:}" ;;
    pg_regress:*) timeout "$LONGEST" scripts/regress.sh "$dir/cluster" "${1#*:}" ;;
    *) timeout "$LONGEST" cargo test --locked --no-fail-fast --package "$1" ;;
    esac
)

# judge SUITE…: runs them until a test fails, and says what came of it: "caught by …", "SURVIVED" or "ERROR: …".
judge() {
    local suite
    for suite in "$@"; do
        if ! compile "$suite" >"$dir/log" 2>&1 </dev/null; then
            echo "ERROR: $suite does not build"
            return
        fi
        if ! run "$suite" >"$dir/log" 2>&1 </dev/null; then
            # Their names, as cargo test and as pg_regress print them.
            echo "caught by $suite:" \
                "$(sed -nE 's/^(test )?([a-z0-9_:]+) +\.\.\. FAILED.*/\2/p' "$dir/log" | sort -u | paste -sd ' ')"
            return
        fi
    done
    echo SURVIVED
}

suites_of() {
    sed -n 's/^Suites: //p;/^diff /q' "$1"
}

mutant() {
    local patch=$1 name verdict suites
    name=$(basename "$patch" .patch)
    read -ra suites < <(suites_of "$patch")
    if git -C "$tree" apply "$ROOT/$patch"; then
        verdict=$(judge "${suites[@]}")
        stop_cluster
        git -C "$tree" apply --reverse "$ROOT/$patch"
    else
        verdict="ERROR: it does not apply"
    fi
    say "$name: $verdict"
    [[ $verdict == caught* ]] || alive+=("$name")
    [[ $verdict != ERROR* ]] || tail -n 40 "$dir/log" >&2
}

step "a tree and a PostgreSQL of its own" eval 'own_tree && own_postgres'
step "starting Postfix and Dovecot" as_root scripts/mail-server.sh start "$dir/mail"
step "starting the token issuer" as_root scripts/token-issuer.sh start "$dir/issuer" "$dir/mail"
export UTL_SMTP_MAIL=$dir/mail/env UTL_SMTP_TOKEN_ISSUER=$dir/issuer/env

say "nothing taken away: every suite must pass"
mapfile -t suites < <(for patch in "${patches[@]}"; do suites_of "$patch"; done | tr ' ' '\n' | sort -u)
verdict=$(judge "${suites[@]}")
stop_cluster
[[ $verdict == SURVIVED ]] || { tail -n 60 "$dir/log" >&2; die "as it is: $verdict"; }

say "${#patches[@]} guards, one taken away at a time"
alive=()
for patch in "${patches[@]}"; do
    mutant "$patch"
done
((${#alive[@]} == 0)) || die "not caught: ${alive[*]}"
say "done"
