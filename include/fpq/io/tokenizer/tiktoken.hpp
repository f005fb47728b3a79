// SPDX-License-Identifier: Apache-2.0
// Floor 5. Reads Llama-3's tokenizer.model: lines "base64-of-bytes rank", rank is id, followed in
// id space by 256 special tokens. The file does not hold their names or the split pattern: both are
// Llama-3's (tokenizer.py of the model's release), names overridden by added_tokens_decoder.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/tokenizer/bpe.hpp"
#include "fpq/io/tokenizer/tokenizer_config.hpp"
#include "fpq/io/tokenizer/tokenizer_json.hpp"
#include "fpq/io/tokenizer/tokenizer_parts.hpp"

namespace fpq {

namespace detail {

constexpr int base64_value(char c) noexcept {
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

/// RFC 4648 base64 with padding; nothing when malformed or empty.
inline std::optional<std::string> decode_base64(std::string_view text) {
    if (text.empty() || text.size() % 4 != 0) {
        return std::nullopt;
    }
    std::size_t const padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
    std::string out;
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        int const value = i >= text.size() - padding ? 0 : base64_value(text[i]);
        if (value < 0) {
            return std::nullopt;
        }
        bits = (bits << 6) | static_cast<std::uint32_t>(value);
        if (i % 4 == 3) {
            out.push_back(static_cast<char>(bits >> 16));
            out.push_back(static_cast<char>(bits >> 8));
            out.push_back(static_cast<char>(bits));
        }
    }
    out.resize(out.size() - padding);
    return out;
}

/// The bytes and rank of one line.
inline bpe_token read_rank_line(std::string_view line, std::string const& where) {
    std::size_t const space = std::min(line.find(' '), line.size());
    auto bytes = decode_base64(line.substr(0, space));
    if (!bytes) {
        fail_input("token not understood", where, "base64, a space and a rank", line);
    }
    std::string const rank(line.substr(std::min(space + 1, line.size())));
    return {*std::move(bytes), parse_id(rank, where), true};
}

/// Every way to put two tokens together to a third: rank order is id order.
inline std::vector<bpe_merge> merges_of_ranks(std::vector<bpe_token> const& by_id) {
    std::unordered_map<std::string_view, std::int32_t> ids;
    ids.reserve(by_id.size());
    for (bpe_token const& t : by_id) {
        ids.emplace(t.bytes, t.id);
    }
    std::vector<bpe_merge> merges;
    for (bpe_token const& t : by_id) {
        std::string_view const whole = t.bytes;
        for (std::size_t cut = 1; cut < whole.size(); ++cut) {
            auto const left = ids.find(whole.substr(0, cut));
            auto const right = ids.find(whole.substr(cut));
            if (left != ids.end() && right != ids.end()) {
                merges.push_back({left->second, right->second, t.id});
            }
        }
    }
    return merges;
}

inline constexpr std::int32_t llama3_special_tokens = 256;

/// Llama-3's special token `index` of 256.
inline std::string llama3_special_name(std::int32_t index) {
    switch (index) {
        case 0:
            return "<|begin_of_text|>";
        case 1:
            return "<|end_of_text|>";
        case 6:
            return "<|start_header_id|>";
        case 7:
            return "<|end_header_id|>";
        case 9:
            return "<|eot_id|>";
        default:
            return "<|reserved_special_token_" +
                   std::to_string(index < 6   ? index - 2
                                  : index < 9 ? 4
                                              : index - 5) +
                   "|>";
    }
}

inline std::vector<added_token> llama3_specials(std::int32_t base, tokenizer_config const& config) {
    std::vector<added_token> out;
    for (std::int32_t i = 0; i < llama3_special_tokens; ++i) {
        auto const named = std::find_if(config.added.begin(), config.added.end(),
                                        [&](auto const& t) { return t.id == base + i; });
        added_token token;
        token.content = llama3_special_name(i);
        token.special = true;
        out.push_back(named != config.added.end() ? *named : token);
        out.back().id = base + i;
    }
    return out;
}

}  // namespace detail

/// Whether the first line looks like "base64 rank".
inline bool looks_like_tiktoken(std::string_view text) {
    std::string_view const line = text.substr(0, std::min<std::size_t>(text.find('\n'), 512));
    std::size_t const space = line.find(' ');
    return space != std::string_view::npos && detail::decode_base64(line.substr(0, space));
}

/// Reads the text of a tiktoken file. BOS is put before a text unless `config` says no.
/// Errors: fpq::error (input) with file and line; ranks must be 0 .. count - 1, each once.
inline tokenizer_parts parse_tiktoken(std::string_view text, tokenizer_config const& config,
                                      std::string const& file) {
    std::vector<bpe_token> tokens;
    std::size_t line_number = 0;
    for (std::size_t at = 0; at < text.size();) {
        std::size_t const end = std::min(text.find('\n', at), text.size());
        std::string_view line = text.substr(at, end - at);
        at = end + 1;
        ++line_number;
        if (!line.empty() && line.back() == '\r') {
            line.remove_suffix(1);
        }
        if (!line.empty()) {
            tokens.push_back(
                detail::read_rank_line(line, file + " line " + std::to_string(line_number)));
        }
    }
    std::stable_sort(tokens.begin(), tokens.end(),
                     [](auto const& a, auto const& b) { return a.id < b.id; });
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        if (static_cast<std::size_t>(tokens[i].id) != i) {
            fail_input("ranks have a gap or a duplicate", file, "rank " + std::to_string(i),
                       "rank " + std::to_string(tokens[i].id));
        }
    }
    auto const base = static_cast<std::int32_t>(tokens.size());
    tokenizer_parts out;
    out.model = bpe_model(tokens, detail::merges_of_ranks(tokens), bpe_symbols::bytes, true, file);
    out.added = added_tokens(detail::llama3_specials(base, config), file);
    out.pre = pretokenizer({split_pattern::llama3});
    out.bos = base;
    out.eos = base + 1;
    name_special_tokens(out, config, file);
    if (config.add_bos_token.value_or(true)) {
        out.prefix.push_back(*out.bos);
    }
    return out;
}

}  // namespace fpq
