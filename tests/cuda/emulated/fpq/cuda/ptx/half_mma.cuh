// SPDX-License-Identifier: Apache-2.0
// Stands for the wing's header of this name in emulated blocks: which lane and register holds which
// element is that of PTX ISA 9.7.14.5.8; sums are rounded once.
#pragma once

#include <cstdint>

#include "emulated/block.hpp"
#include "fpq/core/half.hpp"
#include "fpq/cuda/ptx/half_words.cuh"

namespace fpq::cuda {

template <class Half>
struct half_mma;

template <>
struct half_mma<bf16> {
    static void add(float (&c)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t a2,
                    std::uint32_t a3, std::uint32_t b0, std::uint32_t b1) {
        emulated::block& block = emulated::block::now();
        auto* const lanes = block.notes();
        std::uint32_t const own[6] = {a0, a1, a2, a3, b0, b1};
        std::copy(std::begin(own), std::end(own), lanes[block.lane()]);
        block.wait_for_warp();
        auto const half = [&](unsigned lane, unsigned word, unsigned which) {
            std::uint32_t const w = lanes[lane][word];
            return static_cast<double>(which == 0 ? half_words<bf16>::low(w)
                                                  : half_words<bf16>::high(w));
        };
        for (unsigned i = 0; i < 4; ++i) {
            unsigned const row = block.lane() / 4 + (i < 2 ? 0 : 8);
            unsigned const col = block.lane() % 4 * 2 + i % 2;
            double sum = static_cast<double>(c[i]);
            for (unsigned k = 0; k < 16; ++k) {
                unsigned const late = k < 8 ? 0 : 1;
                double const a = half(row % 8 * 4 + k % 8 / 2, (row < 8 ? 0 : 1) + 2 * late, k % 2);
                sum += a * half(col * 4 + k % 8 / 2, 4 + late, k % 2);
            }
            c[i] = static_cast<float>(sum);
        }
        block.wait_for_warp();
    }
};

}  // namespace fpq::cuda
