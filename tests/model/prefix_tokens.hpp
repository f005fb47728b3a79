// SPDX-License-Identifier: Apache-2.0
// Test support. The beginning of a text as a model's tokens: the tokenizers are compiled apart from
// the tests that run models.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

namespace fpq_test {

/// The tokens of the first `count` code points of a UTF-8 file, with the special tokens that the
/// tokenizer of the model in `model` adds: BOS for tiny-llama, none for tiny-qwen3.
std::vector<std::int32_t> prefix_tokens(const std::filesystem::path& model,
                                        const std::filesystem::path& file, std::size_t count);

}  // namespace fpq_test
