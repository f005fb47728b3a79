// SPDX-License-Identifier: Apache-2.0
// An inference engine's use of fpq: one include, no dependency, nothing allocated. It reads NVFP4
// bytes as a checkpoint stores them and multiplies them with a vector. Its own CMake project is
// beside it (CMakeLists.txt, found by find_package); here it is also built as a test.
#include <cstdint>
#include <cstdio>

#include "fpq/format.hpp"

namespace {

/// y = w x for w (rows, cols) NVFP4, x (cols); float32, in order of columns.
void gemv(fpq::packed_view const& w, float const* x, float* y) {
    for (std::size_t i = 0; i < w.rows; ++i) {
        float sum = 0.0F;
        for (std::size_t j = 0; j < w.cols; ++j) {
            sum += w(i, j) * x[j];
        }
        y[i] = sum;
    }
}

}  // namespace

int main() {
    // One row of 16: the codes of 0.5 and 6 in turns (even element in the low nibble).
    std::uint8_t const low = fpq::e2m1::encode(0.5F);
    std::uint8_t const high = fpq::e2m1::encode(6.0F);
    std::uint8_t codes[8];
    for (std::uint8_t& byte : codes) {
        byte = static_cast<std::uint8_t>(low | (high << 4));
    }
    std::uint8_t const scales[1] = {fpq::e4m3::encode(2.0F)};
    fpq::packed_view const w{fpq::nvfp4, 1, 16, codes, scales, nullptr, 4.0F};

    float x[16];
    for (float& value : x) {
        value = 1.0F;
    }
    float y = 0.0F;
    gemv(w, x, &y);
    std::printf("y = %g\n", static_cast<double>(y));
    return y == 8.0F * (0.5F + 6.0F) * (2.0F / 4.0F) ? 0 : 1;
}
