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

/// Digits after ByteLevel (Falcon3): there a digit is a byte whose letter in that alphabet is a
/// number, thus also six bytes that are parts of other characters.
struct byte_digits {
    bool individual = false;  // each is a piece; else runs of them
};

/// One step of the chain.
using pretokenizer_step = std::variant<split_pattern, split_regex, prefix_space, byte_digits>;

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
    /// 0-9 and the bytes of Latin-1's superscripts 2, 3, 1 and fractions.
    static bool is_byte_digit(char c) noexcept {
        auto const byte = static_cast<unsigned char>(c);
        return (byte >= '0' && byte <= '9') || byte == 0xB2 || byte == 0xB3 || byte == 0xB9 ||
               (byte >= 0xBC && byte <= 0xBE);
    }

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
        } else if (auto const* digits = std::get_if<byte_digits>(&step)) {
            for (std::size_t at = 0; at < piece.size();) {
                bool const number = is_byte_digit(piece[at]);
                std::size_t end = at + 1;
                while (end < piece.size() && is_byte_digit(piece[end]) == number &&
                       !(number && digits->individual)) {
                    ++end;
                }
                onward(piece.substr(at, end - at));
                at = end;
            }
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
