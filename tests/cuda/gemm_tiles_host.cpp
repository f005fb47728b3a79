// SPDX-License-Identifier: Apache-2.0
// The maps of the W4A16 tiles: codes, instruction places and shared memory fit together; and the
// chooser's plans cover every row, token and column once.
#include <cstddef>
#include <cstdint>
#include <set>

#include "catch.hpp"
#include "fpq/cuda/gemm/w4a16_decode.hpp"
#include "fpq/cuda/gemm/w4a16_plan.hpp"
#include "fpq/cuda/gemm/w4a16_tiles_map.hpp"

using namespace fpq::cuda;

TEST_CASE("a lane's decoded pairs stand where the instruction wants their columns",
          "[cuda][tiles]") {
    // Columns whose code is 1 (0.5 * 2^-126: bf16 bits 0x0040), one at a time.
    for (unsigned t = 0; t < 4; ++t) {
        for (unsigned b = 0; b < 2; ++b) {
            for (unsigned q = 0; q < 4; ++q) {
                for (unsigned i = 0; i < 8; ++i) {
                    four_pairs const pairs = e2m1_to_bf16_pairs(1u << (4 * i));
                    // The kernel: chunk 2t + b of 32 codes, word q, pair 2s + h to step s, half h.
                    unsigned const k = 32 * (2 * t + b) + 8 * q + i;
                    for (unsigned s = 0; s < 2; ++s) {
                        for (unsigned h = 0; h < 2; ++h) {
                            for (unsigned e = 0; e < 2; ++e) {
                                bool const here =
                                    (pairs.pair[2 * s + h] >> (16 * e) & 0xFFFFu) == 0x0040u;
                                // wgmma's A fragment: a lane's columns 2t, 2t + 1, 2t + 8, 2t + 9.
                                unsigned const column =
                                    128 * b + 16 * (2 * q + s) + 2 * t + e + 8 * h;
                                REQUIRE(here == (tiles_place(k) == column));
                            }
                        }
                    }
                }
            }
        }
    }
    std::set<unsigned> places;
    for (unsigned k = 0; k < w4a16_tiles::block; ++k) {
        REQUIRE(tiles_place(k) < w4a16_tiles::block);
        places.insert(tiles_place(k));
    }
    REQUIRE(places.size() == w4a16_tiles::block);
}

TEST_CASE("the activations' image is a bijection in the 128-byte swizzle", "[cuda][tiles]") {
    for (unsigned tokens : {32u, 64u, 128u}) {
        std::set<unsigned> bytes;
        for (unsigned token = 0; token < tokens; ++token) {
            for (unsigned p = 0; p < w4a16_tiles::half_block; ++p) {
                // K-major, 64 columns a row of 128 bytes; address bits 4..6 are those of the
                // logical place xor bits 7..9.
                unsigned const logical = p / 64 * tokens * 128 + token * 128 + p % 64 * 2;
                unsigned const at = tiles_image_byte(token, p, tokens);
                REQUIRE(at == (logical ^ (logical >> 7 & 7u) << 4));
                bytes.insert(at);
            }
        }
        REQUIRE(bytes.size() == std::size_t{tokens} * w4a16_tiles::half_block);
        REQUIRE(*bytes.rbegin() == tokens * w4a16_tiles::half_block * 2 - 2);
    }
}

TEST_CASE("the image kernel's threads write each chunk of the image once", "[cuda][tiles]") {
    // A thread's word w = 4b + q and lane t hold columns 64t + 8w ..; chunk j takes codes j, j + 4.
    for (unsigned w = 0; w < 8; ++w) {
        for (unsigned j = 0; j < 4; ++j) {
            for (unsigned t = 0; t < 4; ++t) {
                unsigned const place = 128 * (w / 4) + 32 * (w % 4) + 8 * j + 2 * t;
                REQUIRE(tiles_place(64 * t + 8 * w + j) == place);
                REQUIRE(tiles_place(64 * t + 8 * w + j + 4) == place + 1);
            }
        }
    }
}

