// SPDX-License-Identifier: Apache-2.0
// Floor 0, hosted. The ranks that share out a run: threads of one process, each with a device of
// its own, or processes on one host or several. All ranks make the same calls in the same order.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/parallel.hpp"

namespace fpq {

/// One rank's view of its group. A call returns when this rank's part of it is done; when another
/// rank has failed it throws fpq::error (io).
class rank_group {
public:
    rank_group() = default;
    rank_group(rank_group const&) = delete;
    rank_group& operator=(rank_group const&) = delete;
    virtual ~rank_group() = default;

    [[nodiscard]] virtual std::size_t rank() const noexcept = 0;
    /// A power of two, at most 8: ranks hold whole subtrees of the 8 shards of a second moment.
    [[nodiscard]] virtual std::size_t size() const noexcept = 0;
    /// True where exchange() takes device memory as well.
    [[nodiscard]] virtual bool takes_device_memory() const noexcept { return false; }

    /// Sends `out` to `peer`, whose `out` comes to `in`. Sizes may differ; both know them.
    virtual void exchange(std::size_t peer, std::span<std::byte const> out,
                          std::span<std::byte> in) = 0;
    /// `bytes` of `root` become those of all.
    virtual void broadcast(std::size_t root, std::span<std::byte> bytes) = 0;
    /// `bytes` of `from`, host memory, become those of `to`, by up to `threads` threads of it; the
    /// other ranks call it too, with anything.
    virtual void send(std::size_t from, std::size_t to, std::span<std::byte> bytes,
                      int threads) = 0;
    /// This rank has failed: the others' calls throw from now on.
    virtual void fail() noexcept = 0;
};

/// A group of one.
class lone_rank final : public rank_group {
public:
    [[nodiscard]] std::size_t rank() const noexcept override { return 0; }
    [[nodiscard]] std::size_t size() const noexcept override { return 1; }
    void exchange(std::size_t, std::span<std::byte const>, std::span<std::byte>) override {}
    void broadcast(std::size_t, std::span<std::byte>) override {}
    void send(std::size_t, std::size_t, std::span<std::byte>, int) override {}
    void fail() noexcept override {}
};

/// Throws fpq::error (usage) by `name` for a number of ranks that cannot share out a run.
inline void require_rank_count(std::string_view name, std::size_t ranks) {
    if (ranks != 1 && ranks != 2 && ranks != 4 && ranks != 8) {
        fail_usage("number of ranks", name, "1, 2, 4 or 8", std::to_string(ranks));
    }
}

/// Threads of one process as ranks.
class thread_ranks {
public:
    /// copy(to, from, bytes) of memory of two ranks; it has been done when it returns.
    using copier = std::function<void(void*, void const*, std::size_t)>;

    explicit thread_ranks(std::size_t size)
        : thread_ranks(size, false,
                       [](void* to, auto from, std::size_t n) { std::memcpy(to, from, n); }) {}
    thread_ranks(std::size_t size, bool device_memory, copier copy)
        : shared_(std::make_shared<state>(size, device_memory, std::move(copy))) {
        require_rank_count("thread_ranks", size);
    }

    /// That of one thread. It outlives this object.
    [[nodiscard]] std::unique_ptr<rank_group> of(std::size_t rank) const {
        return std::make_unique<member>(shared_, rank);
    }

private:
    struct state {
        state(std::size_t ranks, bool device_memory, copier c)
            : size(ranks), device(device_memory), copy(std::move(c)), shown(ranks) {}
        std::size_t size;
        bool device;
        copier copy;
        std::mutex mutex;
        std::condition_variable changed;
        std::size_t waiting = 0;
        std::uint64_t round = 0;
        bool failed = false;
        std::vector<std::span<std::byte const>> shown;  // what each rank lets the others read

        /// Returns when all ranks are here.
        void meet() {
            std::unique_lock lock(mutex);
            std::uint64_t const mine = round;
            if (++waiting == size) {
                waiting = 0;
                ++round;
                changed.notify_all();
            }
            changed.wait(lock, [&] { return failed || round != mine; });
            if (failed) {
                fail_input("a run on several ranks", {}, "all of them", "one that failed");
            }
        }
    };

