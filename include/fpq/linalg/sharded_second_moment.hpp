// SPDX-License-Identifier: Apache-2.0
// Floor 2. The second moment of windows that threads, devices or ranks share out: the same bytes
// however they do. Windows are cut into a fixed number of shards, each shard sums its own in window
// order, and shards are added in a fixed binary tree, as soon as two neighbours are there.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/view.hpp"
#include "fpq/linalg/hessian.hpp"
#include "fpq/linalg/second_moment.hpp"

namespace fpq {

/// A power of two, part of what the bytes of a Hessian depend on.
inline constexpr std::size_t moment_shards = 8;

/// The shard of a window: shard s holds windows [s * windows / 8, (s + 1) * windows / 8).
constexpr std::size_t shard_of(std::size_t window, std::size_t windows) noexcept {
    return ((window + 1) * moment_shards - 1) / windows;
}
/// The first window of a shard, and of shard 8: the number of windows.
constexpr std::size_t shard_begin(std::size_t shard, std::size_t windows) noexcept {
    return shard * windows / moment_shards;
}

/// Windows [first, first + count).
struct window_range {
    std::size_t first;
    std::size_t count;
};

/// The windows of one of `ranks` ranks: those of whole shards. Every rank has some where there are
/// as many windows as ranks.
constexpr window_range windows_of_rank(std::size_t rank, std::size_t ranks,
                                       std::size_t windows) noexcept {
    std::size_t const first = shard_begin(rank * moment_shards / ranks, windows);
    return {first, shard_begin((rank + 1) * moment_shards / ranks, windows) - first};
}

/// The second moment (n, n) of a known number of windows.
///
/// Nodes of the tree are numbered as in a heap: node 1 is the sum, node i that of 2i and 2i + 1,
/// node 8 + s is shard s. Memory: one matrix of n^2 floats a shard that is begun and not complete,
/// and one a complete subtree whose neighbour is not. Shards one after another in their order hold
/// at most log2(8) + 1 = 4 at a time (n = 14336: 3.3 GB); all begun at once hold 8.
/// Shards may be fed from different threads at the same time; one shard, from one at a time.
class sharded_second_moment {
public:
    sharded_second_moment(std::size_t n, std::size_t windows) : n_(n), windows_(windows) {
        for (std::size_t s = 0; s < moment_shards; ++s) {
            shards_[s].next = shard_begin(s, windows);
            if (shards_[s].next == shard_begin(s + 1, windows)) {
                place(moment_shards + s, nullptr);
            }
        }
    }

    /// += x^T x of a window, x (tokens, n). Within a shard windows come in their order.
    /// Throws fpq::error (usage) when this is another window than the shard's next, or not n wide.
    void add(std::size_t window, matrix_view<float const> x, int threads) {
        std::size_t const s = window < windows_ ? shard_of(window, windows_) : 0;
        open_shard& shard = shards_[s];
        if (window >= windows_ || window != shard.next ||
            shard.next == shard_begin(s + 1, windows_)) {
            fail_usage("a window out of its order", "sharded_second_moment::add",
                       "window " + std::to_string(shard.next) + " of " + std::to_string(windows_),
                       std::to_string(window));
        }
        if (shard.sum == nullptr) {
            shard.sum = std::make_unique<second_moment>(n_);
        }
        shard.sum->add(x, threads);
        ++shard.next;
        if (shard.next == shard_begin(s + 1, windows_)) {
            place(moment_shards + s, std::move(shard.sum));
        }
    }

