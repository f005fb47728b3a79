// SPDX-License-Identifier: Apache-2.0
// Floor 5. A Hugging Face checkpoint directory: config.json and one or many safetensors files, all
// mapped. It gives tensors by name; what they mean is model/ and quantized_source.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "fpq/core/half.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/look.hpp"
#include "fpq/io/json/json_file.hpp"
#include "fpq/io/json/json_value.hpp"
#include "fpq/io/safetensors/safetensors.hpp"

namespace fpq {

inline constexpr std::string_view single_shard_name = "model.safetensors";
inline constexpr std::string_view index_name = "model.safetensors.index.json";

/// True when `name` is a plain file name: no separator, no "." or "..", no control character.
inline bool is_plain_file_name(std::string_view name) noexcept {
    bool const bad = std::any_of(name.begin(), name.end(), [](char c) {
        return c == '/' || c == '\\' || static_cast<unsigned char>(c) < 0x20;
    });
    return !name.empty() && !bad && name != "." && name != "..";
}

/// An opened checkpoint. Errors of the constructor (fpq::error, input): no directory, config.json
/// missing or no object, no weights, both a single file and an index, a shard that is missing,
/// malformed or outside the directory, an index that names a tensor which its shard lacks, a tensor
/// in two shards.
class checkpoint {
public:
    explicit checkpoint(std::filesystem::path const& directory) : directory_(directory) {
        std::error_code failed;
        if (!std::filesystem::is_directory(directory_, failed)) {
            fail_input("no checkpoint", directory_.string(), "a directory",
                       failed ? failed.message() : "something else");
        }
        std::filesystem::path const config_path = directory_ / "config.json";
        if (!std::filesystem::exists(config_path, failed)) {
            fail_input("no checkpoint", directory_.string(), "config.json", "none");
        }
        config_ = read_json_file(config_path);
        if (!config_.is_object()) {
            fail_input("bad config", config_path.string(), "a JSON object", config_.type_name());
        }
        open_shards();
    }

    [[nodiscard]] bool contains(std::string_view name) const {
        return tensors_.find(name) != tensors_.end();
    }
    /// Errors: fpq::error (input) naming directory and tensor when it is absent.
    [[nodiscard]] tensor_ref const& at(std::string_view name) const {
        auto const found = tensors_.find(name);
        if (found == tensors_.end()) {
            fail_input("missing tensor", directory_.string(),
                       "tensor '" + detail::printable(name) + "'", "none");
        }
        return *found->second;
    }
    /// Takes the pages of `part`, bytes of tensor `name`, out of this process until they are read
    /// again: a mapped checkpoint counts as memory only as far as it is in use. Bytes stay valid.
    /// Does nothing for an unknown name.
    void release(std::string_view name, std::span<std::byte const> part) const noexcept {
        auto const found = tensors_.find(name);
        for (safetensors_file const& shard : shards_) {
            if (found != tensors_.end() && found->second->file == &shard.path()) {
                shard.release(part);
            }
        }
    }
    /// The same for the whole tensor.
    void release(std::string_view name) const noexcept {
        auto const found = tensors_.find(name);
        if (found != tensors_.end()) {
            release(name, found->second->bytes);
        }
    }
    /// In order of shard, then position.
    [[nodiscard]] std::vector<std::string> const& names() const noexcept { return names_; }
    [[nodiscard]] std::filesystem::path const& directory() const noexcept { return directory_; }
    [[nodiscard]] nlohmann::json const& config() const noexcept { return config_; }
    [[nodiscard]] std::vector<safetensors_file> const& shards() const noexcept { return shards_; }
    /// The parsed index; null for a single file.
    [[nodiscard]] nlohmann::json const& index() const noexcept { return index_; }
    /// Bytes of all tensors.
    [[nodiscard]] std::uint64_t total_bytes() const noexcept {
        std::uint64_t total = 0;
        for (auto const& [name, tensor] : tensors_) {
            total += tensor->bytes.size();
        }
        return total;
    }

