// SPDX-License-Identifier: Apache-2.0
// Floor 5. Reads one safetensors file through a memory map and refuses every malformed one by file,
// tensor and byte. Writing is in checkpoint_writer.hpp; several files are checkpoint.hpp. Tensor
// data need not be aligned to its type: copy bytes out, never cast the span.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/lfs_pointer.hpp"
#include "fpq/io/file/mapped_file.hpp"
#include "fpq/io/json/json_file.hpp"
#include "fpq/io/safetensors/dtype.hpp"

namespace fpq {

/// Longest header, in bytes, that the format allows.
inline constexpr std::uint64_t safetensors_header_limit = 100'000'000;

/// One tensor of a mapped file. `bytes` and `file` live as long as the file object.
struct tensor_ref {
    std::string name;
    dtype type = dtype::u8;
    std::vector<std::uint64_t> shape;
    std::span<std::byte const> bytes;
    std::filesystem::path const* file = nullptr;
};

/// "[2, 3]".
inline std::string shape_text(std::span<std::uint64_t const> shape) {
    std::string out = "[";
    for (std::size_t i = 0; i < shape.size(); ++i) {
        out.append(i == 0 ? "" : ", ").append(std::to_string(shape[i]));
    }
    return out + "]";
}

/// "file: tensor 'name'", for error lines.
inline std::string tensor_place(tensor_ref const& t) {
    return (t.file == nullptr ? std::string("memory") : t.file->string()) + ": tensor '" +
           detail::printable(t.name) + "'";
}

/// product(shape) * bits / 8; empty when the product overflows 64 bits or is not whole bytes.
inline std::optional<std::uint64_t> tensor_byte_count(dtype type,
                                                      std::span<std::uint64_t const> shape) {
    std::uint64_t product = dtype_bits(type);
    for (std::uint64_t const d : shape) {
        if (d != 0 && product > std::numeric_limits<std::uint64_t>::max() / d) {
            return std::nullopt;
        }
        product *= d;
    }
    if (product % 8 != 0) {
        return std::nullopt;
    }
    return product / 8;
}

namespace detail {

/// A header entry as read, before its ranges are checked.
struct header_entry {
    std::string name;
    std::optional<dtype> type;
    std::vector<std::uint64_t> shape;
    std::vector<std::uint64_t> offsets;
    bool has_shape = false;
    bool has_offsets = false;
    std::uint64_t byte = 0;  // of the file, just behind the entry's name
};

/// Reads the header without building a document: a wrong type stops at once, at its byte.
class header_reader : public nlohmann::json_sax<nlohmann::json> {
public:
    header_reader(std::string_view where, std::string_view text) : where_(where), text_(text) {}
    char const* progress = nullptr;
    std::vector<header_entry> entries;
    std::vector<std::pair<std::string, std::string>> metadata;

