#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A file that a page names in backticks is there: from the root of the repository, from include/ or
# from include/fpq/.
# usage: docs_paths.sh REPO | docs_paths.sh --self-test REPO
set -u

# check_pages REPO: prints each name that stands for nothing as page: name, returns 1 if there is one.
check_pages() {
    local wrong=0 page name
    while IFS=: read -r page name; do
        compgen -G "$1/$name" > /dev/null || compgen -G "$1/include/$name" > /dev/null ||
            compgen -G "$1/include/fpq/$name" > /dev/null || { echo "$page: $name"; wrong=1; }
    done < <(cd "$1" && grep -oHE '`[A-Za-z0-9_*.-]+(/[A-Za-z0-9_*.-]+)+\.(hpp|cuh|cpp|cu|sh|md|py)`' \
        README.md docs/*.md | tr -d '`' | sort -u)
    return "$wrong"
}

if [ "${1:-}" = --self-test ]; then
    check_pages "$2" > /dev/null || { echo "the tree itself is not clean"; exit 1; }
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
    mkdir "$copy/docs"
    printf 'see `docs/page.md`\n' > "$copy/README.md"
    printf 'none\n' > "$copy/docs/page.md"
    check_pages "$copy" || { echo "a page that is there is not found"; exit 1; }
    printf 'see `tests/io/nowhere.cpp`\n' > "$copy/docs/page.md"
    if check_pages "$copy" > /dev/null; then echo "a file that is not there is not noticed"; exit 1; fi
    exit 0
fi
check_pages "$1"