    /// What config.json should have said: sets a key, or takes it away with null. The file stays.
    void amend_config(std::string const& key, nlohmann::json value) {
        if (value.is_null()) {
            config_.erase(key);
        } else {
            config_[key] = std::move(value);
        }
    }
    /// Gives a tensor another name from here on, everywhere but in its file. Errors: as at().
    void rename(std::string_view name, std::string const& to) {
        tensor_ref copy = at(name);
        copy.name = to;
        renamed_.push_back(std::make_unique<tensor_ref const>(std::move(copy)));
        tensors_.erase(tensors_.find(name));
        tensors_[to] = renamed_.back().get();
        std::replace(names_.begin(), names_.end(), std::string(name), to);
    }

private:
    void open_shards() {
        std::filesystem::path const index_path = directory_ / index_name;
        bool const single = is_there(directory_ / single_shard_name);
        std::vector<std::string> files;
        if (is_there(index_path)) {
            files = read_index(index_path);
            if (single && std::find(files.begin(), files.end(), single_shard_name) == files.end()) {
                fail_input("two generations of weights", directory_.string(),
                           "either model.safetensors or an index with its shards", "both");
            }
        } else if (single) {
            files.emplace_back(single_shard_name);
        } else {
            fail_input("no weights", directory_.string(),
                       "model.safetensors or model.safetensors.index.json", "neither");
        }
        shards_.reserve(files.size());  // tensor_ref pointers below must stay
        for (std::string const& file : files) {
            std::filesystem::path const path = directory_ / file;
            if (!is_there(path)) {
                fail_input("missing shard", index_path.string(), "file " + detail::printable(file),
                           "none");
            }
            shards_.emplace_back(path);
        }
        for (safetensors_file const& shard : shards_) {
            add_tensors(shard);
        }
        if (index_.is_object()) {
            check_index(index_path);
        }
    }

    std::vector<std::string> read_index(std::filesystem::path const& path) {
        index_ = read_json_file(path);
        std::set<std::string> files;
        json_value const index(index_, path.string(), "bad index");
        for (auto const& [name, value] : index.at("weight_map").members()) {
            std::string file = value.as<std::string>();
            if (!is_plain_file_name(file) || !file.ends_with(".safetensors")) {
                value.refuse("a .safetensors file of this directory");
            }
            files.insert(std::move(file));
        }
        if (files.empty()) {
            fail_input("bad index", path.string(), "at least one tensor", "none");
        }
        return {files.begin(), files.end()};
    }

    void add_tensors(safetensors_file const& shard) {
        for (tensor_ref const& t : shard.tensors()) {
            auto const [at, fresh] = tensors_.emplace(t.name, &t);
            if (!fresh) {
                fail_input("tensor in two shards", tensor_place(t), "one",
                           "another in " + at->second->file->filename().string());
            }
            names_.push_back(t.name);
        }
    }

    void check_index(std::filesystem::path const& path) const {
        for (auto const& [name, file] : index_.at("weight_map").items()) {
            auto const found = tensors_.find(name);
            std::string const shard = file.get<std::string>();
            if (found == tensors_.end() || found->second->file->filename() != shard) {
                fail_input("index and shard disagree",
                           path.string() + ": tensor '" + detail::printable(name) + "'",
                           "it in " + shard,
                           found == tensors_.end() ? std::string("none")
                                                   : found->second->file->filename().string());
            }
        }
    }

