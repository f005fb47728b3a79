// SPDX-License-Identifier: Apache-2.0
// What main.cpp asks of the kernels of probes.cu: conversions and scale lanes, tried one by one.
#pragma once

#include <cstdint>

#include "fpq/cuda/api/status.hpp"

namespace fpq::selftest {

/// Outcome of comparing an instruction with software over a set of inputs.
struct comparison {
    bool there = false;              // false: this build or card has no such instruction
    unsigned long long inputs = 0;   // compared
    unsigned long long differ = 0;   // inputs with another result
    unsigned long long example = 0;  // the least of those
};

enum class conversion { e2m1_from_float, e2m1_to_half, e4m3_from_float, e4m3_to_half };

inline char const* name_of(conversion c) {
    switch (c) {
        case conversion::e2m1_from_float:
            return "cvt e2m1x2 from float32";
        case conversion::e2m1_to_half:
            return "cvt e2m1x2 to float16";
        case conversion::e4m3_from_float:
            return "cvt e4m3x2 from float32";
        default:
            return "cvt e4m3x2 to float16";
    }
}

/// Every float32 but NaN (to a code), or every code (to float16), against fpq's software. The
/// instructions saturate as the software does.
cuda::status compare_conversion(conversion which, comparison* result);

/// One m16n8k64 a case: all scales 1 but one byte of one lane, which is 2. `hardware`: the
/// instruction itself, else its emulation. `selectors`: bit 0 byte-id 2 (MXFP4), bit 1 thread-id-a,
/// bits 2-3 thread-id-b. sums: (2 operands, 32 lanes, 4 bytes, 16 rows, 8 columns) float32, where
/// A(row, k) = 2^(k / 16 - 1) and B = 1.
cuda::status probe_scales(bool hardware, bool nvfp4, unsigned selectors, float* sums);

}  // namespace fpq::selftest
