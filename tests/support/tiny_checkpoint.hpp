// SPDX-License-Identifier: Apache-2.0
// Test support. Makes small random llama, qwen2, qwen3 or mistral checkpoints in a directory. It
// serializes safetensors with a few lines of its own, so that it is also an oracle for the reader
// and needs nothing above floor 1. Not a model anybody should read text from. Compiled once, in
// tiny_checkpoint.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "files.hpp"
#include "fpq/io/safetensors/dtype.hpp"

namespace fpq_test {

struct raw_tensor {
    std::string name;
    fpq::dtype type;
    std::vector<std::uint64_t> shape;
    std::string bytes;
};

/// The bytes of a safetensors file with any header text, well-formed or not.
std::string safetensors_bytes(std::string const& header, std::string const& data);

/// A well-formed safetensors file of these tensors, in this order.
std::string safetensors_bytes(std::vector<raw_tensor> const& tensors);

struct tiny_checkpoint_options {
    std::string model_type = "llama";  // llama, qwen2, qwen3 or mistral
    std::size_t layers = 2;
    std::size_t hidden = 64;
    std::size_t intermediate = 128;
    std::size_t heads = 4;
    std::size_t kv_heads = 2;
    std::size_t head_dim = 16;
    std::size_t vocabulary = 96;
    bool tied = true;
    bool attention_bias = false;  // qwen2 always has biases on q, k, v
    fpq::dtype type = fpq::dtype::bf16;
    std::size_t shards = 1;  // more than one: an index and shards of whole layers
    std::uint64_t seed = 1;
    std::filesystem::path tokenizer;  // tokenizer.json to copy; none when empty
    /// Called for every tensor before it is written, to damage it on purpose.
    std::function<void(raw_tensor&)> edit;
    /// Called for config.json before it is written.
    std::function<void(nlohmann::json&)> edit_config;
};

/// Appends the bytes of `value` as f32, f16 or, for any other type, bf16.
void append_value(std::string& bytes, fpq::dtype type, float value);

/// The config.json of these options.
nlohmann::json tiny_config(tiny_checkpoint_options const& options);

/// Writes config.json, generation_config.json and the weights into `dir` (made when absent) and
/// returns it. The same options give the same bytes.
std::filesystem::path make_tiny_checkpoint(std::filesystem::path const& dir,
                                           tiny_checkpoint_options const& options);

}  // namespace fpq_test
