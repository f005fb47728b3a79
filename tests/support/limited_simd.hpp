// SPDX-License-Identifier: Apache-2.0
// Kernels at one simd level while an object lives.
#pragma once

#include "fpq/core/hosted/simd_level.hpp"

namespace fpq_test {

struct limited_simd {
    explicit limited_simd(fpq::simd_level level) { fpq::limit_simd_level(level); }
    ~limited_simd() { fpq::limit_simd_level(fpq::simd_level::avx512); }
    limited_simd(limited_simd const&) = delete;
    limited_simd& operator=(limited_simd const&) = delete;
};

}  // namespace fpq_test
