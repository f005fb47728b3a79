// SPDX-License-Identifier: Apache-2.0
// Floor 5. Text to token ids and back, with the tokenizer that a checkpoint directory brings.
// The parts are in the headers named below; this one finds the files and runs the parts in order:
// repair UTF-8 -> added tokens -> normalize -> normalized added tokens -> pre-tokenize -> BPE.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/look.hpp"
#include "fpq/io/file/whole_file.hpp"
#include "fpq/io/json/json_file.hpp"
#include "fpq/io/tokenizer/bpe.hpp"
#include "fpq/io/tokenizer/sentencepiece.hpp"
#include "fpq/io/tokenizer/tiktoken.hpp"
#include "fpq/io/tokenizer/tokenizer_config.hpp"
#include "fpq/io/tokenizer/tokenizer_json.hpp"
#include "fpq/io/tokenizer/tokenizer_parts.hpp"
#include "fpq/io/tokenizer/tokenizer_vocab.hpp"

namespace fpq {

/// Reads the bytes of a tokenizer.model: tiktoken text or a SentencePiece protobuf.
inline tokenizer_parts parse_tokenizer_model(std::string_view bytes, tokenizer_config const& config,
                                             std::string const& file) {
    if (looks_like_tiktoken(bytes)) {
        return parse_tiktoken(bytes, config, file);
    }
    if (bytes.empty() || bytes.front() != '\n') {  // field 1, length-delimited
        fail_input("tokenizer.model not understood", file,
                   "lines of base64 and rank, or a SentencePiece protobuf");
    }
    tokenizer_parts out;
    out.pieces = std::make_shared<sentencepiece_model const>(bytes, file);
    out.later_pieces = config.legacy ? out.pieces
                                     : std::make_shared<sentencepiece_model const>(
                                           without_dummy_prefix(bytes), file);
    std::vector<added_token> added = config.added;
    for (added_token& t : added) {
        t.normalized = false;  // the slow tokenizers seek all of them in the text as it is
    }
    out.added = added_tokens(std::move(added), file);
    auto const named = [&out](std::optional<std::string> const& content,
                              std::optional<std::int32_t> otherwise) {
        added_token const* const t = content ? out.added.find(*content) : nullptr;
        return t == nullptr ? otherwise : std::optional<std::int32_t>(t->id);
    };
    out.bos = named(config.bos_token, out.pieces->bos());
    out.eos = named(config.eos_token, out.pieces->eos());
    if (config.add_bos_token.value_or(true) && out.bos) {
        out.prefix.push_back(*out.bos);
    }
    if (config.add_eos_token.value_or(false) && out.eos) {
        out.suffix.push_back(*out.eos);
    }
    return out;
}

/// Immutable; safe to use from several threads at once.
class tokenizer {
public:
    explicit tokenizer(tokenizer_parts parts) : parts_(std::move(parts)) {
        size_ = parts_.pieces ? parts_.pieces->size() : parts_.model.size();
        if (!parts_.added.all().empty()) {
            size_ = std::max(size_, static_cast<std::size_t>(parts_.added.all().back().id) + 1);
        }
    }

    /// Whether `checkpoint_dir` has files that open() reads.
    static bool lies_in(std::filesystem::path const& checkpoint_dir) {
        auto const there = [&](char const* name) { return is_there(checkpoint_dir / name); };
        return there("tokenizer.json") || (there("vocab.json") && there("merges.txt")) ||
               there("tokenizer.model");
    }

    /// Reads tokenizer.json, else vocab.json and merges.txt, else tokenizer.model of a checkpoint.
    /// Errors: fpq::error (input) naming file, place, expected and found.
    static tokenizer open(std::filesystem::path const& checkpoint_dir) {
        auto const there = [&](char const* name) { return is_there(checkpoint_dir / name); };
        tokenizer_config const config = read_tokenizer_config(checkpoint_dir);
        auto const json = checkpoint_dir / "tokenizer.json";
        if (there("tokenizer.json")) {
            return tokenizer(parse_tokenizer_json(read_json_file(json), config, json.string()));
        }
        if (there("vocab.json") && there("merges.txt")) {
            return tokenizer(read_vocab_and_merges(checkpoint_dir, config));
        }
        auto const model = checkpoint_dir / "tokenizer.model";
        if (there("tokenizer.model")) {
            return tokenizer(
                parse_tokenizer_model(detail::read_whole_file(model), config, model.string()));
        }
        fail_input("no tokenizer", checkpoint_dir.string(),
                   "tokenizer.json, vocab.json and merges.txt, or tokenizer.model", "none");
    }

    /// The ids of `text`, with the tokenizer's BOS and EOS around it if add_special. Special tokens
    /// written in the text become their ids (of a SentencePiece model: those that
    /// tokenizer_config.json or added_tokens.json name; its own control symbols are plain text).
    /// Malformed UTF-8 is read as U+FFFD, one for each maximal malformed prefix.
    /// Errors: none for BPE; fpq::error (input) from PCRE2 limits on unknown patterns.
    std::vector<std::int32_t> encode(std::string_view text, bool add_special = true) const {
        std::vector<std::int32_t> ids;
        if (add_special) {
            ids = parts_.prefix;
        }
        if (valid_utf8_prefix(text) == text.size()) {
            encode_valid(text, ids);
        } else {
            encode_valid(repair_utf8(text), ids);
        }
        if (add_special) {
            ids.insert(ids.end(), parts_.suffix.begin(), parts_.suffix.end());
        }
        return ids;
    }

