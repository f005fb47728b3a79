// SPDX-License-Identifier: Apache-2.0
// fpq/linalg/products.hpp and openblas.hpp: every table that this processor can run against three
// loops, on small integers, whose sums are exact in any order; and which table is in use.
#include "fpq/linalg/products.hpp"

#include <array>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/core/view.hpp"
#include "fpq/linalg/matmul.hpp"
#include "fpq/linalg/openblas.hpp"
#include "support/limited_simd.hpp"

namespace {

using fpq::product_shape;
using fpq::product_table;

std::string variable(char const* name) {
    char const* const value = std::getenv(name);
    return value != nullptr ? value : "";
}

/// Threads of this process.
std::ptrdiff_t tasks() {
    std::filesystem::directory_iterator const all("/proc/self/task");
    return std::distance(begin(all), end(all));
}

/// Before main, when no case has loaded the library yet.
struct at_start {
    std::string threads = variable("OPENBLAS_NUM_THREADS");
    std::string core = variable("OPENBLAS_CORETYPE");
    std::ptrdiff_t tasks_before = tasks();
    bool there = fpq::load_openblas().there;
    std::ptrdiff_t tasks_after = tasks();
} const start;

/// All that can run here: our own at every level, and OpenBLAS where it is installed.
std::vector<product_table const*> tables() {
    std::vector<product_table const*> all;
    for (fpq::simd_level const level :
         {fpq::simd_level::generic, fpq::simd_level::avx2, fpq::simd_level::avx512}) {
        fpq_test::limited_simd const limit(level);
        if (all.empty() || all.back() != &fpq::own_products()) {
            all.push_back(&fpq::own_products());
        }
    }
    if (fpq::load_openblas().there) {
        all.push_back(&fpq::load_openblas().products);
    }
    return all;
}

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
std::size_t wrong(product_table const& table, std::array<std::size_t, 3> size, product_shape shape,
                  bool add) {
    auto const [m, n, k] = size;
    bool const a_turned = shape == product_shape::tn;
    bool const b_turned = shape == product_shape::nt;
    std::size_t const lda = (a_turned ? m : k) + 3;
    std::size_t const ldb = (b_turned ? k : n) + 1;
    std::size_t const ldc = n + 2;
    auto const a = integers<Scalar>((a_turned ? k : m) * lda, 1);
    auto const b = integers<Scalar>((b_turned ? n : k) * ldb, 2);
    auto c = integers<Scalar>(m * ldc, 3);
    auto expected = c;
    for (std::size_t i = 0; i < m; ++i) {
        for (std::size_t j = 0; j < n; ++j) {
            Scalar sum = 0;
            for (std::size_t p = 0; p < k; ++p) {
                sum += (a_turned ? a[p * lda + i] : a[i * lda + p]) *
                       (b_turned ? b[j * ldb + p] : b[p * ldb + j]);
            }
            Scalar& to = expected[i * ldc + j];
            to = (add ? to : Scalar{0}) - Scalar{0.5} * sum;
        }
    }
    table.of<Scalar>().product(shape, m, n, k, Scalar{-0.5}, a.data(), lda, b.data(), ldb, c.data(),
                               ldc, add);
    std::size_t count = 0;
    for (std::size_t i = 0; i < c.size(); ++i) {
        count += c[i] != expected[i];
    }
    return count;
}

/// Elements on and below the diagonal that differ from three loops, and those outside of c.
template <class Scalar>
std::size_t wrong_gram(product_table const& table, std::size_t n, std::size_t k, bool add) {
    std::size_t const ldx = n + 3;
    std::size_t const ldc = n + 2;
    auto const x = integers<Scalar>(k * ldx, 4);
    auto const before = integers<Scalar>(n * ldc, 5);
    auto c = before;
    table.of<Scalar>().lower_gram(n, k, x.data(), ldx, c.data(), ldc, add);
    std::size_t count = 0;
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j <= i; ++j) {
            Scalar sum = add ? before[i * ldc + j] : Scalar{0};
            for (std::size_t p = 0; p < k; ++p) {
                sum += x[p * ldx + i] * x[p * ldx + j];
            }
            count += c[i * ldc + j] != sum;
        }
        count += c[i * ldc + n] != before[i * ldc + n];
    }
    return count;
}

}  // namespace

