// SPDX-License-Identifier: Apache-2.0
// Floor 5. The pre-tokenizer of a byte-level BPE model: a chain of splitters, each cutting the
// pieces of the one before it. What a piece becomes is the model's business (bpe.hpp).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "fpq/io/tokenizer/pretokenizer_regex.hpp"
#include "fpq/io/tokenizer/pretokenizer_scan.hpp"

namespace fpq {

/// Puts a space before a piece that does not begin with one (ByteLevel's add_prefix_space).
struct prefix_space {};

/// One step of the chain.
using pretokenizer_step = std::variant<split_pattern, split_regex, prefix_space>;

/// The step for a regular expression: its scanner if there is one, else PCRE2.
inline pretokenizer_step make_split(std::string_view regex, std::string_view where) {
    if (auto const known = known_pattern(regex)) {
        return *known;
    }
    return split_regex(regex, where);
}

class pretokenizer {
public:
    pretokenizer() = default;
    explicit pretokenizer(std::vector<pretokenizer_step> steps) : steps_(std::move(steps)) {}

    std::vector<pretokenizer_step> const& steps() const noexcept { return steps_; }

    /// Calls emit(piece) for the pieces of `text` (valid UTF-8) in order. Pieces live only during
    /// the call. Without steps the text is one piece; an empty text has none.
    template <class Emit>
    void operator()(std::string_view text, Emit&& emit) const {
        if (!text.empty()) {
            run(0, text, emit);
        }
    }

private:
    template <class Emit>
    void run(std::size_t index, std::string_view piece, Emit& emit) const {
        if (index == steps_.size()) {
            emit(piece);
            return;
        }
        pretokenizer_step const& step = steps_[index];
        auto const onward = [&](std::string_view part) { run(index + 1, part, emit); };
        if (auto const* pattern = std::get_if<split_pattern>(&step)) {
            if (index + 1 == steps_.size()) {
                scan_pieces(*pattern, piece, emit);
            } else {
                scan_pieces(*pattern, piece, onward);
            }
        } else if (auto const* regex = std::get_if<split_regex>(&step)) {
            (*regex)(piece, onward);
        } else if (piece.front() == ' ') {
            onward(piece);
        } else {
            std::string const spaced = " " + std::string(piece);
            onward(spaced);
        }
    }

    std::vector<pretokenizer_step> steps_;
};

}  // namespace fpq
