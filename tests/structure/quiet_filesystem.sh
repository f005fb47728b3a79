#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Nothing may throw std::filesystem::filesystem_error: it has no exit code and does not say what was
# expected. A call takes a std::error_code last, or a status that look_at and its kind found; a
# directory is walked by increment(error_code), never by a range.
# usage: quiet_filesystem.sh DIR... | quiet_filesystem.sh --self-test DIR...
set -u

# check_tree DIR...: prints each call as file:line: text, returns 1 if there is one.
check_tree() {
    find "$@" -type f \( -name '*.hpp' -o -name '*.cuh' -o -name '*.cpp' -o -name '*.cu' \) | sort |
        xargs awk '
        BEGIN {
            operations = "^(absolute|canonical|weakly_canonical|relative|proximate|copy|copy_file|" \
                "copy_symlink|create_directory|create_directories|create_hard_link|create_symlink|" \
                "create_directory_symlink|current_path|equivalent|exists|file_size|" \
                "hard_link_count|is_block_file|is_character_file|is_directory|is_empty|is_fifo|" \
                "is_other|is_regular_file|is_socket|is_symlink|last_write_time|permissions|" \
                "read_symlink|remove|remove_all|rename|resize_file|space|status|symlink_status|" \
                "temp_directory_path)$"
            walks = "^(recursive_)?directory_iterator$"
        }
        # names(TYPE): the names that the file declares with this type, as a list between spaces.
        function names(type,   rest, out) {
            rest = text
            out = " "
            while (match(rest, type "( const)?&? [a-z_]+")) {
                declared = substr(rest, RSTART, RLENGTH)
                sub(/.* /, "", declared)
                out = out declared " "
                rest = substr(rest, RSTART + RLENGTH)
            }
            return out
        }
        # The balanced text behind the opening parenthesis at `at`; its last argument in `last`.
        function arguments(at,   depth, i, c, begin) {
            depth = 1
            begin = at + 1
            for (i = at + 1; i <= length(text) && depth > 0; ++i) {
                c = substr(text, i, 1)
                if (c == "(" || c == "{") ++depth
                if (c == ")" || c == "}") --depth
                if (c == "," && depth == 1) begin = i + 1
            }
            last = substr(text, begin, i - 1 - begin)
            gsub(/^[ \t\n]+|[ \t\n]+$/, "", last)
            count = begin > at + 1 ? 2 : 1
            return substr(text, at + 1, i - 2 - at)
        }
        function complain(at,   before) {
            before = substr(text, 1, at)
            printf "%s:%d: %s\n", file, gsub(/\n/, "\n", before) + 1, what
            wrong = 1
        }
        function check_file(   at, rest, codes, statuses, operation, all) {
            codes = names("error_code")
            statuses = names("file_status")
            at = 1
            while (match(substr(text, at), /(filesystem|[^a-z_]fs)::[a-z_]+/)) {
                operation = substr(text, at + RSTART - 1, RLENGTH)
                before_name = substr(text, at, RSTART - 1)
                at += RSTART - 1 + RLENGTH
                sub(/.*::/, "", operation)
                rest = substr(text, at, 80)
                what = operation
                if (operation ~ walks) {
                    # A temporary to range over, or a variable: from a path and an error_code, or
                    # none at all, an end.
                    match(rest, /^( [a-z_]+)*/)
                    at += RLENGTH
                    ranged = RLENGTH == 0 && before_name ~ /: *(std::)?$/
                    if (substr(text, at, 1) ~ /[({]/) {
                        arguments(at)
                        if (ranged || count == 1 || index(codes, " " last " ") == 0) complain(at)
                    }
                    continue
                }
                if (operation !~ operations || rest !~ /^\(/) continue
                all = arguments(at)
                if (index(codes, " " last " ") > 0) continue
                if (count == 1 && (all ~ /^(look_at|std::filesystem::symlink_status)\(/ ||
                                   index(statuses, " " all " ") > 0)) continue
                complain(at)
            }
            rest = text
            at = 0
            while (match(rest, /[.>](is_regular_file|is_directory|is_symlink|file_size|last_write_time|symlink_status)\(\)/)) {
                at += RSTART + RLENGTH - 1
                what = substr(rest, RSTART + 1, RLENGTH - 1)
                complain(at)
                rest = substr(rest, RSTART + RLENGTH)
            }
        }
        FNR == 1 { if (file != "") check_file(); file = FILENAME; text = "" }
        { line = $0; sub(/\/\/.*/, "", line); text = text line "\n" }
        END { if (file != "") check_file(); exit wrong }'
}

if [ "${1:-}" = --self-test ]; then
    shift
    check_tree "$@" > /dev/null || { echo "the tree itself is not clean"; exit 1; }
    wrong=0
    # try SHOULD TEXT: a unit of TEXT is clean (0) or not (1).
    try() {
        local copy got=0
        copy=$(mktemp -d)
        printf '%b' "$2" > "$copy/planted.hpp"
        check_tree "$copy" > /dev/null || got=1
        rm -rf "$copy"
        [ "$got" = "$1" ] || { echo "expected $1, got $got: $2"; wrong=1; }
    }
    try 1 'bool a = std::filesystem::exists(path);\n'
    try 1 'bool a = std::filesystem::exists(\n    path / "config.json");\n'
    try 1 'std::error_code none;\nbool a = std::filesystem::is_symlink(path);\n'
    try 1 'std::error_code none;\nstd::filesystem::rename(from, to);\n'
    try 1 'namespace fs = std::filesystem;\nfs::remove_all(path);\n'
    try 1 'for (auto const& entry : std::filesystem::directory_iterator(path)) {\n'
    try 1 'std::error_code none;\nfor (auto const& entry : std::filesystem::directory_iterator(path, none)) {\n'
    try 1 'std::filesystem::recursive_directory_iterator at(path);\n'
    try 1 'if (entry.is_regular_file()) {\n'
    try 1 'if (at->is_directory()) {\n'
    try 1 'return std::filesystem::temp_directory_path();\n'
    try 0 'std::error_code none;\nbool a = std::filesystem::exists(path, none);\n'
    try 0 'bool a = std::filesystem::is_directory(look_at(path / f(1, 2)));\n'
    try 0 'std::filesystem::file_status const found = f();\nbool a = std::filesystem::exists(found);\n'
    try 0 'std::error_code e;\nbool a = std::filesystem::is_symlink(std::filesystem::symlink_status(p, e));\n'
    try 0 'std::error_code e;\nstd::filesystem::directory_iterator at(path, e);\n'
    try 0 'std::error_code e;\nfor (std::filesystem::directory_iterator at(p, e), end; !e && at != end;) {\n'
    try 0 '// std::filesystem::exists(path) throws\n'
    try 0 'std::filesystem::path rename(std::string to);\n'
    exit "$wrong"
fi
check_tree "$@"
