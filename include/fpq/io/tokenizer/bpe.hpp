// SPDX-License-Identifier: Apache-2.0
// Floor 5. The byte-pair encoding model: vocabulary, merges, and the merging of one piece of text.
// Tokens are held as the bytes they stand for. Not a trainer, and no dropout.
// Source: Sennrich et al. 2016; the order of merges (lowest rank first, then leftmost) is that of
// Hugging Face tokenizers and of tiktoken.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <queue>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/text/text_unicode.hpp"
#include "fpq/io/tokenizer/bpe_tables.hpp"

namespace fpq {

/// Ids at or above this are refused: the largest vocabularies have a million entries.
inline constexpr std::int32_t max_token_id = 1 << 22;

/// How a piece becomes its first symbols.
enum class bpe_symbols {
    bytes,                    // every byte is a token (GPT-2 and what followed)
    chars_with_byte_fallback  // a character that is no token becomes tokens <0xNN> (Llama-2)
};

/// A vocabulary entry.
struct bpe_token {
    std::string bytes;
    std::int32_t id = 0;
    bool findable = true;  // false: only decodes (a spelling that the byte alphabet cannot write)
};

/// A merge rule; rules are ranked by their order.
struct bpe_merge {
    std::int32_t left, right, merged;
};

class bpe_model {
public:
    bpe_model() = default;

    /// Errors: fpq::error (input) naming `where` for ids out of range or given twice, two tokens
    /// with the same bytes, and a byte that no token stands for. Merges hold ids of the vocabulary.
    bpe_model(std::vector<bpe_token> const& tokens, std::vector<bpe_merge> const& merges,
              bpe_symbols symbols, bool ignore_merges, std::string const& where)
        : symbols_(symbols), ignore_merges_(ignore_merges) {
        set_tokens(tokens, where);
        set_byte_ids(where);
        merges_.reserve(merges.size());
        for (std::size_t rank = 0; rank < merges.size(); ++rank) {
            merges_.insert(merges[rank].left, merges[rank].right,
                           {static_cast<std::uint32_t>(rank), merges[rank].merged});
        }
        set_joints(merges);
    }

    /// One more than the largest id.
    std::size_t size() const noexcept { return tokens_.size(); }
    bool has(std::int32_t id) const noexcept { return tokens_.has(id); }
    /// The bytes of token `id`; has(id) must hold.
    std::string_view bytes(std::int32_t id) const noexcept { return tokens_.bytes(id); }
    /// The token with these bytes, or -1.
    std::int32_t find(std::string_view bytes) const noexcept { return tokens_.find(bytes); }
    bpe_symbols symbols() const noexcept { return symbols_; }

    /// Appends the ids of one piece. Cost: O(n log n) in its bytes. Errors: fpq::error (input) for
    /// a piece with more than word_limit bytes in a row between any two of which a merge may reach.
    void encode(std::string_view piece, std::vector<std::int32_t>& out) const {
        if (ignore_merges_) {
            if (std::int32_t const whole = tokens_.find(piece); whole >= 0) {
                out.push_back(whole);
                return;
            }
        }
        std::array<std::int32_t, short_piece> few;
        if (symbols_ == bpe_symbols::bytes && piece.size() <= few.size()) {
            for (std::size_t i = 0; i < piece.size(); ++i) {
                few[i] = byte_ids_[static_cast<unsigned char>(piece[i])];
            }
            std::size_t const n = merge_short(few.data(), piece.size());
            out.insert(out.end(), few.begin(), few.begin() + static_cast<std::ptrdiff_t>(n));
            return;
        }
        std::vector<std::int32_t> ids;
        while (!piece.empty()) {
            std::string_view const word = piece.substr(0, joined_prefix(piece));
            piece.remove_prefix(word.size());
            if (word.size() > word_limit) {
                fail_input("word is too long", "tokenizer",
                           "at most " + std::to_string(word_limit) + " bytes without a break",
                           std::to_string(word.size()));
            }
            ids.clear();
            first_symbols(word, ids);
            if (ids.size() <= short_piece) {
                ids.resize(merge_short(ids.data(), ids.size()));
            } else {
                merge_long(ids);
            }
            out.insert(out.end(), ids.begin(), ids.end());
        }
    }