    bool null() override { return wrong("null"); }
    bool boolean(bool) override { return wrong("a boolean"); }
    bool number_integer(number_integer_t) override { return wrong("a negative number"); }
    bool number_float(number_float_t, string_t const&) override {
        return wrong("a number that is no 64-bit integer");
    }
    bool binary(binary_t&) override { return wrong("binary"); }
    bool number_unsigned(number_unsigned_t value) override {
        if (state_ == state::shape && entries.back().shape.size() < 64) {
            entries.back().shape.push_back(value);
            return true;
        }
        if (state_ == state::offsets && entries.back().offsets.size() < 2) {
            entries.back().offsets.push_back(value);
            return true;
        }
        return wrong(state_ == state::shape     ? "more than 64 dimensions"
                     : state_ == state::offsets ? "more than two offsets"
                                                : "a number");
    }
    bool string(string_t& value) override {
        if (state_ == state::metadata) {
            metadata.back().second = value;
            return true;
        }
        if (state_ == state::entry && field_ == "dtype") {
            entries.back().type = parse_dtype(value);
            if (!entries.back().type) {
                return refuse("a known dtype", "'" + printable(value) + "'");
            }
            return true;
        }
        return wrong("a string");
    }
    bool start_object(std::size_t) override {
        if (state_ == state::outside) {
            state_ = state::top;
            return true;
        }
        if (state_ != state::top || opened_) {
            return wrong("an object");
        }
        opened_ = true;
        state_ = in_metadata_ ? state::metadata : state::entry;
        return true;
    }
    bool end_object() override {
        if (state_ == state::entry) {
            header_entry const& e = entries.back();
            if (!e.type || !e.has_shape || e.offsets.size() != 2) {
                return refuse("dtype, shape and two data_offsets", "an incomplete entry");
            }
        }
        state_ = state_ == state::top ? state::outside : state::top;
        return true;
    }
    bool start_array(std::size_t) override {
        if (state_ != state::entry || (field_ != "shape" && field_ != "data_offsets")) {
            return wrong("an array");
        }
        state_ = field_ == "shape" ? state::shape : state::offsets;
        (field_ == "shape" ? entries.back().has_shape : entries.back().has_offsets) = true;
        return true;
    }
    bool end_array() override {
        state_ = state::entry;
        return true;
    }
    bool key(string_t& name) override {
        if (state_ == state::top) {
            return top_key(name);
        }
        if (state_ == state::metadata) {
            if (!metadata_names_.insert(name).second) {
                return refuse("each key once", "key '" + printable(name) + "' twice");
            }
            metadata.emplace_back(name, std::string());
            return true;
        }
        header_entry const& e = entries.back();
        bool const known = name == "dtype" || name == "shape" || name == "data_offsets";
        bool const twice = (name == "dtype" && e.type) || (name == "shape" && e.has_shape) ||
                           (name == "data_offsets" && e.has_offsets);
        if (!known || twice) {
            return refuse("dtype, shape and data_offsets once each",
                          "key '" + printable(name) + (twice ? "' twice" : "'"));
        }
        field_ = name;
        return true;
    }
    bool parse_error(std::size_t position, std::string const&,
                     nlohmann::json::exception const& why) override {
        fail_json(where_, 8 + (position == 0 ? 0 : position - 1), "a JSON header",
                  json_reason(why.what()));
    }

private:
    enum class state { outside, top, entry, metadata, shape, offsets };

    [[nodiscard]] std::uint64_t byte() const {
        return 8 + static_cast<std::uint64_t>(progress - text_.data());
    }
    bool top_key(std::string const& name) {
        opened_ = false;
        in_metadata_ = name == "__metadata__";
        if (!names_.insert(name).second) {
            return refuse("each name once", "'" + printable(name) + "' twice");
        }
        if (!in_metadata_) {
            entries.emplace_back();
            entries.back().name = name;
            entries.back().byte = byte();
        }
        return true;
    }
    bool wrong(std::string_view found) {
        switch (state_) {
            case state::outside:
                return refuse("an object", found);
            case state::top:
                return refuse(in_metadata_ ? "an object of strings" : "a tensor entry", found);
            case state::metadata:
                return refuse("a string", found);
            case state::entry:
                return refuse(field_ == "dtype" ? "a string" : "an array of integers", found);
            case state::shape:
            case state::offsets:
                break;
        }
        return refuse("unsigned 64-bit integers", found);
    }
    [[noreturn]] bool refuse(std::string_view expected, std::string_view found) {
        std::string place(where_);
        if (in_metadata_) {
            place += ": __metadata__";
        } else if (!entries.empty()) {
            place += ": tensor '" + printable(entries.back().name) + "'";
        }
        place += ": byte " + std::to_string(byte());
        fail_input("bad safetensors header", place, expected, found);
    }

    std::string_view where_;
    std::string_view text_;
    state state_ = state::outside;
    bool in_metadata_ = false;
    bool opened_ = false;
    std::string field_;
    std::set<std::string> names_;
    std::set<std::string> metadata_names_;
};

/// The header's text. Errors: a file too short for its header, or a header over the limit.
inline std::string_view header_text(std::span<std::byte const> file, std::string const& where) {
    if (file.size() < 8) {
        fail_input("truncated safetensors file", where + ": byte 0",
                   "at least 8 bytes of header length", std::to_string(file.size()) + " bytes");
    }
    std::uint64_t length = 0;
    for (std::size_t i = 0; i < 8; ++i) {
        length |= std::to_integer<std::uint64_t>(file[i]) << (8 * i);
    }
    if (length > safetensors_header_limit) {
        fail_input("safetensors header too large", where + ": byte 0",
                   "at most " + std::to_string(safetensors_header_limit) + " bytes",
                   std::to_string(length));
    }
    if (length > file.size() - 8) {
        fail_input("truncated safetensors header", where + ": byte 8",
                   std::to_string(length) + " bytes of header",
                   std::to_string(file.size() - 8) + " bytes");
    }
    std::string_view const text(reinterpret_cast<char const*>(file.data()) + 8, length);
    std::size_t const first = text.find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos || text[first] != '{') {
        fail_json(where, 8 + (first == std::string_view::npos ? 0 : first),
                  "a header that starts with '{'",
                  first == std::string_view::npos ? std::string("nothing")
                                                  : "'" + printable(text.substr(first, 1)) + "'");
    }
    return text;
}

}  // namespace detail

