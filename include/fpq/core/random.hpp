// SPDX-License-Identifier: Apache-2.0
// Floor 0. Counter-based random numbers, Philox4x32-10 (Salmon et al., SC 2011): the value at
// (seed, stream, index) is a pure function, so results do not depend on order or threads.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "fpq/core/config.hpp"

namespace fpq {

/// Four 32-bit words: a counter, or what ten rounds make of it.
struct philox_block {
    std::uint32_t word[4];
};

/// Ten rounds of Philox4x32 on counter (4 words) and key (2 words).
FPQ_HD constexpr philox_block philox4x32(philox_block counter, std::uint32_t key0,
                                         std::uint32_t key1) noexcept {
    for (int round = 0; round < 10; ++round) {
        std::uint64_t const a = std::uint64_t{0xD2511F53u} * counter.word[0];
        std::uint64_t const b = std::uint64_t{0xCD9E8D57u} * counter.word[2];
        counter = {{static_cast<std::uint32_t>(b >> 32) ^ counter.word[1] ^ key0,
                    static_cast<std::uint32_t>(b),
                    static_cast<std::uint32_t>(a >> 32) ^ counter.word[3] ^ key1,
                    static_cast<std::uint32_t>(a)}};
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return counter;
}

/// [0, 1), 24 bits, every value exact.
FPQ_HD constexpr float uniform(std::uint32_t x) noexcept {
    return static_cast<float>(x >> 8) * (1.0F / 16777216.0F);
}

/// A random function of an index. `stream` separates uses of one seed (a tensor, a purpose).
struct philox {
    std::uint64_t seed = 0;
    std::uint64_t stream = 0;

    FPQ_HD constexpr philox_block block(std::uint64_t index) const noexcept {
        return philox4x32(
            {{static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32),
              static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)}},
            static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
    }
    /// 32 random bits.
    FPQ_HD constexpr std::uint32_t at(std::uint64_t index) const noexcept {
        return block(index >> 2).word[index & 3];
    }
    /// 64 random bits.
    FPQ_HD constexpr std::uint64_t at64(std::uint64_t index) const noexcept {
        philox_block const b = block(index);
        return (std::uint64_t{b.word[1]} << 32) | b.word[0];
    }
    /// Uniform integer in [0, bound), bound >= 1, by 64x32-bit multiplication (bias below 2^-32).
    FPQ_HD constexpr std::uint64_t below(std::uint64_t index, std::uint32_t bound) const noexcept {
        std::uint64_t const x = at64(index);
        std::uint64_t const high = (x >> 32) * bound;
        std::uint64_t const low = (x & 0xFFFFFFFFu) * bound;
        return (high + (low >> 32)) >> 32;
    }
    /// N(0, 1) by Box-Muller in double; one value an index.
    float normal_at(std::uint64_t index) const noexcept {
        philox_block const b = block(index);
        double const u = (static_cast<double>(b.word[0]) + 0.5) * 0x1p-32;
        double const v = static_cast<double>(b.word[1]) * 0x1p-32;
        return static_cast<float>(std::sqrt(-2.0 * std::log(u)) *
                                  std::cos(6.283185307179586476925 * v));
    }
};

/// The sequential face of philox: a UniformRandomBitGenerator.
class philox_engine {
public:
    using result_type = std::uint32_t;
    explicit constexpr philox_engine(philox source) noexcept : source_(source) {}
    static constexpr result_type min() noexcept { return 0; }
    static constexpr result_type max() noexcept { return std::numeric_limits<result_type>::max(); }
    constexpr result_type operator()() noexcept { return source_.at(next_++); }

private:
    philox source_;
    std::uint64_t next_ = 0;
};

}  // namespace fpq
