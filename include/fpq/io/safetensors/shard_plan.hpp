// SPDX-License-Identifier: Apache-2.0
// Floor 5. Where every tensor of a checkpoint to be written will lie: shards, offsets and header
// bytes, all known before the first tensor is computed. No file is touched here.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/io/safetensors/dtype.hpp"
#include "fpq/io/safetensors/safetensors.hpp"

namespace fpq {

/// One tensor that will be written. Tensors of one `group` (a module, or modules that clients fuse)
/// share a shard; an empty group is a tensor on its own.
struct tensor_plan {
    std::string name;
    dtype type = dtype::bf16;
    std::vector<std::uint64_t> shape;
    std::string group;

    /// Errors: fpq::error (usage) when the size is no whole number of bytes or overflows.
    [[nodiscard]] std::uint64_t byte_count() const {
        std::optional<std::uint64_t> const bytes = tensor_byte_count(type, shape);
        if (!bytes) {
            fail_usage("impossible tensor size", name, "a whole number of bytes",
                       std::string(dtype_name(type)) + " " + shape_text(shape));
        }
        return *bytes;
    }
};

/// Bytes that are shared with their owner or borrowed from somebody who outlives them.
class tensor_bytes {
public:
    tensor_bytes() = default;
    tensor_bytes(std::vector<std::byte> owned)
        : owner_(std::make_shared<std::vector<std::byte> const>(std::move(owned))),
          view_(*owner_) {}
    tensor_bytes(std::span<std::byte const> borrowed) noexcept : view_(borrowed) {}

    [[nodiscard]] std::byte const* data() const noexcept { return view_.data(); }
    [[nodiscard]] std::size_t size() const noexcept { return view_.size(); }
    operator std::span<std::byte const>() const noexcept { return view_; }

private:
    std::shared_ptr<std::vector<std::byte> const> owner_;
    std::span<std::byte const> view_;
};

/// A tensor with its bytes, row-major little-endian.
struct tensor_data {
    std::string name;
    dtype type = dtype::bf16;
    std::vector<std::uint64_t> shape;
    tensor_bytes bytes;
};

/// One file to come.
struct shard_layout {
    std::string file;
    std::string head;                    // 8 length bytes and the padded header
    std::vector<std::size_t> tensors;    // indices into the plan, in order of position
    std::vector<std::uint64_t> offsets;  // absolute, one a tensor
    std::uint64_t size = 0;              // of the whole file
};

namespace detail {

/// Groups of the plan, in order of first appearance, packed greedily into shards.
inline std::vector<std::vector<std::size_t>> pack_shards(std::vector<tensor_plan> const& plan,
                                                         std::uint64_t max_shard_size) {
    std::vector<std::vector<std::size_t>> groups;
    std::unordered_map<std::string, std::size_t> group_at;
    for (std::size_t i = 0; i < plan.size(); ++i) {
        if (plan[i].group.empty()) {
            groups.push_back({i});
            continue;
        }
        auto const [at, fresh] = group_at.emplace(plan[i].group, groups.size());
        if (fresh) {
            groups.emplace_back();
        }
        groups[at->second].push_back(i);
    }
    std::vector<std::vector<std::size_t>> shards(1);
    std::uint64_t used = 0;
    for (std::vector<std::size_t> const& group : groups) {
        std::uint64_t size = 0;
        for (std::size_t const i : group) {
            size += plan[i].byte_count();
        }
        if (!shards.back().empty() && (size > max_shard_size || used > max_shard_size - size)) {
            shards.emplace_back();
            used = 0;
        }
        shards.back().insert(shards.back().end(), group.begin(), group.end());
        used += size;
    }
    return shards;
}

/// Sorts one shard as the reference writer does (type from the widest down, then name), gives
/// every tensor its place and writes the header text.
inline shard_layout lay_out_shard(std::vector<tensor_plan> const& plan,
                                  std::vector<std::size_t> tensors, std::string file) {
    std::sort(tensors.begin(), tensors.end(), [&plan](std::size_t a, std::size_t b) {
        return plan[a].type != plan[b].type ? plan[a].type > plan[b].type
                                            : plan[a].name < plan[b].name;
    });
    shard_layout out{
        std::move(file), R"({"__metadata__":{"format":"pt"})", std::move(tensors), {}, 0};
    std::uint64_t at = 0;
    for (std::size_t const i : out.tensors) {
        std::uint64_t const end = at + plan[i].byte_count();
        out.head += "," + nlohmann::json(plan[i].name).dump() + R"(:{"dtype":")";
        out.head.append(dtype_name(plan[i].type)).append(R"(","shape":)");
        out.head += nlohmann::json(plan[i].shape).dump() + R"(,"data_offsets":[)" +
                    std::to_string(at) + "," + std::to_string(end) + "]}";
        out.offsets.push_back(at);
        at = end;
    }
    out.head += "}";
    out.head.append((8 - out.head.size() % 8) % 8, ' ');
    std::uint64_t const length = out.head.size();
    if (length > safetensors_header_limit) {
        fail_usage("safetensors header too large", out.file,
                   "at most " + std::to_string(safetensors_header_limit) + " bytes",
                   std::to_string(length));
    }
    std::string prefix(8, '\0');
    for (std::size_t i = 0; i < 8; ++i) {
        prefix[i] = static_cast<char>((length >> (8 * i)) & 0xFFu);
    }
    out.head = prefix + out.head;
    for (std::uint64_t& offset : out.offsets) {
        offset += out.head.size();
    }
    out.size = at + out.head.size();
    return out;
}

}  // namespace detail

/// The shards of a plan: `model.safetensors`, or `model-0000i-of-0000n.safetensors` when one file
/// would hold more than `max_shard_size` bytes of tensors. A group larger than that is one shard.
/// Errors: fpq::error (usage) for a name given twice, an empty or reserved name.
inline std::vector<shard_layout> plan_shards(std::vector<tensor_plan> const& plan,
                                             std::uint64_t max_shard_size) {
    std::set<std::string_view> names;
    for (tensor_plan const& t : plan) {
        if (t.name.empty() || t.name == "__metadata__" || !names.insert(t.name).second) {
            fail_usage("bad output plan", "tensor '" + detail::printable(t.name) + "'",
                       "a name of its own", "a name that is empty, reserved or taken");
        }
    }
    std::vector<std::vector<std::size_t>> packed = detail::pack_shards(plan, max_shard_size);
    std::vector<shard_layout> shards;
    for (std::size_t i = 0; i < packed.size(); ++i) {
        char name[64];
        std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", i + 1, packed.size());
        std::string file = packed.size() == 1 ? std::string(single_shard_name) : std::string(name);
        shards.push_back(detail::lay_out_shard(plan, std::move(packed[i]), std::move(file)));
    }
    return shards;
}

/// Bytes on disk of the weights of a plan, headers included.
inline std::uint64_t planned_bytes(std::vector<shard_layout> const& shards) noexcept {
    std::uint64_t total = 0;
    for (shard_layout const& shard : shards) {
        total += shard.size;
    }
    return total;
}

}  // namespace fpq
