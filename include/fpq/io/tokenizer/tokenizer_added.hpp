// SPDX-License-Identifier: Apache-2.0
// Floor 5. Added tokens: strings that are cut out of the text before the model sees it, special
// (<|im_start|>) or not, with the four flags of Hugging Face tokenizers.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/text/text_unicode.hpp"
#include "fpq/io/tokenizer/bpe.hpp"

namespace fpq {

/// One added token.
struct added_token {
    std::string content;
    std::int32_t id = 0;
    bool special = false;
    bool normalized = false;   // sought in the normalized text instead of the raw one
    bool lstrip = false;       // takes the white space before it
    bool rstrip = false;       // takes the white space after it
    bool single_word = false;  // not next to a word character
};

/// Finds the added tokens of one kind (raw or normalized) in a text: leftmost, then longest.
class added_token_finder {
public:
    added_token_finder() = default;

    /// Tokens with empty content are left out; of equal contents the first stays.
    explicit added_token_finder(std::vector<added_token> tokens) : tokens_(std::move(tokens)) {
        std::erase_if(tokens_, [](added_token const& t) { return t.content.empty(); });
        std::stable_sort(tokens_.begin(), tokens_.end(),
                         [](auto const& a, auto const& b) { return a.content < b.content; });
        for (added_token const& t : tokens_) {
            starts_[static_cast<unsigned char>(t.content[0])] = true;
        }
    }

    bool empty() const noexcept { return tokens_.empty(); }

    /// Calls between(text) for what lies between added tokens (never empty) and found(id) for each.
    template <class Between, class Found>
    void operator()(std::string_view text, Between&& between, Found&& found) const {
        std::size_t done = 0;
        std::size_t at = 0;
        while (at < text.size() && !tokens_.empty()) {
            if (!starts_[static_cast<unsigned char>(text[at])]) {
                ++at;
                continue;
            }
            added_token const* const token = longest_at(text, at);
            if (token == nullptr) {
                ++at;
                continue;
            }
            std::size_t begin = at;
            std::size_t end = at + token->content.size();
            at = end;
            if (token->single_word && (word_before(text, begin) || word_after(text, end))) {
                continue;
            }
            if (token->lstrip) {
                begin = std::max(done, space_before(text, begin));
            }
            if (token->rstrip) {
                end = at = space_after(text, end);
            }
            if (begin > done) {
                between(text.substr(done, begin - done));
            }
            found(token->id);
            done = end;
        }
        if (done < text.size()) {
            between(text.substr(done));
        }
    }

private:
    /// Narrows the sorted list one byte at a time.
    added_token const* longest_at(std::string_view text, std::size_t at) const {
        added_token const* longest = nullptr;
        auto low = tokens_.begin();
        auto high = tokens_.end();
        for (std::size_t depth = 0; low != high; ++depth) {
            if (low->content.size() == depth) {
                longest = &*low;
                while (low != high && low->content.size() == depth) {
                    ++low;
                }
            }
            if (at + depth >= text.size()) {
                break;
            }
            auto const c = static_cast<unsigned char>(text[at + depth]);
            auto const byte = [depth](added_token const& t) {
                return static_cast<unsigned char>(t.content[depth]);
            };
            low = std::partition_point(low, high, [&](auto const& t) { return byte(t) < c; });
            high = std::partition_point(low, high, [&](auto const& t) { return byte(t) == c; });
        }
        return longest;
    }

    static std::size_t char_before(std::string_view text, std::size_t at) noexcept {
        do {
            --at;
        } while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80);
        return at;
    }
    static unsigned class_at(std::string_view text, std::size_t at) noexcept {
        return char_classes()[decode_utf8(text, at).value];
    }
    static bool word_before(std::string_view text, std::size_t at) noexcept {
        return at > 0 && (class_at(text, char_before(text, at)) & class_word) != 0;
    }
    static bool word_after(std::string_view text, std::size_t at) noexcept {
        return at < text.size() && (class_at(text, at) & class_word) != 0;
    }
    static std::size_t space_before(std::string_view text, std::size_t at) noexcept {
        while (at > 0) {
            std::size_t const previous = char_before(text, at);
            if ((class_at(text, previous) & class_space) == 0) {
                break;
            }
            at = previous;
        }
        return at;
    }
    static std::size_t space_after(std::string_view text, std::size_t at) noexcept {
        while (at < text.size() && (class_at(text, at) & class_space) != 0) {
            at += decode_utf8(text, at).length;
        }
        return at;
    }

    std::vector<added_token> tokens_;  // by content
    std::array<bool, 256> starts_{};   // first bytes
};

/// All added tokens of a tokenizer: two finders, and content by id.
class added_tokens {
public:
    added_tokens() = default;

    /// As below, with contents that no normalizer changes.
    added_tokens(std::vector<added_token> tokens, std::string const& where)
        : added_tokens(std::move(tokens), where, [](std::string text) { return text; }) {}

    /// Tokens that are sought in the normalized text are sought as normalize(content).
    /// Errors: fpq::error (input) for ids out of range, one id with two contents.
    template <class Normalize>
    added_tokens(std::vector<added_token> tokens, std::string const& where, Normalize&& normalize)
        : all_(std::move(tokens)) {
        std::stable_sort(all_.begin(), all_.end(),
                         [](auto const& a, auto const& b) { return a.id < b.id; });
        for (std::size_t i = 0; i < all_.size(); ++i) {
            added_token const& t = all_[i];
            if (t.id < 0 || t.id >= max_token_id) {
                fail_input("added_tokens: id out of range of " + t.content, where,
                           "0 to " + std::to_string(max_token_id - 1), std::to_string(t.id));
            }
            if (i > 0 && all_[i - 1].id == t.id && all_[i - 1].content != t.content) {
                fail_input("added_tokens: id given twice", where, all_[i - 1].content, t.content);
            }
        }
        auto const some = [this](bool normalized) {
            std::vector<added_token> out;
            std::copy_if(all_.begin(), all_.end(), std::back_inserter(out),
                         [&](auto const& t) { return t.normalized == normalized; });
            return out;
        };
        raw_ = added_token_finder(some(false));
        std::vector<added_token> sought = some(true);
        for (added_token& t : sought) {
            t.content = normalize(std::move(t.content));
        }
        normalized_ = added_token_finder(std::move(sought));
    }

    std::vector<added_token> const& all() const noexcept { return all_; }  // by id
    added_token_finder const& raw() const noexcept { return raw_; }
    added_token_finder const& normalized() const noexcept { return normalized_; }

    /// The token with this id, or null.
    added_token const* find(std::int32_t id) const noexcept {
        auto const at = std::lower_bound(all_.begin(), all_.end(), id,
                                         [](auto const& t, std::int32_t x) { return t.id < x; });
        return at != all_.end() && at->id == id ? &*at : nullptr;
    }
    /// The token with this content, or null.
    added_token const* find(std::string_view content) const noexcept {
        auto const at = std::find_if(all_.begin(), all_.end(),
                                     [&](auto const& t) { return t.content == content; });
        return at != all_.end() ? &*at : nullptr;
    }

private:
    std::vector<added_token> all_;
    added_token_finder raw_;
    added_token_finder normalized_;
};

}  // namespace fpq
