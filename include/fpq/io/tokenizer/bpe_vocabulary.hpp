// SPDX-License-Identifier: Apache-2.0
// Floor 5. The written form of byte-level vocabularies: GPT-2's alphabet of 256 printable
// characters for the 256 bytes, and merge rules as pairs of token strings. Source: openai/gpt-2
// encoder.py, bytes_to_unicode.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/text/text_unicode.hpp"
#include "fpq/io/tokenizer/bpe.hpp"

namespace fpq {

namespace detail {

constexpr bool stands_for_itself(unsigned byte) noexcept {
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

inline constexpr std::size_t alphabet_end = 0x100 + 68;  // 68 bytes do not stand for themselves

/// Code point -> byte, -1 for characters outside the alphabet.
constexpr std::array<std::int16_t, alphabet_end> make_byte_alphabet() noexcept {
    std::array<std::int16_t, alphabet_end> out{};
    for (auto& x : out) {
        x = -1;
    }
    unsigned next = 0x100;
    for (unsigned b = 0; b < 256; ++b) {
        out[stands_for_itself(b) ? b : next++] = static_cast<std::int16_t>(b);
    }
    return out;
}

}  // namespace detail

/// The bytes that a token string stands for; nothing when it has a character that is not in the
/// alphabet. Example: "Ġthe" -> " the".
inline std::optional<std::string> bytes_of_token(std::string_view token) {
    static constexpr auto alphabet = detail::make_byte_alphabet();
    std::string out;
    for (std::size_t at = 0; at < token.size();) {
        utf8_char const c = decode_utf8(token, at);
        if (!c.valid || c.value >= alphabet.size() || alphabet[c.value] < 0) {
            return std::nullopt;
        }
        out.push_back(static_cast<char>(alphabet[c.value]));
        at += c.length;
    }
    return out;
}

/// Builds a bpe_model from written tokens and merges.
class bpe_builder {
public:
    explicit bpe_builder(std::string where) : where_(std::move(where)) {}

    void add_token(std::string token, std::int32_t id) { ids_.emplace(std::move(token), id); }

    std::optional<std::int32_t> find(std::string const& token) const {
        auto const at = ids_.find(token);
        return at == ids_.end() ? std::nullopt : std::optional<std::int32_t>(at->second);
    }

    /// Errors: fpq::error (input) when either token or their concatenation is not in the
    /// vocabulary.
    void add_merge(std::string const& left, std::string const& right, std::string const& where) {
        merges_.push_back(
            {required(left, where), required(right, where), required(left + right, where)});
    }

    /// "left right": exactly one space.
    void add_merge(std::string_view line, std::string const& where) {
        std::size_t const space = line.find(' ');
        if (space == std::string_view::npos || space == 0 || space + 1 == line.size() ||
            line.find(' ', space + 1) != std::string_view::npos) {
            fail_input("merge not understood", where, "two tokens and one space", line);
        }
        add_merge(std::string(line.substr(0, space)), std::string(line.substr(space + 1)), where);
    }

    bpe_model build(bpe_symbols symbols, bool ignore_merges) const {
        std::vector<bpe_token> tokens;
        tokens.reserve(ids_.size());
        for (auto const& [token, id] : ids_) {
            std::optional<std::string> bytes =
                symbols == bpe_symbols::bytes ? bytes_of_token(token) : token;
            bool const findable = bytes.has_value();
            tokens.push_back({findable ? *std::move(bytes) : token, id, findable});
        }
        return bpe_model(tokens, merges_, symbols, ignore_merges, where_);
    }

private:
    std::int32_t required(std::string const& token, std::string const& where) const {
        if (auto const id = find(token)) {
            return *id;
        }
        fail_input("merge of a token that is not in the vocabulary", where, "a known token", token);
    }

    std::string where_;
    std::unordered_map<std::string, std::int32_t> ids_;
    std::vector<bpe_merge> merges_;
};

}  // namespace fpq
