// SPDX-License-Identifier: Apache-2.0
// Floor 5. Splits text at the matches of a regular expression through PCRE2 (JIT where it has one):
// any pattern that has no scanner of its own, and the oracle of those that have one.
// Behaviour "Isolated" only: each match is a piece, and so is each gap between matches.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/text/pcre2_code.hpp"

namespace fpq {

namespace detail {

/// White_Space as the inside of a class. PCRE2's own \s has U+180E too, which left that property
/// in Unicode 6.3 and which the tokenizers' engines do not count.
inline constexpr std::string_view white_space_class =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f})"
    R"(\x{3000})";

/// The pattern with \s (and \S outside classes) spelled out as White_Space.
inline std::string spell_white_space(std::string_view regex) {
    std::string out;
    bool in_class = false;
    for (std::size_t i = 0; i < regex.size(); ++i) {
        char const c = regex[i];
        char const next = i + 1 < regex.size() ? regex[i + 1] : '\0';
        if (c == '\\' && next != '\0') {
            ++i;
            if (next == 's') {
                out.append(in_class ? "" : "[").append(white_space_class);
                out.append(in_class ? "" : "]");
            } else if (next == 'S' && !in_class) {
                out.append("[^").append(white_space_class).append("]");
            } else {
                out.push_back(c);
                out.push_back(next);
            }
            continue;
        }
        if (c == '[') {
            in_class = true;
        } else if (c == ']') {
            in_class = false;
        }
        out.push_back(c);
    }
    return out;
}

}  // namespace detail

/// A compiled split pattern; copies share the compiled code, which is immutable.
class split_regex {
public:
    /// Errors: fpq::error (input) with PCRE2's message and the offset; `where` names the file.
    explicit split_regex(std::string_view regex, std::string_view where = "split pattern") {
        detail::pcre2_code_or_why made =
            detail::compile_pcre2(detail::spell_white_space(regex), PCRE2_UTF | PCRE2_UCP);
        if (made.code == nullptr) {
            fail_input("pre_tokenizer: regular expression not understood at " +
                           std::to_string(made.offset),
                       where, {}, made.message);
        }
        code_ = std::move(made.code);
        pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);  // without JIT it interprets
    }

    /// Calls emit(piece) for matches and gaps in order; they cover `text` (valid UTF-8) whole.
    /// An empty match is passed over. Errors: fpq::error (input) when PCRE2 hits its limits.
    template <class Emit>
    void operator()(std::string_view text, Emit&& emit) const {
        std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> const data(
            pcre2_match_data_create_from_pattern(code_.get(), nullptr), &pcre2_match_data_free);
        std::size_t done = 0;
        std::size_t from = 0;
        while (from < text.size()) {
            int const rc = pcre2_match(code_.get(), detail::pcre2_text(text), text.size(), from,
                                       PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, data.get(), nullptr);
            if (rc == PCRE2_ERROR_NOMATCH) {
                break;
            }
            if (rc < 0) {
                fail_input("pre_tokenizer: regular expression gave up",
                           "text byte " + std::to_string(from), {}, detail::pcre2_message(rc));
            }
            PCRE2_SIZE const* const span = pcre2_get_ovector_pointer(data.get());
            if (span[1] <= from || span[0] < done) {  // \K can move a match backwards
                fail_input("pre_tokenizer: regular expression moves backwards",
                           "text byte " + std::to_string(from));
            }
            if (span[0] > done) {
                emit(text.substr(done, span[0] - done));
            }
            emit(text.substr(span[0], span[1] - span[0]));
            done = from = span[1];
        }
        if (done < text.size()) {
            emit(text.substr(done));
        }
    }

private:
    std::shared_ptr<pcre2_code> code_;
};

}  // namespace fpq
