// SPDX-License-Identifier: Apache-2.0
// Floor 5. Writes a checkpoint whose tensors were declared beforehand: every shard is reserved at
// its final size, tensors land in their place in any order and from any thread, and nothing
// appears under the final name before all of it is whole and flushed. It holds no tensor in memory.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/file_actions.hpp"
#include "fpq/io/file/look.hpp"
#include "fpq/io/file/mapped_file.hpp"
#include "fpq/io/file/staging_directory.hpp"
#include "fpq/io/safetensors/shard_plan.hpp"

namespace fpq {

/// Refuses to write onto the input: the writer replaces the files of its target.
inline void require_distinct(std::filesystem::path const& source,
                             std::filesystem::path const& target) {
    std::error_code ignored;
    if (std::filesystem::equivalent(source, target, ignored)) {
        fail_input("output is the input", target.string(), "another directory",
                   "the checkpoint that is read");
    }
}

/// Streaming writer of one checkpoint directory. write, add_* and copy_file may be called from
/// several threads at once. A target that already holds files gets the new ones: the weights,
/// index, config and quantization files that stood there are removed, others stay. Errors:
/// fpq::error (input) for the disk (no space, no permission, a failed write) and a target that
/// another run is at work on, (usage) for a tensor that was not planned, has another size or comes
/// twice. Without finish() nothing remains, but after staging().keep().
class checkpoint_writer {
public:
    /// What an earlier run left is removed.
    checkpoint_writer(std::filesystem::path const& directory, std::vector<tensor_plan> plan,
                      std::uint64_t max_shard_size)
        : checkpoint_writer(directory, std::move(plan), max_shard_size,
                            [](staging_directory&) { return false; }) {}

    /// goes_on(staging) looks at what an earlier run of the same plan left, and says whether this
    /// one goes on with it.
    template <class GoesOn>
    checkpoint_writer(std::filesystem::path const& directory, std::vector<tensor_plan> plan,
                      std::uint64_t max_shard_size, GoesOn goes_on)
        : checkpoint_writer(directory, plan, plan_shards(plan, max_shard_size), goes_on) {}

    /// The same into files that are laid out already, of whatever container.
    template <class GoesOn>
    checkpoint_writer(std::filesystem::path const& directory, std::vector<tensor_plan> plan,
                      std::vector<shard_layout> shards, GoesOn goes_on)
        : plan_(std::move(plan)),
          shards_(std::move(shards)),
          staging_(directory),
          written_(plan_.size(), false) {
        for (std::size_t s = 0; s < shards_.size(); ++s) {
            for (std::size_t k = 0; k < shards_[s].tensors.size(); ++k) {
                std::size_t const i = shards_[s].tensors[k];
                places_.emplace(plan_[i].name, place{i, s, shards_[s].offsets[k]});
            }
        }
        resumed_ = staging_.has_leftover() && goes_on(staging_) && open_shards();
        if (!resumed_) {
            staging_.clear();
            make_shards();
        }
    }

    /// True when an earlier run's files are continued: what it wrote whole is named by
    /// mark_written, all else is written again.
    [[nodiscard]] bool resumed() const noexcept { return resumed_; }
    [[nodiscard]] staging_directory& staging() noexcept { return staging_; }
    /// A tensor that lies in its place already.
    void mark_written(std::string_view name) {
        auto const found = places_.find(std::string(name));
        if (found != places_.end()) {
            written_[found->second.tensor] = true;
        }
    }

    /// Puts all bytes of a planned tensor in their place.
    void write(std::string_view name, std::span<std::byte const> bytes) {
        write(name, bytes, [](std::span<std::byte const>) {});
    }
    /// The same in pieces, calling done(piece) after each: for a source that gives its pages back.
    template <class F>
    void write(std::string_view name, std::span<std::byte const> bytes, F const& done) {
        place const at = claim(name, bytes.size());
        ++unfinished_;  // stays up when the write throws, so that finish() refuses
        detail::for_each_piece(bytes, [&](std::span<std::byte const> piece) {
            std::uint64_t const skip = static_cast<std::uint64_t>(piece.data() - bytes.data());
            detail::write_all(files_[at.shard].get(), piece, at.offset + skip,
                              staging_.path() / shards_[at.shard].file);
            done(piece);
        });
        detail::start_flush(files_[at.shard].get(), at.offset, bytes.size());
        --unfinished_;
    }
    /// The same; type and shape must be those of the plan.
    void write(tensor_data const& t) {
        auto const found = places_.find(t.name);
        if (found != places_.end() && (plan_[found->second.tensor].type != t.type ||
                                       plan_[found->second.tensor].shape != t.shape)) {
            tensor_plan const& p = plan_[found->second.tensor];
            fail_usage("tensor differs from the plan", "tensor '" + t.name + "'",
                       std::string(dtype_name(p.type)) + " " + shape_text(p.shape),
                       std::string(dtype_name(t.type)) + " " + shape_text(t.shape));
        }
        write(t.name, t.bytes);
    }

    /// A further file: UTF-8 JSON, indented by two, one final line feed.
    void add_json(std::string_view filename, nlohmann::json const& value) {
        std::string const text = json_file_text(value);
        add_file(filename, std::as_bytes(std::span(text)));
    }
    void add_file(std::string_view filename, std::span<std::byte const> bytes) {
        std::filesystem::path const path = claim_file(filename);
        if (holds(path, bytes)) {
            return;  // an earlier run wrote it; a kill now must not take it away
        }
        std::error_code ignored;
        std::filesystem::remove(path, ignored);
        detail::unique_fd const fd = detail::create_file(path);
        detail::write_all(fd.get(), bytes, 0, path);
    }
    void copy_file(std::filesystem::path const& from, std::string_view filename) {
        mapped_file const source(from);
        add_file(filename, source.bytes());
    }

