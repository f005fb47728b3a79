// SPDX-License-Identifier: Apache-2.0
// Floor 5. Hand-written scanners of the three split patterns that byte-level BPE models use: GPT-2,
// Llama-3 and Qwen2/Qwen3. Each gives the pieces that the regular expression gives; the regular
// expression itself, run by PCRE2 (pretokenizer_regex.hpp), is their oracle in the tests.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "fpq/io/text/text_unicode.hpp"

namespace fpq {

/// A split pattern with a scanner of its own.
enum class split_pattern { gpt2, llama3, qwen2 };

/// Each pattern as checkpoints write it (openai/gpt-2 encoder.py; Llama-3 and Qwen2
/// tokenizer.json).
inline constexpr std::string_view gpt2_regex =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view llama3_regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view qwen2_regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr std::string_view regex_of(split_pattern pattern) noexcept {
    return pattern == split_pattern::gpt2     ? gpt2_regex
           : pattern == split_pattern::llama3 ? llama3_regex
                                              : qwen2_regex;
}

/// The scanner for a regular expression, if there is one: the spelling must be exact.
constexpr std::optional<split_pattern> known_pattern(std::string_view regex) noexcept {
    for (split_pattern const p :
         {split_pattern::gpt2, split_pattern::llama3, split_pattern::qwen2}) {
        if (regex == regex_of(p)) {
            return p;
        }
    }
    return std::nullopt;
}

namespace detail {

/// A position in valid UTF-8 text and what stands there.
struct scan_cursor {
    std::string_view text;
    std::uint8_t const* classes;

    struct character {
        char32_t value;
        unsigned length;     // 0 at the end of the text
        std::uint8_t klass;  // char_class bits
    };

    character at(std::size_t i) const noexcept {
        if (i >= text.size()) {
            return {0, 0, 0};
        }
        utf8_char const c = decode_utf8(text, i);
        return {c.value, c.length, classes[c.value]};
    }

    /// End of the longest run from i whose characters satisfy `keep`.
    template <class Keep>
    std::size_t run(std::size_t i, Keep keep) const noexcept {
        for (character c = at(i); c.length != 0 && keep(c); c = at(i)) {
            i += c.length;
        }
        return i;
    }
    std::size_t run_of(std::size_t i, unsigned klass) const noexcept {
        auto const ascii = [&] {
            auto const c = static_cast<unsigned char>(text[i]);
            return c < 0x80 && (classes[c] & klass) != 0;
        };
        while (i < text.size() && ascii()) {
            ++i;
        }
        return run(i, [klass](character c) { return (c.klass & klass) != 0; });
    }
};

constexpr bool is_line_end(char32_t c) noexcept { return c == '\r' || c == '\n'; }

constexpr bool is_other(scan_cursor::character c) noexcept {
    return c.length != 0 && (c.klass & (class_letter | class_number | class_space)) == 0;
}

/// Length in bytes of 's 't 're 've 'm 'll 'd at i (text[i] is the apostrophe), 0 if none.
/// Without case, U+017F (long s) folds to s, as in every Unicode regex engine.
template <bool IgnoreCase>
std::size_t contraction(std::string_view text, std::size_t i) noexcept {
    auto const letter = [text](std::size_t k) {
        char const c = k < text.size() ? text[k] : '\0';
        return IgnoreCase && c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    };
    char const a = letter(i + 1);
    char const b = letter(i + 2);
    if (a == 's' || a == 't' || a == 'm' || a == 'd') {
        return 2;
    }
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) {
        return 3;
    }
    return IgnoreCase && text.substr(i + 1, 2) == "\xC5\xBF" ? 3 : 0;
}

/// `\s+(?!\S)|\s+` on the run [begin, end): all of it at the end of the text, else all but the last
/// character, or that one when it is alone.
inline std::size_t white_space_end(std::string_view text, std::size_t begin,
                                   std::size_t end) noexcept {
    if (end == text.size()) {
        return end;
    }
    std::size_t last = end - 1;
    while (last > begin && (static_cast<unsigned char>(text[last]) & 0xC0) == 0x80) {
        --last;
    }
    return last == begin ? end : last;
}

/// End of the white-space piece of the Llama-3 and Qwen2 patterns: up to the last line end of the
/// run (`\s*[\r\n]+`), else as white_space_end.
inline std::size_t line_or_space_end(scan_cursor const& in, std::size_t begin) noexcept {
    std::size_t const end = in.run_of(begin, class_space);
    std::size_t const line = in.text.substr(begin, end - begin).find_last_of("\r\n");
    if (line != std::string_view::npos) {
        return begin + line + 1;
    }
    return white_space_end(in.text, begin, end);
}

template <unsigned MaxDigits>
std::size_t next_llama(scan_cursor const& in, std::size_t i) noexcept {
    auto const c = in.at(i);
    if (c.value == '\'') {
        if (std::size_t const n = contraction<true>(in.text, i)) {
            return i + n;
        }
    }
    if ((c.klass & class_letter) != 0) {
        return in.run_of(i + c.length, class_letter);
    }
    if ((c.klass & class_number) != 0) {
        std::size_t end = i + c.length;
        for (unsigned n = 1; n < MaxDigits; ++n) {
            auto const d = in.at(end);
            if ((d.klass & class_number) == 0) {
                break;
            }
            end += d.length;
        }
        return end;
    }
    auto const next = in.at(i + c.length);
    if (!is_line_end(c.value) && (next.klass & class_letter) != 0) {
        return in.run_of(i + c.length + next.length, class_letter);
    }
    if (is_other(c) || (c.value == ' ' && is_other(next))) {
        std::size_t const end = in.run(i + c.length, is_other);
        return in.run(end, [](scan_cursor::character x) { return is_line_end(x.value); });
    }
    return line_or_space_end(in, i);
}

inline std::size_t next_gpt2(scan_cursor const& in, std::size_t i) noexcept {
    auto c = in.at(i);
    if (c.value == '\'') {
        if (std::size_t const n = contraction<false>(in.text, i)) {
            return i + n;
        }
    }
    std::size_t at = i + c.length;
    if (c.value == ' ') {
        auto const next = in.at(at);
        if (next.length != 0 && (next.klass & class_space) == 0) {
            c = next;
            at += next.length;
        }
    }
    if (unsigned const klass = c.klass & (class_letter | class_number)) {
        return in.run_of(at, klass);
    }
    if (is_other(c)) {
        return in.run(at, is_other);
    }
    return white_space_end(in.text, i, in.run_of(i, class_space));
}

}  // namespace detail

/// Calls emit(piece) for the consecutive pieces of `text` (valid UTF-8); they cover it whole.
template <class Emit>
void scan_pieces(split_pattern pattern, std::string_view text, Emit&& emit) {
    detail::scan_cursor const in{text, char_classes()};
    auto const all = [&](auto next) {
        for (std::size_t at = 0; at < text.size();) {
            std::size_t const end = next(in, at);
            emit(text.substr(at, end - at));
            at = end;
        }
    };
    switch (pattern) {
        case split_pattern::gpt2:
            return all([](auto const& s, std::size_t i) { return detail::next_gpt2(s, i); });
        case split_pattern::llama3:
            return all([](auto const& s, std::size_t i) { return detail::next_llama<3>(s, i); });
        case split_pattern::qwen2:
            return all([](auto const& s, std::size_t i) { return detail::next_llama<1>(s, i); });
    }
}

}  // namespace fpq
