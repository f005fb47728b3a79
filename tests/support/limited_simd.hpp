// SPDX-License-Identifier: Apache-2.0
// Kernels at one simd level while an object lives, and the names of the levels.
#pragma once

#include "fpq/core/hosted/simd_level.hpp"

namespace fpq_test {

struct limited_simd {
    explicit limited_simd(fpq::simd_level level) { fpq::limit_simd_level(level); }
    ~limited_simd() { fpq::limit_simd_level(fpq::simd_level::avx512); }
    limited_simd(limited_simd const&) = delete;
    limited_simd& operator=(limited_simd const&) = delete;
};

constexpr char const* simd_level_name(fpq::simd_level level) noexcept {
    return level == fpq::simd_level::avx512 ? "avx512"
           : level == fpq::simd_level::avx2 ? "avx2"
                                            : "generic";
}

}  // namespace fpq_test
