// SPDX-License-Identifier: Apache-2.0
// Floor 5. The flat hash tables of the BPE model: token bytes -> id, pair of ids -> merge, and the
// per-call cache piece -> ids. Open addressing, linear probing, at most half full, nothing removed.
// Not general containers: they do what bpe.hpp needs.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fpq::detail {

inline constexpr std::uint64_t hash_factor = 0x9E3779B97F4A7C15u;  // 2^64 over the golden ratio

constexpr std::uint64_t mix(std::uint64_t x) noexcept {
    x *= hash_factor;
    x ^= x >> 32;
    return x * hash_factor;
}

template <class Word>
std::uint64_t load(char const* p) noexcept {
    Word x;
    std::memcpy(&x, p, sizeof(Word));
    return x;
}

/// Up to 16 bytes as two words, by loads that overlap: with the length, they determine the bytes.
struct short_key {
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    bool operator==(short_key const&) const = default;
};

inline constexpr std::size_t max_short_key = 16;  // bytes

/// n in [1, 16].
inline short_key make_short_key(char const* p, std::size_t n) noexcept {
    if (n >= 8) {
        return {load<std::uint64_t>(p), load<std::uint64_t>(p + n - 8)};
    }
    if (n >= 4) {
        return {load<std::uint32_t>(p), load<std::uint32_t>(p + n - 4)};
    }
    return {load<std::uint8_t>(p) | (load<std::uint8_t>(p + n / 2) << 8),
            load<std::uint8_t>(p + n - 1)};
}

inline std::uint64_t hash_short(short_key key, std::size_t n) noexcept {
    std::uint64_t const h = mix(key.low ^ (n * hash_factor)) ^ key.high;
    return mix(h ^ (h >> 29));
}

/// Sixteen bytes a step, the last ones by an overlapping load.
inline std::uint64_t hash_bytes(std::string_view s) noexcept {
    std::size_t const n = s.size();
    if (n == 0) {
        return 0;
    }
    if (n <= max_short_key) {
        return hash_short(make_short_key(s.data(), n), n);
    }
    std::uint64_t h = n;
    for (std::size_t at = 0; at + max_short_key < n; at += max_short_key) {
        h = hash_short(make_short_key(s.data() + at, max_short_key), h);
    }
    return hash_short(make_short_key(s.data() + n - max_short_key, max_short_key), h);
}

inline std::size_t table_slots(std::size_t items) { return std::bit_ceil(items * 2 + 2); }

/// Token bytes by id, and id by bytes. Ids may have holes.
class token_table {
public:
    static constexpr std::int32_t none = -1;

    token_table() : slots_(2, none) {}

    /// Room for ids below `ids` and `items` findable tokens; call once, before the others.
    void reserve(std::size_t ids, std::size_t items) {
        spans_.assign(ids, span{0, 0, false});
        slots_.assign(table_slots(items), none);
    }
    std::size_t size() const noexcept { return spans_.size(); }
    bool has(std::int32_t id) const noexcept {
        return id >= 0 && static_cast<std::size_t>(id) < spans_.size() &&
               spans_[static_cast<std::size_t>(id)].used;
    }
    std::string_view bytes(std::int32_t id) const noexcept {
        span const s = spans_[static_cast<std::size_t>(id)];
        return std::string_view(arena_).substr(s.begin, s.length);
    }
    void set_bytes(std::int32_t id, std::string_view bytes) {
        spans_[static_cast<std::size_t>(id)] = {static_cast<std::uint32_t>(arena_.size()),
                                                static_cast<std::uint32_t>(bytes.size()), true};
        arena_.append(bytes);
    }
    /// Makes the id findable by its bytes; returns the id that already has them, or none.
    std::int32_t insert(std::int32_t id) {
        std::size_t const at = slot(bytes(id));
        if (slots_[at] != none) {
            return slots_[at];
        }
        slots_[at] = id;
        return none;
    }
    std::int32_t find(std::string_view bytes) const noexcept { return slots_[slot(bytes)]; }

private:
    struct span {
        std::uint32_t begin, length;  // bytes in arena_
        bool used;
    };
    std::size_t slot(std::string_view wanted) const noexcept {
        std::size_t const mask = slots_.size() - 1;
        std::size_t at = (hash_bytes(wanted) >> 20) & mask;
        while (slots_[at] != none && bytes(slots_[at]) != wanted) {
            at = (at + 1) & mask;
        }
        return at;
    }
    std::string arena_;
    std::vector<span> spans_;
    std::vector<std::int32_t> slots_;
};

/// What a pair of neighbouring tokens becomes, and how early.
struct merge {
    std::uint32_t rank = std::numeric_limits<std::uint32_t>::max();  // lower merges first
    std::int32_t id = -1;
};

