// SPDX-License-Identifier: Apache-2.0
// GPTQ of a 4096 x 4096 layer and its pieces, and the Hessian of 4096 columns beside the products
// that bound it: with our own products and, where it is installed, with OpenBLAS. Values: weights;
// multiply-adds of whole products for everything with "x^T x".
#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "common.hpp"
#include "fpq/core/random.hpp"
#include "fpq/linalg/openblas.hpp"
#include "fpq/linalg/products.hpp"
#include "fpq/linalg/second_moment.hpp"
#include "fpq/solve/gptq.hpp"

namespace {

constexpr std::size_t n = 4096;
constexpr std::size_t tokens = 2048;

struct problem {
    std::vector<float> x, w;
    fpq::hessian h;
    fpq::solve_options options;
    fpq::gptq_factor factor;
    double rtn_error = 0;

    problem() : x(tokens * n), w(n * n), h(n, 0, std::vector<float>(n * n)) {
        fpq::philox const source{7, 7};
        for (std::size_t i = 0; i < x.size(); ++i) {
            // One factor that all channels share, and channels of seven sizes.
            float const common = fpq::uniform(source.at(i / n)) - 0.5F;
            x[i] = (common + fpq::uniform(source.at(i + tokens)) - 0.5F) *
                   (1.0F + static_cast<float>(i % n % 7));
        }
        for (std::size_t i = 0; i < w.size(); ++i) {
            w[i] = 0.02F * (fpq::uniform(source.at(3 * i)) + fpq::uniform(source.at(3 * i + 1)) +
                            fpq::uniform(source.at(3 * i + 2)) - 1.5F);
        }
        h = fpq::hessian_of(inputs(), 2);
        options.observer.global_scale = fpq::nvfp_global_scale(0.03F, true);
        options.threads = 2;
        factor = fpq::factor(h, options, "bench");
        rtn_error = fpq::rtn(weights(), &h, fpq::nvfp4, options, "bench").report.relative_error;
    }
    [[nodiscard]] fpq::matrix_view<float const> inputs() const {
        return fpq::as_view(x.data(), tokens, n);
    }
    [[nodiscard]] fpq::matrix_view<float const> weights() const {
        return fpq::as_view(w.data(), n, n);
    }
};

/// Whether h is x^T x at some places.
bool is_gram(fpq::matrix_view<float const> h, fpq::matrix_view<float const> x, double times) {
    for (std::size_t k = 0; k < 40; ++k) {
        std::size_t const i = k * 997 % n;
        std::size_t const j = k * 331 % (i + 1);
        double sum = 0;
        for (std::size_t t = 0; t < x.rows; ++t) {
            sum += static_cast<double>(x(t, i)) * static_cast<double>(x(t, j));
        }
        double const found = static_cast<double>(h(i, j));
        if (std::abs(found - times * sum) > 1e-4 * times * (std::abs(sum) + 100.0)) {
            return false;
        }
    }
    return true;
}

/// What one product of `table` takes, the whole of x^T x and its lower half.
void add_products(problem const& p, fpq::product_table const& table) {
    auto const c = std::make_shared<std::vector<float>>(n * n);
    auto const good = [c, &p] {
        return is_gram(fpq::as_view<float const>(c->data(), n, n), p.inputs(), 1.0);
    };
    double const whole = static_cast<double>(tokens * n * n);
    std::string const name(table.name);
    fpq::bench::add({"x^T x, " + name, "4096", 0, whole, 1,
                     [c, &p, &table] {
                         table.in_float.product(fpq::product_shape::tn, n, n, tokens, 1.0F,
                                                p.x.data(), n, p.x.data(), n, c->data(), n, false);
                     },
                     good});
    fpq::bench::add({"half of x^T x, " + name, "4096", 0, whole, 1,
                     [c, &p, &table] {
                         table.in_float.lower_gram(n, tokens, p.x.data(), n, c->data(), n, false);
                     },
                     good});
}

void add_solver(problem const& p, fpq::product_table const& table, int threads) {
    std::string const name = ", " + std::string(table.name);
    auto options = p.options;
    options.threads = threads;
    double const weights = static_cast<double>(n * n);
    auto const h = std::make_shared<fpq::second_moment>(n);
    fpq::bench::add(
        {"Hessian, 2048 tokens x^T x" + name, "4096", 0, static_cast<double>(tokens * n * n),
         threads,
         [h, &p, &table, threads] {
             fpq::use_products(&table);
             h->add(p.inputs(), threads);
         },
         [h, &p] { return is_gram(fpq::second_moment(*h).finish().view(), p.inputs(), 1.0); }});
    auto const factor = std::make_shared<fpq::gptq_factor>();
    fpq::bench::add({"GPTQ factor" + name, "4096", 0, weights, threads,
                     [factor, &p, &table, options] {
                         fpq::use_products(&table);
                         *factor = fpq::factor(p.h, options, "bench");
                     },
                     [factor, &p] {
                         return std::equal(factor->innovation().begin(), factor->innovation().end(),
                                           p.factor.innovation().begin(), [](double a, double b) {
                                               return std::abs(a - b) <= 1e-4 * b;
                                           });
                     }});
    auto const form = std::make_shared<double>();
    fpq::bench::add({"tr(W H W^T)" + name, "4096", 0, weights, threads,
                     [form, &p, &table, threads] {
                         fpq::use_products(&table);
                         *form = fpq::quadratic_form(p.weights(), p.h.view(), threads);
                     },
                     [form, &p] {
                         double const other = fpq::quadratic_form(p.weights(), p.h.view(), 1);
                         return *form > 0 && *form == other;
                     }});
    auto const error = std::make_shared<double>();
    fpq::bench::add(
        {"GPTQ nvfp4, factor and report too" + name, "4096", 0, weights, threads,
         [error, &p, &table, options] {
             fpq::use_products(&table);
             auto const f = fpq::factor(p.h, options, "bench");
             *error =
                 fpq::gptq(p.weights(), p.h, f, fpq::nvfp4, options, "bench").report.relative_error;
         },
         [error, &p] { return *error > 0 && *error < p.rtn_error; }});
}

}  // namespace

int main(int argc, char** argv) {
    fpq::loaded_openblas const& library = fpq::load_openblas();
    std::vector<fpq::product_table const*> tables{&fpq::own_products()};
    if (library.there) {
        tables.push_back(&library.products);
    }
    problem const p;
    for (fpq::product_table const* const table : tables) {
        add_products(p, *table);
        add_solver(p, *table, 1);
        add_solver(p, *table, 2);
    }
    return fpq::bench::run_cases(argc, argv);
}
