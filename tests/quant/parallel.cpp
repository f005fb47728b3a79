// SPDX-License-Identifier: Apache-2.0
// parallel_for: every chunk once, fixed chunks, exceptions come home.
#include "fpq/quant/parallel.hpp"

#include <atomic>
#include <cstddef>
#include <stdexcept>
#include <vector>

#include "catch.hpp"

TEST_CASE("parallel_for visits every index once whatever the threads and chunks", "[quant]") {
    for (std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{7}, std::size_t{100}}) {
        for (std::size_t chunk : {std::size_t{0}, std::size_t{1}, std::size_t{8}}) {
            for (int threads : {-1, 0, 1, 2, 5, 200}) {
                std::vector<std::atomic<int>> seen(n);
                fpq::parallel_for(n, chunk, threads, [&](std::size_t begin, std::size_t end) {
                    for (std::size_t i = begin; i < end; ++i) {
                        ++seen[i];
                    }
                });
                for (std::atomic<int> const& s : seen) {
                    REQUIRE(s == 1);
                }
            }
        }
    }
}

TEST_CASE("parallel_for's chunks do not depend on the thread count", "[quant]") {
    for (int threads : {1, 3}) {
        std::vector<std::size_t> ends(10, 0);
        fpq::parallel_for(10, 4, threads,
                          [&](std::size_t begin, std::size_t end) { ends[begin] = end; });
        REQUIRE(ends == std::vector<std::size_t>{4, 0, 0, 0, 8, 0, 0, 0, 10, 0});
    }
}

TEST_CASE("parallel_for rethrows an exception of its body", "[quant]") {
    for (int threads : {1, 4}) {
        REQUIRE_THROWS_AS(fpq::parallel_for(64, 1, threads,
                                            [](std::size_t begin, std::size_t) {
                                                if (begin == 13) {
                                                    throw std::runtime_error("13");
                                                }
                                            }),
                          std::runtime_error);
    }
}
