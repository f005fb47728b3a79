// SPDX-License-Identifier: Apache-2.0
// Floor 0, hosted. Threads that wait for work, one set a process: starting them anew costs more
// than a small matrix. They live until the process ends and wait on memory that is never freed, so
// that no order of destruction matters; a forked child begins with none.
#pragma once

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>
#include <vector>

namespace fpq::detail {

/// Whoever asks for help does the work too and waits only for threads that are inside its work, so
/// that calls may be nested and made from any thread: at worst nobody comes.
class thread_pool {
public:
    thread_pool() = default;
    thread_pool(thread_pool const&) = delete;
    thread_pool& operator=(thread_pool const&) = delete;

    /// The pool of this process. Never destroyed.
    static thread_pool& of_process() {
        static bool const watched = [] {
            return pthread_atfork(nullptr, nullptr, [] { forget(); }) == 0;
        }();
        static_cast<void>(watched);
        thread_pool* found = slot().load();
        if (found == nullptr) {
            auto* const made = new thread_pool;
            if (slot().compare_exchange_strong(found, made)) {
                return *made;
            }
            delete made;
        }
        return *found;
    }

    /// Calls work(), which must not throw, on this thread and on up to `helpers` others; returns
    /// when all of them have returned. Fewer come when they are busy or cannot be started.
    template <class F>
    void run(std::size_t helpers, F const& work) {
        job mine{[](void const* f) { (*static_cast<F const*>(f))(); }, &work, helpers, 0};
        {
            std::lock_guard<std::mutex> const lock(guard_);
            grow(helpers);
            open_.push_back(&mine);
            any_open_.store(true);
        }
        if (helpers == 1) {
            wake_.notify_one();
        } else {
            wake_.notify_all();
        }
        work();
        {
            std::lock_guard<std::mutex> const lock(guard_);
            close(mine);
        }
        look([&] { return mine.inside.load() == 0; });
        std::unique_lock<std::mutex> lock(guard_);
        done_.wait(lock, [&] { return mine.inside.load() == 0; });
    }

private:
    struct job {
        void (*call)(void const*);
        void const* context;
        std::size_t wanted;               // threads that may still join
        std::atomic<std::size_t> inside;  // threads that have not returned yet
    };

    /// Looks for a moment whether something has happened, before a thread sleeps: to be woken takes
    /// longer than a small matrix, and some systems wake a thread on the processor that is busy.
    template <class F>
    static void look(F const& happened) {
        for (int k = 0; k < looks && !happened(); ++k) {
            std::this_thread::yield();
        }
    }

    /// No more threads may join. Under the lock.
    void close(job& one) {
        std::erase(open_, &one);
        any_open_.store(!open_.empty());
    }

    static std::atomic<thread_pool*>& slot() noexcept {
        static std::atomic<thread_pool*> pool{nullptr};
        return pool;
    }
    /// In a forked child: the threads and whoever held the lock are gone.
    static void forget() noexcept {
        static thread_pool* left = nullptr;  // still reachable: no leak
        left = slot().exchange(nullptr);
        static_cast<void>(left);
    }

    void grow(std::size_t threads) {
        try {
            for (; started_ < threads; ++started_) {
                std::thread([this] { serve(); }).detach();
            }
        } catch (...) {
            // No more threads to be had: those that started, and the callers, do the work.
        }
    }

    void serve() {
        std::unique_lock<std::mutex> lock(guard_);
        for (;;) {
            lock.unlock();
            look([&] { return any_open_.load(); });
            lock.lock();
            wake_.wait(lock, [&] { return !open_.empty(); });
            job& one = *open_.front();
            ++one.inside;
            if (--one.wanted == 0) {
                close(one);
            }
            lock.unlock();
            one.call(one.context);
            lock.lock();
            if (--one.inside == 0) {
                done_.notify_all();
            }
        }
    }

    static constexpr int looks = 200;    // some tens of microseconds
    std::atomic<bool> any_open_{false};  // that open_ is not empty
    std::mutex guard_;
    std::condition_variable wake_;
    std::condition_variable done_;
    std::vector<job*> open_;   // that more threads may join, oldest first
    std::size_t started_ = 0;  // threads
};

}  // namespace fpq::detail
