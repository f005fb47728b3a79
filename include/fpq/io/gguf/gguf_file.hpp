// SPDX-License-Identifier: Apache-2.0
// Floor 5. Reads one GGUF file (versions 2 and 3, little endian) through a memory map and refuses
// every malformed one by file, key or tensor, and byte. Laying one out is gguf_layout.hpp. What
// blocks hold is not looked at.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/printable.hpp"
#include "fpq/io/file/lfs_pointer.hpp"
#include "fpq/io/file/mapped_file.hpp"
#include "fpq/io/gguf/ggml_type.hpp"
#include "fpq/io/gguf/gguf_value.hpp"

namespace fpq {

inline constexpr std::string_view gguf_magic = "GGUF";
inline constexpr std::uint32_t gguf_version = 3;
/// Of the data and of each tensor, in bytes, where general.alignment does not say another.
inline constexpr std::uint32_t gguf_alignment = 32;
/// Most bytes of a string and most items of an array.
inline constexpr std::uint64_t gguf_length_limit = std::uint64_t{1} << 30;
/// Most bytes of a tensor's name that clients have room for.
inline constexpr std::size_t gguf_name_limit = 63;
inline constexpr std::uint32_t gguf_dims_limit = 4;

/// One tensor of a mapped file. `bytes` and `file` live as long as the file object.
struct gguf_tensor {
    std::string name;
    ggml_type type = ggml_type::f32;
    std::vector<std::uint64_t> dims;  ///< fastest first: a weight (out, in) has [in, out]
    std::span<std::byte const> bytes;
    std::filesystem::path const* file = nullptr;
};

/// "file: tensor 'name'", for error lines.
inline std::string tensor_place(gguf_tensor const& t) {
    return (t.file == nullptr ? std::string("memory") : t.file->string()) + ": tensor '" +
           detail::printable(t.name) + "'";
}

/// n rounded up to a multiple of `alignment`, a power of two.
constexpr std::uint64_t gguf_padded(std::uint64_t n, std::uint64_t alignment) noexcept {
    return (n + alignment - 1) & ~(alignment - 1);
}

namespace detail {

/// Takes values off the front of a file; every one is checked against its end.
class gguf_cursor {
public:
    gguf_cursor(std::span<std::byte const> file, std::string where)
        : file_(file), file_name_(std::move(where)) {}

    [[nodiscard]] std::uint64_t at() const noexcept { return at_; }
    [[nodiscard]] std::uint64_t left() const noexcept { return file_.size() - at_; }
    /// What the next values belong to, for messages: "key 'k'".
    void set_subject(std::string subject) { subject_ = std::move(subject); }

