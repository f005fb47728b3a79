// SPDX-License-Identifier: Apache-2.0
// The matrix product of AVX-512 against three loops, on small integers, whose sums are exact in any
// order.
#include "fpq/linalg/avx512_product.hpp"

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "catch.hpp"

#if FPQ_X86_KERNELS

namespace {

using fpq::kernels::strided;

template <class Scalar>
std::vector<Scalar> integers(std::size_t count, std::size_t seed) {
    std::vector<Scalar> x(count);
    for (std::size_t i = 0; i < count; ++i) {
        x[i] = static_cast<Scalar>((i * 2654435761u + seed) / 7 % 9) - Scalar{4};
    }
    return x;
}

/// Elements of c that differ from three loops, those outside (m, n) of it included.
template <class Scalar>
std::size_t wrong(std::size_t m, std::size_t n, std::size_t k, bool a_turned, bool b_turned,
                  bool more) {
    std::size_t const lda = (a_turned ? m : k) + 3;
    std::size_t const ldb = (b_turned ? k : n) + 1;
    std::size_t const ldc = n + 2;
    auto const a = integers<Scalar>((a_turned ? k : m) * lda, 1);
    auto const b = integers<Scalar>((b_turned ? n : k) * ldb, 2);
    auto c = integers<Scalar>(m * ldc, 3);
    auto expected = c;
    strided<Scalar> const left{a.data(), a_turned ? 1 : lda, a_turned ? lda : 1};
    strided<Scalar> const right{b.data(), b_turned ? 1 : ldb, b_turned ? ldb : 1};
    for (std::size_t i = 0; i < m; ++i) {
        for (std::size_t j = 0; j < n; ++j) {
            Scalar sum = 0;
            for (std::size_t p = 0; p < k; ++p) {
                sum += left.data[i * left.down + p * left.across] *
                       right.data[p * right.down + j * right.across];
            }
            Scalar& to = expected[i * ldc + j];
            to = (more ? to : Scalar{0}) - Scalar{0.5} * sum;
        }
    }
    fpq::kernels::product_avx512(m, n, k, Scalar{-0.5}, left, right, c.data(), ldc, more);
    std::size_t count = 0;
    for (std::size_t i = 0; i < c.size(); ++i) {
        count += c[i] != expected[i];
    }
    return count;
}

}  // namespace

TEST_CASE("the product of AVX-512 is that of three loops", "[quant][kernels]") {
    if (fpq::simd_level_of_processor() != fpq::simd_level::avx512) {
        SUCCEED("no AVX-512 here");
        return;
    }
    // Panels, blocks of panels, and all of their edges.
    for (auto const& [m, n, k] : {std::array<std::size_t, 3>{1, 1, 1},
                                  {12, 32, 8},
                                  {13, 33, 17},
                                  {24, 64, 256},
                                  {253, 40, 300},
                                  {30, 530, 259}}) {
        for (int bits = 0; bits < 8; ++bits) {
            bool const a_turned = (bits & 1) != 0;
            bool const b_turned = (bits & 2) != 0;
            INFO(m << " x " << n << " x " << k << ", case " << bits);
            REQUIRE(wrong<float>(m, n, k, a_turned, b_turned, bits >= 4) == 0);
            REQUIRE(wrong<double>(m, n, k, a_turned, b_turned, bits >= 4) == 0);
        }
    }
}

#endif
