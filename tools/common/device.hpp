// SPDX-License-Identifier: Apache-2.0
// Where a program computes: --device, and a backend for it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "common/command_line.hpp"
#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/backend/memory_budget.hpp"
#if defined(FPQ_HAVE_GPU)
#include "fpq/backend/cuda/gpu.hpp"
#endif

namespace fpq::tools {

/// --device (or FPQ_DEVICE in the environment, which is read here): auto (a GPU when there is one),
/// cpu, cuda or cuda:N. `choice` holds the default and gets the word.
flag_spec device_flag(std::string& choice);

/// N of "cuda:N", 0 of "cuda", -1 of any other text.
int cuda_index(std::string_view text);

/// Becomes the program of the same name with "-cuda" behind it, in the same directory, when the
/// choice allows a GPU, that program is there and so is a driver: CUDA's libraries cost a quarter
/// of a second of every start and need not be where there is no GPU. Call it before any input is
/// read. Does nothing in that program.
void enter_device_program(std::string const& choice);

/// What a choice comes to on this machine.
struct chosen_device {
    bool gpu = false;
    int index = 0;
    std::string name;  ///< "cpu", or the card's name
    std::string note;  ///< what a user should know of an `auto`; may be empty
};

/// Looks for CUDA devices when the choice asks for one. Throws fpq::error (device) when cuda was
/// asked for by name and there is no driver, no such card, or no CUDA in this build.
chosen_device choose_device(std::string const& choice);

/// f(backend) on the device.
template <class F>
auto on_device(chosen_device const& device, int threads, memory_budget const& memory, F const& f) {
#if defined(FPQ_HAVE_GPU)
    if (device.gpu) {
        gpu backend{threads, std::make_shared<gpu_context>(device.index)};
        backend.budget = memory;
        return f(backend);
    }
#else
    static_cast<void>(device);
#endif
    return f(cpu{threads, memory});
}

}  // namespace fpq::tools
