// SPDX-License-Identifier: Apache-2.0
// fpq/linalg/sharded_second_moment.hpp: the same bytes, low parts included, at any number of
// threads, in any order of the shards, over two ranks; and how many matrices it holds meanwhile.
#include "fpq/linalg/sharded_second_moment.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/parallel.hpp"
#include "support/gaussian.hpp"

namespace {

constexpr std::size_t n = 70;
constexpr std::size_t tokens = 33;  // of a window

/// Windows of sizes far apart, so that no sum of low parts is exact by luck.
struct windows {
    std::size_t count;
    std::vector<float> x;

    explicit windows(std::size_t how_many)
        : count(how_many), x(fpq_test::gaussian(count * tokens * n, 31, 7, 1.0F, 0.4F)) {
        for (std::size_t i = 0; i < x.size(); ++i) {
            x[i] *= std::exp2(static_cast<float>(i / (tokens * n) * 5 % 11));
        }
    }

    [[nodiscard]] fpq::matrix_view<float const> at(std::size_t w) const {
        return fpq::as_view(x.data() + w * tokens * n, tokens, n);
    }
    /// All windows of a shard, in order.
    void feed(fpq::sharded_second_moment& sum, std::size_t shard, int threads) const {
        for (std::size_t w = fpq::shard_begin(shard, count); w < fpq::shard_begin(shard + 1, count);
             ++w) {
            sum.add(w, at(w), threads);
        }
    }
};

/// The tree by hand: shards, their pairs, pairs of pairs.
fpq::second_moment by_hand(windows const& all, std::size_t first, std::size_t shards) {
    if (shards == 1) {
        fpq::second_moment sum(n);
        for (std::size_t w = fpq::shard_begin(first, all.count);
             w < fpq::shard_begin(first + 1, all.count); ++w) {
            sum.add(all.at(w), 1);
        }
        return sum;
    }
    auto left = by_hand(all, first, shards / 2);
    left.merge(by_hand(all, first + shards / 2, shards / 2));
    return left;
}

bool same(fpq::second_moment const& a, fpq::second_moment const& b) {
    return a.count() == b.count() &&
           std::equal(a.parts().begin(), a.parts().end(), b.parts().begin(), b.parts().end()) &&
           std::equal(a.diagonal_parts().begin(), a.diagonal_parts().end(),
                      b.diagonal_parts().begin(), b.diagonal_parts().end());
}

}  // namespace

TEST_CASE("shards hold consecutive windows, all of them, sizes apart by one at most", "[linalg]") {
    for (std::size_t count = 1; count <= 130; ++count) {
        std::vector<std::size_t> sizes(fpq::moment_shards, 0);
        for (std::size_t w = 0; w < count; ++w) {
            std::size_t const s = fpq::shard_of(w, count);
            REQUIRE(s < fpq::moment_shards);
            REQUIRE(fpq::shard_begin(s, count) <= w);
            REQUIRE(w < fpq::shard_begin(s + 1, count));
            ++sizes[s];
        }
        auto const [least, most] = std::minmax_element(sizes.begin(), sizes.end());
        REQUIRE(*most - *least <= 1);
    }
}

TEST_CASE("a sharded sum is the tree by hand, at 1 to 8 threads and in any order", "[linalg]") {
    for (std::size_t const count : {1, 5, 8, 19}) {
        windows const all{count};
        auto const expected = by_hand(all, 0, fpq::moment_shards);
        for (int threads = 1; threads <= 8; ++threads) {
            INFO(count << " windows, " << threads << " threads");
            fpq::sharded_second_moment in_order(n, count);
            fpq::sharded_second_moment backwards(n, count);
            fpq::sharded_second_moment at_once(n, count);
            for (std::size_t s = 0; s < fpq::moment_shards; ++s) {
                all.feed(in_order, s, threads);
                all.feed(backwards, (fpq::moment_shards - 1 - s) * 3 % fpq::moment_shards, threads);
            }
            fpq::parallel_for(fpq::moment_shards, 1, threads,
                              [&](std::size_t begin, std::size_t end) {
                                  for (std::size_t s = begin; s < end; ++s) {
                                      all.feed(at_once, s, 1);
                                  }
                              });
            REQUIRE(same(std::move(in_order).total(), expected));
            REQUIRE(same(std::move(backwards).total(), expected));
            REQUIRE(same(std::move(at_once).total(), expected));
        }
    }
}