    [[noreturn]] void fail(std::string_view what, std::uint64_t byte, std::string_view expected,
                           std::string_view found) const {
        fail_input(what,
                   file_name_ + (subject_.empty() ? "" : ": " + subject_) + ": byte " +
                       std::to_string(byte),
                   expected, found);
    }
    /// Refuses a file with fewer than `count` items of `size` bytes left.
    void require(std::uint64_t count, std::uint64_t size, std::string_view what) const {
        if (count > left() / size) {
            fail("truncated GGUF file", at_,
                 std::to_string(count) + " " + std::string(what) + " of at least " +
                     std::to_string(size) + " bytes",
                 std::to_string(left()) + " bytes");
        }
    }
    template <class T>
    T number(std::string_view what) {
        require(1, sizeof(T), what);
        std::uint64_t bits = 0;
        for (std::size_t i = 0; i < sizeof(T); ++i) {
            bits |= std::to_integer<std::uint64_t>(file_[at_ + i]) << (8 * i);
        }
        at_ += sizeof(T);
        if constexpr (std::same_as<T, float>) {
            return std::bit_cast<float>(static_cast<std::uint32_t>(bits));
        } else if constexpr (std::same_as<T, double>) {
            return std::bit_cast<double>(bits);
        } else {
            return static_cast<T>(bits);
        }
    }
    bool boolean() {
        auto const byte = number<std::uint8_t>("bool");
        if (byte > 1) {
            fail("bad bool", at_ - 1, "0 or 1", std::to_string(byte));
        }
        return byte == 1;
    }
    std::string string(std::string_view what) {
        std::uint64_t const length = number<std::uint64_t>(what);
        if (length > gguf_length_limit) {
            fail("GGUF string too long", at_ - 8,
                 "at most " + std::to_string(gguf_length_limit) + " bytes", std::to_string(length));
        }
        require(length, 1, what);
        std::string out(reinterpret_cast<char const*>(file_.data()) + at_, length);
        at_ += length;
        return out;
    }
    template <class T>
    T value() {
        if constexpr (std::same_as<T, bool>) {
            return boolean();
        } else if constexpr (std::same_as<T, std::string>) {
            return string("string");
        } else {
            return number<T>("value");
        }
    }

private:
    std::span<std::byte const> file_;
    std::string file_name_;
    std::string subject_;
    std::uint64_t at_ = 0;
};

template <class T>
std::vector<T> read_gguf_items(gguf_cursor& from, std::uint64_t count) {
    // Strings have their length in front; all others their size. Checked before memory is taken.
    from.require(count, std::same_as<T, std::string> ? 8 : sizeof(T), "items");
    std::vector<T> out;
    out.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) {
        out.push_back(from.value<T>());
    }
    return out;
}

/// make(std::in_place_index<number>) for a type number that is in range.
template <std::size_t Index = 0, class Make>
auto with_gguf_type(std::size_t number, Make&& make)
    -> decltype(make(std::in_place_index<gguf_string_type>)) {
    if constexpr (Index + 1 < gguf_type_count) {
        if (number != Index) {
            return with_gguf_type<Index + 1>(number, make);
        }
    }
    return make(std::in_place_index<Index>);
}

inline std::size_t read_gguf_type(gguf_cursor& from) {
    std::uint32_t const type = from.number<std::uint32_t>("type");
    if (type >= gguf_type_count) {
        from.fail("unknown type of GGUF value", from.at() - 4,
                  "0 to " + std::to_string(gguf_type_count - 1), std::to_string(type));
    }
    return type;
}

inline gguf_array read_gguf_array(gguf_cursor& from) {
    std::size_t const type = read_gguf_type(from);
    if (type == gguf_array_type) {
        from.fail("array of arrays", from.at() - 4, "an array of plain values", "one of arrays");
    }
    std::uint64_t const count = from.number<std::uint64_t>("array length");
    if (count > gguf_length_limit) {
        from.fail("GGUF array too long", from.at() - 8,
                  "at most " + std::to_string(gguf_length_limit) + " items", std::to_string(count));
    }
    return with_gguf_type(type, [&]<std::size_t I>(std::in_place_index_t<I>) -> gguf_array {
        if constexpr (I == gguf_array_type) {
            return {};
        } else {
            using items = std::variant_alternative_t<I, gguf_array>;
            return gguf_array(std::in_place_index<I>,
                              read_gguf_items<typename items::value_type>(from, count));
        }
    });
}

inline gguf_value read_gguf_value(gguf_cursor& from) {
    std::size_t const type = read_gguf_type(from);
    return with_gguf_type(type, [&]<std::size_t I>(std::in_place_index_t<I>) -> gguf_value {
        if constexpr (I == gguf_array_type) {
            return gguf_value(std::in_place_index<I>, read_gguf_array(from));
        } else {
            return gguf_value(std::in_place_index<I>,
                              from.value<std::variant_alternative_t<I, gguf_value>>());
        }
    });
}

}  // namespace detail

/// The metadata and tensors of one GGUF file, in their order. Move only.
/// Errors: fpq::error (input) for every file that the format forbids: magic, version, counts and
/// lengths over the end of the file, unknown types of values or tensors, empty or repeated keys and
/// names, names without room, shapes that are no whole blocks or overflow, an alignment that is no
/// power of two, offsets that leave gaps, data that is missing. Bytes behind the last tensor are
/// allowed, as clients do; trailing() counts them.
class gguf_file {
public:
    explicit gguf_file(std::filesystem::path const& path)
        : path_(std::make_unique<std::filesystem::path const>(path)), file_(path) {
        refuse_lfs_pointer(file_.bytes(), path);
        read();
    }

