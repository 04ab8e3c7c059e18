#!/bin/bash
# Which test covers which case.
#
#   cases.sh            writes docs/cases.md
#   cases.sh --check    fails where a case has neither a test nor a reason in tests/e2e/not-applicable.md, where a test
#                       cites a case that does not exist, and where docs/cases.md is out of date
#
# A Rust test cites its cases in its doc comment, a fuzz target in its opening one, an SQL or shell test in any comment:
# "TLS-07, TLS-09", or "DAT-03 to DAT-11".

. "$(dirname "$0")/lib.sh"
cd "$ROOT"

TABLE=docs/cases.md
REASONS=tests/e2e/not-applicable.md

# The list does not grow by itself: a number that is left out was never given.
CASES='
TLS  01-07 09 11-24 26-31
CERT 01-12 15-23 25-29
INJ  01-03 05-09 11 17-18
DAT  01-17 20-25
RPL  01 03-08 10-16 18-20
AUTH 01-05 07-08 10-13
LEAK 01-08 10
ACL  01-08 11-12 14-34
WAL  01-02 04-12
EXT  01-09 11-12
INT  01-08 10-15 17-18
RES  01-02 04-06 08-11 13-17
PAN  01-05
'

title() {
    case $1 in
    TLS) echo 'STARTTLS and TLS' ;;
    CERT) echo 'Certificates' ;;
    INJ) echo 'Command injection and arguments' ;;
    DAT) echo 'Message data and smuggling' ;;
    RPL) echo 'Replies' ;;
    AUTH) echo 'Authentication' ;;
    LEAK) echo 'Secrets' ;;
    ACL) echo 'Access control' ;;
    WAL) echo 'Wallets and files' ;;
    EXT) echo 'Packaging, privileges, types' ;;
    INT) echo 'Interrupts, time-outs, processes' ;;
    RES) echo 'Resources and transactions' ;;
    PAN) echo 'Panics' ;;
    esac
}

# Every case, in order, one a line.
all_cases() {
    local group ranges range number
    while read -r group ranges; do
        for range in $ranges; do
            for number in $(seq -w "${range%-*}" "${range#*-}"); do
                echo "$group-$number"
            done
        done
    done < <(grep . <<<"$CASES")
}

# CASE <tab> NAME <tab> FILE, for each case that a test cites.
citations() {
    local sources
    mapfile -t sources < <(find crates src tests fuzz/fuzz_targets scripts -name target -prune -o -type f \
        \( -name '*.rs' -o -path 'tests/pg_regress/sql/*.sql' -o -name '*.sh' \) ! -name cases.sh -print | LC_ALL=C sort)
    awk '
        function cite(text, name,    found, group, first, last, number) {
            while (match(text, /[A-Z]+-[0-9][0-9](( to |…|\.\.)([A-Z]+-)?[0-9][0-9])?/)) {
                found = substr(text, RSTART, RLENGTH)
                text = substr(text, RSTART + RLENGTH)
                group = found
                sub(/-.*/, "", group)
                if (!(group in groups) || text ~ /^[0-9]/) continue
                first = substr(found, length(group) + 2, 2)
                last = substr(found, length(found) - 1)
                for (number = first + 0; number <= last + 0; number++)
                    printf "%s-%02d\t%s\t%s\n", group, number, name, FILENAME
            }
        }
        function base(file) {
            sub(/.*\//, "", file)
            sub(/\.[a-z]+$/, "", file)
            return file
        }
        BEGIN { while ((getline group < "/dev/stdin") > 0) groups[group] }
        FNR == 1 { doc = ""; is_test = 0; kind = FILENAME; sub(/.*\./, "", kind) }
        kind == "sql" { if (/^ *--/) cite($0, base(FILENAME)); next }
        kind == "sh" { if (/^ *#/) cite($0, base(FILENAME)); next }
        FILENAME ~ /fuzz_targets/ { if (/^\/\/!/) cite($0, "fuzz " base(FILENAME)); next }
        /^ *\/\/\// { doc = doc " " $0; next }
        /^ *#\[(pg_)?test\]/ { is_test = 1; next }
        /^ *#\[/ { next }
        /^ *(pub )?fn [a-z0-9_]+/ {
            if (is_test) {
                name = $0
                sub(/^ *(pub )?fn /, "", name)
                sub(/[^a-z0-9_].*/, "", name)
                cite(doc, name)
            }
        }
        { doc = ""; is_test = 0 }
    ' "${sources[@]}" < <(awk 'NF { print $1 }' <<<"$CASES") | LC_ALL=C sort -u
}

# CASE <tab> REASON, from the rows "| CASE | REASON |".
reasons() {
    sed -nE 's/^\| ([A-Z]+-[0-9]{2}) \| (.*) \|$/\1\t\2/p' "$REASONS"
}

# The table, of all_cases, citations and reasons.
table() {
    cat <<'END'
# Which test covers which case

Written by `scripts/cases.sh` from the tests' comments. Each case is something that a server, a caller or an
administrator may do and that must do no harm; the names of the tests say what comes of it.
END
    local case group previous='' tests
    while read -r case; do
        group=${case%-*}
        if [[ $group != "$previous" ]]; then
            printf '\n## %s: %s\n\n| case | tests |\n|---|---|\n' "$group" "$(title "$group")"
            previous=$group
        fi
        tests=$(awk -F'\t' -v case="$case" '
            $1 == case { printf "%s[%s](../%s)", separator, $2, $3; separator = "<br>" }' <<<"$citations")
        if [[ -z $tests ]]; then
            tests=$(awk -F'\t' -v case="$case" '$1 == case { print "*not applicable:* " $2 }' <<<"$reasons")
        fi
        printf '| %s | %s |\n' "$case" "${tests:-*none*}"
    done <<<"$cases"
}

cases=$(all_cases)
citations=$(citations)
reasons=$(reasons)

case ${1:-} in
'')
    table >"$TABLE"
    ;;
--check)
    covered=$(cut -f1 <<<"$citations"$'\n'"$reasons" | LC_ALL=C sort -u | grep .)
    sorted=$(LC_ALL=C sort <<<"$cases")
    missing=$(LC_ALL=C comm -23 <(echo "$sorted") <(echo "$covered"))
    unknown=$(LC_ALL=C comm -13 <(echo "$sorted") <(echo "$covered"))
    [[ -z $missing ]] || die "no test for: ${missing//$'\n'/ }"
    [[ -z $unknown ]] || die "no such case: ${unknown//$'\n'/ }"
    table | cmp -s - "$TABLE" || die "$TABLE is out of date: run scripts/cases.sh"
    ;;
*)
    die "usage: cases.sh [--check]"
    ;;
esac
