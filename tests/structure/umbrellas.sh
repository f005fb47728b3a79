#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# fpq/format.hpp includes every freestanding header of floors 0-1 but core/random.hpp, which costs an
# engine <cmath>; fpq/fpq.hpp reaches every header of floors 0-8. usage: umbrellas.sh INCLUDE_DIR | umbrellas.sh --self-test DIR
set -u

# missing_from DIR UMBRELLA FOLDER...: headers of the folders that the umbrella does not include.
missing_from() {
    local dir=$1 umbrella=$2 wrong=0 header
    shift 2
    while read -r header; do
        case $umbrella:$header in
            fpq/format.hpp:fpq/core/hosted/* | fpq/format.hpp:fpq/core/random.hpp | *:fpq/backend/cuda/*) continue ;;
        esac
        grep -qF "#include \"$header\"" "$dir/$umbrella" ||
            { [ "$umbrella" = fpq/fpq.hpp ] && grep -qF "#include \"$header\"" "$dir/fpq/format.hpp"; } ||
            { echo "$umbrella does not include $header"; wrong=1; }
    done < <(cd "$dir" && for folder in "$@"; do
                 [ -d "fpq/$folder" ] && find "fpq/$folder" -name '*.hpp'; done | sort)
    return "$wrong"
}

check_tree() {
    local wrong=0
    missing_from "$1" fpq/format.hpp core format || wrong=1
    missing_from "$1" fpq/fpq.hpp core format quant linalg transform solve graph io dialect backend model method pipeline || wrong=1
    return "$wrong"
}

if [ "${1:-}" = --self-test ]; then
    for folder in core format quant linalg transform solve graph io dialect backend model method pipeline; do
        copy=$(mktemp -d)
        cp -r "$2/fpq" "$copy/"
        mkdir -p "$copy/fpq/$folder"
        echo '#pragma once' > "$copy/fpq/$folder/planted.hpp"
        found=$(check_tree "$copy")
        rm -rf "$copy"
        case $found in
            *planted*) ;;
            *) echo "not noticed: fpq/$folder/planted.hpp"; exit 1 ;;
        esac
    done
    exit 0
fi
check_tree "$1"
