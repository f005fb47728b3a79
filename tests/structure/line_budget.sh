#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What including fpq/format.hpp costs an engine, in lines after preprocessing, has a ceiling; and it
# pulls in no stream, container of strings, or thread. usage: line_budget.sh COMPILER INCLUDE_DIR
set -u
budget=6000 # lines
text=$(echo '#include "fpq/format.hpp"' | "$1" -std=c++20 -I"$2" -x c++ -E -) || exit 1
lines=$(printf '%s\n' "$text" | grep -vc '^#')
echo "fpq/format.hpp: $lines lines after preprocessing, budget $budget"
heavy=$(printf '%s\n' "$text" | grep -oE '^# 1 "[^"]*/(iostream|fstream|sstream|vector|filesystem|thread|ranges)"' | sort -u)
[ -z "$heavy" ] || { echo "fpq/format.hpp pulls in: $heavy"; exit 1; }
[ "$lines" -le "$budget" ]
