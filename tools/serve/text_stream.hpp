// SPDX-License-Identifier: Apache-2.0
// Tokens as text, as they come: what each adds, where a stop string ends it, and how much of it no
// later token can change.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fpq/io/tokenizer/tokenizer.hpp"

namespace fpq::tools {

/// The bytes of one token, wherever it stands: a special one as written, a leading space kept.
/// Empty for an id that is no token.
std::string token_bytes(tokenizer const& words, std::int32_t token);

/// The text of one token as the API names it: "bytes:\xe2\x82" where its bytes are no UTF-8.
std::string token_name(tokenizer const& words, std::int32_t token);

/// How a token is part of a text.
enum class token_part : std::uint8_t {
    answer,  ///< its bytes, special ones as asked for; stop strings are sought in them
    prompt,  ///< its bytes as written, not searched
    none,    ///< no bytes
};

/// The text of a sequence of tokens that grows. Bytes that are no UTF-8 stay as they are until
/// somebody shows them (repair_utf8).
class text_stream {
public:
    /// With `skip_special` an answer's special tokens are no part of the text, though stop strings
    /// find them. `words` must outlive this.
    text_stream(tokenizer const& words, bool skip_special)
        : words_(&words), skip_special_(skip_special) {}

    /// The text goes on from `token`, which is no part of it: a tokenizer may join what follows.
    void begin_after(std::int32_t token);

    void append(std::int32_t token, token_part part);

    /// No token follows: what waited for the rest of a character is part of the text.
    void finish();

    /// Ends the text where the earliest of `stops` (none empty) begins, among those that end within
    /// the last token's bytes. False: there is none.
    bool stop_at(std::span<std::string const> stops);

    /// Bytes, the special tokens left out when asked for.
    [[nodiscard]] std::string const& text() const noexcept { return shown_; }

    /// Bytes of text() that stay whatever comes: without the beginning of a character, and without
    /// what may be the beginning of a stop string.
    [[nodiscard]] std::size_t settled(std::span<std::string const> stops) const;

    [[nodiscard]] std::size_t tokens() const noexcept { return ends_.size(); }
    /// Where token i begins in text().
    [[nodiscard]] std::size_t begin_of(std::size_t token) const noexcept {
        return token == 0 ? 0 : ends_[token - 1].shown;
    }
    [[nodiscard]] std::size_t end_of(std::size_t token) const noexcept {
        return ends_[token].shown;
    }

private:
    struct ends {
        std::size_t searched = 0;
        std::size_t shown = 0;
    };

    /// What the token adds to the text of those before it.
    std::string added_by(std::int32_t token);
    /// The place in text() of a place in what is searched.
    [[nodiscard]] std::size_t shown_at(std::size_t searched) const;

    tokenizer const* words_;
    bool skip_special_;
    std::vector<std::int32_t> window_;  // the last token whose text is known, and those after it
    std::string known_;                 // the text of the window's first token
    std::string searched_;              // with special tokens as written
    std::string shown_;
    std::vector<ends> ends_;  // of each token
};

}  // namespace fpq::tools
