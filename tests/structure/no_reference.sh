#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Production never runs a reference loop: `reference::` is for tests and benchmarks. Inside namespace
# reference one plain loop may call another.
# usage: no_reference.sh INCLUDE_DIR TOOLS_DIR | no_reference.sh --self-test INCLUDE_DIR TOOLS_DIR
set -u

# check_tree DIR...: prints file:line of each call from outside namespace reference.
check_tree() {
    find "$@" \( -name '*.hpp' -o -name '*.cuh' -o -name '*.cpp' -o -name '*.cu' \) -print0 | xargs -0 awk '
    FNR == 1 { inside = 0 }
    /^namespace reference \{/ { inside = 1 }
    /^}  \/\/ namespace reference/ { inside = 0 }
    !inside && /reference::/ && !/^[[:space:]]*\/\// { print FILENAME ":" FNR ": " $0; wrong = 1 }
    END { exit wrong }'
}

if [ "${1:-}" = --self-test ]; then
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
    cp -r "$2" "$copy/include"
    printf 'inline int planted() { return reference::planted(); }\n' > "$copy/include/fpq/quant/planted.hpp"
    case $(check_tree "$copy/include") in
        *planted.hpp:1*) exit 0 ;;
        *) echo "not noticed: a call of reference::"; exit 1 ;;
    esac
fi
check_tree "$@"