    std::filesystem::path directory_;
    nlohmann::json config_;
    nlohmann::json index_;
    std::vector<safetensors_file> shards_;
    std::vector<std::unique_ptr<tensor_ref const>> renamed_;
    std::map<std::string, tensor_ref const*, std::less<>> tensors_;
    std::vector<std::string> names_;
};

namespace detail {

inline float load_float(dtype type, std::byte const* at) noexcept {
    if (type == dtype::f32) {
        float value = 0;
        std::memcpy(&value, at, 4);
        return value;
    }
    std::uint16_t bits = 0;
    std::memcpy(&bits, at, 2);
    return type == dtype::bf16 ? to_float(bf16{bits}) : to_float(fp16{bits});
}

/// The bits of value i of an array that need not be aligned.
template <class Word>
Word load_word(std::byte const* at, std::size_t i) noexcept {
    Word bits{};
    std::memcpy(&bits, at + i * sizeof bits, sizeof bits);
    return bits;
}

/// Index of the first word with all bits of `exponent` set, or the number of words.
template <class Word>
std::size_t first_with_exponent(std::span<std::byte const> bytes, Word exponent) noexcept {
    std::size_t const count = bytes.size() / sizeof(Word);
    constexpr std::size_t block = 1024;  // fixed and free of branches: compilers vectorize it
    std::size_t first = 0;
    for (; first + block <= count; first += block) {
        Word bad = 0;
        for (std::size_t i = 0; i < block; ++i) {
            Word const bits = load_word<Word>(bytes.data(), first + i) & exponent;
            bad |= static_cast<Word>(bits == exponent ? 1 : 0);
        }
        if (bad != 0) {
            break;
        }
    }
    while (first < count && (load_word<Word>(bytes.data(), first) & exponent) != exponent) {
        ++first;
    }
    return first;
}

/// Index of the first NaN or infinity of a BF16, F16 or F32 array; empty when there is none.
inline std::optional<std::size_t> first_non_finite(dtype type,
                                                   std::span<std::byte const> bytes) noexcept {
    std::size_t const at =
        type == dtype::f32    ? first_with_exponent<std::uint32_t>(bytes, 0x7F800000u)
        : type == dtype::bf16 ? first_with_exponent<std::uint16_t>(bytes, 0x7F80u)
                              : first_with_exponent<std::uint16_t>(bytes, 0x7C00u);
    return at == bytes.size() * 8 / dtype_bits(type) ? std::nullopt : std::optional(at);
}

/// Refuses a NaN or an infinity in a BF16, F16 or F32 tensor, by name and element.
inline void require_finite(tensor_ref const& t, std::span<std::byte const> part) {
    if (std::optional<std::size_t> const at = first_non_finite(t.type, part)) {
        std::size_t const width = dtype_bits(t.type) / 8;
        float const value = load_float(t.type, part.data() + *at * width);
        std::size_t const before = static_cast<std::size_t>(part.data() - t.bytes.data()) / width;
        fail_input("non-finite weight",
                   tensor_place(t) + ": element " + std::to_string(before + *at), "a finite value",
                   std::isnan(value) ? "NaN" : "infinity");
    }
}

}  // namespace detail

/// Copies a BF16, F16 or F32 tensor to float32 (exact). `out` has as many values as the tensor.
/// Errors: fpq::error (input) for another type, a wrong count, or a NaN or infinity, by tensor name
/// and element index.
inline void load_floats_into(tensor_ref const& t, std::span<float> out) {
    if (t.type != dtype::bf16 && t.type != dtype::f16 && t.type != dtype::f32) {
        fail_input("wrong type of tensor", tensor_place(t), "BF16, F16 or F32", dtype_name(t.type));
    }
    std::size_t const width = dtype_bits(t.type) / 8;
    if (out.size() * width != t.bytes.size()) {
        fail_input("wrong size of tensor", tensor_place(t), std::to_string(out.size()) + " values",
                   std::to_string(t.bytes.size() / width));
    }
    detail::require_finite(t, t.bytes);
    if (t.type == dtype::f32) {
        std::memcpy(out.data(), t.bytes.data(), t.bytes.size());
    } else if (t.type == dtype::bf16) {
        for (std::size_t i = 0; i < out.size(); ++i) {
            out[i] = detail::load_float(dtype::bf16, t.bytes.data() + i * 2);
        }
    } else {
        for (std::size_t i = 0; i < out.size(); ++i) {
            out[i] = detail::load_float(dtype::f16, t.bytes.data() + i * 2);
        }
    }
}

/// load_floats_into with a new vector, row-major in the tensor's shape.
inline std::vector<float> load_floats(tensor_ref const& t) {
    std::vector<float> out(t.bytes.size() * 8 / dtype_bits(t.type));
    load_floats_into(t, out);
    return out;
}

/// Refuses a tensor of another shape, by file and name.
inline void require_shape(tensor_ref const& t, std::span<std::uint64_t const> shape) {
    if (!std::equal(t.shape.begin(), t.shape.end(), shape.begin(), shape.end())) {
        fail_input("wrong shape of tensor", tensor_place(t), shape_text(shape),
                   shape_text(t.shape));
    }
}

}  // namespace fpq
