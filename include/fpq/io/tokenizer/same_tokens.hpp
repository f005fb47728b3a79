// SPDX-License-Identifier: Apache-2.0
// Floor 5. Whether two checkpoints mean the same by a token id: else a distance between what they
// predict means nothing.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/printable.hpp"
#include "fpq/io/tokenizer/tokenizer.hpp"

namespace fpq {

/// The smallest id that stands for other strings in `a` and `b`; nothing when there is none. An id
/// that only one of them has is no difference: fine-tuned models add tokens behind the others.
inline std::optional<std::int32_t> first_other_token(tokenizer const& a, tokenizer const& b) {
    std::size_t const both = std::min(a.vocab_size(), b.vocab_size());
    for (std::size_t i = 0; i < both; ++i) {
        auto const id = static_cast<std::int32_t>(i);
        std::optional<std::string> const x = a.token(id);
        std::optional<std::string> const y = b.token(id);
        if (x && y && *x != *y) {
            return id;
        }
    }
    return std::nullopt;
}

/// Refuses (fpq::error, input) a checkpoint `reference` whose tokenizer gives an id to another
/// token than that of `model`; both name directories. False: the reference has no tokenizer to
/// compare.
inline bool require_same_tokens(std::filesystem::path const& model,
                                std::filesystem::path const& reference) {
    if (!tokenizer::lies_in(reference)) {
        return false;
    }
    tokenizer const a = tokenizer::open(model);
    tokenizer const b = tokenizer::open(reference);
    if (auto const id = first_other_token(a, b)) {
        auto const quoted = [&](tokenizer const& t) {
            return "'" + detail::printable(*t.token(*id), 40) + "'";
        };
        fail_input("reference with another tokenizer",
                   reference.string() + ": token " + std::to_string(*id),
                   quoted(a) + " as in " + model.string(), quoted(b));
    }
    return true;
}

}  // namespace fpq