TEST_CASE("the order of additions shows in the low parts, or the cases above prove nothing",
          "[linalg]") {
    windows const all{19};
    fpq::second_moment one_after_another(n);
    for (std::size_t w = 0; w < all.count; ++w) {
        one_after_another.add(all.at(w), 1);
    }
    CHECK(!same(one_after_another, by_hand(all, 0, fpq::moment_shards)));
}

TEST_CASE("windows of all shards in turn give the same bytes", "[linalg]") {
    windows const all{19};
    fpq::sharded_second_moment sum(n, all.count);
    for (std::size_t k = 0; k < 3; ++k) {
        for (std::size_t s = 0; s < fpq::moment_shards; ++s) {
            std::size_t const w = fpq::shard_begin(s, all.count) + k;
            if (w < fpq::shard_begin(s + 1, all.count)) {
                sum.add(w, all.at(w), 2);
            }
        }
    }
    CHECK(same(std::move(sum).total(), by_hand(all, 0, fpq::moment_shards)));
}

TEST_CASE("two ranks send their subtrees and get the bytes of one", "[linalg]") {
    windows const all{21};
    auto const expected = by_hand(all, 0, fpq::moment_shards);
    for (std::size_t const cut : {std::size_t{4}, std::size_t{3}, std::size_t{7}}) {
        fpq::sharded_second_moment here(n, all.count);
        fpq::sharded_second_moment there(n, all.count);
        for (std::size_t s = 0; s < fpq::moment_shards; ++s) {
            all.feed(s < cut ? here : there, s, 1);
        }
        auto sent = std::move(there).subtrees();
        CHECK(sent.size() == (cut == 4 ? 1U : cut == 3 ? 2U : 1U));
        for (auto& [node, moment] : sent) {
            here.add_subtree(node, std::move(moment));
        }
        CHECK(same(std::move(here).total(), expected));
    }
}

TEST_CASE("shards one after another hold log2(8) + 1 matrices at most", "[linalg]") {
    windows const all{24};
    fpq::sharded_second_moment sum(n, all.count);
    std::size_t most = 0;
    for (std::size_t w = 0; w < all.count; ++w) {
        sum.add(w, all.at(w), 1);
        most = std::max(most, sum.matrices());
    }
    CHECK(most == 4);
    CHECK(sum.matrices() == 1);
    fpq::hessian const h = std::move(sum).finish();
    CHECK(h.count() == all.count * tokens);
}

TEST_CASE("windows out of order, twice or missing are refused by number", "[linalg]") {
    windows const all{16};
    fpq::sharded_second_moment sum(n, all.count);
    CHECK_THROWS_AS(sum.add(1, all.at(1), 1), fpq::error);
    sum.add(0, all.at(0), 1);
    CHECK_THROWS_AS(sum.add(0, all.at(0), 1), fpq::error);
    sum.add(1, all.at(1), 1);
    CHECK_THROWS_AS(sum.add(1, all.at(1), 1), fpq::error);
    CHECK_THROWS_AS(sum.add(16, all.at(0), 1), fpq::error);
    CHECK_THROWS_AS(sum.add_subtree(8, fpq::second_moment(n)), fpq::error);
    CHECK_THROWS_AS(sum.add_subtree(4, fpq::second_moment(n)), fpq::error);
    CHECK_THROWS_AS(sum.add_subtree(0, fpq::second_moment(n)), fpq::error);
    CHECK_THROWS_AS(sum.add_subtree(16, fpq::second_moment(n)), fpq::error);
    CHECK_THROWS_AS(sum.add_subtree(9, fpq::second_moment(n + 1)), fpq::error);
    try {
        static_cast<void>(std::move(sum).finish());
        FAIL("an unfinished sum was given out");
    } catch (fpq::error const& e) {
        CHECK(e.category() == fpq::error_category::usage);
        CHECK(std::string(e.what()).find("not window 2, 4, 6") != std::string::npos);
    }
    CHECK(fpq::sharded_second_moment(n, 0).matrices() == 0);
}
