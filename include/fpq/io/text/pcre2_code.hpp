// SPDX-License-Identifier: Apache-2.0
// Floor 5. Compiled PCRE2 patterns and PCRE2's own error texts, for whoever matches with them. What
// a pattern means (names of modules, pieces of text) is said where it is used.
#pragma once

#ifndef PCRE2_CODE_UNIT_WIDTH
#define PCRE2_CODE_UNIT_WIDTH 8
#endif
#include <pcre2.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace fpq::detail {

inline std::string pcre2_message(int code) {
    std::array<PCRE2_UCHAR, 256> text{};
    pcre2_get_error_message(code, text.data(), text.size());
    return reinterpret_cast<char const*>(text.data());
}

inline PCRE2_SPTR pcre2_text(std::string_view text) {
    return reinterpret_cast<PCRE2_SPTR>(text.data());
}

/// The immutable code, shared by copies; or nothing, and why and at which byte of the pattern.
struct pcre2_code_or_why {
    std::shared_ptr<pcre2_code> code;
    std::string message;
    std::size_t offset = 0;
};

/// Compiles `pattern` with PCRE2's `options`. Errors: none thrown; see the result.
inline pcre2_code_or_why compile_pcre2(std::string_view pattern, std::uint32_t options) {
    int why = 0;
    PCRE2_SIZE offset = 0;
    pcre2_code* const code =
        pcre2_compile(pcre2_text(pattern), pattern.size(), options, &why, &offset, nullptr);
    if (code == nullptr) {
        return {nullptr, pcre2_message(why), offset};
    }
    return {std::shared_ptr<pcre2_code>(code, pcre2_code_free), {}, 0};
}

}  // namespace fpq::detail
