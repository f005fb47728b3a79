// SPDX-License-Identifier: Apache-2.0
// parallel_for: every chunk once, fixed chunks, exceptions come home.
#include "fpq/core/hosted/parallel.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <stdexcept>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "support/sanitized.hpp"

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

TEST_CASE("parallel_for may be nested and called from many threads", "[quant]") {
    std::atomic<int> seen{0};
    {
        std::vector<std::jthread> callers;
        callers.reserve(4);
        for (int k = 0; k < 4; ++k) {
            callers.emplace_back([&] {
                for (int round = 0; round < 50; ++round) {
                    fpq::parallel_for(8, 1, 3, [&](std::size_t, std::size_t) {
                        fpq::parallel_for(5, 1, 3, [&](std::size_t, std::size_t) { ++seen; });
                    });
                }
            });
        }
    }
    REQUIRE(seen == 4 * 50 * 8 * 5);
}

TEST_CASE("parallel_for works again after an exception", "[quant]") {
    for (int round = 0; round < 20; ++round) {
        REQUIRE_THROWS_AS(
            fpq::parallel_for(9, 1, 4,
                              [](std::size_t, std::size_t) { throw std::runtime_error("all"); }),
            std::runtime_error);
    }
    std::atomic<int> seen{0};
    fpq::parallel_for(100, 1, 4, [&](std::size_t, std::size_t) { ++seen; });
    REQUIRE(seen == 100);
}

TEST_CASE("parallel_for gets other threads to help", "[quant]") {
    // Both chunks wait for each other: one thread alone would never end.
    std::atomic<int> inside{0};
    fpq::parallel_for(2, 1, 2, [&](std::size_t, std::size_t) {
        ++inside;
        while (inside < 2) {
            std::this_thread::yield();
        }
    });
    REQUIRE(inside == 2);
}

#if !defined(FPQ_TEST_SANITIZED)
TEST_CASE("a forked child has threads of its own", "[quant]") {
    auto const helped = [] {
        std::atomic<int> inside{0};
        fpq::parallel_for(2, 1, 2, [&](std::size_t, std::size_t) {
            ++inside;
            while (inside < 2) {
                std::this_thread::yield();
            }
        });
        return inside == 2;
    };
    REQUIRE(helped());
    pid_t const child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        alarm(20);  // a pool without threads would wait for ever
        _exit(helped() ? 0 : 1);
    }
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    REQUIRE(WEXITSTATUS(status) == 0);
}
#endif
