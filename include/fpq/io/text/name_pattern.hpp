// SPDX-License-Identifier: Apache-2.0
// Floor 5. Which modules a rule or a list of exceptions names. The spellings are those of
// compressed-tensors (an exact name, `Linear`, `re:REGEX`) and of ModelOpt (shell wildcards).
// It knows names only: whether a module is a linear is the caller's to ask.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/text/pcre2_code.hpp"

namespace fpq {

/// A set of module names, compiled once. Copies share the compiled code; matching one object from
/// several threads is fine.
class name_pattern {
public:
    /// `text` is an exact module name, the word `Linear` (every name: the caller asks about linears
    /// only), or `re:` and a regular expression that must match at the start of the name and need
    /// not reach its end, as Python's re.match.
    /// Errors: fpq::error of `category` with the pattern, the byte of `text` and PCRE2's message.
    explicit name_pattern(std::string text, error_category category = error_category::usage)
        : text_(std::move(text)) {
        if (text_ == "Linear") {
            every_ = true;
        } else if (text_.starts_with(regex_mark)) {
            compile(std::string_view(text_).substr(regex_mark.size()), regex_mark.size(),
                    PCRE2_ANCHORED, category);
        }
    }

    /// `text` with shell wildcards, matched against whole names: `*` is any text, dots included,
    /// `?` one character, `[...]` one of a set. Errors: as above.
    static name_pattern wildcards(std::string text,
                                  error_category category = error_category::usage) {
        name_pattern out;
        out.text_ = std::move(text);
        if (out.text_.find_first_of("*?[") != std::string::npos) {
            out.compile_wildcards(category);
        }
        return out;
    }

    /// Names that end with `text`, as FP-Quant's client matches.
    static name_pattern suffix(std::string text) {
        name_pattern out;
        out.text_ = std::move(text);
        out.suffix_ = true;
        return out;
    }

    /// Whether `name`, a whole module name, belongs to the set. Errors: fpq::error (input) when the
    /// pattern exceeds PCRE2's limits on this name: none can run for more than some milliseconds.
    [[nodiscard]] bool matches(std::string_view name) const {
        if (code_ == nullptr) {
            return every_ || (suffix_ ? name.ends_with(text_) : name == text_);
        }
        std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> const limits(
            pcre2_match_context_create(nullptr), &pcre2_match_context_free);
        pcre2_set_match_limit(limits.get(), match_limit);
        pcre2_set_heap_limit(limits.get(), heap_limit_kib);
        std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> const data(
            pcre2_match_data_create(1, nullptr), &pcre2_match_data_free);
        int const rc = pcre2_match(code_.get(), detail::pcre2_text(name), name.size(), 0, 0,
                                   data.get(), limits.get());
        if (rc < 0 && rc != PCRE2_ERROR_NOMATCH) {
            fail_input("pattern '" + text_ + "' gave up", "module '" + std::string(name) + "'", {},
                       detail::pcre2_message(rc));
        }
        return rc != PCRE2_ERROR_NOMATCH;
    }

    /// As it was given.
    [[nodiscard]] std::string const& text() const noexcept { return text_; }

private:
    static constexpr std::string_view regex_mark = "re:";
    static constexpr std::uint32_t match_limit = 100000;    // steps; a name needs some hundred
    static constexpr std::uint32_t heap_limit_kib = 20000;  // PCRE2's own default

    name_pattern() = default;

    /// `skipped`: bytes of text_ before `pattern`, for the offset of an error.
    void compile(std::string_view pattern, std::size_t skipped, std::uint32_t options,
                 error_category category) {
        detail::pcre2_code_or_why made = detail::compile_pcre2(pattern, options);
        if (made.code == nullptr) {
            refuse(made.message, skipped + made.offset, category);
        }
        code_ = std::move(made.code);
    }

    void compile_wildcards(error_category category) {
        PCRE2_UCHAR* regex = nullptr;
        PCRE2_SIZE size = 0;
        int const rc =
            pcre2_pattern_convert(detail::pcre2_text(text_), text_.size(),
                                  PCRE2_CONVERT_GLOB_NO_WILD_SEPARATOR, &regex, &size, nullptr);
        std::unique_ptr<PCRE2_UCHAR, decltype(&pcre2_converted_pattern_free)> const owned(
            regex, &pcre2_converted_pattern_free);
        if (rc != 0) {
            refuse(detail::pcre2_message(rc), size, category);
        }
        // It anchors itself, at both ends, and only where there is no star.
        compile({reinterpret_cast<char const*>(regex), size}, 0, 0, category);
    }

    [[noreturn]] void refuse(std::string const& why, std::size_t offset,
                             error_category category) const {
        fail(category, "pattern '" + text_ + "' is not understood",
             "byte " + std::to_string(offset), {}, why);
    }

    std::string text_;
    std::shared_ptr<pcre2_code> code_;  // none: an exact name, or every name
    bool every_ = false;
    bool suffix_ = false;
};

}  // namespace fpq
