// SPDX-License-Identifier: Apache-2.0
// Normal values for tests: a function of (seed, stream, index), the same everywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "fpq/core/random.hpp"

namespace fpq_test {

/// `count` values of N(mean, sigma^2).
inline std::vector<float> gaussian(std::size_t count, std::uint64_t seed, std::uint64_t stream,
                                   float sigma = 1.0F, float mean = 0.0F) {
    fpq::philox const source{seed, stream};
    std::vector<float> out(count);
    for (std::size_t i = 0; i < count; ++i) {
        out[i] = mean + sigma * source.normal_at(i);
    }
    return out;
}

}  // namespace fpq_test
