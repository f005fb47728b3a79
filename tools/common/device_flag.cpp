// SPDX-License-Identifier: Apache-2.0
#include <charconv>
#include <cstdlib>
#include <string>
#include <string_view>

#include "common/device.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/pipeline/words.hpp"

namespace fpq::tools {

namespace {

constexpr std::string_view expected = "auto, cpu, cuda or cuda:N (N below 64)";

}  // namespace

int cuda_index(std::string_view text) {
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

flag_spec device_flag(std::string& choice) {
    auto const take = [&choice](char const* where, std::string const& text) {
        if (text != "auto" && text != "cpu" && cuda_index(text) < 0) {
            fail_usage(where, {}, expected, fpq::detail::shown(text));
        }
        choice = text;
    };
    if (char const* const set = std::getenv("FPQ_DEVICE"); set != nullptr && *set != '\0') {
        take("FPQ_DEVICE", set);
    }
    return {"device", "WORD",
            "where it computes: auto takes a GPU when there is one (or FPQ_DEVICE)", choice,
            [take](std::string const& text) { take("--device", text); }};
}

}  // namespace fpq::tools
