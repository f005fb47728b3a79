// SPDX-License-Identifier: Apache-2.0
// Encodes one number in every element format and prints what comes back. Floor 1 only.
#include <cstdio>

#include "fpq/format.hpp"

int main() {
    struct row {
        char const* name;
        fpq::element_kind kind;
    };
    constexpr row rows[] = {
        {"E2M1 (FP4)", fpq::element_kind::e2m1}, {"E2M3 (FP6)", fpq::element_kind::e2m3},
        {"E3M2 (FP6)", fpq::element_kind::e3m2}, {"E4M3 (FP8)", fpq::element_kind::e4m3},
        {"E5M2 (FP8)", fpq::element_kind::e5m2}, {"INT4", fpq::element_kind::int4},
    };
    float const x = 2.6F;
    for (row const& r : rows) {
        std::uint8_t const code = fpq::encode_element(r.kind, x);
        float const back = fpq::decode_element(r.kind, code);
        std::printf("%-11s %d bits: %g -> code 0x%02x -> %g\n", r.name, fpq::element_bits(r.kind),
                    static_cast<double>(x), code, static_cast<double>(back));
    }
    // FP4 holds 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives; a tie goes to the even code, and
    // what is too large becomes the largest.
    bool const right = fpq::e2m1::decode(fpq::e2m1::encode(2.6F)) == 3.0F &&
                       fpq::e2m1::decode(fpq::e2m1::encode(2.5F)) == 2.0F &&
                       fpq::e2m1::decode(fpq::e2m1::encode(-1e9F)) == -6.0F;
    return right ? 0 : 1;
}
