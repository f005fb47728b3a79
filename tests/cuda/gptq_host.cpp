// SPDX-License-Identifier: Apache-2.0
// The parts of GPTQ on the device that need none: codecs, the four lanes of a row run in step,
// packing, and the plans that say which product makes which part of a Hessian.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "catch.hpp"
#include "fpq/core/random.hpp"
#include "fpq/cuda/gptq/codec.hpp"
#include "fpq/cuda/gptq/hessian_blas.hpp"
#include "fpq/cuda/gptq/hessian_units.hpp"
#include "fpq/cuda/gptq/lanes.hpp"
#include "fpq/cuda/gptq/pack.hpp"
#include "fpq/format/pack.hpp"
#include "fpq/quant/rounding.hpp"

namespace {

using block = fpq::cuda::gptq_block;

std::vector<float> probes() {
    std::vector<float> out;
    for (std::uint32_t high = 0; high < 0x10000u; ++high) {
        for (std::uint32_t const low : {0x0000u, 0x0001u, 0x7FFFu, 0x8000u, 0xFFFFu}) {
            out.push_back(fpq::bits_of<float>(high << 16 | low));
        }
    }
    return out;
}

/// What a plain loop over the columns of one row makes.
struct plain_row {
    std::vector<float> error;
    std::vector<std::uint8_t> codes;
};

template <class Codec>
plain_row plain(Codec codec, std::vector<float> target, std::vector<float> const& w,
                std::vector<float> const& step, std::vector<std::uint8_t> const& zeros,
                std::vector<float> const& feedback) {
    std::size_t const n = block::width;
    plain_row out{w, std::vector<std::uint8_t>(n)};
    for (std::size_t c = 0; c < n; ++c) {
        out.codes[c] = codec.encode(target[c] / step[c], zeros[c]);
        float const q = codec.decode(out.codes[c], zeros[c]) * step[c];
        out.error[c] = w[c] - q;
        for (std::size_t k = c + 1; k < n; ++k) {
            target[k] = __builtin_fmaf(out.error[c], feedback[c * n + k], target[k]);
        }
    }
    return out;
}

}  // namespace

TEST_CASE("the GPTQ kernel's codecs are those of the CPU solver", "[cuda]") {
    auto const xs = probes();
    for (int e = 0; e <= static_cast<int>(fpq::element_kind::int8); ++e) {
        auto const kind = static_cast<fpq::element_kind>(e);
        std::size_t wrong = 0;
        fpq::cuda::visit_gptq_codec(kind, true, [&](auto codec) {
            for (float const x : xs) {
                wrong += codec.encode(x, 0) == fpq::encode_element(kind, x) ? 0 : 1;
            }
            for (unsigned code = 0; code < 1u << fpq::element_bits(kind); ++code) {
                auto const c = static_cast<std::uint8_t>(code);
                float const a = codec.decode(c, 0);
                float const b = fpq::decode_element(kind, c);
                bool const same = fpq::bits_of<std::uint32_t>(a) == fpq::bits_of<std::uint32_t>(b);
                wrong += same || (fpq::is_nan(a) && fpq::is_nan(b)) ? 0 : 1;
            }
        });
        INFO("element " << e);
        CHECK(wrong == 0);
    }
    for (int bits = 2; bits <= 8; ++bits) {
        std::size_t wrong = 0;
        fpq::cuda::visit_gptq_codec(fpq::integer_element(bits), false, [&](auto codec) {
            for (unsigned zero = 0; zero < 1u << bits; zero += 3) {
                auto const z = static_cast<std::uint8_t>(zero);
                for (std::size_t i = 0; i < xs.size(); i += 7) {
                    auto const want = fpq::encode_asymmetric(xs[i], bits, static_cast<int>(zero));
                    wrong += codec.encode(xs[i], z) == want ? 0 : 1;
                }
            }
        });
        INFO("bits " << bits);
        CHECK(wrong == 0);
    }
}

