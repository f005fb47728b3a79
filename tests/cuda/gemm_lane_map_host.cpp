// SPDX-License-Identifier: Apache-2.0
// The lane maps of the block-scaled m16n8k64 against the formulas of PTX ISA 9.1 written the other
// way round (what a lane holds, not where a value is), and a whole instruction carried out on the
// host through them. Needs no GPU.
#include "fpq/cuda/gemm/lane_map.hpp"

#include <cstdint>
#include <random>

#include "catch.hpp"
#include "fpq/cuda/gemm/w4a4_args.hpp"
#include "fpq/format/minifloat.hpp"
#include "fpq/format/scale_layout.hpp"

namespace {

using fpq::cuda::lane_slot;
using fpq::cuda::m16n8k64;

struct operands {
    std::uint8_t a[16][64];
    std::uint8_t b[64][8];
    std::uint8_t scale_a[16][4];
    std::uint8_t scale_b[4][8];
};

/// The registers of a warp, lanes and bytes that the instruction must not read full of NaN.
struct warp_registers {
    std::uint32_t a[32][4] = {};
    std::uint32_t b[32][2] = {};
    std::uint32_t scale_a[32];
    std::uint32_t scale_b[32];
};

operands random_operands(unsigned seed) {
    std::mt19937 gen(seed);
    operands o{};
    for (auto& row : o.a) {
        for (auto& code : row) {
            code = static_cast<std::uint8_t>(gen() & 15u);
        }
    }
    for (auto& row : o.b) {
        for (auto& code : row) {
            code = static_cast<std::uint8_t>(gen() & 15u);
        }
    }
    for (auto& row : o.scale_a) {
        for (auto& scale : row) {
            scale = static_cast<std::uint8_t>(0x38u + (gen() & 7u));  // 1 .. 1.875
        }
    }
    for (auto& row : o.scale_b) {
        for (auto& scale : row) {
            scale = static_cast<std::uint8_t>(0x38u + (gen() & 7u));
        }
    }
    return o;
}

void put_byte(std::uint32_t& word, int index, std::uint8_t byte) {
    word = (word & ~(0xFFu << (8 * index))) | (static_cast<std::uint32_t>(byte) << (8 * index));
}

/// What PTX ISA 9.1 says a lane holds: groupID = lane / 4, threadID_in_group = lane % 4.
warp_registers fill_by_ptx_text(operands const& o, int groups, int byte_id, int thread_a,
                                int thread_b) {
    warp_registers w;
    for (int lane = 0; lane < 32; ++lane) {
        int const group_id = lane >> 2;
        int const in_group = lane & 3;
        for (int i = 0; i < 32; ++i) {  // a0 .. a31
            int const row = (i < 8 || (i >= 16 && i < 24)) ? group_id : group_id + 8;
            int const col = in_group * 8 + (i & 7) + (i < 16 ? 0 : 32);
            w.a[lane][i / 8] |= static_cast<std::uint32_t>(o.a[row][col]) << (4 * (i % 8));
        }
        for (int i = 0; i < 16; ++i) {  // b0 .. b15
            int const row = in_group * 8 + (i & 7) + (i < 8 ? 0 : 32);
            w.b[lane][i / 8] |= static_cast<std::uint32_t>(o.b[row][group_id]) << (4 * (i % 8));
        }
        w.scale_a[lane] = 0x7F7F7F7Fu;
        w.scale_b[lane] = 0x7F7F7F7Fu;
        for (int g = 0; g < groups; ++g) {
            if (in_group / 2 == thread_a) {
                int const row = group_id + 8 * (in_group % 2);
                put_byte(w.scale_a[lane], byte_id + g, o.scale_a[row][g]);
            }
            if (in_group == thread_b) {
                put_byte(w.scale_b[lane], byte_id + g, o.scale_b[g][group_id]);
            }
        }
    }
    return w;
}

float code_at(std::uint32_t word, int nibble) {
    return fpq::e2m1::decode(static_cast<std::uint8_t>(word >> (4 * nibble) & 15u));
}

float scale_at(std::uint32_t word, int byte) {
    return fpq::e4m3::decode(static_cast<std::uint8_t>(word >> (8 * byte)));
}

}  // namespace

