// SPDX-License-Identifier: Apache-2.0
// A main for fuzz targets where there is no libFuzzer: feeds each file of the named folders to the
// target, once. A finding shows as a crash or a sanitizer report. Not a fuzzer.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size);

int main(int argc, char** argv) {
    std::size_t fed = 0;
    LLVMFuzzerTestOneInput(nullptr, 0);
    for (int i = 1; i < argc; ++i) {
        if (!std::filesystem::is_directory(argv[i])) {
            continue;
        }
        for (auto const& entry : std::filesystem::recursive_directory_iterator(argv[i])) {
            if (!entry.is_regular_file()) {
                continue;
            }
            std::ifstream in(entry.path(), std::ios::binary);
            std::vector<char> const bytes{std::istreambuf_iterator<char>(in), {}};
            std::vector<std::uint8_t> const input(bytes.begin(), bytes.end());
            LLVMFuzzerTestOneInput(input.data(), input.size());
            ++fed;
        }
    }
    std::printf("replayed %zu inputs\n", fed);
    return 0;
}