/// The tensors of one safetensors file, in order of their data. Move only.
/// Errors: fpq::error (input) for every file that the format forbids: sizes, JSON, duplicate names,
/// unknown types, gaps, overlaps, counts that overflow, missing or trailing bytes.
/// Source: formats of the safetensors reference reader, stricter on duplicate keys.
class safetensors_file {
public:
    explicit safetensors_file(std::filesystem::path const& path)
        : path_(std::make_unique<std::filesystem::path const>(path)), file_(path) {
        read();
    }

    /// Ordered by position in the file.
    [[nodiscard]] std::vector<tensor_ref> const& tensors() const noexcept { return tensors_; }
    /// The string pairs of `__metadata__`.
    [[nodiscard]] std::vector<std::pair<std::string, std::string>> const& metadata()
        const noexcept {
        return metadata_;
    }
    [[nodiscard]] std::filesystem::path const& path() const noexcept { return *path_; }
    /// mapped_file::release: bytes of tensors of this file.
    void release(std::span<std::byte const> part) const noexcept { file_.release(part); }

private:
    void read() {
        std::string const where = path_->string();
        std::span<std::byte const> const all = file_.bytes();
        refuse_lfs_pointer(all, *path_);
        std::string_view const text = detail::header_text(all, where);
        detail::header_reader reader(where, text);
        detail::sax_parse(text, reader, &reader.progress);
        metadata_ = std::move(reader.metadata);
        std::vector<detail::header_entry>& entries = reader.entries;
        std::stable_sort(entries.begin(), entries.end(), [](auto const& a, auto const& b) {
            return a.offsets < b.offsets;  // begin, then end: empty tensors before their neighbour
        });
        std::span<std::byte const> const data = all.subspan(8 + text.size());
        std::uint64_t next = 0;
        for (detail::header_entry& e : entries) {
            check_entry(e, next, data.size());
            next = e.offsets[1];
            tensors_.push_back({std::move(e.name), *e.type, std::move(e.shape),
                                data.subspan(e.offsets[0], e.offsets[1] - e.offsets[0]),
                                path_.get()});
        }
        if (next != data.size()) {
            fail_input("bytes after the last tensor",
                       where + ": byte " + std::to_string(8 + text.size() + next), "end of file",
                       std::to_string(data.size() - next) + " more bytes");
        }
    }

    void check_entry(detail::header_entry const& e, std::uint64_t next, std::size_t size) const {
        std::string const place =
            path_->string() + ": tensor '" + detail::printable(e.name) + "': byte ";
        std::string const at_header = place + std::to_string(e.byte);
        std::optional<std::uint64_t> const bytes = tensor_byte_count(*e.type, e.shape);
        if (!bytes) {
            fail_input("impossible tensor size", at_header,
                       "a whole number of bytes below 2^64 bits",
                       std::string(dtype_name(*e.type)) + " " + shape_text(e.shape));
        }
        std::uint64_t const begin = e.offsets[0];
        std::uint64_t const end = e.offsets[1];
        if (begin != next || end < begin) {
            fail_input(end < begin ? "reversed data_offsets" : "gap or overlap in the data",
                       at_header, "data_offsets that begin at " + std::to_string(next),
                       "[" + std::to_string(begin) + ", " + std::to_string(end) + "]");
        }
        if (end - begin != *bytes) {
            fail_input("tensor size and data_offsets disagree", at_header,
                       std::to_string(*bytes) + " bytes for " + std::string(dtype_name(*e.type)) +
                           " " + shape_text(e.shape),
                       std::to_string(end - begin) + " bytes");
        }
        if (end > size) {
            fail_input("truncated tensor data", place + std::to_string(file_.bytes().size()),
                       std::to_string(end) + " bytes of data", std::to_string(size) + " bytes");
        }
    }

    std::unique_ptr<std::filesystem::path const> path_;
    mapped_file file_;
    std::vector<tensor_ref> tensors_;
    std::vector<std::pair<std::string, std::string>> metadata_;
};

}  // namespace fpq