TEST_CASE("inverse lane maps take every slot back to its element", "[cuda][lane_map]") {
    for (int row = 0; row < 16; ++row) {
        for (int k = 0; k < 64; ++k) {
            lane_slot const s = m16n8k64::a(row, k);
            REQUIRE(m16n8k64::a_row(s.lane, s.reg) == row);
            REQUIRE(m16n8k64::a_k(s.lane, s.reg, s.index) == k);
        }
        for (int col = 0; col < 8; ++col) {
            lane_slot const s = m16n8k64::c(row, col);
            REQUIRE(m16n8k64::c_row(s.lane, s.reg) == row);
            REQUIRE(m16n8k64::c_col(s.lane, s.reg) == col);
        }
    }
    for (int k = 0; k < 64; ++k) {
        for (int col = 0; col < 8; ++col) {
            lane_slot const s = m16n8k64::b(k, col);
            REQUIRE(m16n8k64::b_k(s.lane, s.reg, s.index) == k);
            REQUIRE(m16n8k64::b_col(s.lane) == col);
        }
    }
}

TEST_CASE("an instruction through the lane maps equals the product, for all selectors",
          "[cuda][lane_map]") {
    operands const o = random_operands(7);
    for (int groups : {2, 4}) {
        for (int byte_id = 0; byte_id <= 4 - groups; byte_id += 2) {
            for (int selectors = 0; selectors < 8; ++selectors) {
                int const thread_a = selectors / 4;
                int const thread_b = selectors % 4;
                warp_registers const w = fill_by_ptx_text(o, groups, byte_id, thread_a, thread_b);
                int const group = 64 / groups;
                int wrong = 0;
                for (int row = 0; row < 16; ++row) {
                    for (int col = 0; col < 8; ++col) {
                        float expected = 0.0F;  // exact: six-bit factors, 64 terms
                        float found = 0.0F;
                        for (int k = 0; k < 64; ++k) {
                            int const g = k / group;
                            expected += fpq::e2m1::decode(o.a[row][k]) *
                                        fpq::e4m3::decode(o.scale_a[row][g]) *
                                        (fpq::e2m1::decode(o.b[k][col]) *
                                         fpq::e4m3::decode(o.scale_b[g][col]));
                            lane_slot const a = m16n8k64::a(row, k);
                            lane_slot const b = m16n8k64::b(k, col);
                            lane_slot const sa = m16n8k64::scale_a(row, g, byte_id, thread_a);
                            lane_slot const sb = m16n8k64::scale_b(g, col, byte_id, thread_b);
                            found += code_at(w.a[a.lane][a.reg], a.index) *
                                     scale_at(w.scale_a[sa.lane], sa.index) *
                                     (code_at(w.b[b.lane][b.reg], b.index) *
                                      scale_at(w.scale_b[sb.lane], sb.index));
                        }
                        wrong += expected != found ? 1 : 0;
                    }
                }
                INFO("groups " << groups << " byte-id " << byte_id << " thread-ids " << thread_a
                               << ' ' << thread_b);
                REQUIRE(wrong == 0);
            }
        }
    }
}

TEST_CASE("sixteen bytes of the 128x4 swizzle hold the scales of four row blocks",
          "[cuda][lane_map]") {
    // What a lane loads for rows 32 j + scale_row_of_lane(lane): bytes 4 j .. 4 j + 3 of its 16.
    fpq::swizzled_scales const at{8};
    for (int lane = 0; lane < 32; ++lane) {
        for (int j = 0; j < 4; ++j) {
            for (int g = 0; g < 8; ++g) {
                int const row = 32 * j + fpq::cuda::scale_row_of_lane(lane);
                std::size_t const expected = static_cast<std::size_t>(g) / 4 * 512 +
                                             fpq::cuda::scale_row_of_lane(lane) * 16 + 4 * j +
                                             g % 4;
                REQUIRE(at(row, g) == expected);
            }
        }
    }
}

TEST_CASE("staged pieces are a permutation without bank conflicts", "[cuda][lane_map]") {
    bool seen[128 * 4] = {};
    for (unsigned row = 0; row < 128; ++row) {
        for (unsigned piece = 0; piece < 4; ++piece) {
            unsigned const at = fpq::cuda::staged_piece(row, piece);
            REQUIRE(at % 16 == 0);
            REQUIRE(at / 16 < 128 * 4);
            REQUIRE_FALSE(seen[at / 16]);
            seen[at / 16] = true;
        }
    }
    // The eight rows of one 8x8 matrix of ldmatrix meet the eight 16-byte columns of shared memory.
    for (unsigned first = 0; first < 128; first += 8) {
        for (unsigned piece = 0; piece < 4; ++piece) {
            unsigned columns = 0;
            for (unsigned row = first; row < first + 8; ++row) {
                columns |= 1u << (fpq::cuda::staged_piece(row, piece) / 16 % 8);
            }
            REQUIRE(columns == 0xFFu);
        }
    }
}