TEST_CASE("eight lanes read 16 bytes of codes each from all banks", "[cuda][tiles]") {
    for (unsigned b = 0; b < 2; ++b) {
        for (unsigned phase = 0; phase < 4; ++phase) {
            std::set<unsigned> banks;
            for (unsigned lane = 8 * phase; lane < 8 * phase + 8; ++lane) {
                unsigned const at = tiles_codes_byte(lane / 4, 2 * (lane % 4) + b);
                banks.insert(at / 16 % 8);
            }
            REQUIRE(banks.size() == 8);
        }
    }
}

TEST_CASE("tiles serve what the device and the shape allow", "[cuda][tiles]") {
    w4a16_problem p;
    p.n = 14336;
    p.k = 4096;
    w4a16_means const h200{132, true, true, true};
    p.m = w4a16_tiles_least - 1;
    REQUIRE(choose_w4a16(p, h200).path == w4a16_path::stream);
    p.m = w4a16_tiles_least;
    REQUIRE(choose_w4a16(p, h200).path == w4a16_path::tiles);
    REQUIRE(choose_w4a16(p, {132, true, true, false}).path == w4a16_path::stream);
    REQUIRE(choose_w4a16(p, {132, false, false, true}).path == w4a16_path::reference);
    p.m = w4a16_tiles_most;
    REQUIRE(choose_w4a16(p, h200).path == w4a16_path::tiles);
    p.m = w4a16_tiles_most + 1;
    REQUIRE(choose_w4a16(p, h200).path == w4a16_path::dequantize_gemm);
    REQUIRE(choose_w4a16(p, {132, true, false, true}).path == w4a16_path::tiles);
    p.m = 64;
    p.k = 4128;  // a lane's 64 codes need whole scales
    REQUIRE(choose_w4a16(p, h200).path == w4a16_path::stream);
}

TEST_CASE("plans of the tiles cover rows, tokens and columns once and fit their workspace",
          "[cuda][tiles]") {
    for (std::size_t m : {17, 32, 33, 64, 65, 128, 129, 512}) {
        for (std::size_t n : {1, 256, 257, 1024, 4096, 14336, 53248}) {
            for (std::size_t k : {64, 256, 320, 2304, 4096, 14336}) {
                w4a16_problem p;
                p.m = m;
                p.n = n;
                p.k = k;
                w4a16_plan const plan = choose_w4a16(p, {132, true, true, true});
                INFO("m " << m << " n " << n << " k " << k);
                REQUIRE(plan.path == w4a16_path::tiles);
                std::size_t const blocks = (k + 255) / 256;
                auto const windows = static_cast<std::size_t>(plan.windows);
                auto const per = static_cast<std::size_t>(plan.chunks_per_window);
                REQUIRE(plan.windows <= w4a16_tiles::most_splits);
                REQUIRE(per * windows >= blocks);
                REQUIRE(per * (windows - 1) < blocks);
                auto const tokens = static_cast<std::size_t>(8 * plan.token_tiles);
                auto const token_blocks = static_cast<std::size_t>(plan.token_blocks);
                REQUIRE(token_blocks * tokens >= m);
                REQUIRE((token_blocks - 1) * tokens < m);
                auto const tiles = static_cast<std::size_t>(plan.ctas);
                REQUIRE(tiles == (n + 255) / 256);
                // No multiprocessor has two CTAs for the sake of a split.
                REQUIRE((windows == 1 || tiles * token_blocks * windows <= 132));
                REQUIRE((windows == 1 || tiles * token_blocks * 4 * 8 <= plan.head_bytes));
                REQUIRE(plan.body_bytes == token_blocks * tokens * blocks * 512);
                std::size_t const sums =
                    windows > 1 ? windows * tiles * token_blocks * tokens * 1024 : 0;
                REQUIRE(plan.workspace_bytes == plan.head_bytes + plan.body_bytes + sums);
            }
        }
    }
}
