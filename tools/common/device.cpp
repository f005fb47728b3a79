// SPDX-License-Identifier: Apache-2.0
#include "common/device.hpp"

#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

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

chosen_device open_device(std::string const& choice, int index) {
    cudaDeviceProp card{};
    cudaError_t const error = cudaGetDeviceProperties(&card, index);
    if (error != cudaSuccess) {
        fail_device(choice, "a CUDA device", cudaGetErrorString(error));
    }
    if (card.major < 8) {
        fail_device(choice, "compute capability 8.0 or newer",
                    fmt::format("{}, {}.{}", card.name, card.major, card.minor));
    }
    return {true, index, fmt::format("{} (CUDA device {})", card.name, index), {}};
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
    if (choice == "cpu" || (choice != "auto" && cuda_index(choice) < 0) ||
        ::access(program.c_str(), X_OK) != 0 || !has_driver()) {
        return;
    }
    std::ifstream file("/proc/self/cmdline", std::ios::binary);
    std::vector<std::string> words;
    for (std::string word; std::getline(file, word, '\0');) {
        words.push_back(word);
    }
    std::vector<char*> arguments;
    for (std::string& word : words) {
        arguments.push_back(word.data());
    }
    arguments.push_back(nullptr);
    ::execv(program.c_str(), arguments.data());  // returns when it fails: then it is the CPU's
#endif
}

chosen_device choose_device(std::string const& choice) {
    chosen_device const host{false, 0, "cpu", {}};
    if (choice == "cpu") {
        return host;
    }
#if defined(FPQ_HAVE_GPU)
    std::string why;
    int const count = devices(why);
    int const wanted = choice == "auto" ? 0 : cuda_index(choice);
    if (choice != "auto") {
        if (wanted >= count) {
            fail_device(choice, "a CUDA device of that number",
                        count == 0 ? why : fmt::format("{} of them", count));
        }
        return open_device(choice, wanted);
    }
    if (count == 0) {
        return host;
    }
    try {
        chosen_device found = open_device(choice, 0);
        found.note = "computes on " + found.name + "; --device cpu computes on the CPU";
        return found;
    } catch (fpq::error const& cannot) {
        return {false, 0, "cpu", std::string("computes on the CPU: ") + cannot.what()};
    }
#else
    if (choice != "auto") {
        fail_device(choice, "a CUDA driver and the program for it beside this one", why_not());
    }
    return host;
#endif
}

}  // namespace fpq::tools
