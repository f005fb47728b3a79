// SPDX-License-Identifier: Apache-2.0
#include "common/device.hpp"

#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "common/world.hpp"
#include "fpq/core/hosted/error.hpp"
#if defined(FPQ_HAVE_GPU)
#include <cuda_runtime_api.h>
#endif

namespace fpq::tools {

namespace {

[[noreturn]] void fail_device(std::string const& choice, std::string_view wanted,
                              std::string const& found) {
    fail(error_category::device, "--device " + choice, {}, wanted, found);
}

#if defined(FPQ_HAVE_GPU)
/// Devices that the driver shows; `why` says what it answered when there is none.
int devices(std::string& why) {
    int count = 0;
    cudaError_t const error = cudaGetDeviceCount(&count);
    static_cast<void>(cudaGetLastError());
    if (error != cudaSuccess) {
        why = cudaGetErrorString(error);
        return 0;
    }
    why = "none";
    return count;
}

/// The name of a card that can compute.
std::string card_name(std::string const& choice, int index) {
    cudaDeviceProp card{};
    cudaError_t const error = cudaGetDeviceProperties(&card, index);
    if (error != cudaSuccess) {
        fail_device(choice, "a CUDA device", cudaGetErrorString(error));
    }
    if (card.major < 8) {
        fail_device(choice, "compute capability 8.0 or newer",
                    fmt::format("{}, {}.{}", card.name, card.major, card.minor));
    }
    return fmt::format("{} (CUDA device {})", card.name, index);
}

chosen_device open_devices(std::string const& choice, std::vector<int> const& indices) {
    std::string names;
    for (int const index : indices) {
        names += (names.empty() ? "" : ", ") + card_name(choice, index);
    }
    return {true, indices, names, {}};
}
#endif

#if !defined(FPQ_HAVE_GPU)
/// This program's own path with "-cuda" behind it.
std::filesystem::path cuda_program() {
    std::error_code unknown;
    std::filesystem::path own = std::filesystem::read_symlink("/proc/self/exe", unknown);
    return own += "-cuda";
}

bool has_driver() {
    void* const driver = ::dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
    if (driver == nullptr) {
        return false;
    }
    static_cast<void>(::dlclose(driver));
    return true;
}

std::string why_not() {
    return has_driver() ? "no " + cuda_program().string() : "no driver (libcuda.so.1)";
}
#endif

}  // namespace

void enter_device_program([[maybe_unused]] std::string const& choice) {
#if !defined(FPQ_HAVE_GPU)
    std::filesystem::path const program = cuda_program();
    if (choice == "cpu" || (choice != "auto" && cuda_indices(choice).empty()) ||
        ::access(program.c_str(), X_OK) != 0 || !has_driver()) {
        return;
    }
    std::ifstream file("/proc/self/cmdline", std::ios::binary);
    std::vector<std::string> words;
    for (std::string word; std::getline(file, word, '\0');) {
        words.push_back(word);
    }
    std::vector<char*> arguments;
    arguments.reserve(words.size() + 1);
    for (std::string& word : words) {
        arguments.push_back(word.data());
    }
    arguments.push_back(nullptr);
    ::execv(program.c_str(), arguments.data());  // returns when it fails: then it is the CPU's
#endif
}

chosen_device choose_device(std::string const& choice) {
    chosen_device host{false, {}, "cpu", {}};
    if (choice == "cpu") {
        return host;
    }
#if defined(FPQ_HAVE_GPU)
    std::string why;
    int const count = devices(why);
    if (choice != "auto") {
        std::vector<int> wanted = cuda_indices(choice);
        if (choice == "cuda" && count > 0) {
            wanted = {local_rank() % count};
        }
        if (*std::max_element(wanted.begin(), wanted.end()) >= count) {
            fail_device(choice, "a CUDA device of that number",
                        count == 0 ? why : fmt::format("{} of them", count));
        }
        return open_devices(choice, wanted);
    }
    if (count == 0) {
        return host;
    }
    try {
        chosen_device found = open_devices(choice, {local_rank() % count});
        found.note = "computes on " + found.name + "; --device cpu computes on the CPU";
        return found;
    } catch (fpq::error const& cannot) {
        return {false, {}, "cpu", std::string("computes on the CPU: ") + cannot.what()};
    }
#else
    if (choice != "auto") {
        fail_device(choice, "a CUDA driver and the program for it beside this one", why_not());
    }
    return host;
#endif
}

#if defined(FPQ_HAVE_GPU)
void let_cards_see(std::vector<int> const& indices) {
    for (int const owner : indices) {
        cudaMemPool_t pool = nullptr;
        require_cuda(cudaDeviceGetDefaultMemPool(&pool, owner), "CUDA memory pool");
        for (int const reader : indices) {
            int can = 0;
            require_cuda(cudaDeviceCanAccessPeer(&can, reader, owner), "CUDA peer access");
            if (reader == owner || can == 0) {
                continue;  // where they cannot, copies go through the host
            }
            cudaMemAccessDesc access{};
            access.location.type = cudaMemLocationTypeDevice;
            access.location.id = reader;
            access.flags = cudaMemAccessFlagsProtReadWrite;
            require_cuda(cudaMemPoolSetAccess(pool, &access, 1), "CUDA peer access");
        }
    }
}

void copy_between_cards(void* to, void const* from, std::size_t bytes) {
    require_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, nullptr),
                 "copy between cards");
    require_cuda(cudaStreamSynchronize(nullptr), "copy between cards");
}
#endif

}  // namespace fpq::tools
