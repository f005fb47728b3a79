// SPDX-License-Identifier: Apache-2.0
// Quantize and dequantize, one thread and two, in the cache and beyond it.
#include "fpq/quant/quantize.hpp"

#include "common.hpp"
#include "fpq/core/random.hpp"

int main(int argc, char** argv) {
    fpq::bench::add_memcpy(std::size_t{1} << 20);
    fpq::bench::add_memcpy(std::size_t{64} << 20);
    return fpq::bench::run_cases(argc, argv);
}
