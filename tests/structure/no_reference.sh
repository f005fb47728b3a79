#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The plain loops of namespace reference are for tests and benchmarks: no header names one outside of
# such a namespace, and no tool does.
# usage: no_reference.sh INCLUDE_DIR TOOLS_DIR | no_reference.sh --self-test INCLUDE_DIR TOOLS_DIR
set -u

# check_tree DIR...: prints each use as file:line: text, returns 1 if there is one. Comments do not
# count; the brace that ends a block says so, as clang-format has it.
check_tree() {
    find "$@" -type f \( -name '*.hpp' -o -name '*.cuh' -o -name '*.cpp' -o -name '*.cu' \) | sort |
        xargs awk '
        FNR == 1 { inside = 0 }
        /^namespace ([a-z_]+::)*reference \{/ { inside = 1; next }
        /^\}.*namespace ([a-z_]+::)*reference/ { inside = 0 }
        {
            code = $0
            sub(/\/\/.*/, "", code)
            if (!inside && code ~ /(^|[^a-z_])reference *::|using +namespace +[a-z_:]*reference/) {
                printf "%s:%d: %s\n", FILENAME, FNR, $0
                wrong = 1
            }
        }
        END { exit wrong }'
}

if [ "${1:-}" = --self-test ]; then
    shift
    # What to plant, by file; the last two are no violations.
    planted=(
        '1/fpq/quant/planted.hpp:auto q = reference::quantize(w, f, o);'
        '1/fpq/pipeline/planted.hpp:    fpq::reference::find_scales(w, f, o);'
        '1/fpq/transform/planted.hpp:using namespace fpq::reference;'
        '2/quantize/planted.cpp:    fpq::reference::fake_quantize_rows(x, f, o);'
    )
    allowed=(
        '1/fpq/quant/planted.hpp:/// The bytes of reference::quantize.'
        '1/fpq/quant/planted.hpp:namespace reference {@inline void f() { reference::g(); }@}  // namespace reference'
    )
    plant() { # the copy, what
        local to=${2%%:*}
        mkdir -p "$(dirname "$1/$to")"
        printf '%s\n' "${2#*:}" | tr '@' '\n' > "$1/$to"
    }
    for what in "${planted[@]}" "${allowed[@]}"; do
        copy=$(mktemp -d)
        cp -r "$1" "$copy/1"
        cp -r "$2" "$copy/2"
        plant "$copy" "$what"
        found=$(check_tree "$copy/1" "$copy/2")
        rm -rf "$copy"
        case " ${planted[*]} " in
        *" $what "*) [[ $found == *planted* ]] || { echo "not noticed: $what"; exit 1; } ;;
        *) [ -z "$found" ] || { echo "wrongly noticed: $found"; exit 1; } ;;
        esac
    done
    exit 0
fi
check_tree "$@"
