// SPDX-License-Identifier: Apache-2.0
// The choosers: which path, tile and grid serve which shape, and that they cover it exactly once.
#include <cstddef>

#include "catch.hpp"
#include "fpq/cuda/api/vocabulary.hpp"
#include "fpq/cuda/gemm/w4a16_plan.hpp"
#include "fpq/cuda/gemm/w4a4_plan.hpp"
#include "fpq/format/scale_layout.hpp"

using namespace fpq::cuda;

namespace {

w4a16_problem weights(std::size_t m, std::size_t n, std::size_t k) {
    w4a16_problem p;
    p.m = m;
    p.n = n;
    p.k = k;
    return p;
}

}  // namespace

TEST_CASE("few tokens stream, many are multiplied after dequantizing", "[cuda][plan]") {
    w4a16_means const h200{132, true, true};
    REQUIRE(choose_w4a16(weights(1, 14336, 4096), h200).path == w4a16_path::stream);
    REQUIRE(choose_w4a16(weights(16, 14336, 4096), h200).path == w4a16_path::stream);
    REQUIRE(choose_w4a16(weights(w4a16_stream_tokens, 64, 4096), h200).path == w4a16_path::stream);
    REQUIRE(choose_w4a16(weights(w4a16_stream_tokens + 1, 64, 4096), h200).path ==
            w4a16_path::dequantize_gemm);
    REQUIRE(choose_w4a16(weights(4096, 14336, 4096), h200).path == w4a16_path::dequantize_gemm);
    // cuBLASLt has no product of one 16-bit type into the other.
    w4a16_problem mixed = weights(4096, 14336, 4096);
    mixed.activations = float_type::fp16;
    REQUIRE(choose_w4a16(mixed, h200).path == w4a16_path::stream);
    mixed.out = float_type::fp32;
    REQUIRE(choose_w4a16(mixed, h200).path == w4a16_path::dequantize_gemm);
    // Without cuBLASLt everything streams; what cannot be read 16 bytes at a time does not.
    REQUIRE(choose_w4a16(weights(4096, 64, 4096), {132, true, false}).path == w4a16_path::stream);
    REQUIRE(choose_w4a16(weights(1, 64, 48), {132, true, false}).path == w4a16_path::reference);
    REQUIRE(choose_w4a16(weights(1, 64, 48), h200).path == w4a16_path::dequantize_gemm);
    REQUIRE(choose_w4a16(weights(1, 64, 64), {132, false, false}).path == w4a16_path::reference);
}

TEST_CASE("the streaming grid covers k and tokens once and fits its workspace", "[cuda][plan]") {
    for (std::size_t k : {32, 96, 128, 1024, 4096, 4128, 11008, 14336, 53248}) {
        for (std::size_t n : {1, 15, 16, 100, 1024, 4096, 14336}) {
            for (std::size_t m : {1, 8, 9, 16, 17, 48}) {
                w4a16_plan const plan = choose_w4a16(weights(m, n, k), {132, true, false});
                std::size_t const chunks = (k + 127) / 128;
                auto const per = static_cast<std::size_t>(plan.chunks_per_window);
                auto const windows = static_cast<std::size_t>(plan.windows);
                INFO("m " << m << " n " << n << " k " << k);
                REQUIRE(per <= static_cast<std::size_t>(w4a16_stream::window_chunks));
                REQUIRE(per * windows >= chunks);
                REQUIRE(per * (windows - 1) < chunks);
                REQUIRE(plan.ctas >= 1);
                REQUIRE(static_cast<std::size_t>(plan.ctas) <= (n + 15) / 16);
                REQUIRE(static_cast<std::size_t>(plan.token_blocks * plan.token_tiles) * 8 >= m);
                if (windows == 1) {
                    REQUIRE(plan.workspace_bytes == 0);
                } else {
                    REQUIRE(plan.head_bytes >=
                            static_cast<std::size_t>(plan.ctas * plan.token_blocks) * 4);
                    REQUIRE(plan.body_bytes == windows * m * n * 4);
                }
            }
        }
    }
}

TEST_CASE("the shape of the figures uses one window and all multiprocessors", "[cuda][plan]") {
    w4a16_plan const plan = choose_w4a16(weights(1, 14336, 4096), {132, true, true});
    REQUIRE(plan.windows == 1);
    REQUIRE(plan.ctas == 132);
    REQUIRE(plan.token_tiles == 1);
    REQUIRE(choose_w4a16(weights(16, 14336, 4096), {132, true, true}).token_tiles == 2);
}

TEST_CASE("one token has a kernel of its own where k is a multiple of 64", "[cuda][plan]") {
    w4a16_means const h200{132, true, true};
    REQUIRE(choose_w4a16(weights(1, 14336, 4096), h200).single);
    REQUIRE(choose_w4a16(weights(1, 48, 64), h200).single);
    REQUIRE_FALSE(choose_w4a16(weights(1, 48, 96), h200).single);
    REQUIRE_FALSE(choose_w4a16(weights(2, 48, 64), h200).single);
    REQUIRE_FALSE(choose_w4a16(weights(1, 48, 48), h200).single);
}

TEST_CASE("W4A4 tiles follow m, and splits cover k once", "[cuda][plan]") {
    REQUIRE(choose_w4a4({fpq::nvfp4, float_type::bf16, 16, 4096, 4096}, 170).tile_m == 16);
    REQUIRE(choose_w4a4({fpq::nvfp4, float_type::bf16, 17, 4096, 4096}, 170).tile_m == 64);
    REQUIRE(choose_w4a4({fpq::nvfp4, float_type::bf16, 65, 4096, 4096}, 170).tile_m == 128);
    REQUIRE(choose_w4a4({fpq::nvfp4, float_type::bf16, 4096, 4096, 4096}, 170).splits == 1);
    REQUIRE(choose_w4a4({fpq::nvfp4, float_type::bf16, 1, 4096, 14336}, 170).splits > 1);
    for (std::size_t k : {16, 128, 144, 4096, 14336}) {
        for (std::size_t m : {1, 64, 300}) {
            for (std::size_t n : {1, 128, 5000}) {
                w4a4_plan const plan = choose_w4a4({fpq::nvfp4, float_type::bf16, m, n, k}, 170);
                std::size_t const k_tiles = (k + 127) / 128;
                INFO("m " << m << " n " << n << " k " << k);
                REQUIRE(std::size_t{plan.splits} * plan.k_tiles_per_split >= k_tiles);
                REQUIRE(std::size_t{plan.splits - 1} * plan.k_tiles_per_split < k_tiles);
                REQUIRE(std::size_t{plan.m_tiles} * static_cast<std::size_t>(plan.tile_m) >= m);
                REQUIRE(std::size_t{plan.n_tiles} * 128 >= n);
                REQUIRE((plan.splits > 1) == (plan.workspace_bytes > 0));
            }
        }
    }
}

TEST_CASE("scale offsets of the streaming kernel equal the index functions", "[cuda][plan]") {
    for (unsigned groups : {1u, 2u, 4u, 6u, 256u}) {
        scale_offsets const rows{groups, false};
        scale_offsets const tiles{groups, true};
        fpq::row_major_scales const row_major{groups};
        fpq::swizzled_scales const swizzled{groups};
        for (unsigned i = 0; i < 300; ++i) {
            for (unsigned g = 0; g < groups; ++g) {
                REQUIRE(rows.row(i) + rows.column(g) == row_major(i, g));
                REQUIRE(tiles.row(i) + tiles.column(g) == swizzled(i, g));
            }
        }
    }
}
