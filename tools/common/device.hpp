// SPDX-License-Identifier: Apache-2.0
// Where a program computes: --device, and a backend for it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/command_line.hpp"
#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/backend/memory_budget.hpp"
#include "fpq/core/hosted/ranks.hpp"
#if defined(FPQ_HAVE_GPU)
#include "fpq/backend/cuda/gpu.hpp"
#endif

namespace fpq::tools {

/// --device (or FPQ_DEVICE in the environment, which is read here): auto (a GPU when there is one),
/// cpu, cuda, cuda:N, and with `several` cuda:N,M,... `choice` holds the default and gets the word.
flag_spec device_flag(std::string& choice, bool several);

/// N, M, ... of "cuda:N,M,...", 0 of "cuda", none of any other text.
std::vector<int> cuda_indices(std::string_view text);

/// Becomes the program of the same name with "-cuda" behind it, in the same directory, when the
/// choice allows a GPU, that program is there and so is a driver: CUDA's libraries cost a quarter
/// of a second of every start and need not be where there is no GPU. Call it before any input is
/// read. Does nothing in that program.
void enter_device_program(std::string const& choice);

/// What a choice comes to on this machine.
struct chosen_device {
    bool gpu = false;
    std::vector<int> indices;  ///< of the cards
    std::string name;          ///< "cpu", or what the cards are
    std::string note;          ///< what a user should know of an `auto`; may be empty
};

/// Looks for CUDA devices when the choice asks for one. Throws fpq::error (device) when cuda was
/// asked for by name and there is no driver, no such card, or no CUDA in this build.
chosen_device choose_device(std::string const& choice);

/// f(backend) on the device, the first of several.
template <class F>
auto on_device(chosen_device const& device, int threads, memory_budget const& memory, F const& f) {
#if defined(FPQ_HAVE_GPU)
    if (device.gpu) {
        gpu backend{threads, std::make_shared<gpu_context>(device.indices.front())};
        backend.budget = memory;
        return f(backend);
    }
#else
    static_cast<void>(device);
#endif
    return f(cpu{threads, memory});
}

#if defined(FPQ_HAVE_GPU)
/// The cards may read each other's memory.
void let_cards_see(std::vector<int> const& indices);

/// Copies between cards.
void copy_between_cards(void* to, void const* from, std::size_t bytes);
#endif

/// f(backend, ranks) on every card, each in a thread of its own, rank 0 in this one with `first`;
/// on a group of one where there is one card, or the CPU.
template <class B, class F>
void on_every_card([[maybe_unused]] chosen_device const& device, B const& first, F const& f) {
#if defined(FPQ_HAVE_GPU)
    std::size_t const cards = device.indices.size();
    if constexpr (B::is_queued) {
        if (cards > 1) {
            let_cards_see(device.indices);
            thread_ranks const all(cards, true, copy_between_cards);
            on_thread_ranks(all, cards, [&](rank_group& ranks) {
                B own = first;
                own.threads = std::max(1, first.threads / static_cast<int>(cards));
                if (ranks.rank() != 0) {
                    own =
                        B{own.threads, std::make_shared<gpu_context>(device.indices[ranks.rank()])};
                    own.budget = first.budget;
                }
                f(own, ranks);
            });
            return;
        }
    }
#endif
    lone_rank alone;
    f(first, alone);
}

}  // namespace fpq::tools