    /// Merging needs some 50 times the bytes of a word.
    static constexpr std::size_t word_limit = std::size_t{4} << 20;

private:
    static constexpr std::size_t short_piece = 48;  // bytes merged by search instead of a heap
    static constexpr std::uint32_t never = std::numeric_limits<std::uint32_t>::max();

    void set_tokens(std::vector<bpe_token> const& tokens, std::string const& where) {
        std::int32_t last = -1;
        for (bpe_token const& t : tokens) {
            if (t.id < 0 || t.id >= max_token_id) {
                fail_input("vocabulary: token id out of range", where,
                           "0 to " + std::to_string(max_token_id - 1), std::to_string(t.id));
            }
            last = std::max(last, t.id);
        }
        tokens_.reserve(static_cast<std::size_t>(last + 1), tokens.size());
        for (bpe_token const& t : tokens) {
            if (tokens_.has(t.id)) {
                fail_input("vocabulary: token id given twice", where, "each id once",
                           std::to_string(t.id));
            }
            tokens_.set_bytes(t.id, t.bytes);
            if (t.findable && !t.bytes.empty()) {
                if (std::int32_t const other = tokens_.insert(t.id); other >= 0) {
                    fail_input("vocabulary: two tokens with the same bytes", where,
                               "each token once",
                               "ids " + std::to_string(other) + " and " + std::to_string(t.id));
                }
            }
        }
    }

    void set_byte_ids(std::string const& where) {
        static constexpr char digits[] = "0123456789ABCDEF";
        for (unsigned b = 0; b < 256; ++b) {
            std::string const hex{digits[b >> 4], digits[b & 15]};
            std::string const name = symbols_ == bpe_symbols::bytes
                                         ? std::string(1, static_cast<char>(b))
                                         : "<0x" + hex + ">";
            byte_ids_[b] = tokens_.find(name);
            if (byte_ids_[b] < 0) {
                fail_input("vocabulary: no token for byte 0x" + hex, where, "all 256 bytes");
            }
        }
    }

    static std::size_t joint(char left, char right) noexcept {
        return std::size_t{static_cast<unsigned char>(left)} << 8 |
               static_cast<unsigned char>(right);
    }

    /// Notes the pairs of bytes between which some merge reaches. Where none does a piece may be
    /// cut without other ids: a text that no pre-tokenizer cuts (Llama-2) is merged word by word.
    void set_joints(std::vector<bpe_merge> const& merges) {
        joints_.assign(std::size_t{1} << 16, false);
        auto const is_fallback = [this](std::int32_t id) {
            return symbols_ == bpe_symbols::chars_with_byte_fallback &&
                   std::find(byte_ids_.begin(), byte_ids_.end(), id) != byte_ids_.end();
        };
        for (bpe_merge const& m : merges) {
            std::string_view const left = tokens_.bytes(m.left);
            std::string_view const right = tokens_.bytes(m.right);
            if (left.empty() || right.empty() || is_fallback(m.left) || is_fallback(m.right)) {
                joints_.assign(joints_.size(), true);  // its bytes are not those of the text
                return;
            }
            joints_[joint(left.back(), right.front())] = true;
        }
    }

    /// The length of the first word of a piece, which is not empty.
    std::size_t joined_prefix(std::string_view piece) const {
        std::size_t end = 1;
        auto const inside = [&](char c) {  // of a character
            return symbols_ != bpe_symbols::bytes && (static_cast<unsigned char>(c) & 0xC0) == 0x80;
        };
        while (end < piece.size() &&
               (joints_[joint(piece[end - 1], piece[end])] || inside(piece[end]))) {
            ++end;
        }
        return end;
    }

