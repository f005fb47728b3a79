// SPDX-License-Identifier: Apache-2.0
#include "model/prefix_tokens.hpp"

#include <fstream>
#include <iterator>
#include <string>

#include "fpq/io/tokenizer/tokenizer.hpp"

namespace fpq_test {

namespace {

/// The first `count` code points of a UTF-8 file.
std::string prefix_of(const std::filesystem::path& file, std::size_t count) {
    std::ifstream in(file, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    std::size_t at = 0;
    for (std::size_t seen = 0; at < text.size(); ++at) {
        const bool begins = (static_cast<unsigned char>(text[at]) & 0xC0U) != 0x80U;
        if (begins && seen++ == count) {
            break;
        }
    }
    return text.substr(0, at);
}

}  // namespace

std::vector<std::int32_t> prefix_tokens(const std::filesystem::path& model,
                                        const std::filesystem::path& file, std::size_t count) {
    return fpq::tokenizer::open(model).encode(prefix_of(file, count), true);
}

}  // namespace fpq_test
