// SPDX-License-Identifier: Apache-2.0
// The spelling of bytes in the vocabulary of a byte-level BPE, for vocabularies that tests make.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "fpq/io/tokenizer/bpe_vocabulary.hpp"

namespace fpq_test {

/// A token string of `bytes`: the inverse of bytes_of_token.
inline std::string token_of_bytes(std::string_view bytes) {
    static constexpr auto alphabet = fpq::detail::make_byte_alphabet();
    std::array<char32_t, 256> letters{};
    for (char32_t c = 0; c < alphabet.size(); ++c) {
        if (alphabet[c] >= 0) {
            letters[static_cast<std::size_t>(alphabet[c])] = c;
        }
    }
    std::string out;
    for (char const b : bytes) {
        fpq::append_utf8(out, letters[static_cast<unsigned char>(b)]);
    }
    return out;
}

}  // namespace fpq_test
