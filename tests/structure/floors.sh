#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The floor rule: a header includes its own floor and lower ones only, and nothing heavier than its
# floor may carry. usage: floors.sh INCLUDE_DIR | floors.sh --self-test INCLUDE_DIR
set -u

# check_tree DIR: prints each violation as file:line, returns 1 if there is one.
check_tree() {
    (cd "$1" && grep -rnE '^[[:space:]]*#[[:space:]]*include' fpq \
        --include='*.hpp' --include='*.cuh' --include='*.cu') | awk '
    BEGIN {
        # What a folder may include of ours, as a list of folders.
        may["core"] = " core ";
        may["format"] = " core format ";
        may["quant"] = " core format quant ";
        may["transform"] = " core format quant transform ";
        may["solve"] = " core format quant transform solve ";
        may["io"] = " core format io ";
        may["model"] = " core format quant transform solve io model ";
        may["pipeline"] = " core format quant transform solve io model pipeline ";
        may["cuda"] = " core format cuda ";
        may["adapt"] = " core format adapt ";
        may["backend"] = " core format quant transform solve cuda backend ";
        # Other libraries: where each may appear.
        where["Eigen"] = " solve model pipeline adapt ";
        where["cblas"] = " solve ";
        where["fmt"] = " io model pipeline ";
        where["nlohmann"] = " io model pipeline ";
        where["zlib"] = where["pcre2"] = where["utf8proc"] = where["sentencepiece"] = " io ";
        where["xtensor"] = " adapt ";
        where["iostream"] = " pipeline ";
        where["CLI"] = where["catch2"] = where["benchmark"] = " ";
    }
    function bad(why) { print place ": " why; wrong = 1 }
    {
        split($0, part, ":");
        file = part[1]; place = part[1] ":" part[2];
        text = $0; sub(/^[^:]*:[^:]*:/, "", text);
        if (!match(text, /[<"][^>"]+[>"]/)) next;
        quoted = substr(text, RSTART, 1) == "\"";
        name = substr(text, RSTART + 1, RLENGTH - 2);
        depth = split(file, dir, "/");
        folder = depth > 2 ? dir[2] : "";
        device = file ~ /\.cuh?$/;
        if (folder == "") {                       # umbrellas and version.hpp
            if (file == "fpq/format.hpp" && name !~ /^fpq\/(version\.hpp|core\/|format\/)/)
                bad("the umbrella of floors 0-1 includes " name);
            next;
        }
        if (!(folder in may)) { bad("unknown floor " folder); next }
        if (quoted && name !~ /^fpq\//) { bad("own headers are included by their full path, not " name); next }
        if (!quoted && name ~ /^fpq\//) { bad("own headers are included with quotes: " name); next }
        if (name ~ /^fpq\//) {
            split(name, to, "/");
            if (name == "fpq/version.hpp") next;
            if (index(may[folder], " " to[2] " ") == 0) bad(folder " may not include " name);
            next;
        }
        library = name;
        sub(/[\/.].*$/, "", library); sub(/_.*$/, "", library);
        if (library in where) {
            if (device) bad("device code may not include <" name ">");
            else if (index(where[library], " " folder " ") == 0) bad(folder " may not include <" name ">");
        }
    }
    END { exit wrong }'
}

# plant DIR FILE LINE: a copy of the tree with one more line must be refused.
plant() {
    local copy
    copy=$(mktemp -d)
    cp -r "$1/fpq" "$copy/"
    mkdir -p "$copy/$(dirname "$2")"
    printf '%s\n' "$3" >> "$copy/$2"
    if check_tree "$copy" > /dev/null; then
        echo "not noticed: $3 in $2"
        rm -rf "$copy"
        return 1
    fi
    rm -rf "$copy"
}

if [ "${1:-}" = --self-test ]; then
    tree=$2
    check_tree "$tree" > /dev/null || { echo "the tree itself is not clean"; exit 1; }
    wrong=0
    while IFS='|' read -r file line; do
        plant "$tree" "$file" "$line" || wrong=1
    done << 'CASES'
fpq/core/planted.hpp|#include "fpq/format/block.hpp"
fpq/format/planted.hpp|#include "fpq/quant/quantize.hpp"
fpq/quant/planted.hpp|#  include <Eigen/Dense>
fpq/transform/planted.hpp|#include <iostream>
fpq/quant/planted.hpp|#include <fmt/core.h>
fpq/solve/planted.hpp|#include <xtensor/xtensor.hpp>
fpq/io/planted.hpp|#include "fpq/quant/quantize.hpp"
fpq/io/planted.hpp|#include "fpq/model/decoder.hpp"
fpq/model/planted.hpp|#include "fpq/pipeline/run.hpp"
fpq/pipeline/planted.hpp|#include <CLI/CLI.hpp>
fpq/cuda/planted.cuh|#include <Eigen/Core>
fpq/cuda/planted.cu|#include <fmt/format.h>
fpq/cuda/planted.cuh|#include "fpq/quant/quantize.hpp"
fpq/adapt/planted.hpp|#include "fpq/quant/quantize.hpp"
fpq/core/planted.hpp|#include "bits.hpp"
fpq/core/planted.hpp|#include <fpq/core/bits.hpp>
fpq/attic/planted.hpp|#include <vector>
fpq/format.hpp|#include <nlohmann/json.hpp>
CASES
    exit "$wrong"
fi
check_tree "$1"
