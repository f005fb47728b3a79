// SPDX-License-Identifier: Apache-2.0
// Wing cuda. How a group's scale is found, as the launchers and kernels name it. The rules that the
// CPU path has too give its bytes; docs/observers.md describes them.
#pragma once

#include <cstdint>

#include "fpq/cuda/api/types.hpp"

namespace fpq::cuda {

/// a = largest magnitude of the group, G = global scale (value = code * scale / G).
/// minmax: NVFP4: E4M3 of a / 6 * G; MX: FP-Quant's rule, for G = 3 * 2^k.
/// floor, ceil, even: the E8M0 rules of OCP MX, RCEIL and compressed-tensors. MX only.
/// abs_max: QuTLASS's. NVFP4: as minmax, but a scale that rounds to 0 stays 0 with codes 0.
///   MXFP4: 2^floor(log2(a + 1e-8)), for G = 3 (its codes are those of 3 x / s).
/// quest: QuTLASS's, from the standard deviation d of the group: d * 2.92247856 / 6 + 1e-8, times
/// G,
///   E4M3 nearest, or the power of two below; G = 1 is QuTLASS's. FP4 only.
/// four_over_six: NVFP4: the better of a / 6 and a / 4 by squared error; on equal errors a / 6.
/// sweep: the stored scale of least squared error, as the CPU's observer of that name. FP4 only.
enum class scale_method : std::uint8_t {
    minmax,
    floor,
    ceil,
    even,
    abs_max,
    quest,
    four_over_six,
    sweep
};

constexpr char const* name_of(scale_method method) noexcept {
    constexpr char const* names[] = {"minmax",  "floor", "ceil",          "even",
                                     "abs_max", "quest", "four_over_six", "sweep"};
    return names[static_cast<int>(method)];
}

/// True when `format` has the method.
constexpr bool has_method(block_format format, scale_method method) noexcept {
    switch (method) {
        case scale_method::minmax:
            return true;
        case scale_method::floor:
        case scale_method::ceil:
        case scale_method::even:
            return format != block_format::nvfp4;
        case scale_method::abs_max:
        case scale_method::quest:
        case scale_method::sweep:
            return format != block_format::mxfp8;
        case scale_method::four_over_six:
            break;
    }
    return format == block_format::nvfp4;
}

}  // namespace fpq::cuda
