// SPDX-License-Identifier: Apache-2.0
// Floor 5. Reads vocab.json + merges.txt (+ tokenizer_config.json): the older form of byte-level
// BPE checkpoints. The pre-tokenizer is not in these files; it follows from the tokenizer class.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/whole_file.hpp"
#include "fpq/io/json/json_file.hpp"
#include "fpq/io/json/json_value.hpp"
#include "fpq/io/tokenizer/bpe_vocabulary.hpp"
#include "fpq/io/tokenizer/tokenizer_config.hpp"
#include "fpq/io/tokenizer/tokenizer_json.hpp"
#include "fpq/io/tokenizer/tokenizer_parts.hpp"

namespace fpq {

namespace detail {

inline void read_merges_text(std::string_view text, bpe_builder& builder, std::string const& file) {
    std::size_t line_number = 0;
    for (std::size_t at = 0; at < text.size();) {
        std::size_t const end = std::min(text.find('\n', at), text.size());
        std::string_view line = text.substr(at, end - at);
        at = end + 1;
        ++line_number;
        if (!line.empty() && line.back() == '\r') {
            line.remove_suffix(1);
        }
        if (line.empty() || (line_number == 1 && line.starts_with("#version"))) {
            continue;
        }
        builder.add_merge(line, file + " line " + std::to_string(line_number));
    }
}

/// Normalizer and pre-tokenizer of a tokenizer class, slow or fast.
inline void set_class_rules(tokenizer_config const& config, tokenizer_parts& out,
                            std::string const& where) {
    std::string_view name = config.tokenizer_class;
    if (name.ends_with("Fast")) {
        name.remove_suffix(4);
    }
    if (name == "Qwen2Tokenizer" || name == "Qwen3Tokenizer") {
        out.normalizers.emplace_back(nfc_normalizer{});
        out.pre = pretokenizer({split_pattern::qwen2});
    } else if (name == "GPT2Tokenizer") {
        std::vector<pretokenizer_step> steps;
        if (config.add_prefix_space) {
            steps.emplace_back(prefix_space{});
        }
        steps.emplace_back(split_pattern::gpt2);
        out.pre = pretokenizer(std::move(steps));
    } else {
        fail_input("unsupported tokenizer_class for vocab.json and merges.txt", where,
                   "Qwen2Tokenizer or GPT2Tokenizer", name.empty() ? "none" : name);
    }
}

}  // namespace detail

/// Reads DIR/vocab.json and DIR/merges.txt. Errors: fpq::error (input).
inline tokenizer_parts read_vocab_and_merges(std::filesystem::path const& directory,
                                             tokenizer_config const& config) {
    std::string const vocab_name = (directory / "vocab.json").string();
    std::string const merges_name = (directory / "merges.txt").string();
    tokenizer_parts out;
    detail::set_class_rules(config, out, (directory / "tokenizer_config.json").string());

    nlohmann::json const vocabulary = read_json_file(vocab_name);
    bpe_builder builder(vocab_name);
    detail::read_vocabulary(json_value(vocabulary, vocab_name), builder);
    detail::read_merges_text(detail::read_whole_file(merges_name), builder, merges_name);
    out.model = builder.build(bpe_symbols::bytes, false);
    detail::check_added_tokens(config.added, builder, out.model, vocab_name);
    out.added = added_tokens(config.added, vocab_name);
    name_special_tokens(out, config, vocab_name);
    if (config.add_bos_token.value_or(false) && out.bos) {
        out.prefix.push_back(*out.bos);
    }
    if (config.add_eos_token.value_or(false) && out.eos) {
        out.suffix.push_back(*out.eos);
    }
    return out;
}

}  // namespace fpq
