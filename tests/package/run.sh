#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# usage: run.sh CONSUMER SOURCE WORK CMAKE COMPILER. One consumer of the package; see CMakeLists.txt.
set -eu
consumer=$1 source=$2 work=$3 cmake=$4 compiler=$5
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
prefix=$work/prefix
build=$work/$consumer
rm -rf "$build"
mkdir -p "$build"

configure() {
    "$cmake" -S "$here/$consumer" -B "$build" -DCMAKE_CXX_COMPILER="$compiler" \
        -DCMAKE_BUILD_TYPE=Debug -DFPQ_SOURCE="$source" "$@"
}

case $consumer in
install)
    # Installed from a machine that has only a compiler, and nothing built.
    rm -rf "$prefix"
    "$cmake" -S "$source" -B "$build" -DCMAKE_CXX_COMPILER="$compiler" \
        -DFPQ_BUILD_TESTS=OFF -DFPQ_BUILD_TOOLS=OFF \
        -DFPQ_BUILD_EXAMPLES=OFF -DFPQ_BUILD_BENCH=OFF -DCMAKE_DISABLE_FIND_PACKAGE_Eigen3=ON
    # As docs/packaging.md says it: the prefix is chosen now, not when it was configured.
    "$cmake" --install "$build" --prefix "$prefix"
    # Every header, whichever component has it.
    headers() { (cd "$1/include" && find fpq -name '*.hpp' -o -name '*.cuh' | sort); }
    diff <(headers "$source") <(headers "$prefix")
    ;;
pkg_config)
    command -v pkg-config > /dev/null || { echo "SKIPPED: pkg-config is not installed"; exit 77; }
    export PKG_CONFIG_PATH=$prefix/share/pkgconfig
    # shellcheck disable=SC2046 # flags are words
    "$compiler" -std=c++20 $(pkg-config --cflags fpq) "$here/consumer.cpp" -o "$build/consumer" \
        $(pkg-config --libs fpq)
    "$build/consumer" | grep -F "fpq $(pkg-config --modversion fpq):"
    ;;
wrong_version)
    configure -DCMAKE_PREFIX_PATH="$prefix"
    ;;
*)
    configure -DCMAKE_PREFIX_PATH="$prefix"
    "$cmake" --build "$build"
    "$build/consumer"
    ;;
esac