    [[nodiscard]] std::uint32_t version() const noexcept { return version_; }
    [[nodiscard]] std::uint64_t alignment() const noexcept { return alignment_; }
    [[nodiscard]] gguf_metadata const& metadata() const noexcept { return metadata_; }
    [[nodiscard]] std::vector<gguf_tensor> const& tensors() const noexcept { return tensors_; }
    [[nodiscard]] std::filesystem::path const& path() const noexcept { return *path_; }
    /// Bytes before the data: all that the header takes, padding included.
    [[nodiscard]] std::uint64_t head_bytes() const noexcept { return head_bytes_; }
    /// Bytes behind the last tensor and its padding.
    [[nodiscard]] std::uint64_t trailing() const noexcept { return trailing_; }

    [[nodiscard]] gguf_tensor const* find(std::string_view name) const {
        auto const at = places_.find(name);
        return at == places_.end() ? nullptr : &tensors_[at->second];
    }
    /// Errors: fpq::error (input) naming file and tensor when it is absent.
    [[nodiscard]] gguf_tensor const& at(std::string_view name) const {
        gguf_tensor const* const found = find(name);
        if (found == nullptr) {
            fail_input("missing tensor", path_->string(),
                       "tensor '" + detail::printable(name) + "'", "none");
        }
        return *found;
    }
    /// mapped_file::release: bytes of tensors of this file.
    void release(std::span<std::byte const> part) const noexcept { file_.release(part); }

private:
    void read() {
        detail::gguf_cursor from(file_.bytes(), path_->string());
        from.require(4, 1, "characters of magic");
        for (char const c : gguf_magic) {
            if (from.number<std::uint8_t>("magic") != static_cast<std::uint8_t>(c)) {
                from.fail("no GGUF file", 0, "the magic GGUF", "other bytes");
            }
        }
        version_ = from.number<std::uint32_t>("version");
        if (version_ != 2 && version_ != gguf_version) {
            bool const swapped = (version_ & 0xFFFFu) == 0 && version_ != 0;
            from.fail("unsupported GGUF version", 4, "2 or 3, little endian",
                      swapped ? "a file of a big-endian machine" : std::to_string(version_));
        }
        std::uint64_t const tensors = from.number<std::uint64_t>("number of tensors");
        std::uint64_t const pairs = from.number<std::uint64_t>("number of keys");
        read_metadata(from, pairs);
        read_infos(from, tensors);
        place_tensors(from);
    }

    void read_metadata(detail::gguf_cursor& from, std::uint64_t pairs) {
        // Length of the key, type, one byte of value.
        from.require(pairs, 8 + 4 + 1, "keys");
        std::set<std::string> seen;
        for (std::uint64_t i = 0; i < pairs; ++i) {
            from.set_subject("key " + std::to_string(i));
            std::uint64_t const begin = from.at();
            std::string key = from.string("key");
            if (key.empty() || !seen.insert(key).second) {
                from.fail("bad GGUF key", begin, "a name of its own",
                          key.empty() ? "none" : "'" + detail::printable(key) + "' twice");
            }
            from.set_subject("key '" + detail::printable(key) + "'");
            gguf_value value = detail::read_gguf_value(from);
            if (key == "general.alignment") {
                set_alignment(from, value);
            }
            metadata_.emplace_back(std::move(key), std::move(value));
        }
        from.set_subject({});
    }

    void set_alignment(detail::gguf_cursor const& from, gguf_value const& value) {
        std::uint32_t const* const n = std::get_if<std::uint32_t>(&value);
        if (n == nullptr || !std::has_single_bit(*n)) {
            from.fail("bad alignment", from.at(), "a u32, a power of two",
                      n == nullptr ? gguf_type_name(value.index()) : std::to_string(*n));
        }
        alignment_ = *n;
    }