    void first_symbols(std::string_view piece, std::vector<std::int32_t>& ids) const {
        ids.reserve(piece.size());
        for (std::size_t at = 0; at < piece.size();) {
            std::size_t const length =
                symbols_ == bpe_symbols::bytes ? 1 : decode_utf8(piece, at).length;
            std::int32_t const whole =
                symbols_ == bpe_symbols::bytes ? -1 : tokens_.find(piece.substr(at, length));
            if (whole >= 0) {
                ids.push_back(whole);
            } else {
                for (char const c : piece.substr(at, length)) {
                    ids.push_back(byte_ids_[static_cast<unsigned char>(c)]);
                }
            }
            at += length;
        }
    }

    /// Merges ids[0, n) in place by repeated search for the lowest rank; returns the new length.
    std::size_t merge_short(std::int32_t* ids, std::size_t n) const {
        std::array<detail::merge, short_piece> next{};  // next[i]: what ids[i], ids[i+1] become
        for (std::size_t i = 0; i + 1 < n; ++i) {
            next[i] = merges_.find(ids[i], ids[i + 1]);
        }
        while (n > 1) {
            std::size_t best = 0;
            for (std::size_t i = 1; i + 1 < n; ++i) {
                best = next[i].rank < next[best].rank ? i : best;
            }
            if (next[best].rank == never) {
                break;
            }
            ids[best] = next[best].id;
            --n;
            for (std::size_t i = best + 1; i < n; ++i) {
                ids[i] = ids[i + 1];
                next[i] = next[i + 1];
            }
            if (best + 1 < n) {
                next[best] = merges_.find(ids[best], ids[best + 1]);
            }
            if (best > 0) {
                next[best - 1] = merges_.find(ids[best - 1], ids[best]);
            }
        }
        return n;
    }

    /// The same by a heap of candidate merges over a linked list.
    void merge_long(std::vector<std::int32_t>& ids) const {
        struct link {
            std::uint32_t before, after;
        };
        struct candidate {
            std::uint32_t rank;
            std::uint32_t at, with;
            std::int32_t left, right, merged;  // stale when the list no longer holds them
            bool operator<(candidate const& o) const noexcept {
                return std::tie(rank, at) > std::tie(o.rank, o.at);  // the heap's top is largest
            }
        };
        auto const n = static_cast<std::uint32_t>(ids.size());  // at most word_limit
        std::vector<link> links(n);
        std::priority_queue<candidate> heap;
        auto const offer = [&](std::uint32_t at, std::uint32_t with) {
            detail::merge const m = merges_.find(ids[at], ids[with]);
            if (m.rank != never) {
                heap.push({m.rank, at, with, ids[at], ids[with], m.id});
            }
        };
        for (std::uint32_t i = 0; i < n; ++i) {
            links[i] = {i == 0 ? n : i - 1, i + 1};
            if (i + 1 < n) {
                offer(i, i + 1);
            }
        }
        constexpr std::int32_t gone = -1;
        while (!heap.empty()) {
            candidate const c = heap.top();
            heap.pop();
            if (ids[c.at] != c.left || ids[c.with] != c.right || links[c.at].after != c.with) {
                continue;
            }
            ids[c.at] = c.merged;
            ids[c.with] = gone;
            std::uint32_t const after = links[c.with].after;
            links[c.at].after = after;
            if (after < n) {
                links[after].before = c.at;
                offer(c.at, after);
            }
            if (links[c.at].before < n) {
                offer(links[c.at].before, c.at);
            }
        }
        std::erase(ids, gone);
    }

    detail::token_table tokens_;
    detail::merge_table merges_;
    std::array<std::int32_t, 256> byte_ids_{};
    std::vector<bool> joints_;  // by joint(): a merge reaches from one byte to the next
    bpe_symbols symbols_ = bpe_symbols::bytes;
    bool ignore_merges_ = false;
};

}  // namespace fpq