    class member final : public rank_group {
    public:
        member(std::shared_ptr<state> shared, std::size_t rank)
            : shared_(std::move(shared)), rank_(rank) {}
        [[nodiscard]] std::size_t rank() const noexcept override { return rank_; }
        [[nodiscard]] std::size_t size() const noexcept override { return shared_->size; }
        [[nodiscard]] bool takes_device_memory() const noexcept override { return shared_->device; }
        void exchange(std::size_t peer, std::span<std::byte const> out,
                      std::span<std::byte> in) override {
            shared_->shown[rank_] = out;
            shared_->meet();
            take(peer, in);
            shared_->meet();
        }
        void broadcast(std::size_t root, std::span<std::byte> bytes) override {
            shared_->shown[rank_] = bytes;
            shared_->meet();
            if (rank_ != root) {
                take(root, bytes);
            }
            shared_->meet();
        }
        void send(std::size_t from, std::size_t to, std::span<std::byte> bytes,
                  int threads) override {
            shared_->shown[rank_] = bytes;
            shared_->meet();
            if (rank_ == to && from != to) {
                std::span<std::byte const> const there = shown_by(from, bytes.size());
                parallel_for(bytes.size(), std::size_t{1} << 20, threads,
                             [&](std::size_t begin, std::size_t end) {
                                 std::memcpy(bytes.data() + begin, there.data() + begin,
                                             end - begin);
                             });
            }
            shared_->meet();
        }
        void fail() noexcept override {
            std::lock_guard const guard(shared_->mutex);
            shared_->failed = true;
            shared_->changed.notify_all();
        }

    private:
        [[nodiscard]] std::span<std::byte const> shown_by(std::size_t from,
                                                          std::size_t size) const {
            std::span<std::byte const> const there = shared_->shown[from];
            if (there.size() != size) {
                fail_usage("bytes between ranks", std::to_string(from), std::to_string(size),
                           std::to_string(there.size()));
            }
            return there;
        }

        void take(std::size_t from, std::span<std::byte> to) {
            std::span<std::byte const> const there = shown_by(from, to.size());
            if (!to.empty()) {
                shared_->copy(to.data(), there.data(), to.size());
            }
        }

        std::shared_ptr<state> shared_;
        std::size_t rank_;
    };

    std::shared_ptr<state> shared_;
};

/// f(ranks) on every rank, each in a thread of its own; rank 0's is the calling one. Throws what
/// the first rank to fail threw, when all have ended.
template <class F>
void on_thread_ranks(thread_ranks const& all, std::size_t size, F const& f) {
    std::mutex mutex;
    std::exception_ptr first;
    auto const one = [&](std::size_t rank) {
        std::unique_ptr<rank_group> const own = all.of(rank);
        try {
            f(*own);
        } catch (...) {
            {
                std::lock_guard const guard(mutex);
                first = first ? first : std::current_exception();
            }
            own->fail();
        }
    };
    {
        std::vector<std::jthread> others;
        for (std::size_t rank = 1; rank < size; ++rank) {
            others.emplace_back(one, rank);
        }
        one(0);
    }
    if (first) {
        std::rethrow_exception(first);
    }
}

/// `value` of `root` in all ranks; T is trivially copyable.
template <class T>
void broadcast_value(rank_group& ranks, std::size_t root, T& value) {
    ranks.broadcast(root, std::as_writable_bytes(std::span(&value, 1)));
}

/// A vector of `root` in all ranks, whatever its size.
template <class T>
void broadcast_vector(rank_group& ranks, std::size_t root, std::vector<T>& values) {
    std::uint64_t size = values.size();
    broadcast_value(ranks, root, size);
    values.resize(size);
    ranks.broadcast(root, std::as_writable_bytes(std::span(values)));
}

/// A text of `root` in all ranks.
inline void broadcast_text(rank_group& ranks, std::size_t root, std::string& text) {
    std::vector<char> bytes(text.begin(), text.end());
    broadcast_vector(ranks, root, bytes);
    text.assign(bytes.begin(), bytes.end());
}

/// f(peer, lower) for each step of a tree over the ranks: after a step, pairs, fours, all have
/// joined. `lower`: this rank's part comes before the peer's.
template <class F>
void for_each_peer(rank_group const& ranks, F const& f) {
    for (std::size_t step = 1; step < ranks.size(); step *= 2) {
        std::size_t const peer = ranks.rank() ^ step;
        f(peer, ranks.rank() < peer);
    }
}

/// The largest of every element over the ranks.
inline void share_maxima(rank_group& ranks, std::span<float> values) {
    std::vector<float> other(values.size());
    for_each_peer(ranks, [&](std::size_t peer, bool) {
        ranks.exchange(peer, std::as_bytes(values), std::as_writable_bytes(std::span(other)));
        for (std::size_t i = 0; i < values.size(); ++i) {
            values[i] = values[i] < other[i] ? other[i] : values[i];
        }
    });
}

}  // namespace fpq
