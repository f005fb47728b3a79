// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "common/device.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/pipeline/words.hpp"

namespace fpq::tools {

namespace {

constexpr std::string_view one = "auto, cpu, cuda or cuda:N (N below 64)";
constexpr std::string_view more =
    "auto, cpu, cuda, cuda:N or cuda:N,M... (2, 4 or 8 different cards, numbers below 64)";

}  // namespace

std::vector<int> cuda_indices(std::string_view text) {
    if (text == "cuda") {
        return {0};
    }
    if (!text.starts_with("cuda:")) {
        return {};
    }
    text.remove_prefix(5);
    std::vector<int> out;
    for (char const* at = text.data();; ++at) {
        int index = -1;
        auto const [end, error] = std::from_chars(at, text.data() + text.size(), index);
        if (error != std::errc{} || index < 0 || index >= 64 ||
            std::find(out.begin(), out.end(), index) != out.end()) {
            return {};
        }
        out.push_back(index);
        at = end;
        if (at == text.data() + text.size()) {
            break;
        }
        if (*at != ',') {
            return {};
        }
    }
    std::size_t const n = out.size();
    return n == 1 || n == 2 || n == 4 || n == 8 ? out : std::vector<int>();
}

flag_spec device_flag(std::string& choice, bool several) {
    auto const take = [&choice, several](char const* where, std::string const& text) {
        std::vector<int> const cards = cuda_indices(text);
        if ((text != "auto" && text != "cpu" && cards.empty()) || (cards.size() > 1 && !several)) {
            fail_usage(where, {}, several ? more : one, fpq::detail::shown(text));
        }
        choice = text;
    };
    if (char const* const set = std::getenv("FPQ_DEVICE"); set != nullptr && *set != '\0') {
        take("FPQ_DEVICE", set);
    }
    return {"device", "WORD",
            several ? "where it computes: auto takes a GPU when there is one; cuda:0,1 shares the "
                      "windows and the layers out (or FPQ_DEVICE)"
                    : "where it computes: auto takes a GPU when there is one (or FPQ_DEVICE)",
            choice, [take](std::string const& text) { take("--device", text); }};
}

}  // namespace fpq::tools
