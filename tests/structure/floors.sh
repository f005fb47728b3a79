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
        # What a folder may include of ours, as a list of folders; a name stands for the folders in it
        # too, but core does not stand for core/hosted.
        hosted = " core core/hosted format ";
        numeric = hosted " quant linalg transform solve ";
        data = numeric " graph io ";
        may["core"] = " core ";
        may["core/hosted"] = " core core/hosted ";
        may["format"] = " core format ";
        may["quant"] = hosted " quant ";
        may["linalg"] = hosted " linalg ";
        may["transform"] = hosted " quant linalg transform ";
        may["solve"] = numeric;
        may["graph"] = hosted " graph ";
        may["io"] = hosted " io ";
        may["dialect"] = data " dialect ";
        may["backend"] = data " backend ";
        may["backend/cuda"] = data " cuda backend ";
        may["model"] = data " dialect backend model ";
        may["method"] = data " dialect backend model method ";
        may["pipeline"] = data " dialect backend model method pipeline ";
        may["cuda"] = " core format cuda ";
        may["adapt"] = hosted " adapt ";
        # Other libraries: where each may appear.
        where["Eigen"] = " adapt ";
        where["dlfcn"] = " linalg ";
        where["fmt"] = " io dialect model method pipeline ";
        where["nlohmann"] = " io dialect model pipeline ";
        where["zlib"] = where["pcre2"] = where["utf8proc"] = where["sentencepiece"] = " io ";
        where["xtensor"] = " adapt ";
        where["iostream"] = " pipeline ";
        where["CLI"] = where["catch2"] = where["benchmark"] = where["regex"] = " ";
    }
    # The longest folder of the table that holds `path`, a folder or a file.
    function room(path,   part, depth, i, at, best) {
        depth = split(path, part, "/");
        at = part[1];
        best = at in may ? at : "";
        for (i = 2; i <= depth; ++i) {
            at = at "/" part[i];
            if (at in may) best = at;
        }
        return best;
    }
    function allowed(list, folder) {
        if (index(list, " " folder " ")) return 1;
        # backend/cuda is for itself alone; core/hosted is named where it is allowed.
        if (folder == "core/hosted" || folder == "backend/cuda") return 0;
        sub(/\/.*$/, "", folder);
        return index(list, " " folder " ") != 0;
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
        inside = file; sub(/^fpq\//, "", inside);
        device = file ~ /\.cuh?$/;
        if (folder == "") {                       # umbrellas and version.hpp
            if (file == "fpq/format.hpp" && name !~ /^fpq\/(version\.hpp|core\/[a-z_]*\.hpp|format\/)/)
                bad("the umbrella of floors 0-1 includes " name);
            next;
        }
        own = room(inside);
        if (own == "") { bad("unknown floor " folder); next }
        if (quoted && name !~ /^fpq\//) { bad("own headers are included by their full path, not " name); next }
        if (!quoted && name ~ /^fpq\//) { bad("own headers are included with quotes: " name); next }
        if (name ~ /^fpq\//) {
            if (name == "fpq/version.hpp") next;
            target = name; sub(/^fpq\//, "", target);
            target = room(target);
            if (!(own == target || allowed(may[own], target))) bad(own " may not include " name);
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
fpq/core/planted.hpp|#include "fpq/core/hosted/error.hpp"
fpq/format/planted.hpp|#include "fpq/core/hosted/error.hpp"
fpq/format/planted.hpp|#include "fpq/quant/quantize.hpp"
fpq/quant/planted.hpp|#  include <Eigen/Dense>
fpq/quant/planted.hpp|#include "fpq/linalg/matmul.hpp"
fpq/linalg/planted.hpp|#include "fpq/quant/quantize.hpp"
fpq/transform/planted.hpp|#include <iostream>
fpq/quant/planted.hpp|#include <fmt/core.h>
fpq/solve/planted.hpp|#include <xtensor/xtensor.hpp>
fpq/solve/planted.hpp|#include <Eigen/Dense>
fpq/linalg/planted.hpp|#include <Eigen/Core>
fpq/solve/planted.hpp|#include <dlfcn.h>
fpq/graph/planted.hpp|#include "fpq/quant/quantize.hpp"
fpq/graph/planted.hpp|#include <nlohmann/json.hpp>
fpq/io/file/planted.hpp|#include "fpq/quant/quantize.hpp"
fpq/io/text/planted.hpp|#include "fpq/graph/node.hpp"
fpq/dialect/planted.hpp|#include "fpq/model/forward.hpp"
fpq/dialect/planted.hpp|#include <regex>
fpq/backend/cpu/planted.hpp|#include "fpq/cuda/api.hpp"
fpq/backend/cpu/planted.hpp|#include "fpq/model/forward.hpp"
fpq/model/planted.hpp|#include "fpq/pipeline/run.hpp"
fpq/model/planted.hpp|#include "fpq/method/method.hpp"
fpq/model/planted.hpp|#include "fpq/backend/cuda/gptq.hpp"
fpq/pipeline/planted.hpp|#include <CLI/CLI.hpp>
fpq/pipeline/planted.hpp|#include "fpq/cuda/api.hpp"
fpq/cuda/gemm/planted.cuh|#include <Eigen/Core>
fpq/cuda/planted.cu|#include <fmt/format.h>
fpq/cuda/ptx/planted.cuh|#include "fpq/quant/quantize.hpp"
fpq/cuda/api/planted.hpp|#include "fpq/core/hosted/error.hpp"
fpq/adapt/planted.hpp|#include "fpq/quant/quantize.hpp"
fpq/core/planted.hpp|#include "bits.hpp"
fpq/core/planted.hpp|#include <fpq/core/bits.hpp>
fpq/attic/planted.hpp|#include <vector>
fpq/format.hpp|#include <nlohmann/json.hpp>
fpq/format.hpp|#include "fpq/core/hosted/error.hpp"
CASES
    exit "$wrong"
fi
check_tree "$1"
