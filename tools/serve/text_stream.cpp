// SPDX-License-Identifier: Apache-2.0
#include "serve/text_stream.hpp"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "fpq/io/text/text_unicode.hpp"
#include "fpq/io/tokenizer/tokenizer_parts.hpp"

namespace fpq::tools {

namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr std::size_t longest_character = 4;              // bytes of UTF-8

/// Bytes at the end that may be the beginning of a character.
std::size_t unfinished_tail(std::string_view text) {
    for (std::size_t n = 1; n < longest_character && n <= text.size(); ++n) {
        auto const lead = static_cast<unsigned char>(text[text.size() - n]);
        if ((lead & 0xC0u) == 0x80u) {
            continue;  // of a character that began earlier
        }
        std::size_t const length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
        return length > n && lead < 0xF5 ? n : 0;
    }
    return 0;
}

/// Bytes at the end that begin one of `stops`, but are not all of it.
std::size_t stop_tail(std::string_view text, std::span<std::string const> stops) {
    std::size_t most = 0;
    for (std::string_view const stop : stops) {
        for (std::size_t n = std::min(stop.size() - 1, text.size()); n > most; --n) {
            if (text.ends_with(stop.substr(0, n))) {
                most = n;
                break;
            }
        }
    }
    return most;
}

bool is_special(tokenizer const& words, std::int32_t token) {
    added_token const* const added = words.parts().added.find(token);
    return added != nullptr && added->special;
}

}  // namespace

std::string token_bytes(tokenizer const& words, std::int32_t token) {
    std::optional<std::string> const piece = words.token(token);
    if (!piece) {
        return {};
    }
    tokenizer_parts const& parts = words.parts();
    bool const bytes = !parts.pieces && parts.model.symbols() == bpe_symbols::bytes;
    if (bytes || parts.added.find(token) != nullptr) {
        return *piece;
    }
    if (piece->size() == 6 && piece->starts_with("<0x") && piece->back() == '>') {
        unsigned byte = 0;
        char const* const end = piece->data() + 5;
        if (std::from_chars(piece->data() + 3, end, byte, 16).ptr == end) {
            return {static_cast<char>(byte)};
        }
    }
    return fpq::detail::replace_all(*piece, fpq::detail::metaspace_mark, " ");
}

std::string token_name(tokenizer const& words, std::int32_t token) {
    std::string bytes = token_bytes(words, token);
    if (valid_utf8_prefix(bytes) == bytes.size()) {
        return bytes;
    }
    constexpr std::string_view digits = "0123456789abcdef";
    std::string out = "bytes:";
    for (char const c : bytes) {
        auto const byte = static_cast<unsigned char>(c);
        out.append("\\x").append({digits[byte >> 4], digits[byte & 15]});
    }
    return out;
}

void text_stream::begin_after(std::int32_t token) {
    if (words_->token(token)) {
        window_ = {token};
        known_ = words_->decode(window_);
    }
}

std::string text_stream::added_by(std::int32_t token) {
    if (!words_->token(token)) {
        return {};  // a row of the head beyond the tokenizer's
    }
    window_.push_back(token);
    std::string const all = words_->decode(window_);
    // Pieces that are bytes show U+FFFD until the character is whole.
    bool const waits = words_->parts().pieces != nullptr && all.ends_with(replacement) &&
                       window_.size() <= longest_character;
    if (waits) {
        return {};
    }
    std::string added = all.substr(std::min(known_.size(), all.size()));
    window_ = {token};
    known_ = words_->decode(window_);
    return added;
}

void text_stream::finish() {
    if (window_.size() < 2) {
        return;
    }
    std::string const all = words_->decode(window_);
    std::string const added = all.substr(std::min(known_.size(), all.size()));
    searched_ += added;
    shown_ += added;
    ends_.back() = {searched_.size(), shown_.size()};
    window_.clear();
}

void text_stream::append(std::int32_t token, token_part part) {
    std::string const added = added_by(token);
    if (part == token_part::answer) {
        searched_ += added;
    }
    bool const skipped = part == token_part::answer && skip_special_ && is_special(*words_, token);
    if (part != token_part::none && !skipped) {
        shown_ += added;
    }
    ends_.push_back({searched_.size(), shown_.size()});
}

std::size_t text_stream::shown_at(std::size_t searched) const {
    auto const at =
        std::upper_bound(ends_.begin(), ends_.end(), searched,
                         [](std::size_t place, ends const& e) { return place < e.searched; });
    if (at == ends_.end()) {
        return shown_.size();
    }
    ends const begin = at == ends_.begin() ? ends{} : *(at - 1);
    return std::min(begin.shown + (searched - begin.searched), at->shown);
}

bool text_stream::stop_at(std::span<std::string const> stops) {
    std::size_t const before = ends_.size() < 2 ? 0 : ends_[ends_.size() - 2].searched;
    std::size_t first = std::string::npos;
    for (std::string const& stop : stops) {
        std::size_t const from = before + 1 > stop.size() ? before + 1 - stop.size() : 0;
        first = std::min(first, searched_.find(stop, from));
    }
    if (first == std::string::npos) {
        return false;
    }
    std::size_t const end = shown_at(first);
    searched_.resize(first);
    shown_.resize(end);
    for (ends& e : ends_) {
        e = {std::min(e.searched, first), std::min(e.shown, end)};
    }
    return true;
}

std::size_t text_stream::settled(std::span<std::string const> stops) const {
    std::size_t const end = shown_at(searched_.size() - stop_tail(searched_, stops));
    return end - unfinished_tail(std::string_view(shown_).substr(0, end));
}

}  // namespace fpq::tools
