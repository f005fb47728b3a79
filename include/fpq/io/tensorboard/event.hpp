// SPDX-License-Identifier: Apache-2.0
// Floor 5. Events of TensorBoard as bytes: the few fields of tensorflow/core/util/event.proto and
// framework/summary.proto that scalars and texts have, in protocol-buffer encoding, and the frame
// of a TFRecord around each.
#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>

#include "fpq/io/tensorboard/crc32c.hpp"

namespace fpq {

namespace detail {

/// A message of protocol buffers, field by field. Numbers of fields are below 16.
class protobuf_message {
public:
    void add_varint(unsigned field, std::uint64_t value) {
        key(field, 0);
        varint(value);
    }
    void add_double(unsigned field, double value) {
        key(field, 1);
        little_endian(std::bit_cast<std::uint64_t>(value), 8);
    }
    void add_float(unsigned field, float value) {
        key(field, 5);
        little_endian(std::bit_cast<std::uint32_t>(value), 4);
    }
    /// Bytes, text or another message.
    void add_bytes(unsigned field, std::string_view value) {
        key(field, 2);
        varint(value.size());
        bytes_ += value;
    }
    [[nodiscard]] std::string const& bytes() const noexcept { return bytes_; }

    void little_endian(std::uint64_t value, int size) {
        for (int i = 0; i < size; ++i) {
            bytes_.push_back(static_cast<char>((value >> (8 * i)) & 0xFFU));
        }
    }

private:
    void key(unsigned field, unsigned wire_type) {
        bytes_.push_back(static_cast<char>(field << 3 | wire_type));
    }
    void varint(std::uint64_t value) {
        for (; value >= 0x80U; value >>= 7) {
            bytes_.push_back(static_cast<char>((value & 0x7FU) | 0x80U));
        }
        bytes_.push_back(static_cast<char>(value));
    }

    std::string bytes_;
};

/// Event {wall_time = 1, step = 2, and `field`: file_version = 3 or summary = 5}.
inline std::string event_bytes(double wall_time, std::int64_t step, unsigned field,
                               std::string_view content) {
    protobuf_message event;
    event.add_double(1, wall_time);
    if (step != 0) {
        event.add_varint(2, static_cast<std::uint64_t>(step));
    }
    event.add_bytes(field, content);
    return event.bytes();
}

}  // namespace detail

/// The first event of every file. Times are seconds since 1970.
[[nodiscard]] inline std::string version_event(double wall_time) {
    return detail::event_bytes(wall_time, 0, 3, "brain.Event:2");
}

/// A number of a series: Summary {value = 1 {tag = 1, simple_value = 2}}.
[[nodiscard]] inline std::string scalar_event(double wall_time, std::int64_t step,
                                              std::string_view tag, float value) {
    detail::protobuf_message one;
    one.add_bytes(1, tag);
    one.add_float(2, value);
    detail::protobuf_message summary;
    summary.add_bytes(1, one.bytes());
    return detail::event_bytes(wall_time, step, 5, summary.bytes());
}

/// Markdown of the text plugin: Value {tag = 1, tensor = 8, metadata = 9}, the tensor one string.
[[nodiscard]] inline std::string text_event(double wall_time, std::int64_t step,
                                            std::string_view tag, std::string_view markdown) {
    constexpr std::uint64_t string_type = 7;  // DT_STRING
    detail::protobuf_message dimension;
    dimension.add_varint(1, 1);  // TensorShapeProto.Dim.size
    detail::protobuf_message shape;
    shape.add_bytes(2, dimension.bytes());
    detail::protobuf_message tensor;
    tensor.add_varint(1, string_type);
    tensor.add_bytes(2, shape.bytes());
    tensor.add_bytes(8, markdown);  // string_val
    detail::protobuf_message plugin;
    plugin.add_bytes(1, "text");
    detail::protobuf_message metadata;
    metadata.add_bytes(1, plugin.bytes());
    detail::protobuf_message one;
    one.add_bytes(1, tag);
    one.add_bytes(8, tensor.bytes());
    one.add_bytes(9, metadata.bytes());
    detail::protobuf_message summary;
    summary.add_bytes(1, one.bytes());
    return detail::event_bytes(wall_time, step, 5, summary.bytes());
}

/// An event in a file: its length and the check of that, its bytes and theirs, little endian.
[[nodiscard]] inline std::string tf_record(std::string_view event) {
    detail::protobuf_message length;
    length.little_endian(event.size(), 8);
    detail::protobuf_message record;
    record.little_endian(event.size(), 8);
    record.little_endian(detail::masked_crc32c(length.bytes()), 4);
    std::string out = record.bytes();
    detail::protobuf_message check;
    check.little_endian(detail::masked_crc32c(event), 4);
    return out.append(event).append(check.bytes());
}

}  // namespace fpq
