// SPDX-License-Identifier: Apache-2.0
// Floor 5. What every tokenizer file is read into: normalizers, added tokens, pre-tokenizer, BPE
// model (or a SentencePiece one), what is put around a text. tokenizer.hpp runs them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "fpq/io/text/text_unicode.hpp"
#include "fpq/io/tokenizer/bpe.hpp"
#include "fpq/io/tokenizer/pretokenizer.hpp"
#include "fpq/io/tokenizer/sentencepiece.hpp"
#include "fpq/io/tokenizer/tokenizer_added.hpp"

namespace fpq {

struct nfc_normalizer {};
struct prepend_normalizer {
    std::string text;
};
struct replace_normalizer {
    std::string from, to;  // from is not empty
};
using normalizer_step = std::variant<nfc_normalizer, prepend_normalizer, replace_normalizer>;

/// Where a byte-fallback BPE puts the space that stands for the beginning of the text.
enum class metaspace_prefix { never, first, always };

struct tokenizer_parts {
    std::vector<normalizer_step> normalizers;
    added_tokens added;
    pretokenizer pre;
    bpe_model model;
    // When set, it takes what lies between added tokens; `later_pieces` all but the text's
    // beginning.
    std::shared_ptr<sentencepiece_model const> pieces, later_pieces;
    std::optional<metaspace_prefix> metaspace;  // a Metaspace pre-tokenizer
    bool strip_first_space = false;             // decoder: drop one leading space
    std::vector<std::int32_t> prefix, suffix;   // ids put around a text
    std::optional<std::int32_t> bos, eos;
};

namespace detail {

/// U+2581, which SentencePiece writes for a space.
inline constexpr std::string_view metaspace_mark = "\xE2\x96\x81";

inline std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
    std::string out;
    std::size_t done = 0;
    for (std::size_t at = text.find(from); at != std::string_view::npos;
         at = text.find(from, done)) {
        out.append(text, done, at - done).append(to);
        done = at + from.size();
    }
    return out.append(text, done);
}

}  // namespace detail

/// The text after one normalizer. An empty text stays empty.
inline std::string normalize(normalizer_step const& step, std::string_view text) {
    if (auto const* prepend = std::get_if<prepend_normalizer>(&step)) {
        return text.empty() ? std::string() : prepend->text + std::string(text);
    }
    if (auto const* replace = std::get_if<replace_normalizer>(&step)) {
        return detail::replace_all(text, replace->from, replace->to);
    }
    return to_nfc(text);
}

}  // namespace fpq
