// SPDX-License-Identifier: Apache-2.0
// The products that a program may name beside our own: OpenBLAS, loaded at run time, and Eigen's,
// which are the reference that golden tables of whole runs are recorded with.
#include "common/products.hpp"

#include <array>
#include <cstdlib>
#include <string_view>

#include "fpq/core/hosted/error.hpp"
#include "fpq/linalg/openblas.hpp"
#include "fpq/linalg/products.hpp"
#include "fpq/pipeline/words.hpp"

#if defined(FPQ_HAVE_EIGEN)
// Threads are ours: built with OpenMP, Eigen would start its own inside them.
#define EIGEN_DONT_PARALLELIZE
#include <Eigen/Core>
#include <type_traits>

namespace {

using fpq::product_shape;

template <class Scalar>
auto map(Scalar* data, std::size_t rows, std::size_t cols, std::size_t stride) {
    using matrix =
        Eigen::Matrix<std::remove_const_t<Scalar>, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    using map = Eigen::Map<std::conditional_t<std::is_const_v<Scalar>, matrix const, matrix>, 0,
                           Eigen::OuterStride<>>;
    return map(data, static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(cols),
               Eigen::OuterStride<>(static_cast<Eigen::Index>(stride)));
}

template <class Scalar>
void product(product_shape shape, std::size_t m, std::size_t n, std::size_t k, Scalar alpha,
             Scalar const* a, std::size_t lda, Scalar const* b, std::size_t ldb, Scalar* c,
             std::size_t ldc, bool add) {
    auto out = map(c, m, n, ldc);
    if (!add) {
        out.setZero();
    }
    if (shape == product_shape::nn) {
        out.noalias() += alpha * map(a, m, k, lda) * map(b, k, n, ldb);
    } else if (shape == product_shape::nt) {
        out.noalias() += alpha * map(a, m, k, lda) * map(b, n, k, ldb).transpose();
    } else {
        out.noalias() += alpha * map(a, k, m, lda).transpose() * map(b, k, n, ldb);
    }
}

template <class Scalar>
constexpr fpq::product_functions<Scalar> functions{
    &product<Scalar>, &fpq::detail::gram_by_halving<Scalar, &product<Scalar>>};

constexpr fpq::product_table eigen{"Eigen", functions<float>, functions<double>};
fpq::product_table const* eigen_table() { return &eigen; }

}  // namespace
#else
static fpq::product_table const* eigen_table() { return nullptr; }
#endif

fpq::tools::flag_spec fpq::tools::products_flag(std::string& choice) {
    static constexpr std::array<std::string_view, 4> words{"auto", "own", "openblas", "eigen"};
    auto const read = [](char const* place, std::string const& text) {
        return std::string(words[detail::read_word(place, words, {}, text)]);
    };
    if (char const* const set = std::getenv("FPQ_PRODUCTS"); set != nullptr && *set != '\0') {
        choice = read("FPQ_PRODUCTS", set);
    }
    return {"products", "WORD", "matrix products: " + detail::listed(words) + " (or FPQ_PRODUCTS)",
            choice,
            [&choice, read](std::string const& text) { choice = read("--products", text); }};
}

std::string fpq::tools::choose_products(std::string const& choice, int threads) {
    char const* why = "";
    if (choice == "eigen") {
        product_table const* const table = eigen_table();
        if (table == nullptr) {
            fail_usage("these products are not there", "--products", "a build with Eigen", choice);
        }
        use_products(table);
        return std::string(table->name);
    }
    if (choice != "own") {
        loaded_openblas const& library = load_openblas();
        if (library.there && !reserve_openblas(threads)) {
            if (choice == "openblas") {
                fail_input("not enough address space", "--products openblas",
                           "130 MiB for each thread beside the run, or --products own",
                           "a lower limit (ulimit -v)");
            }
            why = ": the limit of address space (ulimit -v) leaves OpenBLAS no room";
        } else if (library.there) {
            use_products(&library.products);
            return library.name;
        } else if (choice == "openblas") {
            fail_usage("OpenBLAS cannot be loaded", "--products", "libopenblas.so.0", library.name);
        }
    }
    use_products(nullptr);
    return std::string(active_products().name) + why;
}