    /// Bytes of weights that will be on disk.
    [[nodiscard]] std::uint64_t total_bytes() const noexcept { return planned_bytes(shards_); }
    [[nodiscard]] std::vector<shard_layout> const& shards() const noexcept { return shards_; }

    /// Refuses a planned tensor that never came, by name.
    void require_complete() const {
        for (std::size_t i = 0; i < plan_.size(); ++i) {
            if (!written_[i] || unfinished_ != 0) {
                fail_usage("incomplete checkpoint", staging_.target().string(),
                           "tensor '" + plan_[i].name + "'", "it never written");
            }
        }
    }

    /// Flushes and publishes everything. Errors: as require_complete.
    void finish() {
        require_complete();
        files_.clear();
        std::vector<std::string> const last{std::string(index_name), "config.json"};
        staging_.publish(last, is_old_weights);
    }

    /// The weights and quantization files of an earlier checkpoint, which a new one replaces.
    [[nodiscard]] static bool is_old_weights(std::string_view name) {
        return (name.starts_with("model") && name.ends_with(".safetensors")) ||
               name == "hf_quant_config.json";
    }

private:
    struct place {
        std::size_t tensor;
        std::size_t shard;
        std::uint64_t offset;
    };

    static bool holds(std::filesystem::path const& path, std::span<std::byte const> bytes) {
        std::error_code absent;
        if (std::filesystem::file_size(path, absent) != bytes.size() || absent) {
            return false;
        }
        mapped_file const there(path);
        return std::equal(bytes.begin(), bytes.end(), there.bytes().begin());
    }

    place claim(std::string_view name, std::size_t bytes) {
        auto const found = places_.find(std::string(name));
        std::string const where = "tensor '" + detail::printable(name) + "'";
        if (found == places_.end()) {
            fail_usage("unplanned tensor", where, "a tensor of the plan", "none");
        }
        place const at = found->second;
        if (bytes != plan_[at.tensor].byte_count()) {
            fail_usage("tensor differs from the plan", where,
                       std::to_string(plan_[at.tensor].byte_count()) + " bytes",
                       std::to_string(bytes));
        }
        std::lock_guard const guard(mutex_);
        if (written_[at.tensor]) {
            fail_usage("tensor written twice", where, "once", "twice");
        }
        written_[at.tensor] = true;
        return at;
    }

    /// A file name, or one of a directory and one in it.
    std::filesystem::path claim_file(std::string_view filename) {
        std::size_t const slash = filename.find('/');
        bool const below = slash != std::string_view::npos;
        bool const weights =
            !below && (filename.ends_with(".safetensors") || filename == index_name);
        bool const plain = is_plain_file_name(filename.substr(below ? slash + 1 : 0)) &&
                           (!below || is_plain_file_name(filename.substr(0, slash)));
        std::lock_guard const guard(mutex_);
        if (!plain || weights || !extra_files_.insert(std::string(filename)).second) {
            fail_usage("bad extra file", "'" + detail::printable(filename) + "'",
                       "a plain name of its own that is no weight file", "another");
        }
        if (below) {
            std::filesystem::path const directory = staging_.path() / filename.substr(0, slash);
            std::error_code failed;
            std::filesystem::create_directory(directory, failed);
            if (failed) {
                detail::fail_write("cannot create", directory, failed.value());
            }
        }
        return staging_.path() / filename;
    }

    void make_shards() {
        require_space(staging_.path(), planned_bytes(shards_));
        for (shard_layout const& shard : shards_) {
            std::filesystem::path const path = staging_.path() / shard.file;
            files_.push_back(detail::create_file(path));
            detail::reserve_file(files_.back().get(), shard.size, path);
            detail::write_all(files_.back().get(), std::as_bytes(std::span(shard.head)), 0, path);
        }
        if (shards_.size() > 1) {
            write_index();
        }
    }

    /// False when the files of an earlier run are not those of this plan.
    bool open_shards() {
        for (shard_layout const& shard : shards_) {
            std::filesystem::path const path = staging_.path() / shard.file;
            files_.emplace_back(::open(path.c_str(), O_RDWR | O_CLOEXEC));
            std::string head(shard.head.size(), '\0');
            struct stat facts {};
            if (!files_.back() || ::fstat(files_.back().get(), &facts) != 0 ||
                static_cast<std::uint64_t>(facts.st_size) != shard.size ||
                ::pread(files_.back().get(), head.data(), head.size(), 0) !=
                    static_cast<::ssize_t>(head.size()) ||
                head != shard.head) {
                files_.clear();
                return false;
            }
        }
        if (shards_.size() > 1 && !is_there(staging_.path() / index_name)) {
            write_index();
        }
        return true;
    }

    void write_index() {
        nlohmann::json index;
        std::uint64_t total = 0;
        for (shard_layout const& shard : shards_) {
            for (std::size_t const i : shard.tensors) {
                index["weight_map"][plan_[i].name] = shard.file;
                total += plan_[i].byte_count();
            }
        }
        index["metadata"]["total_size"] = total;
        std::filesystem::path const path = staging_.path() / index_name;
        detail::unique_fd const fd = detail::create_file(path);
        std::string const text = json_file_text(index);
        detail::write_all(fd.get(), std::as_bytes(std::span(text)), 0, path);
    }

    std::vector<tensor_plan> plan_;
    std::vector<shard_layout> shards_;
    staging_directory staging_;
    std::vector<detail::unique_fd> files_;
    std::unordered_map<std::string, place> places_;
    std::mutex mutex_;
    std::atomic<int> unfinished_ = 0;
    std::vector<bool> written_;
    std::set<std::string> extra_files_;
    bool resumed_ = false;
};

}  // namespace fpq
