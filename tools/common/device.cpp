// SPDX-License-Identifier: Apache-2.0
#include "common/device.hpp"

#include <fmt/format.h>

#include <charconv>
#include <string>
#include <string_view>

#include "fpq/core/hosted/error.hpp"
#include "fpq/pipeline/words.hpp"
#if defined(FPQ_HAVE_GPU)
#include <cuda_runtime_api.h>
#endif

namespace fpq::tools {

namespace {

constexpr std::string_view expected = "auto, cpu, cuda or cuda:N (N below 64)";

/// N of "cuda:N", 0 of "cuda", -1 of any other text.
int index_of(std::string_view text) {
    if (text == "cuda") {
        return 0;
    }
    if (!text.starts_with("cuda:")) {
        return -1;
    }
    text.remove_prefix(5);
    int index = -1;
    auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
    return error == std::errc{} && end == text.data() + text.size() && index < 64 ? index : -1;
}

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

}  // namespace

flag_spec device_flag(std::string& choice) {
    return {"device", "WORD", "where it computes: auto takes a GPU when there is one", choice,
            [&choice](std::string const& text) {
                if (text != "auto" && text != "cpu" && index_of(text) < 0) {
                    fail_usage("--device", {}, expected, fpq::detail::shown(text));
                }
                choice = text;
            }};
}

chosen_device choose_device(std::string const& choice) {
    chosen_device const host{false, 0, "cpu", {}};
    if (choice == "cpu") {
        return host;
    }
#if defined(FPQ_HAVE_GPU)
    std::string why;
    int const count = devices(why);
    int const wanted = choice == "auto" ? 0 : index_of(choice);
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
        fail_device(choice, "auto or cpu", "a build without CUDA");
    }
    return host;
#endif
}

}  // namespace fpq::tools
