// SPDX-License-Identifier: Apache-2.0
// Fuzz target of the safetensors reader: any bytes either open, and then every tensor lies inside
// the file, or end in fpq::error of one line. Anything else is a finding.
#include "fpq/io/safetensors/safetensors.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    int const fd = ::memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || (size > 0 && ::write(fd, data, size) != static_cast<::ssize_t>(size))) {
        std::abort();
    }
    try {
        fpq::safetensors_file const file("/proc/self/fd/" + std::to_string(fd));
        std::size_t total = 0;
        unsigned sum = 0;
        for (fpq::tensor_ref const& t : file.tensors()) {
            total += t.bytes.size();
            sum += t.bytes.empty() ? 0U : std::to_integer<unsigned>(t.bytes.back());
        }
        if (total > size || sum > 255 * file.tensors().size()) {
            std::abort();
        }
    } catch (fpq::error const& why) {
        if (std::string_view(why.what()).find('\n') != std::string_view::npos) {
            std::abort();
        }
    }
    ::close(fd);
    return 0;
}
