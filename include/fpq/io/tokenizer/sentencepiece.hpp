// SPDX-License-Identifier: Apache-2.0
// Floor 5. A SentencePiece tokenizer.model (Llama-2) through libsentencepiece. This is the only
// header that includes it.
#pragma once

#include <sentencepiece_processor.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fpq/core/hosted/error.hpp"

namespace fpq {

/// A model file with add_dummy_prefix off. Fields of a message that is given twice are merged, the
/// later ones win (protobuf, "Last One Wins"): so another normalizer_spec (field 3) with only
/// add_dummy_prefix (field 3, false) is put behind.
inline std::string without_dummy_prefix(std::string_view proto) {
    using namespace std::string_view_literals;
    return std::string(proto).append("\x1A\x02\x18\x00"sv);
}

class sentencepiece_model {
public:
    /// `proto`: the bytes of tokenizer.model. Errors: fpq::error (input) naming `where`.
    sentencepiece_model(std::string_view proto, std::string const& where) : where_(where) {
        auto const status =
            processor_.LoadFromSerializedProto(::absl::string_view(proto.data(), proto.size()));
        if (!status.ok()) {
            fail_input("not a SentencePiece model", where, "its protobuf", status.ToString());
        }
    }

    std::size_t size() const { return static_cast<std::size_t>(processor_.GetPieceSize()); }
    std::optional<std::int32_t> bos() const { return known(processor_.bos_id()); }
    std::optional<std::int32_t> eos() const { return known(processor_.eos_id()); }

    /// The piece as the model writes it, U+2581 for a space; `id` must be below size().
    std::string piece(std::int32_t id) const { return processor_.IdToPiece(id); }

    /// The text as one sentence; control symbols in it are plain text.
    std::vector<std::int32_t> encode(std::string_view text) const {
        std::vector<int> ids;
        auto const status = processor_.Encode(::absl::string_view(text.data(), text.size()), &ids);
        if (!status.ok()) {
            fail_input("text cannot be tokenized", where_, {}, status.ToString());
        }
        return {ids.begin(), ids.end()};
    }

    /// Ids must be below size(). Control symbols decode to nothing.
    std::string decode(std::span<std::int32_t const> ids) const {
        std::string text;
        auto const status = processor_.Decode(std::vector<int>(ids.begin(), ids.end()), &text);
        if (!status.ok()) {
            fail_input("tokens cannot be decoded", where_, {}, status.ToString());
        }
        return text;
    }

private:
    static std::optional<std::int32_t> known(int id) {
        return id < 0 ? std::nullopt : std::optional<std::int32_t>(id);
    }
    sentencepiece::SentencePieceProcessor processor_;
    std::string where_;
};

}  // namespace fpq