TEST_CASE("four lanes in step make the errors and codes of a plain loop, bit for bit", "[cuda]") {
    std::size_t const n = block::width;
    fpq::philox const source{5, 7};
    std::vector<float> feed(block::feed_size, 0.0F);
    std::vector<float> feedback(n * n, 0.0F);
    std::vector<fpq::cuda::column_cost> cost(n);
    for (std::size_t c = 0; c < n; ++c) {
        cost[c] = {1.0F + static_cast<float>(c), 0.25F};
        for (std::size_t k = c + 1; k < n; ++k) {
            feedback[c * n + k] = 0.2F * source.normal_at(c * n + k);
            feed[static_cast<std::size_t>(
                block::feed_at(static_cast<int>(c), static_cast<int>(k)))] = feedback[c * n + k];
        }
    }
    for (int const asymmetric : {0, 1}) {
        fpq::cuda::visit_gptq_codec(
            asymmetric ? fpq::element_kind::int4 : fpq::element_kind::e2m1, asymmetric == 0,
            [&](auto codec) {
                std::vector<float> w(n);
                std::vector<float> target(n);
                std::vector<float> step(n);
                std::vector<std::uint8_t> zeros(n, 0);
                for (std::size_t c = 0; c < n; ++c) {
                    w[c] = source.normal_at(100000 + c);
                    target[c] = w[c] + 0.1F * source.normal_at(200000 + c);
                    step[c] = 0.1F + 0.01F * static_cast<float>(c % 9);
                    zeros[c] = static_cast<std::uint8_t>(asymmetric ? c % 16 : 0);
                }
                auto const want = plain(codec, target, w, step, zeros, feedback);

                fpq::cuda::gptq_lane lanes[block::lanes];
                for (int lane = 0; lane < block::lanes; ++lane) {
                    auto& state = lanes[lane];
                    for (int g = 0; g < block::stripes; ++g) {
                        state.zeros[g] = 0;
                    }
                    for (int slot = 0; slot < block::held; ++slot) {
                        auto const c = static_cast<std::size_t>(block::column(lane, slot));
                        state.target[slot] = target[c];
                        state.error[slot] = w[c];
                        state.step[slot] = step[c];
                        state.zeros[slot / 4] |= static_cast<std::uint32_t>(zeros[c])
                                                 << (8 * (slot % 4));
                    }
                }
                for (int g = 0; g < block::stripes; ++g) {
                    for (int owner = 0; owner < block::lanes; ++owner) {
                        float fresh[block::lanes][block::quad];
                        for (int lane = 0; lane < block::lanes; ++lane) {
                            lanes[lane].round_quad(codec, g, lane, feed.data(), cost.data(),
                                                   lane == owner, fresh[lane]);
                        }
                        for (auto& lane : lanes) {
                            lane.feed_forward(g, owner, static_cast<int>(&lane - lanes),
                                              feed.data(), fresh[owner]);
                        }
                    }
                }
                double loss = 0;
                double want_loss = 0;
                for (int lane = 0; lane < block::lanes; ++lane) {
                    loss += static_cast<double>(lanes[lane].loss);
                    for (int slot = 0; slot < block::held; ++slot) {
                        auto const c = static_cast<std::size_t>(block::column(lane, slot));
                        REQUIRE(lanes[lane].error[slot] == want.error[c]);
                        auto const code = (lanes[lane].codes[slot / 4] >> (8 * (slot % 4))) & 255u;
                        REQUIRE(code == want.codes[c]);
                    }
                }
                // The loss in double from the errors: target - q = error + fed-forward errors.
                for (std::size_t k = 0; k < n; ++k) {
                    double miss = static_cast<double>(target[k]) - static_cast<double>(w[k]) +
                                  static_cast<double>(want.error[k]);
                    for (std::size_t c = 0; c < k; ++c) {
                        miss += static_cast<double>(want.error[c]) *
                                static_cast<double>(feedback[c * n + k]);
                    }
                    double const e = static_cast<double>(want.error[k]);
                    want_loss += static_cast<double>(cost[k].innovation) * miss * miss -
                                 static_cast<double>(cost[k].penalty) * e * e;
                }
                CHECK(loss == Approx(want_loss).epsilon(1e-4));
            });
    }
}

