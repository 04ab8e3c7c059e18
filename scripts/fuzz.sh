#!/bin/bash
# Feeds random input to what reads the words of strangers: fuzz/fuzz_targets, each with its invariant.
#
#   fuzz.sh SECONDS [target…]    each target for SECONDS, one on each processor; without names: all of them
#
# Nothing but the toolchain is needed: the code is instrumented by flags that every rustc has, and libFuzzer is
# compiled from the crate libfuzzer-sys. What is learnt stays in target/fuzz/corpus. An input that breaks an
# invariant is left in target/fuzz/artifacts; run it alone with: target/fuzz/…/release/TARGET FILE

. "$(dirname "$0")/lib.sh"
cd "$ROOT"

(($# >= 1)) && [[ $1 =~ ^[0-9]+$ ]] || die "usage: fuzz.sh SECONDS [target…]"
seconds=$1
shift
targets=("$@")
if ((${#targets[@]} == 0)); then
    targets=(fuzz/fuzz_targets/*.rs)
    targets=("${targets[@]##*/}")
    targets=("${targets[@]%.rs}")
fi

need_rust
need gcc g++ libc6-dev openssl

# With --target, build scripts and procedural macros are left without the instrumentation.
host=$(rustc --print host-tuple)
work=${CARGO_TARGET_DIR:-target}/fuzz
export RUSTFLAGS="-Cpasses=sancov-module -Ccodegen-units=1
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares"
step "building the fuzz targets" cargo build --locked --release --manifest-path fuzz/Cargo.toml \
    --target "$host" --target-dir "$work"

# Private keys have no place in a repository: those of the seeds are made here.
make_keys() {
    local dir=$1
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=client \
        -keyout "$dir/key" -out "$dir/certificate"
    openssl pkcs8 -topk8 -in "$dir/key" -out "$dir/encrypted" -passout pass:password -iter 2048
    openssl ec -in "$dir/key" -out "$dir/sec1"
    local form
    for form in key encrypted sec1; do
        cat "$dir/$form" "$dir/certificate" >"$dir/seed-$form"
    done
    rm "$dir/key" "$dir/certificate" "$dir/encrypted" "$dir/sec1"
}

fuzz() {
    local target=$1 seeds=fuzz/seeds/$1 corpus=$work/corpus/$1 dictionary
    dictionary=fuzz/dictionaries/$target.dict
    [[ -e $dictionary ]] || dictionary=fuzz/dictionaries/smtp.dict
    mkdir -p "$corpus" "$work/artifacts"
    if [[ $target == pem_wallet && ! -e $corpus/seed-key ]]; then
        make_keys "$corpus"
    fi
    "$work/$host/release/$target" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=2048 -max_len=8192 \
        -dict="$dictionary" -artifact_prefix="$work/artifacts/$target-" -print_final_stats=1 \
        "$corpus" "$seeds"
}

running=0
failed=0
for target in "${targets[@]}"; do
    if ((running == $(nproc))); then
        wait -n || failed=1
    else
        running=$((running + 1))
    fi
    step "$target, $seconds s" fuzz "$target" &
done
for ((; running > 0; running--)); do
    wait -n || failed=1
done
((failed == 0)) || die "an invariant was broken"
say "no invariant was broken"
