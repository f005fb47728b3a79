#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what fpq needs from the packages of Debian 12 and 13 or Ubuntu 22.04 and 24.04, and nothing
# that is there already. Where they have other names for a thing, `a|b` is the first that apt knows.
# usage: install-deps.sh [build|test]. `build` (default): tools and examples; `test`: also what
# tests/run.sh uses. Says what it will install first. Needs root or sudo only when something lacks.
set -u
level=${1:-build}

needed=(g++ cmake make ninja-build pkg-config libeigen3-dev nlohmann-json3-dev zlib1g-dev
        libpcre2-dev libutf8proc-dev libfmt-dev libsentencepiece-dev libcli11-dev libcpp-httplib-dev)
# Without these everything works, slower or with tests skipped.
wanted=(libopenblas0 ccache)
if [ "$level" = test ]; then
    needed+=(catch2 libxtensor-dev)
    # The formatter of version 14, where there is one: others lay out differently. The
    # sanitizers' runtimes of Ubuntu 22.04's clang are in another package.
    wanted+=(clang 'clang-format-14|clang-format' clang-tidy
             'libclang-rt-dev|libclang-common-14-dev' libbenchmark-dev libopenmpi-dev openmpi-bin)
fi

if ! command -v dpkg-query > /dev/null || ! command -v apt-get > /dev/null; then
    echo "install-deps: no apt-get here; install these by hand if they are missing: ${needed[*]} ${wanted[*]}" >&2
    exit 0
fi

# present PACKAGE|...: one is installed by dpkg, or its program is on PATH by other means.
present() {
    local name
    if [[ $1 == *'|'* ]]; then
        for name in ${1//|/ }; do present "$name" && return 0; done
        return 1
    fi
    dpkg-query -W -f='${Status}' "$1" 2> /dev/null | grep -q '^install ok installed$' && return 0
    case $1 in
    g++ | cmake | make | clang | clang-* | ccache) command -v "$1" > /dev/null ;;
    ninja-build) command -v ninja > /dev/null ;;
    pkg-config) command -v pkg-config > /dev/null ;;
    *) return 1 ;;
    esac
}

missing=()
optional=()
for package in "${needed[@]}"; do present "$package" || missing+=("$package"); done
for package in "${wanted[@]}"; do present "$package" || optional+=("$package"); done
if [ ${#missing[@]} -eq 0 ] && [ ${#optional[@]} -eq 0 ]; then
    echo "install-deps: everything is there"
    exit 0
fi
echo "install-deps: will install ${missing[*]} ${optional[*]}"

root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo > /dev/null; then
        [ ${#missing[@]} -eq 0 ] && { echo "install-deps: no root and no sudo; going on without ${optional[*]}"; exit 0; }
        echo "install-deps: neither root nor sudo; please install: ${missing[*]}" >&2
        exit 1
    fi
    root=(sudo)
fi
apt() {
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 "$@" < /dev/null
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# A fresh machine has no package lists; a stale one has lists that name files no longer there.
get() { apt install --no-install-recommends "$@" > "$log" 2>&1; }
if [ ${#missing[@]} -gt 0 ] && ! get "${missing[@]}"; then
    apt update > /dev/null 2>&1
    updated=1
    if ! get "${missing[@]}"; then
        tail -n 20 "$log" >&2
        echo "install-deps: could not install: ${missing[*]}" >&2
        exit 1
    fi
fi
get_one_of() {
    local name
    for name in ${1//|/ }; do get "$name" && return 0; done
    return 1
}
for package in "${optional[@]}"; do
    if ! get_one_of "$package"; then
        [ -n "${updated:-}" ] || { apt update > /dev/null 2>&1; updated=1; }
        get_one_of "$package" || echo "install-deps: going on without $package"
    fi
done
echo "install-deps: done"
