// SPDX-License-Identifier: Apache-2.0
// Kinds of flags over a field: words, numbers within bounds, paths, switches. The field holds the
// default and gets the value.
#pragma once

#include <array>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/command_line.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/pipeline/bounds.hpp"
#include "fpq/pipeline/words.hpp"

namespace fpq::tools {

inline constexpr fpq::detail::word_list<bool, 2> special_tokens{{{true, "auto"}, {false, "never"}}};
inline constexpr std::array<fpq::detail::synonym, 4> special_synonyms{
    {{"true", "auto"}, {"always", "auto"}, {"false", "never"}, {"none", "never"}}};

/// One of `words`, which must outlive the flag.
template <class T, std::size_t N>
flag_spec choice_flag(std::string const& name, T& field, fpq::detail::word_list<T, N> const& words,
                      std::span<fpq::detail::synonym const> synonyms, std::string const& help) {
    return {name, "WORD", help + ": " + fpq::detail::listed(fpq::detail::words_of(words)),
            std::string(fpq::detail::word_of(words, field)),
            [name, &field, &words, synonyms](std::string const& text) {
                field = fpq::detail::read_word("--" + name, words, synonyms, text);
            }};
}

/// The same for words without values.
inline flag_spec word_flag(std::string const& name, std::string& field,
                           std::span<std::string_view const> words,
                           std::span<fpq::detail::synonym const> synonyms,
                           std::string const& help) {
    return {name, "WORD", help + ": " + fpq::detail::listed(words), field,
            [name, &field, words, synonyms](std::string const& text) {
                field = words[fpq::detail::read_word("--" + name, words, synonyms, text)];
            }};
}

/// A count within bounds, which must outlive the flag.
template <class Int>
flag_spec count_flag(std::string const& name, Int& field, count_bounds const& within,
                     std::string const& help) {
    return {name, "N", help + (within.special.empty() ? "" : "; " + std::string(within.special)),
            std::to_string(field), [name, &field, &within](std::string const& text) {
                field = static_cast<Int>(read_count("--" + name, within, text));
            }};
}

namespace detail {

inline void require_path(std::string const& name, std::string const& value,
                         std::string const& text) {
    if (text.empty()) {
        fail_usage((name.starts_with('<') ? "" : "--") + name, {}, value.empty() ? "a path" : value,
                   "nothing");
    }
}

}  // namespace detail

/// Never empty. `value` is empty for one that is given by its place.
inline flag_spec path_flag(std::string const& name, std::filesystem::path& field,
                           std::string const& value, std::string const& help) {
    return {name, value, help, {}, [name, value, &field](std::string const& text) {
                detail::require_path(name, value, text);
                field = text;
            }};
}

/// Several; what is given replaces what was there.
inline flag_spec paths_flag(std::string const& name, std::vector<std::filesystem::path>& field,
                            std::string const& help) {
    return {name,
            "FILE",
            help,
            {},
            [name, &field, first = std::make_shared<bool>(true)](std::string const& text) {
                detail::require_path(name, "FILE", text);
                if (std::exchange(*first, false)) {
                    field.clear();
                }
                field.emplace_back(text);
            },
            true};
}

/// Sets `field` to `on`.
inline flag_spec switch_flag(std::string const& name, bool& field, bool on,
                             std::string const& help) {
    return {name, {}, help, {}, [name, &field, on](std::string const& text) {
                field = read_switch(name, text) ? on : !on;
            }};
}

/// --text_column of every program that reads texts.
inline flag_spec text_column_flag(std::string& field) {
    return {"text_column",
            "NAME",
            "the member of a row that is its text; default: text, content, messages, ...",
            {},
            [&field](std::string const& name) {
                if (name.empty()) {
                    fail_usage("--text_column", {}, "the name of a member", "nothing");
                }
                field = name;
            }};
}

inline flag_spec required(flag_spec flag) {
    flag.required = true;
    return flag;
}

}  // namespace fpq::tools
