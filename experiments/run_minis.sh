#!/usr/bin/env bash
# Run experiment files in their mini profiles: all of them, or those named.
#
#     experiments/run_minis.sh [FILE.toml ...]
#
# LLT       the command (default: .venv/bin/llt, else llt)
# LLT_JOBS  files at a time, each with one thread (default: one for each core)
# LLT_DATA  data root with files of the right layouts; without it, stand-ins are built from
#           Debian's dataset-fashion-mnist and trans-de-en by the tools in $LLT_SHARED/tools
#           (default: ../shared/tools), and files whose data cannot be had are skipped
# LLT_STORE where results go (default: a temporary folder, removed at the end)
set -euo pipefail
self=$(realpath "$0")
cd "$(dirname "$self")/.."

export LLT=${LLT:-.venv/bin/llt}
if [ ! -x "$LLT" ] && ! LLT=$(command -v llt); then
    echo "run_minis.sh: no llt, neither in .venv/bin nor on the PATH: set LLT to the command" >&2
    exit 2
fi

if [ "${1:-}" = --one ]; then
    file=$2 start=$SECONDS
    out=$("$LLT" sweep "$file" --profile mini --quiet --threads 1 2>&1) && state=done || state=FAILED
    printf '== %s: %s in %d s\n%s\n' "$file" "$state" "$((SECONDS - start))" "$out"
    [ "$state" = done ]
    exit
fi

tools=${LLT_SHARED:-../shared}/tools
python=$(dirname "$LLT")/python
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export LLT_STORE=${LLT_STORE:-$scratch/store} LLT_OFFLINE=1

if [ -z "${LLT_DATA:-}" ]; then
    export LLT_DATA=$scratch/data
    mkdir -p "$LLT_DATA"
    if [ -f "$tools/make_image_standins.py" ] && [ -d /usr/share/datasets/fashion-mnist ]; then
        "$python" "$tools/make_image_standins.py" "$LLT_DATA" --train 5000 --test 500 \
            --only cifar10,cifar100,svhn
    fi
    if [ -f "$tools/make_iwslt_standin.py" ] && [ -e /usr/share/trans/de-en ]; then
        "$python" "$tools/make_iwslt_standin.py" "$LLT_DATA" >/dev/null
    fi
fi

has_data() { # for the task a file names; the figures on images include CIFAR-10
    case $(grep -oE '^task = "[a-z0-9]+"' "$1") in
        *digits*) true ;;
        *cifar100*) [ -d "$LLT_DATA/cifar-100-python" ] ;;
        *svhn*) [ -f "$LLT_DATA/train_32x32.mat" ] ;;
        *iwslt*) [ -d "$LLT_DATA/iwslt" ] ;;
        *) [ -d "$LLT_DATA/cifar-10-batches-py" ] ;;
    esac
}

[ $# -gt 0 ] || set -- experiments/*.toml
files=()
for file in "$@"; do
    if has_data "$file"; then
        files+=("$file")
    else
        echo "== $file: skipped, no data for it in $LLT_DATA"
    fi
done
[ ${#files[@]} -gt 0 ] || exit 0
began=$SECONDS code=0
printf '%s\0' "${files[@]}" | xargs -0 -P "${LLT_JOBS:-$(nproc)}" -n 1 "$self" --one || code=1
echo "== ${#files[@]} files in $((SECONDS - began)) s"
exit $code