    void read_infos(detail::gguf_cursor& from, std::uint64_t count) {
        // Length of the name, number of dimensions, type, offset.
        from.require(count, 8 + 4 + 4 + 8, "tensors");
        tensors_.reserve(count);
        offsets_.reserve(count);
        for (std::uint64_t i = 0; i < count; ++i) {
            from.set_subject("tensor " + std::to_string(i));
            std::uint64_t const begin = from.at();
            gguf_tensor t;
            t.name = from.string("tensor name");
            t.file = path_.get();
            if (t.name.empty() || t.name.size() > gguf_name_limit) {
                from.fail("bad tensor name", begin,
                          "1 to " + std::to_string(gguf_name_limit) + " bytes",
                          std::to_string(t.name.size()));
            }
            from.set_subject("tensor '" + detail::printable(t.name) + "'");
            if (!places_.emplace(t.name, tensors_.size()).second) {
                from.fail("tensor twice", begin, "each name once", "another of this name");
            }
            read_shape(from, t);
            offsets_.push_back(from.number<std::uint64_t>("offset"));
            tensors_.push_back(std::move(t));
        }
        from.set_subject({});
    }

    static void read_shape(detail::gguf_cursor& from, gguf_tensor& t) {
        std::uint64_t const begin = from.at();
        std::uint32_t const dims = from.number<std::uint32_t>("number of dimensions");
        if (dims > gguf_dims_limit) {
            from.fail("too many dimensions", begin, "at most " + std::to_string(gguf_dims_limit),
                      std::to_string(dims));
        }
        for (std::uint32_t i = 0; i < dims; ++i) {
            t.dims.push_back(from.number<std::uint64_t>("dimension"));
        }
        std::uint32_t const type = from.number<std::uint32_t>("type");
        if (find_ggml_type(type) == nullptr) {
            from.fail("unknown type of tensor", from.at() - 4, "a type of ggml up to Q1_0 (41)",
                      "number " + std::to_string(type));
        }
        t.type = ggml_type{type};
        if (!ggml_byte_count(t.type, t.dims)) {
            std::string shape;
            for (std::uint64_t const d : t.dims) {
                shape += (shape.empty() ? "[" : ", ") + std::to_string(d);
            }
            from.fail(
                "impossible tensor size", begin,
                "rows of whole blocks of " + std::to_string(facts_of(t.type).block) +
                    " values, fewer than 2^63 in all",
                std::string(ggml_type_name(t.type)) + " " + (shape.empty() ? "[" : shape) + "]");
        }
    }

    void place_tensors(detail::gguf_cursor const& from) {
        std::uint64_t const size = file_.bytes().size();
        head_bytes_ = gguf_padded(from.at(), alignment_);
        std::uint64_t at = 0;  // of the data
        for (std::size_t i = 0; i < tensors_.size(); ++i) {
            gguf_tensor& t = tensors_[i];
            std::string const place = tensor_place(t) + ": byte ";
            if (offsets_[i] != at) {
                fail_input("gap or overlap in the data", place + std::to_string(from.at()),
                           "offset " + std::to_string(at), std::to_string(offsets_[i]));
            }
            std::uint64_t const bytes = *ggml_byte_count(t.type, t.dims);
            if (head_bytes_ > size || at > size - head_bytes_ || bytes > size - head_bytes_ - at) {
                fail_input("truncated tensor data", place + std::to_string(size),
                           std::to_string(bytes) + " bytes from offset " + std::to_string(at),
                           std::to_string(size) + " bytes of file");
            }
            t.bytes = file_.bytes().subspan(head_bytes_ + at, bytes);
            at = gguf_padded(at + bytes, alignment_);
        }
        std::uint64_t const end = head_bytes_ + at;
        trailing_ = size > end ? size - end : 0;
    }

    std::unique_ptr<std::filesystem::path const> path_;
    mapped_file file_;
    std::uint32_t version_ = 0;
    std::uint64_t alignment_ = gguf_alignment;
    std::uint64_t head_bytes_ = 0;
    std::uint64_t trailing_ = 0;
    gguf_metadata metadata_;
    std::vector<gguf_tensor> tensors_;
    std::vector<std::uint64_t> offsets_;
    std::map<std::string, std::size_t, std::less<>> places_;
};

}  // namespace fpq
