#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A header includes what it uses: who names std::vector includes <vector>, whatever a neighbour of
# his includes today. By names, not by a compiler: only `std::` names of the table below count.
# usage: own_includes.sh INCLUDE_DIR | own_includes.sh --self-test INCLUDE_DIR
set -u

# check_tree DIR: prints each violation as "file: std::name needs <header>", returns 1 if there is one.
check_tree() {
    (cd "$1" && find fpq -name '*.hpp' -o -name '*.cuh' | sort | xargs awk '
    # names NAMES HEADER...: any of the headers will do; the first is the one to add.
    function names(list, headers,   part, n, i) {
        n = split(list, part, " ");
        for (i = 1; i <= n; ++i) need[part[i]] = headers;
    }
    BEGIN {
        names("size_t ptrdiff_t byte nullptr_t max_align_t to_integer", "cstddef");
        names("int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t uintptr_t intptr_t uintmax_t intmax_t", "cstdint");
        names("string to_string getline stoi stoul stoull stod stof", "string");
        names("string_view", "string_view");
        names("vector", "vector");
        names("array", "array");
        names("span as_bytes", "span");
        names("optional nullopt nullopt_t make_optional", "optional");
        names("variant visit get_if holds_alternative monostate", "variant");
        names("tuple tie make_tuple apply", "tuple");
        names("map multimap", "map");
        names("set multiset", "set");
        names("unordered_map", "unordered_map");
        names("unordered_set", "unordered_set");
        names("deque", "deque");
        names("queue priority_queue", "queue");
        names("pair make_pair move forward exchange as_const in_range cmp_less cmp_greater cmp_equal index_sequence make_index_sequence", "utility");
        names("unique_ptr make_unique shared_ptr make_shared weak_ptr addressof", "memory");
        names("function ref cref reference_wrapper greater plus invoke", "functional");
        names("sort stable_sort min max minmax clamp find find_if any_of all_of none_of count count_if copy copy_n fill fill_n max_element min_element nth_element lower_bound upper_bound equal_range binary_search reverse rotate transform remove remove_if unique is_sorted partial_sort push_heap pop_heap make_heap equal swap_ranges for_each mismatch adjacent_find set_difference", "algorithm");
        names("accumulate iota reduce gcd lcm inner_product partial_sum", "numeric");
        names("numeric_limits", "limits");
        names("bit_cast popcount countl_zero countr_zero bit_width bit_ceil bit_floor has_single_bit rotl rotr endian", "bit");
        names("memcpy memset memmove memcmp memchr strlen strcmp strerror", "cstring");
        names("isfinite isnan isinf signbit sqrt pow exp exp2 log log2 log10 floor ceil round nearbyint rint lrint fabs fma fmax fmin ldexp frexp scalbn ilogb copysign nextafter hypot sin cos nan trunc erf expm1 log1p", "cmath");
        names("abs", "cmath cstdlib");
        names("getenv strtol strtoul strtod aligned_alloc free malloc abort exit system", "cstdlib");
        names("thread this_thread jthread", "thread");
        names("mutex lock_guard unique_lock scoped_lock call_once once_flag recursive_mutex", "mutex");
        names("condition_variable", "condition_variable");
        names("atomic atomic_ref memory_order_relaxed memory_order_acquire memory_order_release atomic_thread_fence", "atomic");
        names("filesystem", "filesystem");
        names("error_code errc error_condition system_error generic_category", "system_error");
        names("runtime_error logic_error invalid_argument out_of_range length_error domain_error", "stdexcept");
        names("exception exception_ptr current_exception rethrow_exception uncaught_exceptions terminate", "exception");
        names("bad_alloc nothrow align_val_t launder", "new");
        names("is_same_v is_same conditional_t enable_if_t decay_t remove_cvref_t remove_reference_t remove_const_t remove_cv_t is_integral_v is_floating_point_v is_unsigned_v is_signed_v is_trivially_copyable_v is_const_v is_enum_v underlying_type_t make_unsigned_t make_signed_t true_type false_type invoke_result_t is_constructible_v is_invocable_v is_invocable_r_v common_type_t type_identity_t is_constant_evaluated void_t add_const_t integral_constant bool_constant is_standard_layout_v is_default_constructible_v", "type_traits");
        names("integral floating_point same_as convertible_to unsigned_integral signed_integral invocable derived_from regular default_initializable constructible_from", "concepts");
        names("ofstream ifstream fstream", "fstream");
        names("ostringstream istringstream stringstream", "sstream");
        names("chrono", "chrono");
        names("from_chars to_chars chars_format", "charconv");
        names("initializer_list", "initializer_list");
        names("input_iterator_tag random_access_iterator_tag istreambuf_iterator back_inserter make_move_iterator", "iterator");
        names("cout cerr clog cin", "iostream");
        names("fopen fclose fwrite fread fprintf printf snprintf fputs FILE rename perror", "cstdio");
        names("complex", "complex");
        names("time_t tm strftime gmtime", "ctime");
        names("popen", "cstdio");
    }
    function close_file(   key, part, n, i, found) {
        for (key in used) {
            n = split(need[key], part, " ");
            found = 0;
            for (i = 1; i <= n; ++i) if (part[i] in has) found = 1;
            if (!found) { print file ": std::" key " (line " used[key] ") needs <" part[1] ">"; wrong = 1 }
        }
        delete used; delete has;
    }
    FNR == 1 { if (file != "") close_file(); file = FILENAME; block = 0 }
    {
        line = $0;
        if (match(line, /^[ \t]*#[ \t]*include[ \t]*<[^>]+>/)) {
            name = substr(line, RSTART, RLENGTH);
            sub(/^[^<]*</, "", name); sub(/>$/, "", name);
            has[name] = 1;
            next;
        }
        gsub(/"([^"\\]|\\.)*"/, "\"\"", line);
        sub(/\/\/.*$/, "", line);
        while (match(line, /(^|[^A-Za-z0-9_:])std::[A-Za-z_0-9]+/)) {
            name = substr(line, RSTART, RLENGTH);
            line = substr(line, RSTART + RLENGTH);
            sub(/^.*std::/, "", name);
            if (name in need && !(name in used)) used[name] = FNR;
        }
    }
    END { close_file(); exit wrong }')
}

if [ "${1:-}" = --self-test ]; then
    check_tree "$2" > /dev/null || { echo "the tree itself is not clean"; exit 1; }
    wrong=0
    # try SHOULD TEXT: a header of TEXT is clean (0) or not (1).
    try() {
        local copy got=0
        copy=$(mktemp -d)
        mkdir -p "$copy/fpq/core"
        printf '%b' "$2" > "$copy/fpq/core/planted.hpp"
        check_tree "$copy" > /dev/null || got=1
        rm -rf "$copy"
        [ "$got" = "$1" ] || { echo "expected $1, got $got: $2"; wrong=1; }
    }
    try 1 'std::vector<int> x;\n'
    try 0 '#include <vector>\nstd::vector<int> x;\n'
    try 1 '#include "fpq/core/bits.hpp"\n#include <string>\nstd::string f(std::string_view);\n'
    try 1 'int a;  // text\nint b = f(std::move(a));\n'
    try 0 '// std::vector is not used here\nchar const* a = "std::vector";\n'
    try 0 '#  include <cstdlib>\nint b = std::abs(a);\n'
    try 0 'mine::std::vector a;\n'
    try 1 '#include <vector>\nstd::vector<int> x(std::min(1, 2));\n'
    exit "$wrong"
fi
check_tree "$1"