TEST_CASE("every table's product is that of three loops", "[linalg]") {
    // Thin ones, panels, blocks of panels, and all of their edges.
    for (product_table const* const table : tables()) {
        for (std::array<std::size_t, 3> const size : {std::array<std::size_t, 3>{1, 1, 1},
                                                      {1, 37, 133},
                                                      {3, 8, 6},
                                                      {5, 70, 65},
                                                      {11, 40, 31},
                                                      {12, 32, 8},
                                                      {13, 33, 17},
                                                      {24, 64, 256},
                                                      {253, 40, 300},
                                                      {30, 530, 259}}) {
            for (product_shape const shape :
                 {product_shape::nn, product_shape::nt, product_shape::tn}) {
                for (bool const add : {false, true}) {
                    INFO(table->name << ", " << size[0] << " x " << size[1] << " x " << size[2]
                                     << ", shape " << static_cast<int>(shape) << ", add " << add);
                    REQUIRE(wrong<float>(*table, size, shape, add) == 0);
                    REQUIRE(wrong<double>(*table, size, shape, add) == 0);
                }
            }
        }
    }
}

TEST_CASE("every table's lower Gram matrix is that of three loops", "[linalg]") {
    for (product_table const* const table : tables()) {
        for (std::size_t const n : {1, 12, 128, 129, 300}) {
            for (bool const add : {false, true}) {
                INFO(table->name << ", " << n << ", add " << add);
                REQUIRE(wrong_gram<float>(*table, n, 19, add) == 0);
                REQUIRE(wrong_gram<double>(*table, n, 19, add) == 0);
            }
        }
    }
}

TEST_CASE("the table in use is our own until another is named", "[linalg]") {
    CHECK(&fpq::active_products() == &fpq::own_products());
    {
        fpq_test::limited_simd const limit(fpq::simd_level::generic);
        CHECK(fpq::active_products().name == "own (generic)");
    }
    // A table whose product is always 7: what matmul_nt then gives.
    static auto const seven = [](product_shape, std::size_t m, std::size_t n, std::size_t, float,
                                 float const*, std::size_t, float const*, std::size_t, float* c,
                                 std::size_t ldc, bool) {
        for (std::size_t i = 0; i < m; ++i) {
            std::fill_n(c + i * ldc, n, 7.0F);
        }
    };
    product_table const sevens{
        "sevens", {seven, fpq::own_products().in_float.lower_gram}, fpq::own_products().in_double};
    std::vector<float> const x(6, 1.0F);
    std::vector<float> y(4, 0.0F);
    fpq::use_products(&sevens);
    fpq::matmul_nt(fpq::as_view(x.data(), 2, 3), fpq::as_view(x.data(), 2, 3),
                   fpq::as_view(y.data(), 2, 2), 2);
    fpq::use_products(nullptr);
    CHECK(y == std::vector<float>(4, 7.0F));
    fpq::matmul_nt(fpq::as_view(x.data(), 2, 3), fpq::as_view(x.data(), 2, 3),
                   fpq::as_view(y.data(), 2, 2), 2);
    CHECK(y == std::vector<float>(4, 3.0F));
}

TEST_CASE("OpenBLAS has one thread, this processor's kernels, and leaves the environment as it was",
          "[linalg]") {
    fpq::loaded_openblas const& library = fpq::load_openblas();
    CHECK(variable("OPENBLAS_NUM_THREADS") == start.threads);
    CHECK(variable("OPENBLAS_CORETYPE") == start.core);
    if (!library.there) {
        WARN("SKIPPED: no OpenBLAS: " << library.name);
        return;
    }
    INFO(library.name);
    CHECK(library.name.substr(0, 11) == "OpenBLAS 0.");
    void* const handle = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_NOLOAD);
    REQUIRE(handle != nullptr);
    auto const threads = reinterpret_cast<int (*)()>(dlsym(handle, "openblas_get_num_threads"));
    REQUIRE(threads != nullptr);
    CHECK(threads() == 1);
    CHECK(start.tasks_after == start.tasks_before);  // no pool was started, not even to be stopped
    char const* const kernels = fpq::openblas_core_type();
    if (kernels != nullptr && start.core.empty()) {
        std::string found = library.name.substr(library.name.find('(') + 1);
        for (char& letter : found) {
            letter =
                letter >= 'a' && letter <= 'z' ? static_cast<char>(letter - 'a' + 'A') : letter;
        }
        CHECK(found == std::string(kernels) + ")");
    }
}