TEST_CASE("a byte of a packed row on its own is the byte of pack_row", "[cuda]") {
    for (int bits = 2; bits <= 8; ++bits) {
        for (std::size_t const cols : {1u, 7u, 16u, 37u}) {
            std::vector<std::uint8_t> codes(cols);
            for (std::size_t i = 0; i < cols; ++i) {
                codes[i] = static_cast<std::uint8_t>((i * 37 + 11) & ((1u << bits) - 1u));
            }
            std::vector<std::uint8_t> want(fpq::packed_bytes(bits, cols));
            fpq::pack_row(bits, codes.data(), cols, want.data());
            for (std::size_t at = 0; at < want.size(); ++at) {
                auto const found =
                    fpq::cuda::packed_byte(bits, cols, at, [&](std::size_t i) { return codes[i]; });
                REQUIRE(found == want[at]);
            }
        }
    }
}

TEST_CASE("cuBLAS' products cover a Hessian's lower half once", "[cuda]") {
    for (std::size_t const n : {1u, 100u, 1024u, 2048u, 2560u, 4096u, 5120u, 11008u, 14336u}) {
        std::size_t const unit = n % 64 == 0 ? 64 : 1;
        std::size_t const side = n / unit;
        std::vector<int> times(side * side, 0);
        std::size_t values = 0;
        for (int i = 0; i <= fpq::cuda::hessian_halvings(n); ++i) {
            auto const p = fpq::cuda::hessian_product(n, i);
            values += p.batch * p.side * p.side;
            for (std::size_t b = 0; b < p.batch; ++b) {
                std::size_t const row = p.row + b * p.step;
                std::size_t const col = b * p.step;
                REQUIRE(row + p.side <= n);
                for (std::size_t r = row / unit; r < (row + p.side) / unit; ++r) {
                    for (std::size_t c = col / unit; c < (col + p.side) / unit; ++c) {
                        ++times[r * side + c];
                    }
                }
            }
        }
        for (std::size_t r = 0; r < side; ++r) {
            for (std::size_t c = 0; c <= r; ++c) {
                REQUIRE(times[r * side + c] == 1);
            }
        }
        if (n >= 2048) {
            CHECK(static_cast<double>(values) < 0.63 * static_cast<double>(n * n));
        }
    }
}

TEST_CASE("the tiles of all units cover a Hessian's lower half once", "[cuda]") {
    for (std::uint32_t tiles = 1; tiles <= 130; ++tiles) {
        fpq::cuda::hessian_units const units{tiles};
        std::vector<int> times(static_cast<std::size_t>(tiles) * tiles, 0);
        for (std::uint32_t u = 0; u < units.count(); ++u) {
            auto const unit = units.at(u);
            for (int w = 0; w < 2; ++w) {
                if (unit.row[w] < tiles) {
                    REQUIRE(unit.col[w] <= unit.row[w]);
                    ++times[static_cast<std::size_t>(unit.row[w]) * tiles + unit.col[w]];
                }
            }
            // What the kernel takes for granted: which slot of a stage holds the columns.
            using kind = fpq::cuda::hessian_unit_kind;
            if (unit.kind == kind::below) {
                REQUIRE(unit.col[0] == unit.col[1]);
                REQUIRE(u < units.below());
                REQUIRE(units.at(u ^ 1u).row[0] == unit.row[0]);
                REQUIRE(units.at(u ^ 1u).row[1] == unit.row[1]);
            } else if (unit.kind == kind::corner) {
                REQUIRE((unit.col[0] == unit.row[0] && unit.col[1] == unit.row[0]));
            } else {
                REQUIRE((unit.col[0] == unit.row[0] && unit.col[1] == unit.row[1]));
            }
        }
        for (std::uint32_t r = 0; r < tiles; ++r) {
            for (std::uint32_t c = 0; c < tiles; ++c) {
                REQUIRE(times[static_cast<std::size_t>(r) * tiles + c] == (c <= r ? 1 : 0));
            }
        }
    }
    CHECK(fpq::cuda::hessian_units{32}.count() == 2 * 132);
}
