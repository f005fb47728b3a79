// SPDX-License-Identifier: Apache-2.0
// Kernels on the host: a block's threads are fibers of one thread, which take turns wherever a
// warp or the block waits. So the code that a device will run is compiled by the host's compiler
// and run lane by lane, wherever there are the toolkit's headers: slow, and good for small cases.
// The headers under fpq/ stand for those of the wing that are PTX. Include this before any of the
// wing.
#pragma once

#include <cuda_runtime_api.h>
#include <ucontext.h>
#include <vector_functions.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#undef __shared__
#define __shared__ static  // one block at a time
#define __launch_bounds__(...)

namespace emulated {

/// Where arrivals meet; a generation ends with the last of them.
struct meeting {
    int arrived = 0;
    unsigned generation = 0;
};

class block {
public:
    /// Runs f() in every thread of the blocks of a grid, one block after the other.
    static void run(dim3 grid, unsigned threads, std::function<void()> const& f) {
        block b(f, threads);
        b.grid = grid;
        for (unsigned y = 0; y < grid.y; ++y) {
            for (unsigned x = 0; x < grid.x; ++x) {
                b.at = {x, y, 0};
                b.run_threads();
            }
        }
    }
    /// The one that runs.
    static block& now() { return *running(); }

    dim3 grid;
    dim3 size;
    uint3 at{};
    uint3 thread{};

    void wait_for_block() { wait(all_, static_cast<int>(size.x)); }
    void wait_for_warp() { wait(warps_[thread.x / 32], 32); }

    /// What the lanes of this warp have written down, `words` each.
    static constexpr std::size_t words = 8;
    [[nodiscard]] std::uint32_t (*notes())[words] { return notes_[thread.x / 32].lanes; }
    [[nodiscard]] unsigned lane() const { return thread.x % 32; }

private:
    struct fiber {
        ucontext_t context{};
        std::vector<char> stack = std::vector<char>(256 << 10);
        bool done = false;
    };
    struct warp_notes {
        std::uint32_t lanes[32][words];
    };

    block(std::function<void()> const& f, unsigned threads)
        : size(threads), body_(f), warps_(threads / 32), notes_(threads / 32) {}

    static block*& running() {
        static block* one = nullptr;
        return one;
    }

    void run_threads() {
        running() = this;
        fibers_.clear();
        for (unsigned i = 0; i < size.x; ++i) {
            fibers_.push_back(std::make_unique<fiber>());
            ucontext_t& c = fibers_.back()->context;
            getcontext(&c);
            c.uc_stack.ss_sp = fibers_.back()->stack.data();
            c.uc_stack.ss_size = fibers_.back()->stack.size();
            makecontext(
                &c, [] { now().enter(); }, 0);
        }
        for (bool any = true; any;) {
            any = false;
            for (unsigned i = 0; i < size.x; ++i) {
                if (!fibers_[i]->done) {
                    thread = {i, 0, 0};
                    swapcontext(&home_, &fibers_[i]->context);
                    any = any || !fibers_[i]->done;
                }
            }
        }
        running() = nullptr;
    }

    void enter() {
        body_();
        fibers_[thread.x]->done = true;
        swapcontext(&fibers_[thread.x]->context, &home_);
    }

    void wait(meeting& where, int all) {
        unsigned const generation = where.generation;
        if (++where.arrived == all) {
            where.arrived = 0;
            ++where.generation;
            return;
        }
        unsigned const me = thread.x;
        while (where.generation == generation) {
            swapcontext(&fibers_[me]->context, &home_);
        }
    }

    std::function<void()> body_;
    std::vector<std::unique_ptr<fiber>> fibers_;
    std::vector<meeting> warps_;
    std::vector<warp_notes> notes_;
    meeting all_;
    ucontext_t home_{};
};

}  // namespace emulated

#define threadIdx emulated::block::now().thread
#define blockIdx emulated::block::now().at
#define gridDim emulated::block::now().grid
#define blockDim emulated::block::now().size

inline void __syncthreads() { emulated::block::now().wait_for_block(); }

template <class T>
T __shfl_xor_sync(unsigned /*lanes*/, T value, int distance) {
    static_assert(sizeof(T) == 4);
    emulated::block& b = emulated::block::now();
    std::memcpy(b.notes()[b.lane()], &value, sizeof value);
    b.wait_for_warp();
    std::memcpy(&value, b.notes()[b.lane() ^ static_cast<unsigned>(distance)], sizeof value);
    b.wait_for_warp();
    return value;
}

inline bool __any_sync(unsigned /*lanes*/, bool given) {
    for (int distance = 16; distance > 0; distance /= 2) {
        given = __shfl_xor_sync(0xFFFFFFFFu, given ? 1u : 0u, distance) != 0 || given;
    }
    return given;
}

inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
    std::uint64_t const bytes = std::uint64_t{y} << 32 | x;
    unsigned out = 0;
    for (unsigned i = 0; i < 4; ++i) {
        unsigned const from = selector >> (4 * i) & 7u;
        out |= static_cast<unsigned>(bytes >> (8 * from) & 0xFFu) << (8 * i);
    }
    return out;
}

using std::min;