    /// Puts a whole subtree in its place that another device or rank has summed (subtrees()).
    /// Throws fpq::error (usage) when there is no such node, some of it is there, or sizes differ.
    void add_subtree(std::size_t node, second_moment sum) {
        std::size_t first = node;  // its shards, by their nodes
        std::size_t last = node;
        while (first > 0 && first < moment_shards) {
            first = 2 * first;
            last = 2 * last + 1;
        }
        bool free = node > 0 && node < nodes_.size() && sum.size() == n_;
        for (std::size_t at = first; free && at <= last; ++at) {
            std::size_t const s = at - moment_shards;
            free = shards_[s].next == shard_begin(s, windows_);
        }
        if (!free || nodes_[node].complete) {
            fail_usage(
                "not the place of this subtree", "sharded_second_moment::add_subtree",
                "a node of the tree that is not begun, " + std::to_string(n_) + " columns",
                "node " + std::to_string(node) + ", " + std::to_string(sum.size()) + " columns");
        }
        for (std::size_t at = first; at <= last; ++at) {
            std::size_t const s = at - moment_shards;
            shards_[s].next = shard_begin(s + 1, windows_);
        }
        place(node, std::make_unique<second_moment>(std::move(sum)));
    }

    /// What is complete so far, as (node, sum), largest subtrees only; this object is left without.
    [[nodiscard]] std::vector<std::pair<std::size_t, second_moment>> subtrees() && {
        std::vector<std::pair<std::size_t, second_moment>> out;
        for (std::size_t node = 1; node < nodes_.size(); ++node) {
            if (nodes_[node].sum != nullptr) {
                out.emplace_back(node, std::move(*nodes_[node].sum));
                nodes_[node].sum.reset();
            }
        }
        return out;
    }

    /// The sum over all windows, not yet rounded. Throws fpq::error (usage) when one is missing.
    [[nodiscard]] second_moment total() && {
        if (!nodes_[1].complete) {
            std::string missing;
            for (std::size_t s = 0; s < moment_shards; ++s) {
                if (shards_[s].next != shard_begin(s + 1, windows_)) {
                    missing +=
                        (missing.empty() ? "not window " : ", ") + std::to_string(shards_[s].next);
                }
            }
            fail_usage("windows are missing", "sharded_second_moment::total",
                       std::to_string(windows_) + " windows", missing);
        }
        return nodes_[1].sum == nullptr ? second_moment(n_) : std::move(*nodes_[1].sum);
    }

    /// The Hessian of all windows; otherwise as total().
    [[nodiscard]] hessian finish() && { return std::move(*this).total().finish(); }

    /// Matrices held now.
    [[nodiscard]] std::size_t matrices() const {
        std::lock_guard const guard(mutex_);
        std::size_t held = 0;
        for (tree_node const& n : nodes_) {
            held += n.sum != nullptr ? 1 : 0;
        }
        for (open_shard const& s : shards_) {
            held += s.sum != nullptr ? 1 : 0;
        }
        return held;
    }

private:
    struct open_shard {
        std::size_t next = 0;                // the window to come
        std::unique_ptr<second_moment> sum;  // null: not begun, or complete
    };
    struct tree_node {
        bool complete = false;
        std::unique_ptr<second_moment> sum;  // null: no windows, or added to a larger subtree
    };

    /// Node `at` is complete: adds it to its neighbour if that is there, and so on upwards.
    void place(std::size_t at, std::unique_ptr<second_moment> sum) {
        std::unique_lock guard(mutex_);
        for (; at > 1; at /= 2) {
            nodes_[at].complete = true;
            tree_node& neighbour = nodes_[at ^ 1U];
            if (!neighbour.complete) {
                break;
            }
            std::unique_ptr<second_moment> left = std::move(neighbour.sum);
            guard.unlock();
            if (at % 2 == 0) {
                std::swap(left, sum);
            }
            if (left != nullptr && sum != nullptr) {
                left->merge(*sum);
            }
            sum = left != nullptr ? std::move(left) : std::move(sum);
            guard.lock();
        }
        nodes_[at].complete = true;
        nodes_[at].sum = std::move(sum);
    }

    std::size_t n_;
    std::size_t windows_;
    mutable std::mutex mutex_;  // of nodes_
    std::array<open_shard, moment_shards> shards_;
    std::array<tree_node, 2 * moment_shards> nodes_;
};

}  // namespace fpq