    /// The bytes of the tokens, special ones as written. Cut anywhere, they need not be valid
    /// UTF-8. Errors: fpq::error (input) for an id that is no token.
    std::string decode(std::span<std::int32_t const> ids) const {
        for (std::int32_t const id : ids) {
            require_token(id);
        }
        if (parts_.pieces) {
            return decode_pieces(ids);
        }
        std::string out;
        for (std::int32_t const id : ids) {
            if (added_token const* added = parts_.added.find(id)) {
                out += added->content;
            } else if (parts_.model.symbols() == bpe_symbols::bytes) {
                out += parts_.model.bytes(id);
            } else {
                append_fallback(parts_.model.bytes(id), out);
            }
        }
        if (parts_.strip_first_space && out.starts_with(' ')) {
            out.erase(0, 1);
        }
        return out;
    }

    /// What an id stands for: an added token as written, bytes, or a piece with U+2581 for a space.
    /// Nothing for an id that is no token.
    std::optional<std::string> token(std::int32_t id) const {
        if (added_token const* const added = parts_.added.find(id)) {
            return added->content;
        }
        if (parts_.pieces) {
            bool const own = id >= 0 && static_cast<std::size_t>(id) < parts_.pieces->size();
            return own ? std::optional(parts_.pieces->piece(id)) : std::nullopt;
        }
        return parts_.model.has(id) ? std::optional(std::string(parts_.model.bytes(id)))
                                    : std::nullopt;
    }

    /// One more than the largest id. A model's head may have more rows.
    std::size_t vocab_size() const noexcept { return size_; }
    std::optional<std::int32_t> bos() const noexcept { return parts_.bos; }
    std::optional<std::int32_t> eos() const noexcept { return parts_.eos; }
    /// The id of an added token, such as <|im_start|>.
    std::optional<std::int32_t> special(std::string_view content) const noexcept {
        added_token const* const token = parts_.added.find(content);
        return token == nullptr ? std::nullopt : std::optional<std::int32_t>(token->id);
    }
    tokenizer_parts const& parts() const noexcept { return parts_; }

private:
    void require_token(std::int32_t id) const {
        bool const own = parts_.pieces
                             ? id >= 0 && static_cast<std::size_t>(id) < parts_.pieces->size()
                             : parts_.model.has(id);
        if (!own && parts_.added.find(id) == nullptr) {
            fail_input("decode: no such token", {}, "an id below " + std::to_string(size_),
                       std::to_string(id));
        }
    }

    /// SentencePiece decodes the runs between added tokens.
    std::string decode_pieces(std::span<std::int32_t const> ids) const {
        std::string out;
        for (std::size_t at = 0; at < ids.size();) {
            if (added_token const* added = parts_.added.find(ids[at])) {
                out += added->content;
                ++at;
                continue;
            }
            std::size_t end = at + 1;
            while (end < ids.size() && parts_.added.find(ids[end]) == nullptr) {
                ++end;
            }
            out +=
                (at == 0 ? parts_.pieces : parts_.later_pieces)->decode(ids.subspan(at, end - at));
            at = end;
        }
        return out;
    }

    void encode_valid(std::string_view text, std::vector<std::int32_t>& ids) const {
        auto const found = [&ids](std::int32_t id) { ids.push_back(id); };
        if (parts_.pieces) {
            parts_.added.raw()(
                text,
                [&](std::string_view part) {
                    bool const first = part.data() == text.data();
                    std::vector<std::int32_t> const more =
                        (first ? parts_.pieces : parts_.later_pieces)->encode(part);
                    ids.insert(ids.end(), more.begin(), more.end());
                },
                found);
            return;
        }
        detail::piece_cache cache;
        parts_.added.raw()(
            text,
            [&](std::string_view part) {
                bool const first = part.data() == text.data();
                std::string normalized;
                for (normalizer_step const& step : parts_.normalizers) {
                    normalized = normalize(step, part);
                    part = normalized;
                }
                parts_.added.normalized()(
                    part,
                    [&](std::string_view rest) {
                        encode_words(rest, first && rest.data() == part.data(), cache, ids);
                    },
                    found);
            },
            found);
    }

    /// Text without added tokens; `first` when it begins the whole text.
    void encode_words(std::string_view text, bool first, detail::piece_cache& cache,
                      std::vector<std::int32_t>& ids) const {
        std::string marked;
        if (parts_.metaspace) {
            marked = detail::replace_all(text, " ", detail::metaspace_mark);
            bool const prefix = *parts_.metaspace == metaspace_prefix::always ||
                                (*parts_.metaspace == metaspace_prefix::first && first);
            if (prefix && !marked.starts_with(detail::metaspace_mark)) {
                marked.insert(0, detail::metaspace_mark);
            }
            text = marked;
        }
        parts_.pre(text, [&](std::string_view piece) {
            if (!cache.append(piece, ids)) {
                std::size_t const begin = ids.size();
                parts_.model.encode(piece, ids);
                cache.insert(piece, std::span(ids).subspan(begin));
            }
        });
    }

    /// A token of a byte-fallback vocabulary: <0xNN> is a byte, U+2581 a space.
    static void append_fallback(std::string_view token, std::string& out) {
        if (token.size() == 6 && token.starts_with("<0x") && token.back() == '>') {
            unsigned byte = 0;
            auto const* const end = token.data() + 5;
            if (std::from_chars(token.data() + 3, end, byte, 16).ptr == end) {
                out.push_back(static_cast<char>(byte));
                return;
            }
        }
        out += detail::replace_all(token, detail::metaspace_mark, " ");
    }

    tokenizer_parts parts_;
    std::size_t size_ = 0;
};

}  // namespace fpq
