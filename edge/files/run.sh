#!/bin/sh
# Runs the model of this folder with llama.cpp: its context, threads and program are chosen for this machine.
#
#   ./run serve [OPTION...]   llama-server: an OpenAI-compatible server and its settings (the default)
#   ./run chat [OPTION...]    llama-completion: a talk at this terminal
#   ./run bench [OPTION...]   llama-bench: tokens per second
#   ./run rpc [OPTION...]     rpc-server: lend this machine's memory to another one
#   ./run info                what would be used
#   ./run check               compare every file with SHA256SUMS
#
# Options go to the program, after those chosen here. From the environment: HOST, PORT, CONTEXT, THREADS,
# REASONING (on or off, when a request does not say), BUILD (a folder of bin/), RUNNER (a command that runs the
# program: nice -n 5).
# shellcheck disable=SC2153 # BUILDS, MODEL and their like come from settings
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cpuinfo=${CPUINFO:-/proc/cpuinfo}
meminfo=${MEMINFO:-/proc/meminfo}
cpus=${CPUS:-/sys/devices/system/cpu}

# The first build of the list whose instructions this processor has.
build() {
    features=" $(sed -n 's/^Features[^:]*: *//p' "$cpuinfo" | head -n 1) "
    while read -r name wanted; do
        missing=
        for feature in $wanted; do
            case $features in *" $feature "*) ;; *) missing=$feature ;; esac
        done
        if [ -z "$missing" ] && [ -d "$here/bin/$name" ]; then
            echo "$name"
            return
        fi
    done <<EOF
$BUILDS
EOF
    echo "run: this processor runs none of: $(ls "$here/bin")" >&2
    return 1
}

# The quick cores: those with two thirds of the highest clock at least. All, where clocks are not told.
threads() {
    fastest=0
    quick=0
    for file in "$cpus"/cpu[0-9]*/cpufreq/cpuinfo_max_freq; do
        [ -r "$file" ] || continue
        read -r clock < "$file"
        [ "$clock" -le "$fastest" ] || fastest=$clock
    done
    for file in "$cpus"/cpu[0-9]*/cpufreq/cpuinfo_max_freq; do
        [ -r "$file" ] || continue
        read -r clock < "$file"
        [ $((clock * 3)) -lt $((fastest * 2)) ] || quick=$((quick + 1))
    done
    [ "$quick" -gt 0 ] || quick=$(grep -c '^processor' "$cpuinfo" || true)
    [ "$quick" -gt 0 ] || quick=1
    echo "$quick"
}

# The largest context whose cache fits beside the weights, in three quarters of the memory that is free now.
context() {
    free=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' "$meminfo")
    tokens=$(((${free:-0} * 768 - WEIGHT_BYTES) / CACHE_BYTES_PER_TOKEN / 256 * 256))
    [ "$tokens" -le "$MOST_CONTEXT" ] || tokens=$MOST_CONTEXT
    [ "$tokens" -ge "$LEAST_CONTEXT" ] || tokens=$LEAST_CONTEXT
    echo "$tokens"
}

command=serve
case ${1:-} in
    serve | chat | bench | rpc | info | check)
        command=$1
        shift
        ;;
    -h | --help | help)
        sed -n '2,/^$/{/shellcheck/d; s/^# \{0,1\}//p;}' "$0"
        exit 0
        ;;
esac
if [ "$command" = check ]; then
    cd "$here"
    exec sha256sum -c SHA256SUMS
fi
# shellcheck source=/dev/null
. "$here/settings"

BUILD=${BUILD:-$(build)}
THREADS=${THREADS:-$(threads)}
CONTEXT=${CONTEXT:-$(context)}
REASONING=${REASONING:-off}
model=$here/model/$MODEL
programs=$here/bin/$BUILD
# The values that LG advises: with reasoning, and without.
case $REASONING in
    on)
        sampling="--temp 0.6 --top-p 0.95"
        thinking=true
        ;;
    off)
        sampling="--temp 0.3 --top-p 1"
        thinking=false
        ;;
    *)
        echo "run: REASONING is '$REASONING'; it must be on or off" >&2
        exit 2
        ;;
esac

# shellcheck disable=SC2086 # $sampling and $RUNNER are several words
case $command in
    info)
        echo "model     $MODEL"
        echo "build     $BUILD"
        echo "threads   $THREADS"
        echo "context   $CONTEXT"
        echo "cache     $CACHE_TYPE_K, $CACHE_TYPE_V"
        echo "reasoning $REASONING"
        ;;
    serve)
        exec ${RUNNER:-} "$programs/llama-server" --model "$model" --alias "$ALIAS" \
            --jinja --chat-template-file "$here/chat_template.jinja" --reasoning "$REASONING" \
            --ctx-size "$CONTEXT" --threads "$THREADS" --cache-type-k "$CACHE_TYPE_K" --cache-type-v "$CACHE_TYPE_V" \
            --parallel 1 --cache-ram 0 --min-p 0 $sampling \
            --host "${HOST:-127.0.0.1}" --port "${PORT:-8080}" "$@"
        ;;
    chat)
        # llama-completion takes no variables of a template, and always thinks: they are set in its text.
        set_them="{%- set enable_thinking = $thinking -%}{%- set skip_think = true -%}"
        exec ${RUNNER:-} "$programs/llama-completion" --model "$model" --conversation \
            --jinja --chat-template "$set_them$(cat "$here/chat_template.jinja")" \
            --ctx-size "$CONTEXT" --threads "$THREADS" --cache-type-k "$CACHE_TYPE_K" --cache-type-v "$CACHE_TYPE_V" \
            --min-p 0 $sampling "$@"
        ;;
    bench)
        exec ${RUNNER:-} "$programs/llama-bench" --model "$model" --threads "$THREADS" \
            --cache-type-k "$CACHE_TYPE_K" --cache-type-v "$CACHE_TYPE_V" "$@"
        ;;
    rpc)
        exec ${RUNNER:-} "$programs/rpc-server" --threads "$THREADS" --host "${HOST:-127.0.0.1}" --port "${PORT:-50052}" "$@"
        ;;
esac
