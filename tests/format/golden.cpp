// SPDX-License-Identifier: Apache-2.0
// Pinned bytes of one 64-value row in NVFP4 and in four MXFP4 dialects. tests/golden/README.md says
// where the bytes come from and when they may change. The scale rules are spelled out here, so that
// the bytes pin floors 0 and 1 alone.
#include <cmath>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/format/minifloat.hpp"
#include "fpq/format/packed.hpp"

namespace {

using bytes = std::vector<std::uint8_t>;

bytes from_hex(std::string const& text) {
    bytes out;
    std::string digits;
    for (char const c : text) {
        if (c != ' ') {
            digits.push_back(c);
        }
    }
    for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
        out.push_back(static_cast<std::uint8_t>(std::stoi(digits.substr(i, 2), nullptr, 16)));
    }
    return out;
}

/// 64 values, exact in bf16; elements 16..31 are small and 32..47 zero.
std::vector<float> golden_row() {
    std::vector<float> v(64);
    for (std::size_t i = 0; i < v.size(); ++i) {
        v[i] = (static_cast<float>((i * 37) % 64) - 31.5F) / 8.0F;
        v[i] = i / 16 == 1 ? v[i] / 16.0F : i / 16 == 2 ? 0.0F : v[i];
    }
    return v;
}

float group_amax(std::vector<float> const& v, std::size_t begin, std::size_t count) {
    float amax = 0;
    for (std::size_t i = begin; i < begin + count; ++i) {
        amax = std::fmax(amax, std::fabs(v[i]));
    }
    return amax;
}

struct packed_row {
    bytes codes;
    bytes scales;
};

/// RNE codes of the row with one scale byte a group from `rule(amax)`; zero groups get codes 0.
template <class Rule>
packed_row pack_golden(fpq::quant_format const& f, float global, Rule rule) {
    std::vector<float> const v = golden_row();
    packed_row out{bytes(f.row_bytes(64)), {}};
    bytes codes(64);
    for (std::size_t g = 0; g < f.groups(64); ++g) {
        float const amax = group_amax(v, g * f.group, f.group);
        out.scales.push_back(rule(amax));
        float const step =
            fpq::effective_scale(fpq::decode_scale(f.scale, &out.scales.back()), global);
        for (std::size_t i = g * f.group; i < (g + 1) * f.group; ++i) {
            codes[i] = step == 0.0F ? std::uint8_t{0} : fpq::e2m1::encode(v[i] / step);
        }
    }
    fpq::pack_row(4, codes.data(), 64, out.codes.data());
    return out;
}

/// HF order to GGUF order: within a block, byte j holds elements j (low) and j + block/2 (high).
bytes split_halves(bytes const& packed, std::size_t block) {
    bytes out;
    for (std::size_t begin = 0; begin < 2 * packed.size(); begin += block) {
        for (std::size_t j = begin; j < begin + block / 2; ++j) {
            int const low = fpq::packed_code(4, packed.data(), j);
            int const high = fpq::packed_code(4, packed.data(), j + block / 2);
            out.push_back(static_cast<std::uint8_t>(low | (high << 4)));
        }
    }
    return out;
}

bytes joined(bytes a, bytes const& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

std::uint8_t nvfp4_rule(float amax) { return fpq::e4m3::encode(amax / 6.0F * 512.0F); }
std::uint8_t floor_rule(float amax) { return fpq::e8m0::from_exponent(fpq::floor_log2(amax) - 2); }
std::uint8_t even_rule(float amax) {
    int const e = fpq::floor_log2(amax);
    bool const up = amax >= 1.75F * fpq::exp2_int(e);
    return fpq::e8m0::from_exponent(e - 2 + (up ? 1 : 0));
}
std::uint8_t ceil_rule(float amax) { return fpq::e8m0::encode_ceil(amax / 6.0F); }
std::uint8_t fp_quant_rule(float amax) { return fpq::e8m0::encode_floor(amax); }

}  // namespace

TEST_CASE("NVFP4 of the golden row has its pinned bytes, in HF and in GGUF order", "[format]") {
    packed_row const row = pack_golden(fpq::nvfp4, 512.0F, nvfp4_rule);
    CHECK(row.scales == from_hex("7a 5a 00 7a"));
    CHECK(row.codes ==
          from_hex("2f5e7cf9e3b6174f6d7ae2c5963f6e7c 0000000000000000 c5874f6e7be1d4a6"));
    CHECK(joined(row.scales, split_halves(row.codes, 16)) ==
          from_hex("7a5a007a 3fe26eb57c17f94f 6d96fa37e26ec57c 0000000000000000 b57c17e84fd46ea6"));
}

TEST_CASE("MXFP4 by the floor rule has its pinned bytes, in HF and in GGUF order", "[format]") {
    packed_row const row = pack_golden(fpq::mxfp4, 1.0F, floor_rule);
    CHECK(row.scales == from_hex("7e 7e"));
    CHECK(row.codes == from_hex("3f6f7df9e4c6175f1818908081091918"
                                "0000000000000000d6874f6e7cf1e5a7"));
    bytes const gguf = split_halves(row.codes, 32);
    CHECK(bytes(gguf.begin(), gguf.begin() + 16) == from_hex("8f138f160d97098f148e960c97118f15"));
    CHECK(bytes(gguf.begin() + 16, gguf.end()) == from_hex("60d07080f040e060c07010f050e070a0"));
}

TEST_CASE("MXFP4 by the even and by the ceiling rule has its pinned bytes", "[format]") {
    for (auto const rule : {even_rule, ceil_rule}) {
        packed_row const row = pack_golden(fpq::mxfp4, 1.0F, rule);
        CHECK(row.scales == from_hex("7f 7f"));
        CHECK(row.codes == from_hex("1e4d5be8c2a4063d0808808080080808"
                                    "0000000000000000b4852d4c6ad1c395"));
    }
}

TEST_CASE("MXFP4 by FP-Quant's rule, global scale 3, has its pinned bytes", "[format]") {
    packed_row const row = pack_golden(fpq::mxfp4, 3.0F, fp_quant_rule);
    CHECK(row.scales == from_hex("80 80"));
    CHECK(row.codes == from_hex("2f5e6cf9d3b5174e1818908081090818"
                                "0000000000000000c5864f6d7be1d4a6"));
}

TEST_CASE("the pinned bytes decode within half a step of the golden row", "[format]") {
    std::vector<float> const v = golden_row();
    packed_row const row = pack_golden(fpq::mxfp4, 1.0F, ceil_rule);
    fpq::packed_view const view{fpq::mxfp4,        1,       64,  row.codes.data(),
                                row.scales.data(), nullptr, 1.0F};
    for (std::size_t i = 0; i < 64; ++i) {
        INFO("element " << i);
        CHECK(std::fabs(view(0, i) - v[i]) <= view.step(0, i / 32));  // widest gap of E2M1 is 2
    }
}