class merge_table {
public:
    merge_table() : slots_(2) {}
    void reserve(std::size_t items) { slots_.assign(table_slots(items), entry{}); }
    /// A pair given twice keeps the later merge.
    void insert(std::int32_t left, std::int32_t right, merge m) {
        std::uint64_t const key = key_of(left, right);
        slots_[slot(key)] = {key, m};
    }
    /// rank is the largest value when the pair does not merge.
    merge find(std::int32_t left, std::int32_t right) const noexcept {
        return slots_[slot(key_of(left, right))].value;
    }

private:
    static constexpr std::uint64_t empty = ~std::uint64_t{0};  // ids are not negative
    struct entry {
        std::uint64_t key = empty;
        merge value;
    };
    static std::uint64_t key_of(std::int32_t left, std::int32_t right) noexcept {
        return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) |
               static_cast<std::uint32_t>(right);
    }
    std::size_t slot(std::uint64_t key) const noexcept {
        std::size_t const mask = slots_.size() - 1;
        std::size_t at = (mix(key) >> 20) & mask;
        while (slots_[at].key != empty && slots_[at].key != key) {
            at = (at + 1) & mask;
        }
        return at;
    }
    std::vector<entry> slots_;
};

/// Piece -> ids, remembered during one encode call. A piece of up to 16 bytes and up to three ids
/// lie in the slot itself, which is half a cache line. Grows; stops taking pieces when full.
class piece_cache {
public:
    static constexpr std::size_t max_piece = 128;         // bytes
    static constexpr std::size_t max_entries = 1U << 20;  // then only looked up
    static constexpr std::size_t first_slots = 256;

    /// Appends the ids of a remembered piece; false if it is not remembered.
    bool append(std::string_view piece, std::vector<std::int32_t>& out) const {
        if (slots_.empty() || piece.empty() || piece.size() > max_piece) {
            return false;
        }
        entry const& e = slots_[slot(piece)];
        if (e.length == 0) {
            return false;
        }
        if (e.count == 1) {
            out.push_back(e.ids[0]);
        } else {
            std::int32_t const* const ids = e.count <= inline_ids ? e.ids : ids_.data() + e.ids[0];
            out.insert(out.end(), ids, ids + e.count);
        }
        return true;
    }
    /// Remembers a piece that append did not find.
    void insert(std::string_view piece, std::span<std::int32_t const> ids) {
        if (piece.empty() || piece.size() > max_piece || count_ == max_entries) {
            return;
        }
        if (count_ * 2 >= slots_.size()) {
            grow();
        }
        entry& e = slots_[slot(piece)];
        if (piece.size() <= max_short_key) {
            e.key = make_short_key(piece.data(), piece.size());
        } else {
            e.key = {hash_bytes(piece), bytes_.size()};
            bytes_.append(piece);
        }
        e.length = static_cast<std::uint16_t>(piece.size());
        e.count = static_cast<std::uint16_t>(ids.size());
        if (ids.size() <= inline_ids) {
            std::copy(ids.begin(), ids.end(), e.ids);
        } else {
            e.ids[0] = static_cast<std::int32_t>(ids_.size());
            ids_.insert(ids_.end(), ids.begin(), ids.end());
        }
        ++count_;
    }

private:
    static constexpr std::size_t inline_ids = 3;
    struct entry {
        short_key key;                      // the piece, or its hash and where it begins in bytes_
        std::uint16_t length = 0;           // bytes; 0: free
        std::uint16_t count = 0;            // ids
        std::int32_t ids[inline_ids] = {};  // or, when there are more, where they begin in ids_
    };
    static_assert(sizeof(entry) == 32);

    static std::uint64_t hash_of(entry const& e) noexcept {
        return e.length <= max_short_key ? hash_short(e.key, e.length) : e.key.low;
    }
    std::size_t slot(std::string_view piece) const noexcept {
        std::size_t const mask = slots_.size() - 1;
        if (piece.size() <= max_short_key) {
            short_key const key = make_short_key(piece.data(), piece.size());
            std::size_t at = (hash_short(key, piece.size()) >> 20) & mask;
            while (slots_[at].length != 0 &&
                   !(slots_[at].key == key && slots_[at].length == piece.size())) {
                at = (at + 1) & mask;
            }
            return at;
        }
        std::uint64_t const hash = hash_bytes(piece);
        std::size_t at = (hash >> 20) & mask;
        while (slots_[at].length != 0 && !holds_long(slots_[at], piece, hash)) {
            at = (at + 1) & mask;
        }
        return at;
    }
    bool holds_long(entry const& e, std::string_view piece, std::uint64_t hash) const noexcept {
        return e.length == piece.size() && e.key.low == hash &&
               std::string_view(bytes_).substr(e.key.high, e.length) == piece;
    }
    void grow() {
        std::vector<entry> old(slots_.empty() ? first_slots : slots_.size() * 4);
        old.swap(slots_);
        std::size_t const mask = slots_.size() - 1;
        for (entry const& e : old) {
            if (e.length != 0) {
                std::size_t at = (hash_of(e) >> 20) & mask;
                while (slots_[at].length != 0) {
                    at = (at + 1) & mask;
                }
                slots_[at] = e;
            }
        }
    }
    std::vector<entry> slots_;
    std::string bytes_;
    std::vector<std::int32_t> ids_;
    std::size_t count_ = 0;
};

}  // namespace fpq::detail
